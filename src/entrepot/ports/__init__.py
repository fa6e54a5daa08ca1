"""What Entrepot needs from outside, one small Protocol per file. The contracts stand here."""

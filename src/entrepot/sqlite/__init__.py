"""SQLite as every database on a file here uses it: how connections are set, how processes take
turns, and the thread that writes. No schema and no statements: those are the adapters'."""

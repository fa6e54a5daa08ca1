"""What `dev.py` is made of: standard library only, nothing that `entrepot` itself imports."""

"""Root file systems in directories: unpacking images safely."""

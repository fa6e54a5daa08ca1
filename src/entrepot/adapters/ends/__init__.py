"""Ends that are no registry: image layouts, archives, streams, and our own store."""

"""Entrepot: an OCI registry, pull-through cache, redirecting proxy, image builder and client."""

__version__ = "0.1.0"

"""What the OCI specifications name, as values: digests, references, descriptors, manifests.

Standard library only; no I/O, no clock, no randomness. Nothing here knows HTTP.
"""

"""Credential stores: docker's and podman's files, and the helpers they name."""

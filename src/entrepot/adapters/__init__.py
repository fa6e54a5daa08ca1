"""How the ports are met: one folder per port, one file per implementation.

Adapters translate foreign exceptions into `entrepot.oci.errors` and never import one another.
"""

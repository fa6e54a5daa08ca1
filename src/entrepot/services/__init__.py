"""Use cases, one file per noun: they decide what is read and written, and who may.

No sockets, no HTTP, no adapters: a service sees ports and values only.
"""

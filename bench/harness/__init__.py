"""What benchmarks are made of: servers to compare, load, memory, and reports.

Nothing here knows which benchmark it serves, and nothing imports `entrepot`: all servers are
programs behind an address, ours too.
"""

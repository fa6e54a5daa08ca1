"""Benchmarks: one module per benchmark, run by `python3 dev.py bench NAME`.

What they share (servers, load, memory, reports) is in `bench.harness`. Nothing here is installed
with the package.
"""

"""What a server grants its clients. Times are seconds, sizes bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one connection (`max_connections` is per worker).

    header_timeout  from the first byte of a request to the end of its header
    idle_timeout    without a request in progress
    body_timeout    without progress while a body is received or sent
    """

    header_timeout: float = 30.0
    idle_timeout: float = 75.0
    body_timeout: float = 60.0
    max_header_bytes: int = 64 * 1024
    max_connections: int = 10_000
    http2: bool = True

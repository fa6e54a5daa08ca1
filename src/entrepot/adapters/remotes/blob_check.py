"""Blob checks over HTTP: one HEAD request each, with a deadline."""

import asyncio

from entrepot.adapters.remotes.exchange import Request, Transport
from entrepot.oci.errors import ConnectionLost


class HttpBlobCheck:
    """A `BlobCheck` over a transport, which is not closed here. `timeout` is in seconds."""

    def __init__(self, transport: Transport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout

    async def has(self, url: str) -> bool:
        """Send HEAD; only 200 means yes, since clients are sent to this very URL."""
        request = Request("HEAD", url, {"accept-encoding": "identity"})
        try:
            async with asyncio.timeout(self._timeout), self._transport.send(request) as response:
                status = response.status
        except TimeoutError:
            raise ConnectionLost(
                f"object storage did not say within {self._timeout:g} s whether it has a blob; "
                "clients are sent to the upstream meanwhile"
            ) from None
        if status >= 500 or status == 429:
            raise ConnectionLost(f"object storage answered {status} when asked for a blob")
        return status == 200

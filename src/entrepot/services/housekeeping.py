"""Housekeeping: what must be cleared away while the registry runs."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from entrepot.oci.errors import BlobUploadUnknown
from entrepot.ports.clock import Clock
from entrepot.ports.content_store import CanEnumerate, ContentStore
from entrepot.ports.metadata_store import Outbox
from entrepot.ports.metadata_store import Uploads as Sessions

BATCH: Final = 500
"""Rows of one transaction, so that requests that write get their turn in between."""
BATCHES: Final = 200
"""Transactions of one run at most; what they leave is cleared by the next."""


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Clears abandoned uploads and stale events. Times are in seconds.

    Any number of processes may run it at once: each step is harmless when repeated.
    """

    sessions: Sessions
    outbox: Outbox
    content: ContentStore
    clock: Clock
    upload_expiry: float
    event_expiry: float

    async def run(self) -> int:
        """Clear what is due; return how many uploads were dropped."""
        now = self.clock.now()
        await self._expire_events(now - self.event_expiry)
        return await self._expire_uploads(now - self.upload_expiry)

    async def _expire_events(self, before: float) -> None:
        for _ in range(BATCHES):
            if await self.outbox.expire(before, BATCH) < BATCH:
                break
            await asyncio.sleep(0)  # a store in memory suspends nobody

    async def _expire_uploads(self, before: float) -> int:
        dropped = 0
        written: dict[str, float] = {}
        if isinstance(self.content, CanEnumerate):
            written = {upload: at async for upload, at in self.content.ingests()}
        for session in await self.sessions.idle_since(before, BATCH):
            # A session is touched when a request begins; its bytes may be younger than that.
            last = written.get(session.id, 0.0)
            if last >= before:
                await self.sessions.touch(session.id, last)
                continue
            await self._abort(session.id)
            written.pop(session.id, None)
            with contextlib.suppress(BlobUploadUnknown):
                await self.sessions.end(session.id)
            dropped += 1
        for upload, at in written.items():
            if at < before and await self._is_orphan(upload):
                await self._abort(upload)
                dropped += 1
        return dropped

    async def _is_orphan(self, upload: str) -> bool:
        try:
            await self.sessions.find(upload)
        except BlobUploadUnknown:
            return True
        return False

    async def _abort(self, upload: str) -> None:
        """Drop an ingest; one that is gone already is no error."""
        with contextlib.suppress(BlobUploadUnknown):
            ingest = await self.content.ingest(upload)
            await ingest.abort()

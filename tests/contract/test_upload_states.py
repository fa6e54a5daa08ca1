"""An ingest goes from state to state as the table of `entrepot.protocol.upload` says.

Any order of requests is tried on the filesystem and on the fake; what an ingest does is
compared with what the table says that follows.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.oci.digest import Digest
from entrepot.oci.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    RegistryError,
    UploadOutOfOrder,
)
from entrepot.ports.content_store import ContentStore, Ingest
from entrepot.protocol.upload import Event, State, after
from entrepot.testing import MemoryContentStore
from entrepot.testing.sources import SourceLost, arriving, lost_after

UPLOAD: Final = "upload"
CHUNKS: Final = st.lists(st.binary(max_size=40), max_size=3)
SLIPS: Final = st.sampled_from([None, 0, -1, 1])
"""How far from its end the upload is believed to go on; None: the request does not say."""


class Held:
    """A body that stays under way until it is told how to end."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.begun = asyncio.Event()
        self.ends: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.content
        self.begun.set()
        await self.ends


class IngestMachine(RuleBasedStateMachine):
    """One upload id: `ingest` is the one at hand, `state` and `content` what must be true of it."""

    def make_store(self, folder: Path) -> ContentStore:
        raise NotImplementedError

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.store = self.runner.run(self._make())
        self.held: Held | None = None
        self._begin()

    async def _make(self) -> ContentStore:
        return self.make_store(Path(self.folder.name))

    def _begin(self) -> None:
        self.ingest: Ingest = self.runner.run(self.store.ingest(UPLOAD, create=True))
        self.state = State.OPEN
        self.content = b""

    def teardown(self) -> None:
        if self.held is not None:
            self._release(SourceLost())
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def expect(self, *events: Event) -> type[Exception] | None:
        """Go where the table says, event by event; return the refusal if it refuses the first."""
        for event in events:
            try:
                self.state = after(self.state, event)
            except RegistryError as refusal:
                return type(refusal)
        return None

    @rule(chunks=CHUNKS, slip=SLIPS, lost=st.booleans())
    def a_body_comes(self, chunks: list[bytes], slip: int | None, lost: bool) -> None:
        before, at = self.state, None if slip is None else len(self.content) + slip
        refusal = self.expect(Event.BODY_STARTED, Event.BODY_LOST if lost else Event.BODY_STORED)
        source = lost_after(*chunks) if lost else arriving(*chunks)
        append = self.ingest.append(source, at=at)
        if refusal is not None:
            with pytest.raises(refusal) as refused:
                self.runner.run(append)
            assert type(refused.value) is refusal
        elif slip:
            self.state = before
            with pytest.raises(UploadOutOfOrder) as elsewhere:
                self.runner.run(append)
            assert elsewhere.value.offset == len(self.content)
        else:
            self.content += b"".join(chunks)
            if lost:
                with pytest.raises(SourceLost):
                    self.runner.run(append)
            else:
                assert self.runner.run(append) == len(self.content)

    @precondition(lambda self: self.held is None)
    @rule(content=st.binary(max_size=40))
    def a_body_is_under_way(self, content: bytes) -> None:
        if self.expect(Event.BODY_STARTED) is None:
            self.runner.run(self._hold(content))

    async def _hold(self, content: bytes) -> None:
        self.held = Held(content)
        self.appending = asyncio.ensure_future(self.ingest.append(self.held.chunks()))
        await self.held.begun.wait()

    @precondition(lambda self: self.held is not None)
    @rule(lost=st.booleans())
    def that_body_ends(self, lost: bool) -> None:
        assert self.held is not None
        content = self.held.content
        gone = self.expect(Event.BODY_LOST if lost else Event.BODY_STORED)
        error = self._release(SourceLost() if lost else None)
        if lost:
            assert isinstance(error, SourceLost)
        else:
            assert (type(error) if error else None) is gone
        if gone is None:
            self.content += content

    def _release(self, error: Exception | None) -> BaseException | None:
        assert self.held is not None
        if error is None:
            self.held.ends.set_result(None)
        else:
            self.held.ends.set_exception(error)
        self.held = None
        (outcome,) = self.runner.run(self._outcome())
        return outcome if isinstance(outcome, BaseException) else None

    async def _outcome(self) -> list[int | BaseException]:
        return await asyncio.gather(self.appending, return_exceptions=True)

    @rule(right=st.booleans(), algorithm=st.sampled_from(["sha256", "sha512"]))
    def it_is_closed(self, right: bool, algorithm: str) -> None:
        content = self.content
        digest = Digest.of(content if right else content + b"!", algorithm)
        refusal = self.expect(Event.CLOSED, Event.VERIFIED if right else Event.MISMATCHED)
        if refusal is None and not right:
            refusal = DigestInvalid
        if refusal is None:
            assert self.runner.run(self.ingest.commit(digest)) == len(content)
            assert self.runner.run(self.store.read(digest, 10_000)) == content
            self.runner.run(self.store.delete(digest))
        else:
            with pytest.raises(refusal) as refused:
                self.runner.run(self.ingest.commit(digest))
            assert type(refused.value) is refusal
            with pytest.raises(BlobUnknown):
                self.runner.run(self.store.size(digest))

    @rule()
    def it_is_dropped(self) -> None:
        refusal = self.expect(Event.CANCELLED)
        if refusal is None:
            self.runner.run(self.ingest.abort())
        else:
            with pytest.raises(refusal):
                self.runner.run(self.ingest.abort())

    @rule()
    def another_request_finds_it(self) -> None:
        if self.state in (State.DONE, State.GONE):
            with pytest.raises(BlobUploadUnknown):
                self.runner.run(self.store.ingest(UPLOAD))
        else:
            self.ingest = self.runner.run(self.store.ingest(UPLOAD))

    @precondition(lambda self: self.held is None and self.state in (State.DONE, State.GONE))
    @rule()
    def the_id_is_used_again(self) -> None:
        self._begin()

    @invariant()
    def the_offset_is_that_of_what_was_stored(self) -> None:
        if self.state in (State.DONE, State.GONE):
            with pytest.raises(BlobUploadUnknown):
                self.runner.run(self.ingest.offset())
        elif self.held is None:
            assert self.runner.run(self.ingest.offset()) == len(self.content)


class MemoryMachine(IngestMachine):
    def make_store(self, folder: Path) -> MemoryContentStore:
        return MemoryContentStore()


class FilesystemMachine(IngestMachine):
    def make_store(self, folder: Path) -> FilesystemContentStore:
        return FilesystemContentStore(folder, durable=False)


TestMemoryIngest = MemoryMachine.TestCase
TestFilesystemIngest = FilesystemMachine.TestCase

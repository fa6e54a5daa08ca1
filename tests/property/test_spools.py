"""Spools, whatever two processes do to one in whatever order: one writes at most, nothing wrong or
unverified is ever readable whole, and every reader sees the bytes that its spool was given."""

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.adapters.content_stores.spool_writer import FilesystemSpoolWriter
from entrepot.oci.digest import Digest
from entrepot.oci.errors import BlobUnknown, ConnectionLost, RegistryError, SizeInvalid, Unavailable
from entrepot.ports.delivery import HELD_BACK
from entrepot.ports.spools import SharedSpool

Result = TypeVar("Result")

CONTENT: Final = bytes(range(256)) * 160
DIGEST: Final = Digest.of(CONTENT)
SIZE: Final = len(CONTENT)


@dataclass(eq=False)
class Given:
    """One file's life as a spool: the bytes that it was given, and what became of it."""

    content: bytearray = field(default_factory=bytearray)
    verified: bool = False
    dropped: bool = False


@dataclass(eq=False)
class Reader:
    """A reader in a process, of one file; `told` if an error was told to it."""

    spool: SharedSpool
    given: Given
    process: "Process"
    told: bool = False


class Process:
    """An event loop in a thread, with the directory open. As between processes, nothing but the
    directory is shared."""

    def __init__(self, root: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.store = self.run(self._opened(root))
        self.spools = self.store.spools()
        self.writer: FilesystemSpoolWriter | None = None

    async def _opened(self, root: Path) -> FilesystemContentStore:
        return FilesystemContentStore(root, durable=False, memory=0)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        self.run(self.spools.close())
        self.run(self.store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Spools(RuleBasedStateMachine):
    """Two processes and one digest; `given` is the file that is there now."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="entrepot-spools-"))
        self.processes = [Process(self.root), Process(self.root)]
        self.given: Given | None = None
        self.readers: list[Reader] = []
        self.stored = False

    def teardown(self) -> None:
        self.readers.clear()
        for process in self.processes:
            process.close()
        shutil.rmtree(self.root)

    @property
    def writing(self) -> Process | None:
        return next((one for one in self.processes if one.writer is not None), None)

    @property
    def writer(self) -> FilesystemSpoolWriter:
        assert self.writing is not None
        assert self.writing.writer is not None
        return self.writing.writer

    @rule(number=st.integers(0, 1))
    def begin(self, number: int) -> None:
        process = self.processes[number]
        writer = process.run(process.spools.begin(DIGEST, SIZE))
        assert (writer is None) is (self.writing is not None)
        if writer is not None:
            process.writer = writer
            self.given = self.given or Given()
            assert writer.offset == len(self.given.content)

    @precondition(lambda self: self.writing is not None)
    @rule(
        count=st.sampled_from([1, 5000, HELD_BACK, SIZE]),
        wrong=st.sampled_from([False] * 4 + [True]),
    )
    def write(self, count: int, wrong: bool) -> None:
        assert self.given is not None
        at = len(self.given.content)
        piece = CONTENT[at : at + count] or b"?"
        piece = bytes(len(piece)) if wrong else piece
        try:
            self.writer.write(memoryview(piece))
        except SizeInvalid:
            assert at == SIZE
        else:
            assert at < SIZE
            self.given.content += piece

    @precondition(lambda self: self.writing is not None)
    @rule()
    def commit(self) -> None:
        assert self.writing is not None
        assert self.given is not None
        right = bytes(self.given.content) == CONTENT
        try:
            self.writing.run(self.writer.commit())
        except RegistryError:
            assert not right
            self.given.dropped = True
        else:
            assert right
            self.given.verified = self.stored = True
        self.writing.writer = self.given = None

    @precondition(lambda self: self.writing is not None)
    @rule(told=st.booleans())
    def release(self, told: bool) -> None:
        process = self.writing
        assert process is not None
        process.run(self.writer.release(ConnectionLost("broken off") if told else None))
        process.writer = None
        for reader in self.readers if told else ():
            reader.told |= reader.process is process and reader.given is self.given

    @precondition(lambda self: self.writing is not None)
    @rule()
    def discard(self) -> None:
        assert self.writing is not None
        assert self.given is not None
        assert self.writing.run(self.writer.discard(ConnectionLost("gone")))
        self.given.dropped = True
        self.writing.writer = self.given = None

    @precondition(lambda self: self.writing is None)
    @rule(number=st.integers(0, 1))
    def drop(self, number: int) -> None:
        process = self.processes[number]
        assert process.run(process.spools.drop(DIGEST))
        if self.given is not None:
            self.given.dropped = True
            self.given = None

    @rule(number=st.integers(0, 1))
    def follow(self, number: int) -> None:
        process = self.processes[number]
        spool = process.run(process.spools.follow(DIGEST))
        assert (spool is None) is (self.writing is None)
        if spool is not None:
            assert self.given is not None
            self.readers.append(Reader(spool, self.given, process))

    @invariant()
    def readers_get_what_was_given(self) -> None:
        for reader in self.readers:
            given = reader.given
            try:
                ready = reader.process.run(reader.spool.available(-1))
            except Unavailable:
                assert reader.told or given.dropped
                continue
            assert not given.dropped
            assert ready == (SIZE if given.verified else min(len(given.content), SIZE - HELD_BACK))
            file = reader.spool.open()
            try:
                assert os.pread(file, ready, 0) == given.content[:ready]
            finally:
                os.close(file)

    @invariant()
    def content_is_there_once_it_was_verified(self) -> None:
        for process in self.processes:
            found = None
            with suppress(BlobUnknown):
                found = process.run(process.store.read(DIGEST, SIZE))
            assert found == (CONTENT if self.stored else None)

    @invariant()
    def what_is_left_is_told(self) -> None:
        for process in self.processes:
            left = [size for _, size, _ in process.run(process.spools.leftovers())]
            unwritten = self.given is not None and self.writing is None
            assert left == ([len(self.given.content)] if unwritten and self.given else [])


TestSpools = Spools.TestCase
TestSpools.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

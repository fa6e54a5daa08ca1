"""How a body is handed to libcurl: in pieces, ahead by a little, and never cut short."""

import asyncio
from collections.abc import AsyncIterator

import pycurl

from entrepot.adapters.remotes.exchange import Body
from entrepot.adapters.remotes.transport_body import AHEAD, BodyFeed


class Feed:
    """A feed of chunks, with what it was told and what it told."""

    def __init__(self, *chunks: bytes) -> None:
        self.read = 0
        self.resumed = 0
        self.failures: list[BaseException] = []

        async def read() -> AsyncIterator[bytes]:
            for chunk in chunks:
                self.read += 1
                yield chunk

        body = Body(sum(map(len, chunks)), read)
        self.feed = BodyFeed(body, self.resume, self.failures.append)

    def resume(self) -> None:
        self.resumed += 1

    def take(self, size: int) -> bytes | int:
        taken = self.feed.take(size)
        return taken if isinstance(taken, int) else bytes(taken)


async def settle() -> None:
    """Let the feed's task run until it has to wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_chunks_are_handed_on_in_pieces_of_what_is_asked() -> None:
    feed = Feed(b"abcde", b"fg")
    await settle()
    assert [feed.take(3) for _ in range(4)] == [b"abc", b"de", b"fg", b""]
    await feed.feed.stop()
    assert not feed.failures


async def test_a_feed_without_a_chunk_says_to_wait_and_then_to_go_on() -> None:
    feed = Feed(b"abc")
    assert feed.take(9) == pycurl.READFUNC_PAUSE
    assert feed.feed.starved
    await settle()
    assert feed.resumed == 1
    assert not feed.feed.starved
    assert feed.take(9) == b"abc"
    await feed.feed.stop()


async def test_reading_ahead_has_a_bound() -> None:
    feed = Feed(*[bytes(AHEAD // 4)] * 40)
    await settle()
    assert feed.read == 5  # what is held, and one that waits for room
    feed.take(AHEAD)
    await settle()
    assert feed.read == 6
    await feed.feed.stop()


async def test_a_last_chunk_that_waits_for_room_is_still_to_come() -> None:
    feed = Feed(bytes(AHEAD), b"last")
    await settle()  # the iterator has ended
    assert feed.take(2 * AHEAD) == bytes(AHEAD)
    assert feed.take(AHEAD) == pycurl.READFUNC_PAUSE
    await settle()
    assert [feed.take(AHEAD) for _ in range(2)] == [b"last", b""]
    await feed.feed.stop()

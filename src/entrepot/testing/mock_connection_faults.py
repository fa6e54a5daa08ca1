"""What can go wrong on the way: slow, standing, broken connections, and uploads that get lost."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from entrepot.testing.mock_exchange import Answered, Exchange, HangUp, Reply

if TYPE_CHECKING:
    from entrepot.testing.mock_registry import MockRegistry

_TICK = 0.05


@dataclass(frozen=True, slots=True)
class Delay:
    """Answers after so many seconds."""

    seconds: float

    async def __call__(self, exchange: Exchange) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Slow:
    """Sends the body at this pace."""

    bytes_per_second: int

    async def __call__(self, exchange: Exchange) -> Reply:
        step = max(1, int(self.bytes_per_second * _TICK))

        async def slow(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                for at in range(0, len(chunk), step):
                    piece = chunk[at : at + step]
                    yield piece
                    await asyncio.sleep(len(piece) / self.bytes_per_second)

        return (await exchange.proceed()).through(slow)


@dataclass(frozen=True, slots=True)
class Stall:
    """Stands still until the fault is released: before the head, after so many bytes of the
    body, or (`upload`) when it has read so many of the request's body."""

    after_bytes: int = 0
    at: Literal["head", "body", "upload"] = "body"

    async def __call__(self, exchange: Exchange) -> Reply:
        assert exchange.fault is not None
        fault = exchange.fault
        if self.at == "head":
            await fault.released()
            return await exchange.proceed()
        if self.at == "upload":
            exchange.pause_body(self.after_bytes, fault.released)
            return await exchange.proceed()

        async def stalled(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for first, rest in _cut(chunks, self.after_bytes):
                if first:
                    yield first
                if rest is not None:
                    await fault.released()
                    yield rest

        return (await exchange.proceed()).through(stalled)


@dataclass(frozen=True, slots=True)
class Truncate:
    """Closes the connection in order after so many bytes of the body, whatever length it told."""

    after_bytes: int

    async def __call__(self, exchange: Exchange) -> Reply:
        return _broken(await exchange.proceed(), self.after_bytes, reset=False)


@dataclass(frozen=True, slots=True)
class Reset:
    """Resets the connection (TCP RST) after so many bytes of the body."""

    after_bytes: int = 0

    async def __call__(self, exchange: Exchange) -> Reply:
        return _broken(await exchange.proceed(), self.after_bytes, reset=True)


@dataclass(frozen=True, slots=True)
class DropConnection:
    """Ends the connection before any byte of a reply; the request has been read, not done."""

    reset: bool = False

    async def __call__(self, exchange: Exchange) -> Reply:
        raise HangUp(reset=self.reset)


@dataclass(frozen=True, slots=True)
class DoThenDrop:
    """Does what was asked, and ends the connection before any byte of the reply."""

    reset: bool = False

    async def __call__(self, exchange: Exchange) -> Reply:
        await exchange.proceed()
        raise HangUp(reset=self.reset)


@dataclass(frozen=True, slots=True)
class AcceptThenFail:
    """Reads so many bytes of the request's body, keeps them, and then resets the connection or
    answers with a status. With `keep=False` the upload has got none of them."""

    after_bytes: int
    status: int | None = None
    keep: bool = True

    async def __call__(self, exchange: Exchange) -> Reply:
        refusal = Reply.of_error(self.status or 500, "UNKNOWN", "the disk is on fire")
        failure = HangUp(reset=True) if self.status is None else Answered(refusal)
        exchange.break_body(self.after_bytes, failure)
        if self.keep:
            return await exchange.proceed()
        try:
            await exchange.read_all()
        except Answered as answered:
            return answered.reply
        raise failure


@dataclass(frozen=True, slots=True)
class UploadOffsetLies:
    """Says in Range that `by` bytes more (or fewer) have come than did."""

    by: int

    async def __call__(self, exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        told = re.fullmatch(r"0-([0-9]+)", reply.header("range") or "")
        return reply.but("Range", f"0-{max(0, int(told[1]) + self.by)}") if told else reply


@dataclass(frozen=True, slots=True)
class LoseUpload:
    """Forgets the upload that is asked for, and answers 404 as if it had never been."""

    async def __call__(self, exchange: Exchange) -> Reply:
        registry = cast("MockRegistry", exchange.origin)
        registry.uploads.lose(exchange.request.path.rpartition("/")[2])
        return Reply.of_error(404, "BLOB_UPLOAD_UNKNOWN")


@dataclass(frozen=True, slots=True)
class Refuse100:
    """Answers at once where the client asks whether it may send (`Expect: 100-continue`)."""

    status: int = 417

    async def __call__(self, exchange: Exchange) -> Reply | None:
        if exchange.as_sent.header("expect") is None:
            return None
        return Reply.of_error(self.status, "UNSUPPORTED")


def _broken(reply: Reply, after: int, *, reset: bool) -> Reply:
    async def broken(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for first, rest in _cut(chunks, after):
            if first:
                yield first
            if rest is not None:
                raise HangUp(reset=reset)

    return reply.through(broken)


async def _cut(
    chunks: AsyncIterator[bytes], after: int
) -> AsyncIterator[tuple[bytes, bytes | None]]:
    """Yield chunks; that in which byte `after` lies, or the end before it, comes with the rest."""
    left, cut = after, False
    async for chunk in chunks:
        if cut or len(chunk) <= left:
            left -= 0 if cut else len(chunk)
            yield chunk, None
        else:
            cut = True
            yield chunk[:left], chunk[left:]
    if not cut:
        yield b"", b""

"""Endpoints: one repository's side of a session. Requests get the repository's scopes, small
answers are read whole, and what registries say about a failure is put into their words.

What the answers mean is the business of the module of each noun: manifests, downloads, uploads,
referrers, pages.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from entrepot.adapters.remotes.exchange import Body, Request, Response
from entrepot.adapters.remotes.retries import Retries
from entrepot.oci.errors import ConnectionLost, RegistryError, SizeInvalid
from entrepot.oci.reference import RepositoryName
from entrepot.protocol.challenges import Scope

PULL: Final = ("pull",)
PUSH: Final = ("pull", "push")
DELETE: Final = ("pull", "delete")

SMALL: Final = 64 * 1024
"""Most bytes that are read of an answer whose content does not matter much."""


class Sender(Protocol):
    """What is needed of a session: `send` returns 2xx and expected answers and raises all
    others as errors of `oci/errors.py`."""

    def send(
        self,
        request: Request,
        *,
        scopes: Sequence[Scope] = (),
        expect: Collection[int] = (),
        repeat: bool | None = None,
    ) -> AbstractAsyncContextManager[Response]: ...


class Streak:
    """Failures in a row, without any progress in between."""

    __slots__ = ("_failures", "_retries")

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._failures = 0

    def progressed(self) -> None:
        """Forget the failures so far."""
        self._failures = 0

    async def failed(self, error: RegistryError) -> None:
        """Wait before the next attempt, or raise `error` if that was the last one."""
        self._failures += 1
        await self._retries.pause(self._failures, error)


@dataclass(frozen=True, slots=True)
class Answer:
    """A small response, read whole. `content` is empty where it was no success and too large."""

    status: int
    url: str
    headers: Mapping[str, str]
    http_version: str
    content: bytes = field(repr=False)

    @property
    def successful(self) -> bool:
        """Whether the status is one of 2xx."""
        return 200 <= self.status < 300

    @property
    def codes(self) -> frozenset[str]:
        """The error codes in the body (distribution-spec, "Error Codes"); none if it has none."""
        return error_codes(self.content)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A repository (`name`) of the registry `host`, reached over a session."""

    session: Sender
    host: str
    name: RepositoryName
    retries: Retries

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"

    def send(
        self,
        request: Request,
        actions: tuple[str, ...],
        *,
        expect: Collection[int] = (),
        repeat: bool | None = None,
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request with the right to do `actions` here."""
        scopes = (Scope.repository(self.name, *actions),)
        return self.session.send(request, scopes=scopes, expect=expect, repeat=repeat)

    async def ask(
        self,
        method: str,
        url: str,
        actions: tuple[str, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
        expect: Collection[int] = (),
        repeat: bool | None = None,
        limit: int = SMALL,
        beside: Sequence[Scope] = (),
    ) -> Answer:
        """Send a request as `ask_session` does, with the right to do `actions` here and the
        scopes `beside`."""
        return await ask_session(
            self.session,
            Request(method, url, headers or {}, body),
            (Scope.repository(self.name, *actions), *beside),
            self.retries,
            expect=expect,
            repeat=repeat,
            limit=limit,
        )


async def ask_session(
    session: Sender,
    request: Request,
    scopes: Sequence[Scope],
    retries: Retries,
    *,
    expect: Collection[int] = (),
    repeat: bool | None = None,
    limit: int = SMALL,
) -> Answer:
    """Send a request and read its answer, of at most `limit` bytes. Raise SizeInvalid.

    A GET or HEAD whose answer breaks off is repeated.
    """
    streak = Streak(retries)
    while True:
        async with session.send(request, scopes=scopes, expect=expect, repeat=repeat) as response:
            try:
                return await read_answer(response, limit)
            except ConnectionLost as error:
                if request.method not in ("GET", "HEAD"):
                    return _headless(response)
                lost = error
        await streak.failed(lost)


async def read_answer(response: Response, limit: int) -> Answer:
    """Read a response whole. Raise SizeInvalid if a success has more than `limit` bytes, and
    ConnectionLost."""
    content = b""
    if 200 <= response.status < 300:
        content = await response.read(limit)
    else:
        with suppress(SizeInvalid):
            content = await response.read(SMALL)
    return Answer(response.status, response.url, response.headers, response.http_version, content)


def _headless(response: Response) -> Answer:
    """Return the answer without its body: for what changes something, the head has said all."""
    return Answer(response.status, response.url, response.headers, response.http_version, b"")


def error_codes(content: bytes) -> frozenset[str]:
    """Return the codes in an error body, none if it is something else."""
    with suppress(ValueError, TypeError, AttributeError, KeyError, RecursionError):
        errors = json.loads(content)["errors"]
        return frozenset(str(error.get("code", "")).upper() for error in errors)
    return frozenset()

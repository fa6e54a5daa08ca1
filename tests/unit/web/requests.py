"""Requests as a server would hand them over, and what tests read from responses."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from entrepot.ports.delivery import Inline
from entrepot.web.message import EmptyBody, Headers, Request, Response


@dataclass
class GivenBody:
    """A body that is there already."""

    content: bytes

    @property
    def length(self) -> int:
        return len(self.content)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.content


def request(
    target: str = "/",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes = b"",
    client: str = "192.0.2.7",
    scheme: str = "http",
) -> Request:
    """Return a request to `registry.example:5000`, or to the Host in `headers`."""
    path, _, query = target.partition("?")
    fields = {"host": "registry.example:5000", **(headers or {})}
    return Request(
        method,
        path,
        query,
        Headers(fields.items()),
        GivenBody(body) if body else EmptyBody(),
        client,
        scheme,
    )


def header(response: Response, name: str) -> str | None:
    """Return the value of a header that may be there once."""
    values = [value for key, value in response.headers if key.lower() == name.lower()]
    assert len(values) <= 1, f"{name} is there {len(values)} times"
    return values[0] if values else None


def text(response: Response) -> str:
    """Return the body of a response."""
    assert isinstance(response.body, Inline)
    return response.body.content.decode()


def document(response: Response) -> Any:
    """Return the JSON of a response."""
    return json.loads(text(response))

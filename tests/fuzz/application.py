"""The whole application in this process, on real stores: what the server calls, without sockets."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import uvloop

from entrepot.adapters.metadata_stores.migrate import migrate
from entrepot.bootstrap import opened
from entrepot.config import Settings, StorageSettings
from entrepot.testing.deliveries import collect
from entrepot.web.app import WebApplication
from entrepot.web.message import Headers, Request
from entrepot.web.metrics import Metrics, prepare
from entrepot.web.v2.api import Api, Options
from tests.http_client import Response

Fields = Iterable[tuple[str, str]]
Content = bytes | list[bytes] | None


class Application:
    """Requests in, responses out. `faults` are the errors that nobody had thought of."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.faults: list[Exception] = []
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._stack = AsyncExitStack()
        self._app = self._runner.run(self._open(folder))

    async def _open(self, folder: Path) -> WebApplication:
        self.data.mkdir()
        migrate(f"sqlite:///{self.data / 'metadata.db'}")
        settings = Settings(storage=replace(StorageSettings(), path=self.data, durable=False))
        registry = await self._stack.enter_async_context(opened(settings))
        prepare(folder / "metrics")
        metrics = Metrics(folder / "metrics", 0)
        self._stack.callback(metrics.close)
        api = Api(registry, Options(page_size=100))
        return WebApplication(
            registry, api, metrics, None, lambda _, error: self.faults.append(error)
        )

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def request(
        self,
        method: str,
        target: str,
        body: bytes | list[bytes] | None = None,
        headers: Fields = (),
    ) -> Response:
        """Answer a request, as `http_client.Client.request` does over a socket."""
        path, _, query = target.partition("?")
        fields = [(name.lower(), value) for name, value in headers]
        request = Request(method, path, query, Headers(fields), _Body(body))
        return self._runner.run(self._answer(request))

    async def _answer(self, request: Request) -> Response:
        response = await self._app(request)
        body = b"" if request.method == "HEAD" else await collect(response.body)
        self._app.observe(request, response, len(body), 0.001)
        return Response(response.status, tuple(response.headers), body)


class _Body:
    """A body: bytes of a known length, a list of chunks, or none."""

    def __init__(self, content: Content) -> None:
        self._chunks = content if isinstance(content, list) else [content or b""]
        self.length = None if isinstance(content, list) else len(content or b"")

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            await asyncio.sleep(0)
            if chunk:
                yield chunk

"""A registry to test against: real sockets on loopback, in this process, and every fault at hand.

It is a correct registry until it is told to be none. Its thread and event loop are its own, so
coroutines, plain functions and other programs can all talk to it. It is ready in milliseconds:

    from entrepot.testing import MockRegistry, ServerError, Slow, Stall, Truncate

    with MockRegistry() as registry:
        image = registry.add_image("library/busybox", "1.36", layers=3)
        pull(image.reference)                        # 127.0.0.1:40123/library/busybox:1.36
        assert registry.count("GET", "*/blobs/*") == 4

**Content** follows from a seed: `add_image`, `add_index`, `add_artifact`, `add_blob`,
`add_manifest`. A layer of 5 GiB costs the time to hash it once and no memory. What clients have
pushed is seen by `blobs`, `blob(digest)`, `manifest(repository, reference)`, `tags(repository)`.
`abilities` switches parts off (referrers, catalog, mounts …) or to other correct manners
(relative Locations, chunks of a minimum size, small pages).

**Faults** are values, put in place for the requests they are for:

    registry.fault(ServerError(503), path="*/manifests/*", times=2)   # then all is well
    registry.fault(Truncate(1000), method="GET", digest=image.layers[0].digest)
    registry.fault(Slow(100_000), times=None)                         # always
    registry.fault(RateLimited(retry_after=1), after=4)               # the fifth request
    registry.fault(Delay(0.1), WrongDigest(), path="*/blobs/*")       # both at once

Each call returns the fault in place: `remove()` it, ask how often it was `applied`, `wait()` until
it was, `release()` what stands still; `registry.heal()` ends them all:

    standing = registry.fault(Stall(after_bytes=500), path="*/blobs/*")
    transfer = asyncio.create_task(pull(image.reference))
    await asyncio.to_thread(standing.wait)
    standing.release()

A fault of your own is a callable that gets the exchange. It may return a `Reply`, None to let
things go on, or what `proceed` returns, changed:

    async def signed(exchange: Exchange) -> Reply:
        reply = await exchange.proceed()
        return reply.but("X-Signature", "none")

**Other origins** are a token server, a CDN, an object store. They share content and thread:

    storage = registry.other_origin(refuse_authorization=True)
    registry.fault(RedirectTo(storage), method="GET", path="*/blobs/*", times=None)
    assert all(one.authorization is None for one in storage.requests)

**Credentials**: `require_basic`, or `require_token` with a flavour of token server, which returns
that server's settings; `mock_tokens.FLAVOURS` lists them. `preset("docker.io")` and the like make
it behave as public registries are documented to. `secrets` are what no log may show:

    registry.require_token("oauth2", users={"ann": "her password"})
    assert not [one for one in registry.secrets if one in log]

**Seeing**: `requests` are frozen records; `count`, `matching`, `wait_for`, `bytes_sent`,
`bytes_received` and `connections` look at them, `clear_requests` starts anew. Nothing is slept
for:

    registry.wait_for(2, "PUT", "*/manifests/*")      # blocks; in a coroutine use to_thread
"""

import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag
from entrepot.testing.mock_content import Content
from entrepot.testing.mock_credentials import BasicGuard, Guard
from entrepot.testing.mock_endpoints import Abilities, Endpoints
from entrepot.testing.mock_exchange import Exchange, Reply
from entrepot.testing.mock_images import ImageMaker
from entrepot.testing.mock_origin import MockOrigin
from entrepot.testing.mock_presets import Preset, apply_preset
from entrepot.testing.mock_store import MockStore
from entrepot.testing.mock_tokens import FLAVOURS, May, TokenFlavour, TokenServer
from entrepot.testing.mock_uploads import Uploads


class MockRegistry(MockOrigin):
    """A registry on a free port of 127.0.0.1; `tls` is a server's context.

    Use it as a context, or call `stop`. The module's docstring shows how it is used.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, parent: "MockRegistry | None" = None
    ) -> None:
        self.store: MockStore = MockStore() if parent is None else parent.store
        self.abilities = Abilities()
        self._endpoints = Endpoints(self.store, self.abilities)
        super().__init__(tls=tls, parent=parent)
        self.guard: Guard | None = None
        self._images = ImageMaker(self.store, self.host)
        self.add_image = self._images.image
        self.add_index = self._images.index
        self.add_artifact = self._images.artifact
        self.add_blob = self._images.blob
        self.add_manifest = self._images.manifest

    def stop(self) -> None:
        """Close every connection, the port and temporary files, of other origins too."""
        super().stop()
        self.uploads.close()

    def other_origin(
        self, *, tls: ssl.SSLContext | None = None, refuse_authorization: bool = False
    ) -> "MockRegistry":
        """Return another origin with the same content, which stops with this one."""
        other = MockRegistry(tls=tls, parent=self)
        other.abilities.refuse_authorization = refuse_authorization
        return other

    def require_basic(self, users: Mapping[str, str], *, realm: str = "mock") -> None:
        """Let only these users in, by name and password."""
        self.guard = BasicGuard(self, users, realm)

    def require_token(
        self,
        flavour: str | TokenFlavour = "plain",
        *,
        users: Mapping[str, str] | None = None,
        elsewhere: bool = False,
        may: May | None = None,
        **changes: Any,
    ) -> TokenServer:
        """Ask for tokens, and return the server that gives them, here or on another origin.

        `flavour` is a key of `mock_tokens.FLAVOURS` or settings, to which `changes` are made;
        `users` maps names to passwords; `may(user, repository)` returns what a user may do as
        `pull,push,delete` (all, if not given; an anonymous user is empty).
        """
        chosen = FLAVOURS[flavour] if isinstance(flavour, str) else flavour
        origin = self.other_origin(tls=self.tls) if elsewhere else self
        server = TokenServer(origin, replace(chosen, **changes), users or {}, may)
        self.guard = server.guard
        return server

    def preset(self, name: str, *, users: Mapping[str, str] | None = None) -> Preset:
        """Behave as a public registry is documented to, a key of `mock_presets.PRESETS`."""
        return apply_preset(self, name, users or {})

    @property
    def uploads(self) -> Uploads:
        """The uploads that are open."""
        return self._endpoints.uploads

    @property
    def blobs(self) -> Mapping[Digest, Content]:
        """All content by digest, whichever repository it is in."""
        return dict(self.store.contents)

    def blob(self, digest: Digest | str) -> bytes:
        """Return a blob's bytes. Raise KeyError if it is not here."""
        parsed = Digest.parse(digest) if isinstance(digest, str) else digest
        return self.store.contents[parsed].read()

    def manifest(self, repository: str, reference: Tag | Digest | str) -> bytes | None:
        """Return a manifest's bytes by tag or digest, None if it is not here."""
        found = self.store.find_manifest(repository, reference)
        return None if found is None else found.content

    def tags(self, repository: str) -> Mapping[str, Digest]:
        """Return a repository's tags, and the digests they point at."""
        return self.store.digests(repository)

    async def handle(self, exchange: Exchange) -> Reply:
        """Answer a request that no fault has answered."""
        if exchange.request.path in self.pages:
            return await super().handle(exchange)
        if self.guard is not None and exchange.request.path.startswith("/v2"):
            refused = self.guard(exchange)
            if refused is not None:
                return refused
        return await self._endpoints.answer(exchange)

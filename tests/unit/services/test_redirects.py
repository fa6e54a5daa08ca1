import asyncio
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.errors import ConnectionLost, Unavailable, Unsupported
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.protocol import routes
from entrepot.rules.sources import Redirected
from entrepot.services.redirects import (
    PAUSE_SECONDS,
    REMEMBERED_SECONDS,
    RedirectPlace,
    Redirects,
    Site,
)

UPSTREAM = "https://us-central1-docker.pkg.dev/v2/oci-proxy/oci-proxy-images/"
APP = RepositoryName("app")
SOURCE = Redirected("home", APP)
BLOB = routes.Blob(APP, Digest.of(b"blob"))
OTHER = routes.Blob(APP, Digest.of(b"other"))
EAST = Site("east", "https://east.example/blobs/{digest}", ("10.1.0.0/16",))
WEST = Site("west", "https://west.example/{algorithm}/{hex}", ("10.2.0.0/16",))
IN_EAST = ip_address("10.1.0.9")
IN_WEST = ip_address("10.2.0.9")


@dataclass
class Storage:
    """Object storage whose blobs, troubles and pace are set."""

    has_all: bool = True
    trouble: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def has(self, url: str) -> bool:
        self.asked.append(url)
        self.begun.set()
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return self.has_all


@dataclass
class SetClock:
    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def redirects(storage: Storage, clock: SetClock) -> Redirects:
    return made(storage, clock)


def made(storage: Storage, clock: SetClock, remembered: int = 100) -> Redirects:
    return Redirects(
        {"home": UPSTREAM},
        sites=[EAST, WEST],
        check=storage,
        remembered=remembered,
        clock=clock,
    )


def upstream(route: routes.Blob) -> str:
    return f"{UPSTREAM}app/blobs/{route.digest}"


@pytest.mark.parametrize(
    ("route", "query", "rest"),
    [
        (routes.Manifest(APP, Tag("1.0.0")), "", "app/manifests/1.0.0"),
        (routes.Manifest(APP, BLOB.digest), "", f"app/manifests/{BLOB.digest}"),
        (BLOB, "", f"app/blobs/{BLOB.digest}"),
        (routes.TagsList(APP), "n=5&last=a%2Fb", "app/tags/list?n=5&last=a%2Fb"),
        (
            routes.Referrers(APP, BLOB.digest),
            "artifactType=a%2Fb&ns=home",
            f"app/referrers/{BLOB.digest}?artifactType=a%2Fb",
        ),
        (routes.TagsList(APP), "ns=home", "app/tags/list"),
        (routes.TagsList(APP), "ns=home&n=5&nsx=1&&ns", "app/tags/list?n=5&nsx=1&"),
    ],
    ids=["tag", "digest", "blob", "query", "ns beside", "ns alone", "ns often"],
)
async def test_a_name_stands_behind_the_upstreams_url(
    redirects: Redirects, route: routes.Manifest, query: str, rest: str
) -> None:
    """RD-02: the upstream's URL, the rest of the path, and the query."""
    assert await redirects.target(SOURCE, route, query=query) == UPSTREAM + rest


async def test_the_upstreams_name_for_it_counts(redirects: Redirects) -> None:
    source = Redirected("home", RepositoryName("stable/app"))
    url = await redirects.target(source, routes.TagsList(APP))
    assert url == f"{UPSTREAM}stable/app/tags/list"


@pytest.mark.parametrize("query", ["a=b c", "a=\r\nX: y", "a=\x00", "a=ä", "a#b", "\x7f"])
async def test_a_query_that_no_url_can_have_leads_nowhere(redirects: Redirects, query: str) -> None:
    with pytest.raises(Unsupported, match="percent-encode"):
        await redirects.target(SOURCE, BLOB, query=query, client=None)


async def test_a_blob_comes_from_the_site_that_is_near(
    redirects: Redirects, storage: Storage
) -> None:
    """RD-05: each network has its bucket; elsewhere it is the upstream's."""
    east = f"https://east.example/blobs/{BLOB.digest}"
    west = f"https://west.example/sha256/{BLOB.digest.hex}"
    assert await redirects.target(SOURCE, BLOB, client=IN_EAST) == east
    assert await redirects.target(SOURCE, BLOB, client=IN_WEST) == west
    assert storage.asked == [east, west]
    for client in (ip_address("10.3.0.1"), ip_address("::1"), None):
        assert await redirects.target(SOURCE, BLOB, client=client) == upstream(BLOB)
    assert storage.asked == [east, west]


async def test_a_sites_url_has_no_query_of_the_request(redirects: Redirects) -> None:
    url = await redirects.target(SOURCE, BLOB, query="a=b", client=IN_EAST)
    assert url == EAST.blob(BLOB.digest)


async def test_manifests_are_the_upstreams(redirects: Redirects, storage: Storage) -> None:
    manifest = routes.Manifest(APP, BLOB.digest)
    assert (await redirects.target(SOURCE, manifest, client=IN_EAST)).startswith(UPSTREAM)
    assert storage.asked == []


async def test_what_was_found_is_remembered_for_a_while(
    redirects: Redirects, storage: Storage, clock: SetClock
) -> None:
    for _ in range(3):
        await redirects.target(SOURCE, BLOB, client=IN_EAST)
    assert len(storage.asked) == 1
    clock.time += REMEMBERED_SECONDS
    storage.has_all = False
    assert await redirects.target(SOURCE, BLOB, client=IN_EAST) == upstream(BLOB)
    assert len(storage.asked) == 2


async def test_what_was_not_found_is_asked_for_again(
    redirects: Redirects, storage: Storage
) -> None:
    storage.has_all = False
    assert await redirects.target(SOURCE, BLOB, client=IN_EAST) == upstream(BLOB)
    storage.has_all = True
    assert await redirects.target(SOURCE, BLOB, client=IN_EAST) == EAST.blob(BLOB.digest)


@pytest.mark.parametrize(("remembered", "asked"), [(2, 2), (1, 3), (0, 3)])
async def test_only_so_many_are_remembered(
    storage: Storage, clock: SetClock, remembered: int, asked: int
) -> None:
    redirects = made(storage, clock, remembered)
    for blob in (BLOB, OTHER, BLOB):
        await redirects.target(SOURCE, blob, client=IN_EAST)
    assert len(storage.asked) == asked


async def test_the_least_recently_wanted_is_forgotten_first(
    storage: Storage, clock: SetClock
) -> None:
    redirects = made(storage, clock, remembered=2)
    third = routes.Blob(APP, Digest.of(b"third"))
    for blob in (BLOB, OTHER, BLOB, third):
        await redirects.target(SOURCE, blob, client=IN_EAST)
    storage.asked.clear()
    await redirects.target(SOURCE, BLOB, client=IN_EAST)
    assert storage.asked == []
    await redirects.target(SOURCE, OTHER, client=IN_EAST)
    assert storage.asked == [EAST.blob(OTHER.digest)]


async def test_a_site_that_cannot_be_asked_is_left_out_for_a_moment(
    redirects: Redirects, storage: Storage, clock: SetClock
) -> None:
    storage.trouble = ConnectionLost("no")
    assert await redirects.target(SOURCE, BLOB, client=IN_EAST) == upstream(BLOB)
    storage.trouble = None
    assert await redirects.target(SOURCE, OTHER, client=IN_EAST) == upstream(OTHER)
    assert len(storage.asked) == 1
    # Another site is none the worse for it.
    assert await redirects.target(SOURCE, BLOB, client=IN_WEST) == WEST.blob(BLOB.digest)
    clock.time += PAUSE_SECONDS
    assert await redirects.target(SOURCE, BLOB, client=IN_EAST) == EAST.blob(BLOB.digest)


async def test_one_question_answers_all_who_wait_for_it(
    redirects: Redirects, storage: Storage
) -> None:
    storage.gate.clear()
    waiting = [
        asyncio.create_task(redirects.target(SOURCE, BLOB, client=IN_EAST)) for _ in range(20)
    ]
    await storage.begun.wait()
    waiting[0].cancel()  # whoever came first leaves
    await asyncio.sleep(0)
    storage.gate.set()
    first, *rest = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert rest == [EAST.blob(BLOB.digest)] * 19
    assert len(storage.asked) == 1


async def test_closing_ends_questions(redirects: Redirects, storage: Storage) -> None:
    storage.gate.clear()
    waiting = asyncio.create_task(redirects.target(SOURCE, BLOB, client=IN_EAST))
    await storage.begun.wait()
    await redirects.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_each_place_is_described() -> None:
    """RD-04: what the page shows to pull from directly."""
    redirects = Redirects({"home": UPSTREAM, "hub": "https://h.example:8443/front/v2/"})
    assert redirects.describe() == (
        RedirectPlace(
            "home", UPSTREAM, "us-central1-docker.pkg.dev", "oci-proxy/oci-proxy-images/"
        ),
        RedirectPlace("hub", "https://h.example:8443/front/v2/", "h.example:8443/front", ""),
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://h.example/",
        "https://h.example/v2",
        "https://h.example/v2/x",
        "h.example/v2/",
        "ftp://h.example/v2/",
        "https:///v2/",
        "https://user@h.example/v2/",
        "https://h.example/v2/\r\n/",
    ],
)
def test_a_place_must_be_one(url: str) -> None:
    with pytest.raises(Unsupported, match="cannot be redirected"):
        Redirects({"home": url})


@pytest.mark.parametrize("url", ["https://bucket.example/", "https://b.example/{digest}\r\n"])
def test_a_site_must_have_a_place_for_each_blob(storage: Storage, url: str) -> None:
    with pytest.raises(Unsupported, match=r"put \{digest\} or \{hex\} into it"):
        Redirects({}, sites=[Site("s", url)], check=storage)


async def test_an_upstream_without_a_place_is_told() -> None:
    with pytest.raises(Unavailable, match="give it an endpoint"):
        await Redirects({}).target(SOURCE, BLOB)

"""The session: what becomes of a request to a registry, between asking and its last answer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import pytest

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.session import Session
from entrepot.oci import errors
from entrepot.ports.remote_registry import RateLimit
from entrepot.rules.retries import RetryPolicy
from tests.unit.adapters.remotes.scripted_transport import (
    Answer,
    Script,
    ScriptedTransport,
    Waits,
)

BASE = "https://registry.example"
CDN = "https://cdn.example"
PATH = "/v2/a/blobs/x"


@dataclass
class Scene:
    """A session over a script, with what it waited and warned."""

    script: Script
    host: str = "registry.example"
    options: dict[str, Any] = field(default_factory=dict)
    waits: Waits = field(default_factory=Waits)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transport = ScriptedTransport(self.script)
        self.session = Session(
            self.host,
            self.transport,
            clock=self.waits.clock,
            sleep=self.waits.sleep,
            random=lambda: 0.5,
            on_warning=self.warnings.append,
            **self.options,
        )

    async def ask(self, method: str = "GET", url: str = PATH, **more: Any) -> tuple[int, bytes]:
        """Send a request; return the status and the body of its answer."""
        headers, body = more.pop("headers", {}), more.pop("body", None)
        request = Request(method, url, headers, body)
        async with self.session.send(request, **more) as response:
            answer = response.status, await response.read(1 << 20)
        assert self.transport.open == 0
        return answer


def in_turn(*answers: Answer | Exception) -> Script:
    """Answer the requests one after another."""
    left = list(answers)
    return lambda _: left.pop(0)


def by_url(answers: dict[str, Answer | Exception]) -> Script:
    """Answer by the URL, without its query."""
    return lambda request: answers[request.url.partition("?")[0]]


def to(url: str, status: int = 307) -> Answer:
    return Answer(status, {"Location": url}, b"moved")


LOST = errors.ConnectionLost("the connection broke off; try again")
NAMELESS = errors.HostUnknown("the name cannot be resolved; check it")


async def test_every_request_says_who_asks_and_wants_bytes_as_they_are() -> None:
    scene = Scene(in_turn(Answer(200, {}, b"hello")))
    assert await scene.ask(headers={"accept-encoding": "gzip", "Range": "bytes=1-"}) == (
        200,
        b"hello",
    )
    (request,) = scene.transport.requests
    assert request.url == BASE + PATH
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("entrepot/")
    assert request.headers["Range"] == "bytes=1-"


async def test_docker_hub_has_a_server_of_another_name() -> None:
    scene = Scene(in_turn(Answer()), host="docker.io")
    await scene.ask()
    assert scene.transport.requests[0].url == "https://registry-1.docker.io" + PATH


async def test_what_is_expected_is_returned_and_all_else_raised() -> None:
    scene = Scene(in_turn(Answer(404), Answer(202), Answer(404)))
    assert await scene.ask(expect={404}) == (404, b"")
    assert await scene.ask("POST") == (202, b"")
    with pytest.raises(errors.NameUnknown):
        await scene.ask()


async def test_a_redirect_that_is_expected_is_not_followed() -> None:
    scene = Scene(in_turn(to(f"{CDN}/blob")))
    assert (await scene.ask(expect={307}))[0] == 307


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_reads_follow_every_redirect(self, status: int) -> None:
        scene = Scene(in_turn(to("../x?y=z", status), Answer(200, {}, b"here")))
        assert await scene.ask() == (200, b"here")
        assert scene.transport.requests[1].url == f"{BASE}/v2/a/x?y=z"

    async def test_nothing_of_ours_follows_to_another_origin(self) -> None:
        scene = Scene(in_turn(to(f"{CDN}/1"), to(f"{BASE}/2"), Answer()))
        headers = {"Authorization": "Basic x", "Cookie": "c", "Accept": "a", "Range": "bytes=1-"}
        await scene.ask(headers=headers)
        for request in scene.transport.requests[1:]:
            assert {"authorization", "cookie"}.isdisjoint(map(str.lower, request.headers))
            assert request.headers["Range"] == "bytes=1-"

    async def test_an_upload_is_sent_again_where_it_is_redirected(self) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield b"layer"

        scene = Scene(in_turn(to(f"{BASE}/elsewhere"), Answer(201)))
        await scene.ask("PUT", body=Body(5, content))
        assert scene.transport.asked == [f"PUT {BASE}{PATH}", f"PUT {BASE}/elsewhere"]
        assert scene.transport.bodies == [b"layer", b"layer"]

    async def test_see_other_makes_a_post_a_get_without_its_body(self) -> None:
        scene = Scene(in_turn(to("/there", 303), Answer()))
        await scene.ask("POST", body=b"form", headers={"Content-Type": "text/plain"})
        assert scene.transport.asked[1] == f"GET {BASE}/there"
        assert scene.transport.bodies == [b"form", b""]
        assert "Content-Type" not in scene.transport.requests[1].headers

    @pytest.mark.parametrize("status", [301, 302])
    async def test_an_upload_is_not_made_a_get_by_guessing(self, status: int) -> None:
        scene = Scene(in_turn(to("/there", status)))
        with pytest.raises(errors.Unavailable, match="307 or 308"):
            await scene.ask("PUT", body=b"x")

    async def test_a_circle_is_left_at_once(self) -> None:
        scene = Scene(by_url({BASE + PATH: to("/b"), f"{BASE}/b": to(PATH)}))
        with pytest.raises(errors.Unavailable, match="circle"):
            await scene.ask()
        assert len(scene.transport.requests) == 2

    async def test_there_is_an_end_to_redirects(self) -> None:
        scene = Scene(lambda request: to(request.url + "x"))
        with pytest.raises(errors.Unavailable, match="10 redirects"):
            await scene.ask()
        assert len(scene.transport.requests) == 11

    @pytest.mark.parametrize(
        "url",
        [
            "http://cdn.example/x",
            "http://127.0.0.1/x",
            "https://localhost:1/x",
            "https://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "https://[::1]/x",
            "https://[broken/x",
        ],
    )
    async def test_where_nothing_may_lead_nothing_follows(self, url: str) -> None:
        scene = Scene(in_turn(to(url)))
        with pytest.raises(errors.Denied):
            await scene.ask()
        assert len(scene.transport.requests) == 1

    async def test_a_registry_that_forgets_its_tls_is_asked_by_tls(self) -> None:
        scene = Scene(in_turn(to("http://registry.example/v2/b"), Answer()))
        await scene.ask()
        assert scene.transport.requests[1].url == f"{BASE}/v2/b"

    async def test_an_account_in_a_redirect_is_left_out(self) -> None:
        scene = Scene(in_turn(to("https://user:secret@cdn.example/x#y"), Answer()))
        await scene.ask()
        assert scene.transport.requests[1].url == f"{CDN}/x"

    async def test_an_expired_redirect_is_asked_for_again_once(self) -> None:
        answers = [to(f"{CDN}/old"), Answer(403), to(f"{CDN}/new"), Answer(200, {}, b"x")]
        assert await Scene(in_turn(*answers)).ask() == (200, b"x")
        answers = [to(f"{CDN}/old"), Answer(403), to(f"{CDN}/new"), Answer(403, {}, b"Expired")]
        with pytest.raises(errors.Denied, match=r"cdn\.example \(for registry\.example\)"):
            await Scene(in_turn(*answers)).ask()

    async def test_a_location_that_leaves_https_is_not_asked(self) -> None:
        scene = Scene(in_turn())
        with pytest.raises(errors.Denied):
            await scene.ask("PATCH", "http://registry.example/v2/a/blobs/uploads/1")


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    async def test_what_may_pass_is_tried_again(self, status: int) -> None:
        scene = Scene(in_turn(Answer(status), Answer(200, {}, b"x")))
        assert await scene.ask() == (200, b"x")
        assert scene.waits.slept == [0.25]

    @pytest.mark.parametrize("status", [400, 404, 405, 416, 501])
    async def test_what_will_not_pass_is_final(self, status: int) -> None:
        scene = Scene(in_turn(Answer(status)))
        with pytest.raises(errors.RegistryError):
            await scene.ask()

    async def test_waits_grow_and_end(self) -> None:
        scene = Scene(lambda _: LOST, options={"retry_policy": RetryPolicy(3, 1.0, 3.0)})
        with pytest.raises(errors.ConnectionLost):
            await scene.ask()
        assert scene.waits.slept == [0.5, 1.0, 1.5]
        assert len(scene.transport.requests) == 4

    async def test_a_name_that_nobody_knows_is_told_at_once(self) -> None:
        scene = Scene(in_turn(NAMELESS))
        with pytest.raises(errors.HostUnknown):
            await scene.ask()
        assert scene.waits.slept == []

    async def test_a_name_that_was_known_comes_back_with_the_network(self) -> None:
        scene = Scene(in_turn(Answer(), NAMELESS, Answer(200, {}, b"x")))
        await scene.ask()
        assert await scene.ask() == (200, b"x")
        assert len(scene.waits.slept) == 1

    async def test_a_registry_that_speaks_something_else_is_told_at_once(self) -> None:
        scene = Scene(in_turn(errors.Unavailable("plain HTTP where TLS was expected")))
        with pytest.raises(errors.Unavailable, match="plain HTTP"):
            await scene.ask()

    async def test_a_certificate_does_not_get_better(self) -> None:
        scene = Scene(in_turn(errors.CertificateRefused("unknown; name its authority")))
        with pytest.raises(errors.CertificateRefused):
            await scene.ask()

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    @pytest.mark.parametrize("failure", [LOST, Answer(503)])
    async def test_what_may_do_harm_twice_is_sent_once_unless_told_otherwise(
        self, method: str, failure: Answer | Exception
    ) -> None:
        with pytest.raises(errors.Unavailable):
            await Scene(in_turn(failure)).ask(method)
        assert await Scene(in_turn(failure, Answer(202))).ask(method, repeat=True) == (202, b"")

    async def test_a_read_may_be_sent_once_only(self) -> None:
        with pytest.raises(errors.Unavailable):
            await Scene(in_turn(Answer(503))).ask(repeat=False)

    async def test_a_body_is_opened_anew(self) -> None:
        opened = 0

        async def content() -> AsyncIterator[bytes]:
            nonlocal opened
            opened += 1
            yield b"layer"

        scene = Scene(in_turn(Answer(503), Answer(201)))
        await scene.ask("PUT", body=Body(5, content))
        assert scene.transport.bodies == [b"layer", b"layer"]
        assert opened == 2

    @pytest.mark.parametrize("dated", [False, True])
    async def test_a_registry_that_names_a_time_is_obeyed(self, dated: bool) -> None:
        asked = formatdate(1_000_000.0 + 30, usegmt=True) if dated else "30"
        scene = Scene(in_turn(Answer(429, {"Retry-After": asked}), Answer()))
        await scene.ask()
        assert scene.waits.slept == [30.25]

    async def test_nobody_waits_for_hours(self) -> None:
        scene = Scene(in_turn(Answer(429, {"Retry-After": "3600"})))
        with pytest.raises(errors.TooManyRequests, match="wait 3600 s"):
            await scene.ask()
        assert scene.waits.slept == []

    async def test_a_budget_that_is_used_up_for_hours_is_not_hammered(self) -> None:
        limits = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
        scene = Scene(in_turn(Answer(429, limits)))
        with pytest.raises(errors.TooManyRequests, match="100 requests in 21600 s"):
            await scene.ask()

    async def test_the_last_answer_is_what_is_raised(self) -> None:
        policy = {"retry_policy": RetryPolicy(1)}
        scene = Scene(in_turn(LOST, Answer(502, {}, b"<title>Bad Gateway</title>")), options=policy)
        with pytest.raises(errors.Unavailable, match=r"502 \(Bad Gateway\) to GET /v2/a/blobs/x"):
            await scene.ask()


class TestPlainHttp:
    def tls_only(self, request: Request) -> Answer | Exception:
        return Answer() if request.url.startswith("https:") else LOST

    def plain_only(self, request: Request) -> Answer | Exception:
        return Answer() if request.url.startswith("http:") else LOST

    def tls_in_words(self, request: Request) -> Answer | Exception:
        """One whose alert the transport has understood."""
        final = errors.Unavailable("it did not answer in HTTP")
        return Answer() if request.url.startswith("https:") else final

    def plain_in_words(self, request: Request) -> Answer | Exception:
        final = errors.Unavailable("it answered in plain HTTP")
        return Answer() if request.url.startswith("http:") else final

    def go(self, request: Request) -> Answer | Exception:
        """A server of TLS that answers plain HTTP with 400, as Go's and nginx do."""
        return Answer() if request.url.startswith("https:") else Answer(400)

    def unknown_certificate(self, request: Request) -> Answer | Exception:
        if request.url.startswith("https:"):
            return errors.CertificateRefused("signed by nobody we know")
        return Answer(400)

    async def test_it_is_spoken_where_it_is_asked_for(self) -> None:
        scene = Scene(self.plain_only, options={"plain_http": True})
        await scene.ask()
        assert scene.transport.asked == [f"GET http://registry.example{PATH}"]

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "[::1]:5000"])
    async def test_loopback_needs_no_flag_and_one_request_more(self, host: str) -> None:
        scene = Scene(self.plain_only, host=host)
        await scene.ask()
        await scene.ask()
        assert scene.transport.asked == [
            f"GET http://{host}/v2/",
            f"GET http://{host}{PATH}",
            f"GET http://{host}{PATH}",
        ]

    @pytest.mark.parametrize("server", ["tls_only", "tls_in_words", "go"])
    async def test_loopback_may_speak_tls(self, server: str) -> None:
        scene = Scene(getattr(self, server), host="localhost:5000")
        await scene.ask()
        assert scene.session.url == "https://localhost:5000"

    async def test_a_certificate_on_loopback_is_the_error_that_is_told(self) -> None:
        with pytest.raises(errors.CertificateRefused):
            await Scene(self.unknown_certificate, host="localhost:5000").ask()

    async def test_a_loopback_registry_that_starts_late_is_waited_for(self) -> None:
        scene = Scene(in_turn(LOST, LOST, Answer(), Answer()), host="localhost:5000")
        await scene.ask()
        assert len(scene.waits.slept) == 1

    async def test_elsewhere_it_is_never_silent(self) -> None:
        scene = Scene(self.plain_only, options={"retry_policy": RetryPolicy(0)})
        with pytest.raises(errors.ConnectionLost):
            await scene.ask()

    @pytest.mark.parametrize("server", ["plain_only", "plain_in_words"])
    async def test_without_verification_it_is_tried_and_told(self, server: str) -> None:
        scene = Scene(getattr(self, server), options={"tls_verify": False})
        await scene.ask()
        assert scene.session.url == "http://registry.example"
        assert "plain HTTP" in scene.warnings[0]

    async def test_without_verification_a_name_is_not_tried_twice(self) -> None:
        scene = Scene(in_turn(NAMELESS), options={"tls_verify": False})
        with pytest.raises(errors.HostUnknown):
            await scene.ask()

    async def test_without_verification_tls_comes_first(self) -> None:
        scene = Scene(lambda _: Answer(), options={"tls_verify": False})
        await scene.ask()
        assert scene.session.url == BASE


async def test_the_budget_and_each_warning_are_handed_on() -> None:
    answer = Answer(
        200,
        {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600",
         "docker-ratelimit-source": "192.0.2.1", "Warning": '299 - "The tag will go."'},
        also=(("warning", '299 - "So will you."'),),
    )  # fmt: skip
    scene = Scene(lambda _: answer)
    assert scene.session.rate_limit is None
    await scene.ask()
    await scene.ask()
    assert scene.session.rate_limit == RateLimit(100, 76, 21600, "192.0.2.1")
    assert scene.warnings == [
        "registry.example says: The tag will go.",
        "registry.example says: So will you.",
    ]


async def test_storage_behind_the_registry_tells_nothing_about_its_budget() -> None:
    scene = Scene(in_turn(to(f"{CDN}/x"), Answer(200, {"ratelimit-remaining": "1"})))
    await scene.ask()
    assert scene.session.rate_limit is None


async def test_a_response_is_given_back_when_its_reader_fails() -> None:
    scene = Scene(in_turn(Answer(200, {}, b"x")))
    with pytest.raises(KeyError):
        async with scene.session.send(Request("GET", PATH)):
            raise KeyError
    assert scene.transport.open == 0


class TestPlace:
    """Where the registry is, if its name does not tell."""

    @pytest.mark.parametrize(
        ("base", "asked"),
        [
            ("https://art.example:8443/api/key/", ["https://art.example:8443/api/key"]),
            ("https://localhost:5000", ["https://localhost:5000"]),
            ("http://art.example", ["http://art.example"]),
        ],
        ids=["path", "loopback", "plain"],
    )
    async def test_a_url_stands_in_front_of_every_path(self, base: str, asked: list[str]) -> None:
        made = Scene(lambda _: Answer(), host="docker.io", options={"base_url": base})
        await made.ask()
        assert made.transport.asked == [f"GET {url}{PATH}" for url in asked]
        assert made.session.url == asked[0]

    async def test_without_a_scheme_that_is_found_out(self) -> None:
        made = Scene(lambda _: Answer(), options={"base_url": "//localhost:5000/key"})
        await made.ask()
        start = "GET http://localhost:5000/key"
        assert made.transport.asked == [f"{start}/v2/", f"{start}{PATH}"]

    async def test_fields_of_ours_go_to_its_origin_only(self) -> None:
        options = {"base_url": "https://art.example", "headers": {"X-Key": "1"}}
        made = Scene(in_turn(to("https://cdn.example/x"), Answer()), options=options)
        await made.ask()
        assert [one.headers.get("X-Key") for one in made.transport.requests] == ["1", None]

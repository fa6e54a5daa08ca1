"""The log of exchanges: useful to who debugs, and useless to who steals logs."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from entrepot.adapters.remotes.exchange import Request
from entrepot.adapters.remotes.exchange_log import shown_fields, shown_text, shown_url
from entrepot.adapters.remotes.tokens import Question, Token
from entrepot.config import LogSettings
from entrepot.logs import configure
from entrepot.oci.errors import RegistryError
from entrepot.ports.credential_store import Credentials
from entrepot.protocol.challenges import Scope
from tests.unit.adapters.remotes.scripted_transport import Answer, document
from tests.unit.adapters.remotes.test_authentication import Registry


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/v2/a/tags/list?n=10&last=b", "https://h/v2/a/tags/list?n=10&last=b"),
        ("https://user:secret@h/v2/", "https://h/v2/"),
        ("https://h/x?X-Amz-Signature=secret&X-Amz-Date=1", "https://h/x?X-Amz-Signature=***&X-Amz-Date=***"),
        ("https://h/x?sig=secret&_state=secret#secret", "https://h/x?sig=***&_state=***"),
        ("https://h/t?service=s&scope=repository:a:pull&secret",
         "https://h/t?service=s&scope=repository:a:pull&***"),
        ("/v2/a/blobs/uploads/1?_state=secret", "/v2/a/blobs/uploads/1?_state=***"),
        ("https://[broken/secret", "***"),
    ],
)  # fmt: skip
def test_of_a_url_only_harmless_parameters_are_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_of_fields_only_harmless_ones_are_shown() -> None:
    fields = {
        "Authorization": "Basic secret",
        "Cookie": "secret",
        "Set-Cookie": "secret",
        "X-Api-Key": "secret",
        "X-Registry-Auth": "secret",
        "Location": "https://h/x?sig=secret",
        "Link": '</v2/_catalog?last=b&token=secret>; rel="next"',
        "Content-Type": "text/plain",
        "Range": "0-99",
    }
    shown = shown_fields(fields)
    assert "secret" not in str(shown)
    assert shown["Authorization"] == "Basic ***"
    assert shown["Content-Type"] == "text/plain"
    assert shown["Range"] == "0-99"
    assert shown["Link"] == "</v2/_catalog?last=b&token=***>"


def test_urls_inside_text_are_shown_as_urls_are() -> None:
    text = 'no answer from "https://u:secret@h/x?sig=secret": Bearer secret-secret'
    assert "secret" not in shown_text(text)
    assert "https://h/x?sig=***" in shown_text(text)


SECRETS = ("wonderland", "YW5uOndvbmRlcmxhbmQ=", "tok3n", "r3fresh", "s1gned", "st4te", "c00kie")
PUSH = (Scope.repository("a", "pull", "push"),)


async def test_a_whole_conversation_holds_no_secret_at_debug() -> None:
    stream = io.StringIO()
    configure(LogSettings(level="debug", format="json"), stream)
    messages = []

    def away(request: Request) -> Answer:
        if "cdn" in request.url:
            return Answer(403, {}, b"<Error>s1gned is expired: https://cdn.example/?sig=s1gned")
        if "/uploads/" in request.url:
            raise_at = "https://registry.example/v2/a/blobs/uploads/1?_state=st4te"
            return Answer(202, {"Location": raise_at, "Set-Cookie": "c00kie=1"})
        return Answer(307, {"Location": "https://cdn.example/x?X-Amz-Signature=s1gned"})

    for login in (Credentials("ann", "wonderland"), Credentials("ann", identity_token="r3fresh")):
        registry = Registry(login, options={"debug": True, "offline": True})

        def give(_: Request, registry: Registry = registry) -> Answer:
            more: dict[str, Any] = {"token": "tok3n", "refresh_token": "r3fresh"}
            return registry.give(**more)

        registry.token_server = give
        await registry.ask(PUSH)
        registry.transport.script = away
        await registry.ask(PUSH, "POST", "/v2/a/blobs/uploads/")
        await registry.ask(PUSH, "PATCH", "/v2/a/blobs/uploads/1?_state=st4te")
        for failing in (away, lambda _: document({"message": "Bearer tok3n-tok3n is bad"}, 400)):
            registry.transport.script = failing
            with pytest.raises(RegistryError) as refused:
                await registry.ask(PUSH)
            messages.append(f"{refused.value.message} {refused.value.detail} {refused.value!r}")
    log = stream.getvalue()
    lines = [json.loads(line) for line in log.splitlines()]
    assert len(lines) > 15
    assert {line["source"] for line in lines} == {"remote"}
    assert any(line.get("status") == 307 for line in lines)
    for secret in SECRETS:
        assert secret not in log
    for secret in set(SECRETS) - {"s1gned"}:  # storage repeats what it was asked with, in words
        assert secret not in "".join(messages)


def test_what_holds_a_secret_does_not_show_it() -> None:
    question = Question("https://h/t", "s", PUSH, Credentials("ann", "wonderland", "r3fresh"))
    assert not [one for one in SECRETS if one in f"{question!r} {Token('tok3n', 0.0, 1)!r}"]


async def test_nothing_is_logged_unless_it_is_asked_for() -> None:
    stream = io.StringIO()
    configure(LogSettings(level="debug", format="json"), stream)
    await Registry(Credentials("ann", "wonderland")).ask()
    assert stream.getvalue() == ""

"""`/token`: GET and POST, scopes in every form clients send, and no token for a wrong login."""

from typing import Any, Final
from urllib.parse import urlencode

import pytest

from entrepot.oci.errors import SizeInvalid, Unauthorized, Unsupported
from entrepot.protocol.challenges import Scope, render_bearer
from entrepot.web.message import Response
from entrepot.web.token import MAX_FORM, TokenService
from tests.unit.web.access_example import RIGHT, WRONG, Door, closed, wide_open
from tests.unit.web.requests import document, header, request

PASSWORD: Final = {"grant_type": "password", "client_id": "containerd-client"}


async def fetch(
    door: Door, query: str = "", login: str | None = None, form: dict[str, str] | None = None
) -> Response:
    """Fetch a token: by GET, or by POST with a form."""
    asked = request(
        f"/token?{query}",
        "GET" if form is None else "POST",
        {"authorization": login} if login else {},
        body=urlencode(form or {}).encode(),
    )
    return await TokenService(door.access, door.guard).answer(asked)


def scopes(door: Door, answer: dict[str, Any]) -> list[str]:
    """Return what the token in an answer allows."""
    caller = door.access.authenticate(render_bearer(answer["token"]))
    return list(map(str, caller.scopes or ()))


async def test_the_answer_is_what_every_client_reads() -> None:
    door = Door()
    response = await fetch(door, "service=registry.example&scope=repository:tools/jq:pull")
    assert response.status == 200
    assert header(response, "content-type") == "application/json"
    assert header(response, "cache-control") == "no-store"
    answer = document(response)
    assert answer.pop("token") == answer.pop("access_token")
    assert answer == {
        "token_type": "Bearer",
        "scope": "repository:tools/jq:pull",
        "expires_in": 300,
        "issued_at": "2023-11-14T22:13:20Z",
    }


ASKED: Final = {
    "none": ("", []),
    "one": ("scope=repository:apps/web:pull", ["repository:apps/web:pull"]),
    "several parameters": (
        "scope=repository:a:pull&account=ada&scope=repository:b:pull,push",
        ["repository:a:pull", "repository:b:pull,push"],
    ),
    "several in one": (
        "scope=repository:a:pull%20repository:b:pull,push",
        ["repository:a:pull", "repository:b:pull,push"],
    ),
    "the same twice": (
        "scope=repository:a:pull+repository:a:push",
        ["repository:a:pull,push"],
    ),
    "a registry with a port": (
        "scope=repository:registry.local:5000/a:pull",
        ["repository:registry.local:5000/a:pull"],
    ),
    "nonsense": ("scope=::&scope=&scope=openid", []),
}


@pytest.mark.parametrize(("query", "allowed"), ASKED.values(), ids=ASKED.keys())
async def test_scopes_come_in_every_form(query: str, allowed: list[str]) -> None:
    door = Door()
    assert scopes(door, document(await fetch(door, query, RIGHT))) == allowed


async def test_anybody_gets_public_names_only() -> None:
    door = Door()
    query = "scope=repository:apps/web:pull&scope=repository:tools/jq:pull,push"
    assert scopes(door, document(await fetch(door, query))) == ["repository:tools/jq:pull"]


async def test_publicity_goes_by_where_the_spelling_leads() -> None:
    door = Door()
    service = TokenService(door.access, door.guard, lambda _, name: f"docker.io/{name}")
    answer = await service.answer(request("/token?scope=repository:acme/app:pull"))
    assert scopes(door, document(answer)) == []


async def test_a_form_is_what_containerd_sends() -> None:
    door = Door()
    form = PASSWORD | {
        "username": "ada",
        "password": "secret",
        "service": "registry.example",
        "scope": "repository:apps/web:pull repository:a:pull",
    }
    answer = document(await fetch(door, form=form))
    assert scopes(door, answer) == ["repository:a:pull", "repository:apps/web:pull"]


@pytest.mark.parametrize("make", [Door, closed])
async def test_a_wrong_login_gets_no_token_and_is_told(make: type[Door]) -> None:
    door = make()
    form = PASSWORD | {"username": "ada", "password": "hunter2"}
    for attempt in (fetch(door, login=WRONG), fetch(door, form=form)):
        with pytest.raises(Unauthorized) as refusal:
            await attempt
        assert refusal.value.challenge == 'Basic realm="Entrepot"'
    assert [username for username, _ in door.told] == ["ada", "ada"]
    assert "hunter2" not in repr(door.told)


async def test_a_private_server_gives_no_anonymous_tokens() -> None:
    door = closed()
    with pytest.raises(Unauthorized):
        await fetch(door)
    assert scopes(door, document(await fetch(door, "scope=repository:a:pull", RIGHT)))


async def test_a_token_gives_no_other_token() -> None:
    door = Door()
    with pytest.raises(Unauthorized):
        await fetch(door, login=door.token(Scope.repository("apps/web", "pull"), login=RIGHT))


async def test_without_a_user_a_token_is_given_to_everybody() -> None:
    """A client that remembers a challenge of before goes on working."""
    assert (await fetch(wide_open(), "scope=repository:a:pull", WRONG)).status == 200


@pytest.mark.parametrize("grant", ["refresh_token", "client_credentials", ""])
async def test_other_grants_are_refused(grant: str) -> None:
    with pytest.raises(Unsupported, match="password"):
        await fetch(Door(), form={"grant_type": grant, "refresh_token": "x"})


async def test_a_form_has_a_size() -> None:
    with pytest.raises(SizeInvalid):
        await fetch(Door(), form=PASSWORD | {"scope": "x" * MAX_FORM})


async def test_other_methods_are_refused() -> None:
    door = Door()
    response = await TokenService(door.access, door.guard).answer(request("/token", "PUT"))
    assert response.status == 405
    assert header(response, "allow") == "GET, POST"

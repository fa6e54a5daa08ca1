"""The guard: who passes under `/v2/`, and the challenge for who does not (PX-03)."""

from typing import Final

import pytest

from entrepot.oci.errors import Unauthorized
from entrepot.protocol import routes
from entrepot.protocol.challenges import Scope, parse_challenges
from entrepot.web.message import Response
from entrepot.web.v2 import errors
from tests.unit.web.access_example import RIGHT, WRONG, Door, closed, wide_open
from tests.unit.web.requests import header, request

DIGEST: Final = "sha256:" + "a" * 64


def visit(
    door: Door,
    target: str,
    method: str = "GET",
    login: str | None = None,
    *,
    name: str | None = None,
    host: str = "registry.example:5000",
) -> str:
    """Pass the guard; return who did. `name` is what the route's name leads to."""
    asked = request(target, method, {"host": host} | ({"authorization": login} if login else {}))
    route = routes.parse(asked.path)
    assert route is not None
    door.guard.admit(asked, route, name or getattr(route, "name", ""))
    return asked.actor.name


def refused(door: Door, target: str, *arguments: str, **options: str) -> Response:
    """Return the response to a visit that the guard must refuse."""
    with pytest.raises(Unauthorized) as refusal:
        visit(door, target, *arguments, **options)
    response = errors.render(refusal.value)
    assert response.status == 401
    return response


EVERYTHING: Final = [
    ("/v2/", "GET"),
    ("/v2/_catalog", "GET"),
    ("/v2/a/tags/list", "GET"),
    ("/v2/a/manifests/1", "HEAD"),
    ("/v2/a/manifests/1", "PUT"),
    ("/v2/a/manifests/1", "DELETE"),
    (f"/v2/a/blobs/{DIGEST}", "GET"),
    (f"/v2/a/referrers/{DIGEST}", "GET"),
    ("/v2/a/blobs/uploads/", "POST"),
    ("/v2/a/blobs/uploads/session", "GET"),
    ("/v2/a/blobs/uploads/session", "PATCH"),
]


@pytest.mark.parametrize(("target", "method"), EVERYTHING)
def test_without_a_user_everybody_passes(target: str, method: str) -> None:
    assert visit(wide_open(), target, method) == "anonymous"
    assert visit(wide_open(), target, method, WRONG) == "anonymous", "a login for elsewhere"


@pytest.mark.parametrize(("target", "method"), EVERYTHING)
def test_a_private_server_asks_for_basic_everywhere(target: str, method: str) -> None:
    door = closed()
    assert header(refused(door, target, method), "www-authenticate") == 'Basic realm="Entrepot"'
    assert visit(door, target, method, RIGHT) == "ada"


def test_a_server_with_public_names_says_where_tokens_are() -> None:
    response = refused(Door(), "/v2/")
    assert header(response, "www-authenticate") == (
        'Bearer realm="http://registry.example:5000/token",service="registry.example:5000"'
    )


def test_the_external_url_is_the_realm() -> None:
    door = Door(external_url="https://mirror.example.com")
    assert header(refused(door, "/v2/"), "www-authenticate") == (
        'Bearer realm="https://mirror.example.com/token",service="mirror.example.com"'
    )


@pytest.mark.parametrize("login", [RIGHT, "token"])
def test_login_and_token_open_the_door(login: str) -> None:
    door = Door()
    assert visit(door, "/v2/", login=door.token() if login == "token" else login)


CHALLENGED: Final = [
    ("/v2/apps/web/manifests/1", "GET", "repository:apps/web:pull"),
    ("/v2/apps/web/tags/list", "GET", "repository:apps/web:pull"),
    ("/v2/apps/web/manifests/1", "PUT", "repository:apps/web:pull,push"),
    ("/v2/apps/web/manifests/1", "DELETE", "repository:apps/web:delete"),
    ("/v2/public/blobs/uploads/", "POST", "repository:public:pull,push"),
    ("/v2/public/blobs/uploads/session", "DELETE", "repository:public:pull,push"),
    ("/v2/public/blobs/uploads/session", "GET", "repository:public:pull,push"),
    (
        f"/v2/public/blobs/uploads/?mount={DIGEST}&from=apps/web",
        "POST",
        "repository:public:pull,push repository:apps/web:pull",
    ),
    ("/v2/_catalog", "GET", "registry:catalog:*"),
]


@pytest.mark.parametrize(("target", "method", "scope"), CHALLENGED)
def test_the_challenge_names_what_is_needed(target: str, method: str, scope: str) -> None:
    door = Door()
    field = header(refused(door, target, method), "www-authenticate")
    assert field is not None
    challenge = parse_challenges(field)[0]
    assert challenge.parameters["scope"] == scope
    scopes = [Scope.parse(word) for word in scope.split()]
    assert visit(door, target, method, door.token(*scopes, login=RIGHT)) == "ada"


@pytest.mark.parametrize("login", [None, "anonymous token"])
def test_public_names_are_everybodys(login: str | None) -> None:
    door = Door()
    shown = door.token() if login else None
    assert visit(door, "/v2/tools/jq/manifests/1", login=shown) == "anonymous"


def test_a_mirrored_name_goes_by_its_registry() -> None:
    door = Door()
    options = {"name": "docker.io/acme/app"}
    refused(door, "/v2/acme/app/manifests/1", **options)
    assert visit(door, "/v2/acme/app/manifests/1", name="quay.io/acme/app") == "anonymous"


@pytest.mark.parametrize("spelling", ["acme/app", "docker.io/acme/app", "hub/acme/app"])
def test_a_token_may_have_any_spelling_of_a_mirrored_name(spelling: str) -> None:
    """Mirrors are asked for `acme/app` by clients that ask tokens for that or for the path."""
    door = Door()
    token = door.token(Scope.repository(spelling, "pull"), login=RIGHT)
    target = "/v2/hub/acme/app/manifests/1"
    assert visit(door, target, login=token, name="docker.io/acme/app") == "ada"


def test_a_token_for_one_hosted_name_does_not_open_one_that_ends_alike() -> None:
    door = Door()
    token = door.token(Scope.repository("web", "pull"), login=RIGHT)
    response = refused(door, "/v2/apps/web/manifests/1", login=token)
    assert 'error="insufficient_scope"' in (header(response, "www-authenticate") or "")


@pytest.mark.parametrize("make", [Door, closed])
@pytest.mark.parametrize("target", ["/v2/", "/v2/tools/jq/manifests/1"])
def test_a_wrong_login_is_refused_everywhere_and_told(make: type[Door], target: str) -> None:
    door = make()
    response = refused(door, target, login=WRONG)
    assert header(response, "www-authenticate")
    assert [username for username, _ in door.told] == ["ada"]
    assert "hunter2" not in repr(door.told)


def test_what_is_told_of_a_name_is_short_and_printable() -> None:
    door = Door()
    name = "x\n" * 100
    with pytest.raises(Unauthorized):
        door.guard.caller_of_form(request(), name, "hunter2")
    assert [username for username, _ in door.told] == [("x?" * 100)[:64]]


def test_nobody_is_told_of_who_shows_nothing() -> None:
    door = Door()
    refused(door, "/v2/apps/web/manifests/1")
    assert door.told == []


def test_a_bad_token_is_named_as_one() -> None:
    door = Door()
    response = refused(door, "/v2/", login="Bearer stolen")
    assert (header(response, "www-authenticate") or "").endswith(',error="invalid_token"')
    assert door.told == [("", "the token is not one of this server's; fetch a new one")]


def test_no_host_reaches_the_challenge_unread() -> None:
    with pytest.raises(Exception, match="no host"):
        visit(Door(), "/v2/", host='x",realm="evil')


def test_a_page_asks_for_basic_also_where_there_are_tokens() -> None:
    for door in (Door(), closed()):
        with pytest.raises(Unauthorized) as refusal:
            door.guard.check_page(request())
        assert refusal.value.challenge == 'Basic realm="Entrepot"'
        assert door.guard.check_page(request(headers={"authorization": RIGHT})).name == "ada"
    assert wide_open().guard.check_page(request()).name == "anonymous"


def test_the_metrics_of_a_private_server_are_the_users() -> None:
    with pytest.raises(Unauthorized) as refusal:
        closed().guard.check_metrics(request())
    assert refusal.value.challenge == 'Basic realm="Entrepot"'
    closed().guard.check_metrics(request(headers={"authorization": RIGHT}))
    for door in (Door(), wide_open()):
        door.guard.check_metrics(request())


@pytest.mark.parametrize(
    ("door", "login", "readable"),
    [
        pytest.param(Door(), "a token", {"public"}, id="a token for one name"),
        pytest.param(Door(), RIGHT, {"public", "apps/web"}, id="the user"),
        pytest.param(closed(), RIGHT, {"public", "apps/web"}, id="a private server's user"),
        pytest.param(wide_open(), None, None, id="no user"),
    ],
)
def test_a_request_knows_what_else_who_asks_may_read(
    door: Door, login: str | None, readable: set[str] | None
) -> None:
    """What holds the blob of a mount without `from` is looked at with it (PX-03)."""
    if login == "a token":
        login = door.token(Scope.repository("public", "pull", "push"), login=RIGHT)
    asked = request(
        f"/v2/public/blobs/uploads/?mount={DIGEST}",
        "POST",
        {"authorization": login} if login else {},
    )
    route = routes.parse(asked.path)
    assert route is not None
    door.guard.admit(asked, route, "public")
    if readable is None:
        assert asked.may_pull is None
    else:
        assert asked.may_pull is not None
        assert set(filter(asked.may_pull, ["public", "apps/web"])) == readable

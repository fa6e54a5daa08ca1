"""Access: one user, public and private names, and tokens that only restrict."""

from collections.abc import Callable
from typing import Final

import pytest

from entrepot.oci.errors import Denied, Unauthorized
from entrepot.protocol.challenges import Scope, render_basic, render_bearer
from entrepot.services.access import ANYBODY, MAX_TOKEN, Access, Caller
from tests.unit.services.conftest import SetClock

KEY: Final = bytes(range(32))
RIGHT: Final = render_basic("ada", "s3cret:with a colon")
USER: Final = Caller("ada")

Make = Callable[..., Access]


@pytest.fixture
def make(clock: SetClock) -> Make:
    def access(
        *private: str,
        username: str = "ada",
        password: str = "s3cret:with a colon",
        key: bytes = KEY,
    ) -> Access:
        return Access(username, password, private, key, 300.0, clock)

    return access


def bearer(access: Access, caller: Caller, *scopes: Scope) -> Caller:
    """Return who shows a token that was given to a caller."""
    return access.authenticate(render_bearer(access.grant(caller, scopes).token))


def test_without_a_user_everybody_may_do_everything(make: Make) -> None:
    access = make("*", username="", password="")
    assert access.open
    assert not access.closed
    for allowed in (access.may_pull, access.may_push, access.may_delete):
        assert allowed(ANYBODY, "any/name")
    assert access.may_enter(ANYBODY)
    assert access.may_list(ANYBODY)


@pytest.mark.parametrize("field", ["Basic !", RIGHT, "Bearer hub", "Digest x", ""])
def test_without_a_user_no_login_is_looked_at(make: Make, field: str) -> None:
    """Clients send mirrors the logins of other registries (PX-03)."""
    access = make("*", username="", password="")
    assert access.authenticate(field) == ANYBODY
    assert access.log_in(field) == ANYBODY


@pytest.mark.parametrize(("username", "password"), [("ada", ""), ("", "secret")])
def test_half_a_user_is_none(make: Make, username: str, password: str) -> None:
    with pytest.raises(ValueError, match="a name and a password"):
        make(username=username, password=password)


def test_a_short_key_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        make(key=b"short")


def test_the_right_login_is_the_user(make: Make) -> None:
    access = make("*")
    assert access.authenticate(RIGHT) == USER
    assert access.authenticate(None) == ANYBODY
    assert USER.actor.name == "ada"
    assert ANYBODY.actor.name == "anonymous"


WRONG: Final = {
    "other password": render_basic("ada", "secret"),
    "no password": render_basic("ada", ""),
    "other name": render_basic("bob", "s3cret:with a colon"),
    "name with the colon of the password": "Basic YWRhOnMzY3JldDo=",
    "no base64": "Basic ***",
    "no colon": "Basic YWRh",
    "no UTF-8": "Basic /zo=",
    "unknown scheme": "Digest x",
    "nothing": "",
    "no token of ours": "Bearer eyJhbGciOiJub25lIn0.e30.",
}


@pytest.mark.parametrize("field", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_login_is_refused_even_for_public_names(make: Make, field: str) -> None:
    for access in (make("*"), make("secret/*"), make()):
        with pytest.raises(Unauthorized):
            access.authenticate(field)
        with pytest.raises(Unauthorized):
            access.log_in(field)


def test_name_and_password_are_told_apart(make: Make) -> None:
    access = make("*", username="a", password="bc")
    with pytest.raises(Unauthorized):
        access.check("ab", "c")


def test_no_refusal_repeats_the_password(make: Make) -> None:
    with pytest.raises(Unauthorized) as refused:
        make("*").check("ada", "hunter2")
    assert "hunter2" not in repr(refused.value)
    assert "hunter2" not in refused.value.message


def test_a_private_server_is_closed_to_anybody(make: Make) -> None:
    access = make("*")
    assert access.closed
    assert not access.may_enter(ANYBODY)
    assert not access.may_pull(ANYBODY, "docker.io/library/alpine")
    assert not access.may_list(ANYBODY)
    with pytest.raises(Unauthorized):
        access.log_in(None)


PULLABLE: Final = [
    ("docker.io/library/alpine", True),
    ("quay.io/acme/tool", True),
    ("docker.io/acme/app", False),
    ("apps/web", False),
    ("apps", True),
]


@pytest.mark.parametrize(("name", "public"), PULLABLE)
def test_what_no_pattern_matches_is_public(make: Make, name: str, public: bool) -> None:
    access = make("docker.io/acme/*", "apps/*")
    assert access.may_pull(ANYBODY, name) is public
    assert access.may_pull(USER, name)


def test_only_the_user_pushes_deletes_and_lists(make: Make) -> None:
    access = make("apps/*")
    for allowed in (access.may_push, access.may_delete):
        assert not allowed(ANYBODY, "public/name")
        assert allowed(USER, "public/name")
    assert not access.may_list(ANYBODY)
    assert access.may_list(USER)


def test_a_token_says_who_it_was_given_to(make: Make) -> None:
    access = make("apps/*")
    scope = Scope.repository("apps/web", "pull")
    assert bearer(access, USER, scope) == Caller("ada", (scope,))
    assert bearer(access, ANYBODY, scope) == Caller("", ())


def test_anybody_gets_what_is_public_of_what_is_asked_for(make: Make) -> None:
    grant = make("apps/*").grant(
        ANYBODY,
        [
            Scope.repository("apps/web", "pull"),
            Scope.repository("tools/jq", "pull", "push"),
            Scope.repository("tools/yq", "push"),
            Scope.repository("tools/sed", "*"),
            Scope.catalog(),
            Scope.parse("openid"),
        ],
    )
    assert list(map(str, grant.scopes)) == [
        "repository:tools/jq:pull",
        "repository:tools/sed:pull",
    ]


def test_the_user_gets_all_that_exists(make: Make) -> None:
    asked = [
        Scope.repository("apps/web", "pull", "push", "fly"),
        Scope.repository("apps/db", "*"),
        Scope.catalog(),
        Scope("repository(plugin)", "x", frozenset({"pull"})),
    ]
    assert list(map(str, make("apps/*").grant(USER, asked).scopes)) == [
        "registry:catalog:*",
        "repository:apps/db:*",
        "repository:apps/web:pull,push",
    ]


def test_publicity_goes_by_the_name_that_is_meant(make: Make) -> None:
    access = make("docker.io/acme/*")
    scope = Scope.repository("acme/app", "pull")
    assert access.grant(ANYBODY, [scope]).scopes == (scope,)
    assert access.grant(ANYBODY, [scope], "docker.io/{}".format).scopes == ()


def test_a_token_restricts_its_user(make: Make) -> None:
    access = make("apps/*")
    caller = bearer(access, USER, Scope.repository("apps/web", "pull"))
    assert access.may_pull(caller, "apps/web")
    assert not access.may_push(caller, "apps/web")
    assert not access.may_delete(caller, "apps/web")
    assert not access.may_pull(caller, "apps/db")
    assert access.may_pull(caller, "tools/jq"), "public all the same"
    assert not access.may_list(caller)


def test_a_star_is_every_action(make: Make) -> None:
    access = make("apps/*")
    caller = bearer(access, USER, Scope.repository("apps/web", "*"), Scope.catalog())
    for allowed in (access.may_pull, access.may_push, access.may_delete):
        assert allowed(caller, "apps/web")
    assert access.may_list(caller)


def test_a_token_may_spell_the_name_otherwise(make: Make) -> None:
    access = make("docker.io/*")
    caller = bearer(access, USER, Scope.repository("library/alpine", "pull"))
    assert access.may_pull(caller, "docker.io/library/alpine", "library/alpine")
    assert not access.may_pull(caller, "docker.io/library/alpine")


def test_an_anonymous_token_opens_the_door_but_no_private_name(make: Make) -> None:
    access = make("apps/*")
    caller = bearer(access, ANYBODY)
    assert not access.may_enter(ANYBODY), "or clients would never ask for a token"
    assert access.may_enter(caller)
    assert access.may_pull(caller, "tools/jq")
    assert not access.may_pull(caller, "apps/web")
    assert not access.may_push(caller, "tools/jq")


def test_a_token_ends(make: Make, clock: SetClock) -> None:
    access = make("apps/*")
    grant = access.grant(USER, [])
    assert (grant.expires_in, grant.issued_at) == (300, clock.now())
    clock.time += 299
    assert access.authenticate(render_bearer(grant.token)).username == "ada"
    clock.time += 1
    with pytest.raises(Unauthorized, match="over"):
        access.authenticate(render_bearer(grant.token))


def test_a_token_gives_no_other_token(make: Make) -> None:
    access = make("apps/*")
    token = render_bearer(access.grant(USER, []).token)
    with pytest.raises(Unauthorized):
        access.log_in(token)


def test_a_new_password_or_key_ends_all_tokens(make: Make) -> None:
    token = render_bearer(make("*").grant(USER, []).token)
    assert make("other/*").authenticate(token).username == "ada", "the same server"
    for other in (make("*", password="new"), make("*", key=KEY[::-1]), make(username="bob")):
        with pytest.raises(Unauthorized):
            other.authenticate(token)


def test_a_token_stays_short_enough_for_a_header(make: Make) -> None:
    many = [Scope.repository(f"apps/{number:0200}", "pull") for number in range(200)]
    with pytest.raises(Denied, match="200 repositories"):
        make().grant(USER, many)
    assert len(make().grant(USER, many[:30]).token) <= MAX_TOKEN

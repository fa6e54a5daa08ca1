import pytest

from entrepot.oci.errors import Unauthorized
from entrepot.protocol.challenges import (
    Challenge,
    Scope,
    merge_scopes,
    parse_challenges,
    parse_scopes,
    render_basic,
    render_bearer,
)

HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:library/busybox:pull"'
)


@pytest.mark.parametrize(
    ("field", "challenges"),
    [
        (
            HUB,
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/busybox:pull",
                    },
                )
            ],
        ),
        # RFC 9110, 11.6.1: two challenges in one field, commas everywhere
        (
            'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
            [
                Challenge(
                    "newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}
                ),
                Challenge("basic", {"realm": "simple"}),
            ],
        ),
        ('BASIC Realm="A, b = C"', [Challenge("basic", {"realm": "A, b = C"})]),
        ('Bearer service="SUSE Linux Docker Registry"',
         [Challenge("bearer", {"service": "SUSE Linux Docker Registry"})]),
        ("Basic", [Challenge("basic")]),
        ("Negotiate, Basic", [Challenge("negotiate"), Challenge("basic")]),
        ("Negotiate YII==, Basic", [Challenge("negotiate", {}, "YII=="), Challenge("basic")]),
        ('Basic realm = "spaced"', [Challenge("basic", {"realm": "spaced"})]),
        ('Basic realm="first", realm="second"', [Challenge("basic", {"realm": "first"})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_read_as_the_grammar_says(field: str, challenges: list[Challenge]) -> None:
    assert list(parse_challenges(field)) == challenges


@pytest.mark.parametrize(
    ("field", "challenges"),
    [
        ('Basic realm="open', [Challenge("basic")]),
        ("Bearer realm=https://a.example/token?x=y",
         [Challenge("bearer", {"realm": "https://a.example/token?x=y"})]),
        ('Bearer realm="a" service="b"', [Challenge("bearer", {"realm": "a", "service": "b"})]),
        ('"Basic realm=1", Basic realm=2', [Challenge("basic", {"realm": "2"})]),
        ('realm="orphan", Basic realm="a"', [Challenge("basic", {"realm": "a"})]),
        (',, =, Basic realm="a",, @', [Challenge("basic", {"realm": "a"})]),
        ('Bearer service="b", realm=, x', [Challenge("bearer", {"service": "b"}), Challenge("x")]),
    ],
)  # fmt: skip
def test_what_is_malformed_is_skipped(field: str, challenges: list[Challenge]) -> None:
    assert list(parse_challenges(field)) == challenges


def test_a_broken_field_does_not_harm_the_next() -> None:
    assert parse_challenges('Digest nonce="open', 'Basic realm="a"') == (
        Challenge("digest"),
        Challenge("basic", {"realm": "a"}),
    )


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("repository:a/b:pull,push", Scope.repository("a/b", "pull", "push")),
        ("repository:host:5000/a:pull", Scope.repository("host:5000/a", "pull")),
        ("repository(plugin):a:pull", Scope("repository(plugin)", "a", frozenset({"pull"}))),
        ("registry:catalog:*", Scope.catalog()),
        ("repository:a:", Scope.repository("a")),
        ("read:packages", Scope("read:packages")),
        ("openid", Scope("openid")),
        ("repository::pull", Scope("repository::pull")),
    ],
)
def test_a_scope_is_split_from_both_ends_and_written_again(text: str, scope: Scope) -> None:
    assert Scope.parse(text) == scope
    assert str(scope) == text


def test_scopes_of_one_resource_become_one() -> None:
    scopes = parse_scopes("repository:b:push repository:a:pull  repository:b:pull")
    assert [str(scope) for scope in scopes] == ["repository:a:pull", "repository:b:pull,push"]
    assert merge_scopes(reversed(scopes)) == scopes


def test_a_scope_covers_what_it_holds() -> None:
    both = Scope.repository("a", "pull", "push")
    assert both.covers(Scope.repository("a", "pull"))
    assert not Scope.repository("a", "pull").covers(both)
    assert not both.covers(Scope.repository("b", "pull"))


def test_credentials_are_written_as_the_schemes_say() -> None:
    # RFC 7617, sections 2 and 2.1
    assert render_basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert render_basic("test", "123£") == "Basic dGVzdDoxMjPCow=="
    assert render_bearer("a.b-c_d=") == "Bearer a.b-c_d="


@pytest.mark.parametrize(
    ("username", "password"), [("joe:1", ""), ("joe\n", "b"), ("joe", "b\r\nX: y")]
)
def test_a_login_that_http_cannot_carry_is_refused_without_being_shown(
    username: str, password: str
) -> None:
    with pytest.raises(Unauthorized) as refused:
        render_basic(username, password)
    assert username not in refused.value.message


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ä"])
def test_a_token_that_a_header_cannot_carry_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        render_bearer(token)

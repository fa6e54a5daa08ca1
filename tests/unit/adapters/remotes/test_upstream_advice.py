"""Errors name settings where they are about an upstream, not options of commands."""

import pytest

from entrepot.adapters.remotes import transport_errors
from entrepot.adapters.remotes.transport_errors import Peer, failure
from entrepot.adapters.remotes.upstream_advice import advise, advised
from entrepot.oci.errors import Unauthorized

PEER = Peer("registry.example", "http://proxy.example:3128")


@pytest.mark.parametrize("code", sorted(transport_errors._BY_CODE))
def test_no_option_is_left_in_what_a_connection_may_fail_with(code: int) -> None:
    error = failure(code, "words", PEER)
    advise(error)
    assert "--" not in error.message
    assert str(error) == error.message


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("log in: entrepot login ghcr.io", "log in: set its username and password"),
        ("wait, or log in for more: entrepot login x:5000", "set its username and password"),
        ("another (--allow-realm a.example:5000)", "another (allowed_realms = a.example:5000)"),
        ("with --ca-file; --tls-verify=false accepts", "with ca_file; insecure = true accepts"),
    ],
    ids=["login", "more", "realm", "trust"],
)
def test_what_a_setting_is_for(said: str, means: str) -> None:
    assert means in advised(said)


def test_the_rest_stays_as_it_is() -> None:
    error = Unauthorized("nothing to change", detail={"status": 401})
    advise(error)
    assert (error.message, error.detail) == ("nothing to change", {"status": 401})

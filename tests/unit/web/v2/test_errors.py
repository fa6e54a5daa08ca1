"""What clients are told of errors, beside the JSON body that only some of them read."""

from http import HTTPStatus

import pytest

from entrepot.oci.errors import (
    ConnectionLost,
    Denied,
    DigestInvalid,
    RegistryError,
    StoreFull,
    Unavailable,
)
from entrepot.web.v2.errors import refuse, render


@pytest.mark.parametrize(
    ("error", "phrase"),
    [
        pytest.param(ConnectionLost("quay.io hung up"), "Bad Gateway", id="502"),
        pytest.param(Unavailable("quay.io hung up"), "Service Unavailable", id="503"),
        pytest.param(StoreFull("quay.io hung up"), "Insufficient Storage", id="507"),
    ],
)
def test_an_error_of_ours_stands_in_the_status_line(error: RegistryError, phrase: str) -> None:
    """podman, Docker and containerd show nothing else of it."""
    assert render(error).reason == f"{phrase}: quay.io hung up"


def test_what_is_told_of_another_has_that_status_and_says_why() -> None:
    """A wrong digest is the client's fault, unless an upstream sent it."""
    response = render(DigestInvalid("quay.io sent nonsense"), status=502)
    assert (response.status, response.reason) == (502, "Bad Gateway: quay.io sent nonsense")


def test_what_clients_read_the_body_of_has_the_usual_phrase() -> None:
    assert render(Denied("not for you")).reason == ""
    assert refuse(404, "there is nothing").reason == ""


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        pytest.param("one\r\nSet-Cookie: two", "one??Set-Cookie: two", id="line-break"),
        pytest.param("caf\N{LATIN SMALL LETTER E WITH ACUTE}\x1b[31m", "caf??[31m", id="controls"),
        pytest.param("long " * 200, "long " * 60 + "...", id="long"),
    ],
)
def test_a_reason_is_one_short_line_of_ascii(message: str, shown: str) -> None:
    assert render(Unavailable(message)).reason == f"{HTTPStatus(503).phrase}: {shown}"

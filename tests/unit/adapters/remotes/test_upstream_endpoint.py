"""What an upstream's endpoint can be given: no client's credentials, whatever a caller does."""

import inspect

import pytest

from entrepot.adapters.remotes.upstream_endpoint import HttpEndpoint

QUESTIONS = ("head", "manifest", "blob_size", "blob", "location", "page", "ping")


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_field_of_a_clients_request_can_pass(question: str) -> None:
    """PX-03: clients' credentials are never forwarded, as there is no way to."""
    taken = set(inspect.signature(getattr(HttpEndpoint, question)).parameters)
    assert taken <= {"self", "name", "reference", "digest", "offset", "path", "query"}


def test_these_are_all_questions() -> None:
    public = {name for name in vars(HttpEndpoint) if not name.startswith("_")}
    assert public == {*QUESTIONS, "url", "host", "rate_limit", "close"}

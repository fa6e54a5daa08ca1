"""Credential helpers, with scripts that really run."""

import time
from pathlib import Path

import pytest

from entrepot.adapters.credentials.programs import Helper
from entrepot.oci.errors import Unauthorized
from entrepot.ports.credential_store import Credentials
from tests.unit.adapters.credentials.keychain import Keychain


@pytest.fixture
def keychain(tmp_path: Path) -> Keychain:
    return Keychain(tmp_path)


def test_what_was_stored_is_got_listed_and_erased(keychain: Keychain) -> None:
    helper = Helper("test", keychain.environ)
    login = Credentials("ann", 'pass:"word" ä')
    assert helper.get("ghcr.io") is None
    helper.store("ghcr.io", login)
    assert helper.get("ghcr.io") == login
    assert helper.list() == {"ghcr.io": "ann"}
    assert helper.erase("ghcr.io")
    assert not helper.erase("ghcr.io")
    assert helper.get("ghcr.io") is None


def test_an_identity_token_has_a_user_of_its_own(keychain: Keychain) -> None:
    helper = Helper("test", keychain.environ)
    helper.store("ghcr.io", Credentials("ann", identity_token="it"))
    assert keychain.kept == {"ghcr.io": ["<token>", "it"]}
    assert helper.get("ghcr.io") == Credentials(identity_token="it")


@pytest.mark.parametrize("name", ["absent", "../test", "", "a b", "-x"])
def test_a_helper_that_is_not_there_is_named(keychain: Keychain, name: str) -> None:
    with pytest.raises(Unauthorized, match="is not on PATH; install it"):
        Helper(name, keychain.environ).get("ghcr.io")


def test_a_failure_says_what_the_helper_said(keychain: Keychain) -> None:
    keychain.install("broken", "#!/bin/sh\necho 'the keychain\tis \033[1mlocked' >&2\nexit 3\n")
    with pytest.raises(Unauthorized, match=r"status 3: the keychain is .*locked") as refused:
        Helper("broken", keychain.environ).get("ghcr.io")
    assert "\033" not in refused.value.message


def test_a_failure_never_shows_the_secret(keychain: Keychain) -> None:
    keychain.install("leaky", "#!/bin/sh\n/bin/cat >&2\nexit 1\n")
    with pytest.raises(Unauthorized) as refused:
        Helper("leaky", keychain.environ).store("ghcr.io", Credentials("ann", 'wonder"land'))
    assert "wonder" not in refused.value.message


@pytest.mark.parametrize("answer", ["hunter2", "[]", '{"Secret": "hunter2"}', '{"Username": 1}'])
def test_an_answer_of_another_kind_is_refused_unseen(keychain: Keychain, answer: str) -> None:
    keychain.install("odd", f"#!/bin/sh\necho '{answer}'\n")
    with pytest.raises(Unauthorized, match="not its protocol") as refused:
        Helper("odd", keychain.environ).get("ghcr.io")
    assert "hunter2" not in refused.value.message


def test_a_helper_that_hangs_is_ended_with_all_it_started(keychain: Keychain) -> None:
    keychain.install("slow", "#!/bin/sh\n/bin/sleep 60\n")
    started = time.monotonic()
    with pytest.raises(Unauthorized, match=r"no answer in 0\.2 s"):
        Helper("slow", keychain.environ, seconds=0.2).get("ghcr.io")
    assert time.monotonic() - started < 10


def test_a_helper_that_cannot_start_is_named(keychain: Keychain) -> None:
    keychain.install("empty", "#!/no/such/interpreter\n")
    with pytest.raises(Unauthorized, match="cannot be started"):
        Helper("empty", keychain.environ).get("ghcr.io")

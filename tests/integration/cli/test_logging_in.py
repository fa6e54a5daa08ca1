"""login and logout, where a login is found again, and what nobody ever sees of it."""

import json
import os
import pty
import select
import subprocess
import time

import pytest

from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Program
from tests.server import RunningServer

USERS = {"ann": "her password"}
GIVEN = ("--username", "ann", "--password-stdin")


@pytest.fixture
def asking(registry: MockRegistry, image: MockImage) -> MockRegistry:
    """The registry, letting nobody in without name and password."""
    registry.require_basic(USERS)
    return registry


def test_a_login_is_tried_kept_and_used(
    entrepot: Program, asking: MockRegistry, image: MockImage
) -> None:
    entrepot("digest", image.reference, expect=3)
    done = entrepot("login", *GIVEN, asking.host, input="her password\n")
    assert f"logged in to {asking.host}" in done.out
    assert str(entrepot.folder) in done.out
    assert entrepot("digest", image.reference).out == f"{image.digest}\n"
    assert "her password" not in done.out + done.err


def test_logout_forgets(entrepot: Program, asking: MockRegistry, image: MockImage) -> None:
    entrepot("login", *GIVEN, asking.host, input="her password")
    assert entrepot("logout", asking.host).out == f"logged out of {asking.host}\n"
    assert "no login" in entrepot("logout", asking.host).out
    entrepot("digest", image.reference, expect=3)


def test_what_is_refused_is_not_kept(entrepot: Program, asking: MockRegistry) -> None:
    done = entrepot("login", *GIVEN, asking.host, input="wrong\n", expect=3)
    assert "error: " in done.err
    assert "wrong\n" not in done.err
    assert "no login" in entrepot("logout", asking.host).out


def test_an_authfile_is_one_that_podman_reads(
    entrepot: Program, asking: MockRegistry, image: MockImage
) -> None:
    file = entrepot.folder / "auth.json"
    entrepot("login", *GIVEN, "--authfile", file, asking.host, input="her password\n")
    assert list(json.loads(file.read_text())["auths"]) == [asking.host]
    assert file.stat().st_mode & 0o077 == 0
    entrepot("digest", image.reference, expect=3)
    entrepot("digest", "--authfile", file, image.reference)
    entrepot.environment["REGISTRY_AUTH_FILE"] = str(file)
    entrepot("digest", image.reference)
    entrepot("digest", "--anonymous", image.reference, expect=3)


def test_an_identity_token_is_kept_instead_of_the_password(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    registry.require_token("oauth2", users=USERS, anonymous=None)
    file = entrepot.folder / "auth.json"
    entrepot("login", *GIVEN, "--authfile", file, registry.host, input="her password\n")
    (kept,) = json.loads(file.read_text())["auths"].values()
    assert kept["identitytoken"]
    assert "her password" not in file.read_text()
    entrepot("digest", "--authfile", file, image.reference)


def test_a_login_for_once_is_not_kept(
    entrepot: Program, asking: MockRegistry, image: MockImage
) -> None:
    entrepot("digest", *GIVEN, image.reference, input="her password\n")
    entrepot("digest", image.reference, expect=3)


def test_each_side_has_its_own_login(
    entrepot: Program, asking: MockRegistry, image: MockImage
) -> None:
    with MockRegistry() as other:
        other.require_basic({"bob": "his password"})
        words = ["--src-username", "ann", "--src-password-stdin"]
        words += ["--dest-username", "bob", "--dest-password-stdin"]
        both = "her password\nhis password\n"
        entrepot("cp", *words, image.reference, f"{other.host}/copy/of", input=both)
        assert other.tags("copy/of") == {"1.0": image.digest}


@pytest.mark.parametrize("flavour", ["plain", "oauth2"])
def test_no_secret_is_seen_even_when_debugging(
    entrepot: Program, registry: MockRegistry, image: MockImage, flavour: str
) -> None:
    registry.require_token(flavour, users=USERS)
    done = entrepot("--debug", "login", *GIVEN, registry.host, input="her password\n")
    more = entrepot("pull", "--debug", image.reference)
    refused = entrepot("login", *GIVEN, "--debug", registry.host, input="wr0ng-secret\n", expect=3)
    said = "".join(one.out + one.err for one in (done, more, refused))
    assert "/v2/" in said
    assert [secret for secret in (*registry.secrets, "wr0ng-secret") if secret in said] == []


def test_people_are_asked(entrepot: Program, asking: MockRegistry) -> None:
    """On a terminal name and password are asked for, and the password is not shown."""
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [RunningServer.program(), "login", asking.host],
        cwd=entrepot.folder,
        env=entrepot.environment,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    os.close(other)
    said = ""
    for question, answer in (("Username", "ann\n"), ("Password", "her password\n")):
        said += read_until(terminal, question)
        os.write(terminal, answer.encode())
    said += read_until(terminal, "logged in to")
    assert process.wait(30) == 0
    os.close(terminal)
    assert "her password" not in said


def read_until(terminal: int, words: str) -> str:
    """Return what a terminal shows, up to and with these words."""
    said, deadline = "", time.monotonic() + 30
    while words not in said:
        assert time.monotonic() < deadline, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 4096).decode()
    return said


def test_without_a_terminal_a_name_is_needed(entrepot: Program, asking: MockRegistry) -> None:
    assert "--password-stdin" in entrepot("login", asking.host, expect=64).err
    assert "--username" in entrepot("login", "--password-stdin", asking.host, expect=64).err

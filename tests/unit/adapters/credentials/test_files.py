"""Credential files: what is found in them, and what becomes of them when a login is kept."""

import base64
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from entrepot.adapters.credentials.files import CredentialFile
from entrepot.oci.errors import Unauthorized
from entrepot.ports.credential_store import Credentials
from tests.unit.adapters.credentials.keychain import Keychain

ANN = Credentials("ann", "wonderland")


def auth(user: str = "ann", password: str = "wonderland") -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class File:
    """A credential file in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "auth.json"
        self.environ: dict[str, str] = {}

    def write(self, **document: Any) -> None:
        self.path.write_text(json.dumps(document))

    def read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    def open(self, *, docker: bool = False) -> CredentialFile:
        return CredentialFile(self.path, self.environ, docker=docker)

    def find(self, registry: str, repository: str = "") -> Credentials | None:
        return self.open().find(registry, repository)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": auth()}, ANN),
        ({"auth": auth(password="a:b")}, Credentials("ann", "a:b")),
        ({"username": "ann", "password": "wonderland"}, ANN),
        (
            {"auth": auth(password=""), "identitytoken": "it"},
            Credentials("ann", "", identity_token="it"),
        ),
        ({"registrytoken": "rt"}, Credentials(registry_token="rt")),
        ({}, None),
        ({"email": "ann@example.com"}, None),
    ],
)
def test_an_entry_is_read_in_every_shape(
    file: File, entry: dict[str, str], login: Credentials | None
) -> None:
    file.write(auths={"ghcr.io": entry})
    assert file.find("ghcr.io") == login


def test_the_longest_namespace_that_covers_the_repository_wins(file: File) -> None:
    entries = {"h": "host", "h/a": "namespace", "h/a/b": "repository", "h/ab": "other"}
    file.write(auths={key: {"auth": auth(user)} for key, user in entries.items()})
    found = {name: file.find("h", name) for name in ("", "x", "a", "a/x", "a/b", "a/b/c", "abc")}
    assert {name: login and login.username for name, login in found.items()} == {
        "": "host",
        "x": "host",
        "a": "namespace",
        "a/x": "namespace",
        "a/b": "repository",
        "a/b/c": "repository",
        "abc": "host",
    }


@pytest.mark.parametrize(
    "key",
    ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"],
)
def test_docker_hub_is_found_under_all_its_names(file: File, key: str) -> None:
    file.write(auths={key: {"auth": auth()}})
    assert file.find("docker.io", "library/busybox") == ANN


@pytest.mark.parametrize("key", ["https://h:5000", "http://h:5000/v1/", "h:5000/v2/", "H:5000"])
def test_an_entry_is_found_as_docker_writes_it(file: File, key: str) -> None:
    file.write(auths={key: {"auth": auth()}})
    assert file.find("h:5000", "a") == ANN


def test_an_entry_that_is_written_plainly_comes_first(file: File) -> None:
    file.write(auths={"https://h": {"auth": auth("bob")}, "h": {"auth": auth()}})
    assert file.find("h") == ANN


def test_no_file_holds_no_login(file: File) -> None:
    assert file.find("ghcr.io") is None
    assert file.open().erase("ghcr.io") is False
    file.path.write_text("")
    assert file.find("ghcr.io") is None


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"auths":\n {"a": "wonderland}', "not JSON in line 2"),
        ("[]", "no JSON object"),
        ('{"auths": []}', None),
        ('{"auths": ["wonderland"]}', "`auths` is no object"),
        ('{"auths": {"ghcr.io": "wonderland"}}', "entry 'ghcr.io' is no object"),
        ('{"auths": {"ghcr.io": {"auth": "wonderland!"}}}', "not base64"),
        ('{"auths": {"ghcr.io": {"auth": "d29uZGVybGFuZA=="}}}', "not user:password"),
    ],
)
def test_a_broken_file_is_named_and_its_secrets_are_not(
    file: File, content: str, what: str | None
) -> None:
    file.path.write_text(content)
    if what is None:
        assert file.find("ghcr.io") is None
        return
    with pytest.raises(Unauthorized) as refused:
        file.find("ghcr.io")
    assert str(file.path) in refused.value.message
    assert what in refused.value.message
    assert "wonderland" not in refused.value.message


class TestSaving:
    def test_what_is_saved_is_found_and_erased(self, file: File) -> None:
        for login in (
            ANN,
            Credentials("ann", "", identity_token="it"),
            Credentials(registry_token="rt"),
        ):
            assert file.open().save("ghcr.io", login) == str(file.path)
            assert file.find("ghcr.io", "a") == login
        assert file.open().erase("ghcr.io") is True
        assert file.find("ghcr.io") is None
        assert file.open().erase("ghcr.io") is False

    def test_the_file_is_for_its_owner_and_its_folder_is_made(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "auth.json"
        CredentialFile(path, {}, docker=False).save("ghcr.io", ANN)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert os.listdir(path.parent) == ["auth.json"]

    def test_what_is_unknown_stays(self, file: File) -> None:
        file.write(
            auths={"ghcr.io": {"auth": "x", "email": "a"}, "quay.io": {"auth": auth()}},
            HttpHeaders={"a": "b"},
            currentContext="c",
        )
        file.open().save("ghcr.io", ANN)
        assert file.read() == {
            "auths": {
                "ghcr.io": {"auth": auth(), "email": "a"},
                "quay.io": {"auth": auth()},
            },
            "HttpHeaders": {"a": "b"},
            "currentContext": "c",
        }

    def test_a_link_stays_a_link(self, file: File, tmp_path: Path) -> None:
        target = tmp_path / "elsewhere"
        target.mkdir()
        (target / "real.json").write_text("{}")
        file.path.symlink_to(target / "real.json")
        file.open().save("ghcr.io", ANN)
        assert file.path.is_symlink()
        assert "ghcr.io" in json.loads((target / "real.json").read_text())["auths"]

    @pytest.mark.parametrize(
        ("docker", "key"), [(True, "https://index.docker.io/v1/"), (False, "docker.io")]
    )
    def test_docker_hub_is_written_as_the_owner_of_the_file_does(
        self, file: File, docker: bool, key: str
    ) -> None:
        file.write(auths={"index.docker.io": {"auth": auth("old")}})
        file.open(docker=docker).save("docker.io", ANN)
        assert file.read() == {"auths": {key: {"auth": auth()}}}

    def test_erasing_takes_every_name_of_the_registry_and_no_namespace(self, file: File) -> None:
        file.write(auths={key: {"auth": auth()} for key in ("https://h", "h", "h/a")})
        assert file.open().erase("h")
        assert list(file.read()["auths"]) == ["h/a"]

    def test_a_broken_file_is_not_overwritten(self, file: File) -> None:
        file.path.write_text("{broken")
        with pytest.raises(Unauthorized):
            file.open().save("ghcr.io", ANN)
        assert file.path.read_text() == "{broken"

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "auth.json"
        with pytest.raises(Unauthorized, match=r"cannot be written.*--authfile"):
            CredentialFile(path, {}, docker=False).save("ghcr.io", ANN)

    def test_logins_at_the_same_time_are_all_kept(self, file: File) -> None:
        hosts = [f"host{number}" for number in range(20)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda host: file.open().save(host, ANN), hosts))
        assert sorted(file.read()["auths"]) == sorted(hosts)


class TestHelpers:
    @pytest.fixture
    def keychain(self, tmp_path: Path, file: File) -> Keychain:
        keychain = Keychain(tmp_path)
        file.environ = keychain.environ
        return keychain

    def test_the_helper_of_a_registry_is_asked(self, file: File, keychain: Keychain) -> None:
        file.write(credHelpers={"ghcr.io": "test"})
        keychain.keep("ghcr.io", "ann", "wonderland")
        assert file.find("ghcr.io", "a") == ANN
        assert file.find("quay.io") is None

    def test_the_helper_of_all_is_asked_before_the_file(
        self, file: File, keychain: Keychain
    ) -> None:
        file.write(credsStore="test", auths={"quay.io": {"auth": auth("bob")}, "ghcr.io": {}})
        keychain.keep("ghcr.io", "ann", "wonderland")
        keychain.keep("https://index.docker.io/v1/", "hub", "wonderland")
        assert file.find("ghcr.io") == ANN
        assert file.find("docker.io") == Credentials("hub", "wonderland")
        assert file.find("quay.io") == Credentials("bob", "wonderland")

    @pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/"])
    def test_helpers_know_docker_hub_by_one_name(
        self, file: File, keychain: Keychain, key: str
    ) -> None:
        file.write(credHelpers={key: "test"})
        keychain.keep("https://index.docker.io/v1/", "ann", "wonderland")
        assert file.find("docker.io", "library/busybox") == ANN

    def test_a_login_goes_to_the_helper_and_leaves_no_secret_in_the_file(
        self, file: File, keychain: Keychain
    ) -> None:
        file.write(credsStore="test")
        assert "docker-credential-test" in file.open(docker=True).save("ghcr.io", ANN)
        assert keychain.kept == {"ghcr.io": ["ann", "wonderland"]}
        assert file.read() == {"credsStore": "test", "auths": {"ghcr.io": {}}}
        assert file.open().erase("ghcr.io") is True
        assert keychain.kept == {}
        assert file.open().erase("ghcr.io") is False

    def test_a_registry_with_a_helper_of_its_own_uses_that(
        self, file: File, keychain: Keychain, tmp_path: Path
    ) -> None:
        other = Keychain(tmp_path, "other")
        file.write(credsStore="test", credHelpers={"ghcr.io": "other"})
        file.open().save("ghcr.io", ANN)
        assert (keychain.kept, other.kept) == ({}, {"ghcr.io": ["ann", "wonderland"]})

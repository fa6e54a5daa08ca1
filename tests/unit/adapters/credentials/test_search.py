"""The search for credentials: which file is asked first, and which a login goes to."""

import base64
import json
from pathlib import Path

import pytest

from entrepot.adapters.credentials.search import find_credentials
from entrepot.oci.errors import Unauthorized
from entrepot.ports.credential_store import Credentials


class Home:
    """A user's home with an environment, and files that hold a login named after them."""

    def __init__(self, folder: Path) -> None:
        self.environ = {
            "HOME": str(folder),
            "REGISTRY_AUTH_FILE": str(folder / "named.json"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "DOCKER_CONFIG": str(folder / "docker"),
        }
        self.files = {
            "named": folder / "named.json",
            "runtime": folder / "run" / "containers" / "auth.json",
            "config": folder / "config" / "containers" / "auth.json",
            "docker": folder / "docker" / "config.json",
        }

    def fill(self, name: str, registry: str = "h") -> None:
        path = self.files[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        auth = base64.b64encode(f"{name}:secret".encode()).decode()
        path.write_text(json.dumps({"auths": {registry: {"auth": auth}}}))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_files_are_asked_in_order(home: Home) -> None:
    store = find_credentials(home.environ)
    assert await store.find("h", "a/b") is None
    for name in reversed(home.files):
        home.fill(name)
        assert await store.find("h", "a/b") == Credentials(name, "secret")


async def test_a_file_without_the_login_leaves_it_to_the_next(home: Home) -> None:
    home.fill("runtime", "other")
    home.fill("docker")
    assert await find_credentials(home.environ).find("h") == Credentials("docker", "secret")


async def test_without_variables_the_usual_places_are_meant(home: Home, tmp_path: Path) -> None:
    home.files["docker"] = tmp_path / ".docker" / "config.json"
    home.files["config"] = tmp_path / ".config" / "containers" / "auth.json"
    store = find_credentials({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")})
    for name in ("docker", "config"):
        home.fill(name)
        assert await store.find("h") == Credentials(name, "secret")


async def test_a_given_login_goes_before_all_files(home: Home) -> None:
    home.fill("named")
    given = Credentials("ann", "wonderland")
    assert await find_credentials(home.environ, given=given).find("h") == given
    assert await find_credentials(home.environ, anonymous=True).find("h") is None


async def test_an_authfile_is_the_only_one_asked(home: Home, tmp_path: Path) -> None:
    home.fill("named")
    home.fill("docker")
    store = find_credentials(home.environ, authfile=tmp_path / "mine.json")
    assert await store.find("h") is None
    assert await store.save("h", Credentials("ann", "x")) == str(tmp_path / "mine.json")
    assert await store.find("h") == Credentials("ann", "x")


async def test_a_login_goes_to_the_file_that_is_named(home: Home) -> None:
    home.fill("docker")
    saved = await find_credentials(home.environ).save("h", Credentials("ann", "x"))
    assert saved == home.environ["REGISTRY_AUTH_FILE"]


async def test_else_to_the_first_that_exists_and_else_to_dockers(home: Home) -> None:
    del home.environ["REGISTRY_AUTH_FILE"]
    store = find_credentials(home.environ)
    assert await store.save("g", Credentials("ann", "x")) == str(home.files["docker"])
    home.fill("config")
    assert await store.save("g", Credentials("ann", "x")) == str(home.files["config"])


async def test_what_was_given_is_saved_to_the_files(home: Home) -> None:
    given = Credentials("ann", "x")
    store = find_credentials(home.environ, given=given)
    await store.save("h", given)
    assert await find_credentials(home.environ).find("h") == given
    assert await store.erase("h")
    assert await find_credentials(home.environ).find("h") is None


async def test_a_login_is_erased_where_it_is(home: Home) -> None:
    home.fill("docker")
    home.fill("config", "other")
    store = find_credentials(home.environ)
    assert await store.erase("h") is True
    assert await store.find("h") is None
    assert await store.erase("h") is False


async def test_a_broken_file_is_no_reason_to_look_further(home: Home) -> None:
    home.fill("docker")
    home.files["named"].write_text("{")
    with pytest.raises(Unauthorized, match=r"named\.json"):
        await find_credentials(home.environ).find("h")

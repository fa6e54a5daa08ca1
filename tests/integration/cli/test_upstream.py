"""upstream ls, check, add, rm."""

import json
import stat
from pathlib import Path
from typing import Any, Final

import pytest

from entrepot.testing.mock_faults import RateLimited, ServerError
from entrepot.testing.mock_images import MockImage
from entrepot.testing.mock_registry import MockRegistry
from tests.integration.cli.program import Done, Program

SECRET = "not-for-every-eye"


def rows(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.lines]


@pytest.fixture
def file(entrepot: Program) -> Path:
    """Where upstreams are kept that were added at run time."""
    return entrepot.folder / "entrepot-data" / "upstreams.toml"


def test_a_known_registry_needs_nothing_but_its_name(entrepot: Program, file: Path) -> None:
    assert "docker.io" in entrepot("upstream", "add", "docker.io").out
    (row,) = rows(entrepot("upstream", "ls", "--json"))
    assert row["name"] == "docker.io"
    assert row["endpoints"] == ["https://registry-1.docker.io"]
    assert row["configured"] == "entrepot-data/upstreams.toml"
    assert (row["mode"], row["settings"], row["size"]) == ("mirror", {}, None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("words", ["upstream ls", "upstream check", "doctor"])
def test_where_there_is_no_upstream_it_says_how_to_add_one(entrepot: Program, words: str) -> None:
    assert "entrepot upstream add docker.io" in entrepot(*words.split()).out


def test_another_name_of_docker_hub_is_docker_hub(entrepot: Program) -> None:
    entrepot("upstream", "add", "docker.io")
    done = entrepot("upstream", "add", "registry-1.docker.io", expect=64)
    assert "docker.io is configured already" in done.err


def test_every_option_is_kept(entrepot: Program) -> None:
    (entrepot.folder / "ca.pem").touch()
    entrepot(
        "upstream", "add", "tools", "--url", "https://a.test/x weight=3", "--url", "https://b.test",
        "--preset", "artifactory", "--username", "me", "--password-stdin", "--ca-file", "ca.pem",
        "--proxy", "-", "--header", "X-Team: blue", "--header", "X-JFrog-Art-Api: -", "--insecure",
        "--alias", "t.test", "--max-size", "1GiB", "--set", "selection=latency",
        "--set", "failures=3", "--set", "deny=secret/*, other/*",
        input=f"{SECRET}\nhttp://me:{SECRET}@proxy.test:3128\n{SECRET}\n",
    )  # fmt: skip
    (row,) = rows(entrepot("upstream", "ls", "--json"))
    settings = row["settings"]
    assert row["endpoints"] == ["https://a.test/x", "https://b.test"]
    assert row["aliases"] == ["t.test"]
    assert settings["ca_file"] == str(entrepot.folder / "ca.pem")
    assert settings["headers"] == ["X-Team: ***", "X-JFrog-Art-Api: ***"]
    assert settings["proxy"] == "http://me:***@proxy.test:3128"
    assert settings["deny"] == ["secret/*", "other/*"]
    assert (settings["failures"], settings["selection"]) == (3, "latency")
    assert (settings["password"], settings["max_size"]) == ("***", "1GiB")


def test_it_says_which_file_it_wrote(entrepot: Program) -> None:
    """BE-08: and that no server has been there, which may run elsewhere."""
    done = entrepot("upstream", "add", "quay.io", "--data", "there")
    assert "added quay.io to there/upstreams.toml" in done.out
    assert "no server has run with --data there" in done.err
    (entrepot.folder / "there" / "cache").mkdir()
    assert entrepot("upstream", "add", "ghcr.io", "--data", "there").err == ""
    entrepot("upstream", "add", "quay.io", "--data", "other")
    (entrepot.folder / "other" / "metadata.db").touch()
    assert entrepot("upstream", "add", "ghcr.io", "--data", "other").err == ""


ARTIFACTORY: Final = [
    # layout, --url, endpoints, rewrites
    ("cloud", "acme.jfrog.io", "https://acme.jfrog.io", ["*=hub/*"]),
    ("cloud-sub-domain", "acme.jfrog.io", "https://acme-hub.jfrog.io", None),
    ("path", "https://a.test/", "https://a.test/artifactory/api/docker/hub", None),
    ("repository-path", "a.test:8443", "https://a.test:8443", ["*=hub/*"]),
    ("sub-domain", "a.test", "https://hub.a.test", None),
    ("port", "http://127.0.0.1:5001", "http://127.0.0.1:5001", None),
]


@pytest.mark.parametrize(
    ("layout", "url", "endpoint", "rewrites"), ARTIFACTORY, ids=[one[0] for one in ARTIFACTORY]
)
def test_artifactory_in_each_of_its_layouts(
    entrepot: Program, layout: str, url: str, endpoint: str, rewrites: list[str] | None
) -> None:
    """BE-05."""
    words = ["--layout", layout, "--repository", "hub", "--url", url]
    entrepot("upstream", "add", "tools", "--preset", "artifactory", *words)
    (row,) = rows(entrepot("upstream", "ls", "--json"))
    assert row["endpoints"] == [endpoint]
    assert row["settings"].get("rewrites") == rewrites
    assert row["settings"]["preset"] == "artifactory"


def test_artifactory_at_several_hosts_with_rewrites_of_ones_own(entrepot: Program) -> None:
    entrepot(
        "upstream", "add", "tools", "--layout", "cloud", "--repository", "hub",
        "--url", "a.jfrog.io weight=3", "--url", "b.jfrog.io", "--set", "rewrites=old/*=hub/new/*",
    )  # fmt: skip
    entrepot("upstream", "add", "acme.jfrog.io", "--layout", "cloud", "--repository", "x")
    tools, acme = rows(entrepot("upstream", "ls", "--json"))
    assert tools["settings"]["endpoints"] == ["https://a.jfrog.io weight=3", "https://b.jfrog.io"]
    assert tools["settings"]["rewrites"] == ["old/*=hub/new/*", "*=hub/*"]
    assert acme["endpoints"] == ["https://acme.jfrog.io"]


def test_no_secret_is_printed_but_the_file_has_it(entrepot: Program, file: Path) -> None:
    words = ["quay.io", "--username", "me", "--password-stdin"]
    done = [entrepot("upstream", "add", *words, input=f"{SECRET}\n")]
    done += [entrepot("upstream", "ls", *more) for more in ([], ["--json"])]
    assert not any(SECRET in one.out + one.err for one in done)
    assert SECRET in file.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["--username", f"me:{SECRET}"],
        ["--proxy", f"http://me:{SECRET}@proxy.test"],
        ["--header", f"Authorization: Bearer {SECRET}"],
        ["--header", f"X-JFrog-Art-Api: {SECRET}"],
        ["--set", f"password={SECRET}"],
        ["--set", f"headers=X: {SECRET}"],
    ],
    ids=["username", "proxy", "authorization", "key", "password", "headers"],
)
def test_a_secret_on_the_command_line_is_refused(
    entrepot: Program, file: Path, words: list[str]
) -> None:
    done = entrepot("upstream", "add", "quay.io", *words, expect=64)
    assert SECRET not in done.err
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tools"], "--url"),
        (["UPPER.test"], "lower case"),
        (["a.test", "--mode", "nonsense"], "mirror"),
        (["a.test", "--set", "nonsense=1"], "KEY=VALUE"),
        (["a.test", "--set", "failures=0"], "at least 1"),
        (["a.test", "--password-stdin"], "--username"),
        (["a.test", "--username", "me"], "--password-stdin"),
        (["a.test", "--preset", "dokcer.io"], "docker.io"),
        (["a.test", "--url", "http://a.test"], "insecure"),
        (["a.test", "--header", "nonsense"], "Name: value"),
        (["dockerhub"], "do you mean docker.io?"),
        (["a.test", "--layout", "nonsense", "--repository", "x"], "cloud-sub-domain"),
        (["a.test", "--layout", "path"], "--repository"),
        (["a.test", "--repository", "x"], "--layout"),
        (["tools", "--layout", "path", "--repository", "x"], "Artifactory's host"),
        (["t", "--layout", "path", "--repository", "x", "--url", "a.test/x"], "says the path"),
        (["a.test", "--layout", "path", "--repository", "x", "--preset", "quay"], "artifactory"),
        (["a.test", "--layout", "cloud", "--repository", "a b"], "a b"),
    ],
    ids=[
        "a word", "upper case", "mode", "unknown key", "bounds", "no user", "no terminal", "preset",
        "plain HTTP", "header", "a preset's word", "layout", "no repository", "no layout",
        "no host", "a path", "another's layout", "no key",
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_nothing_is_kept(
    entrepot: Program, file: Path, words: list[str], told: str
) -> None:
    done = entrepot("upstream", "add", *words, expect=64)
    assert told in done.err
    assert not file.exists()


def test_what_is_configured_already_is_replaced_only_when_told(entrepot: Program) -> None:
    (entrepot.folder / "c.toml").write_text('[upstreams."quay.io"]\nmax_size = "1g"\n')
    done = entrepot("upstream", "add", "quay.io", "--config", "c.toml", expect=64)
    assert "c.toml:1" in done.err
    entrepot("upstream", "add", "quay.io", "--config", "c.toml", "--replace")
    (row,) = rows(entrepot("upstream", "ls", "--config", "c.toml", "--json"))
    assert (row["settings"], row["configured"]) == ({}, "entrepot-data/upstreams.toml")


def test_only_what_was_added_can_be_removed(entrepot: Program) -> None:
    (entrepot.folder / "c.toml").write_text('[upstreams."ghcr.io"]\n')
    entrepot("upstream", "add", "quay.io", "--config", "c.toml")
    assert "removed quay.io" in entrepot("upstream", "rm", "quay.io", "--config", "c.toml").out
    done = entrepot("upstream", "rm", "ghcr.io", "--config", "c.toml", expect=2)
    assert "c.toml:1" in done.err
    entrepot("upstream", "rm", "quay.io", "--config", "c.toml", expect=2)


def test_of_several_to_remove_all_go_or_none(entrepot: Program) -> None:
    entrepot("upstream", "add", "quay.io")
    entrepot("upstream", "rm", "quay.io", "ghcr.io", expect=2)
    assert [row["name"] for row in rows(entrepot("upstream", "ls", "--json"))] == ["quay.io"]


def test_a_table_for_people(entrepot: Program, registry: MockRegistry) -> None:
    assert "add one" in entrepot("upstream", "ls").out
    entrepot("upstream", "add", "here", "--url", registry.url)
    head, line = entrepot("upstream", "ls").lines
    assert head.split() == ["NAME", "MODE", "CACHED", "ENDPOINTS", "CONFIGURED"]
    assert line.split() == ["here", "mirror", "-", registry.url, "entrepot-data/upstreams.toml"]


def test_check_asks_every_endpoint(entrepot: Program, registry: MockRegistry) -> None:
    dead = "http://127.0.0.1:9"
    entrepot("upstream", "add", "here", "--url", registry.url, "--url", dead, "--alias", "h.test")
    good, bad = rows(entrepot("upstream", "check", "h.test", "--json", expect=1))
    assert (good["endpoint"], good["state"], good["authorised"]) == (registry.url, "ok", True)
    assert (bad["endpoint"], bad["state"]) == (dead, "failed")
    assert bad["error"]["code"] == "UNAVAILABLE"
    assert "entrepot " not in bad["error"]["message"]
    assert registry.count("GET", "/v2/") == 1


def test_check_of_an_image_asks_for_its_manifest(
    entrepot: Program, registry: MockRegistry, image: MockImage
) -> None:
    entrepot("upstream", "add", "here", "--url", registry.url, "--set", "rewrites=old/*=team/*")
    for asked in ("here/team/app:1.0", "here/old/app:1.0", f"here/team/app@{image.digest}"):
        (answer,) = rows(entrepot("upstream", "check", asked, "--json"))
        assert answer["digest"] == str(image.digest)
        assert answer["image"] == asked
    assert registry.count("GET", "*/manifests/*") == 0
    assert str(image.digest) in entrepot("upstream", "check", "here/team/app:1.0").out
    entrepot("upstream", "check", "here/team/app:2.0", expect=2)


@pytest.mark.parametrize(
    ("fault", "code"), [(ServerError(503), 1), (RateLimited(60), 1)], ids=["503", "429"]
)
def test_check_asks_once(
    entrepot: Program, registry: MockRegistry, fault: object, code: int
) -> None:
    entrepot("upstream", "add", "here", "--url", registry.url)
    registry.fault(fault, path="/v2/")  # type: ignore[arg-type]
    entrepot("upstream", "check", "here", expect=code)
    assert registry.count("GET", "/v2/") == 1


def test_check_logs_in_as_the_server_does(entrepot: Program, registry: MockRegistry) -> None:
    registry.require_basic({"me": SECRET})
    login = ["--username", "me", "--password-stdin"]
    entrepot("upstream", "add", "here", "--url", registry.url, *login, input=f"{SECRET}\n")
    (answer,) = rows(entrepot("upstream", "check", "--json"))
    assert (answer["authentication"], answer["authorised"]) == ("basic", True)
    entrepot("upstream", "add", "here", "--replace", "--url", registry.url, *login, input="no\n")
    done = entrepot("upstream", "check", expect=3)
    assert SECRET not in done.out


def test_an_upstream_that_is_none_exits_2(entrepot: Program) -> None:
    for command in ("check", "rm"):
        done = entrepot("upstream", command, "quay.io", expect=2)
        assert "upstream add quay.io" in done.err

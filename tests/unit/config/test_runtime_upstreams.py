"""The server's own file of upstreams that were added while it ran."""

import os
import stat
from pathlib import Path
from typing import Final

import pytest

from entrepot.config import ConfigError, Problem, ProxySettings, Settings, UpstreamSettings
from entrepot.config.runtime_upstreams import (
    merged_upstreams,
    parse_upstreams,
    read_runtime_upstreams,
    runtime_upstreams_path,
    shown_upstream,
    unlisted_upstream,
    write_runtime_upstreams,
)

UPSTREAMS: Final = {
    "docker.io": UpstreamSettings(
        username="me",
        password='ge"heim\x7f',
        headers=("X-Key: secret",),
        proxy="socks5://u:p@h:1",
        max_size=5 * 1024**3,
        tag_ttl=90.0,
        insecure=True,
        follow_redirects=False,
        ca_file=Path("/x.pem"),
        aliases=("hub",),
    ),
    "b.example:5000": UpstreamSettings(proxy=""),
    "team.test": UpstreamSettings(),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upstreams.toml"


def problems(file: Path, text: str) -> list[Problem]:
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_runtime_upstreams(file)
    return list(raised.value.problems)


def test_what_is_written_is_read_again_secrets_included(file: Path) -> None:
    write_runtime_upstreams(file, UPSTREAMS)
    assert read_runtime_upstreams(file) == UPSTREAMS
    assert [*read_runtime_upstreams(file)] == [*UPSTREAMS], "in their order"


def test_only_what_differs_from_the_default_is_written(file: Path) -> None:
    write_runtime_upstreams(file, {"team.test": UpstreamSettings(failures=7)})
    assert file.read_text().splitlines()[1:] == ["", '[upstreams."team.test"]', "failures = 7"]


def test_only_the_owner_may_read_it(file: Path) -> None:
    file.write_text("")
    file.chmod(0o644)
    before = os.umask(0)
    try:
        write_runtime_upstreams(file, UPSTREAMS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_cannot_be_written_leaves_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runtime_upstreams(file, UPSTREAMS)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_runtime_upstreams(file, {})
    monkeypatch.undo()
    assert read_runtime_upstreams(file) == UPSTREAMS
    assert [*file.parent.iterdir()] == [file]


def test_where_there_is_no_file_there_are_no_upstreams(file: Path) -> None:
    assert read_runtime_upstreams(file) == {}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[upstreams.a]\nx = 1", 2, "unknown key upstreams.a.x"),
        ("[upstreams.a]\nauth = 'basic'", 2, 'upstreams.a.auth is "basic" without username'),
        ("[upstreams.A]", 1, "upstreams cannot have the name A"),
        ("[upstreams.'*']", 1, "* cannot be set at run time"),
        ("[log]\nlevel = 'info'", 2, "log.level does not belong here"),
        ("[sites.a]", 1, "sites.a does not belong here"),
    ],
)
def test_a_mistake_in_it_is_told_with_its_line(
    file: Path, text: str, line: int, message: str
) -> None:
    (problem,) = problems(file, text)
    assert (problem.origin, problem.message) == (f"{file}:{line}", message)


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    (problem,) = problems(file, "[")
    assert "is not valid TOML" in problem.message
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_runtime_upstreams(file)


def test_it_is_inside_the_data_directory() -> None:
    assert runtime_upstreams_path(Settings()) == Path("entrepot-data/upstreams.toml")


def test_tables_from_elsewhere_are_held_to_the_same() -> None:
    found = parse_upstreams({"index.docker.io": {"max_size": "1g"}}, "the request")
    assert found == {"docker.io": UpstreamSettings(max_size=1024**3)}
    with pytest.raises(ConfigError) as raised:
        parse_upstreams({"a": {"pasword": "geheim", "failures": 0}}, "the request")
    assert [str(one) for one in raised.value.problems] == [
        "the request: unknown key upstreams.a.pasword (did you mean upstreams.a.password?)",
        "the request: upstreams.a.failures cannot be 0 (it must be a whole number, at least 1)",
    ]


def test_what_is_shown_has_no_secret() -> None:
    assert shown_upstream(UPSTREAMS["docker.io"]) == {
        "aliases": ["hub"],
        "username": "me",
        "password": "***",
        "headers": ["X-Key: ***"],
        "insecure": True,
        "ca_file": "/x.pem",
        "proxy": "socks5://u:***@h:1",
        "follow_redirects": False,
        "max_size": "5GiB",
        "tag_ttl": "90s",
    }


def test_run_time_wins_over_the_configuration() -> None:
    configured = {"a": UpstreamSettings(failures=1), "b": UpstreamSettings(failures=1)}
    merged = merged_upstreams(Settings(upstreams=configured), {"b": UpstreamSettings()})
    assert merged == {"a": UpstreamSettings(failures=1), "b": UpstreamSettings()}


def test_the_default_registry_needs_no_table() -> None:
    proxy = ProxySettings(default_registry="quay.io")
    template = UpstreamSettings(insecure=True)
    assert merged_upstreams(Settings(proxy=proxy), {}) == {"quay.io": UpstreamSettings()}
    with_template = Settings(proxy=proxy, upstreams={"*": template})
    assert merged_upstreams(with_template, {}) == {"quay.io": template}
    assert unlisted_upstream(with_template) == template
    aliased = {"mirror": UpstreamSettings(aliases=("quay.io",))}
    assert [*merged_upstreams(Settings(proxy=proxy), aliased)] == ["mirror"]

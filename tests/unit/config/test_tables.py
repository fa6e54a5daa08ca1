"""Tables with names of their own: where they stand, what they are called, and who wins."""

import json
from pathlib import Path

import pytest

from entrepot.config import SiteSettings, UpstreamSettings, resolve
from tests.unit.config.reading import ConfigFile


def test_an_upstream_is_a_table(toml: ConfigFile) -> None:
    settings = toml.load(
        '[upstreams."registry.example.com:5000"]\n'
        'endpoints = ["https://near.example.com weight=3"]\n'
        'max_size = "500m"\ntag_ttl = 30\nproxy = "none"\nca_file = "/x.pem"\n'
        "[upstreams.'team.test']\n"
    )
    assert settings.upstreams == {
        "registry.example.com:5000": UpstreamSettings(
            endpoints=("https://near.example.com weight=3",),
            max_size=500 * 1024**2,
            tag_ttl=30.0,
            proxy="",
            ca_file=Path("/x.pem"),
        ),
        "team.test": UpstreamSettings(),
    }


def test_a_site_is_a_table(toml: ConfigFile) -> None:
    settings = toml.load(
        '[sites.eu]\nurl = "https://b.example.com/{digest}"\nnetworks = ["10.1.2.3/8"]\n'
    )
    assert settings.sites == {
        "eu": SiteSettings(url="https://b.example.com/{digest}", networks=("10.0.0.0/8",))
    }


@pytest.mark.parametrize(
    "name", ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "docker.io"]
)
def test_docker_hub_has_one_name(toml: ConfigFile, name: str) -> None:
    """BE-01: one cache key for all names of it."""
    settings = toml.load(
        f'[upstreams."{name}"]\nprobe_interval = 0\n[proxy]\ndefault_registry = "{name}"\n'
    )
    assert [*settings.upstreams] == ["docker.io"]
    assert settings.proxy.default_registry == "docker.io"


@pytest.mark.parametrize(
    "name", ["hub", "a-1", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "quay.io"]
)
def test_an_upstream_is_called_by_its_host_or_a_word(toml: ConfigFile, name: str) -> None:
    assert [*toml.load(f'[upstreams."{name}"]\npreset = "quay"\n').upstreams] == [name]


@pytest.mark.parametrize(
    "name",
    ["", "GHCR.io", "a_b", "-a", "https://quay.io", "quay.io/x", "quay.io:0", "quay.io:70000",
     "quay.io:", "a b", ".", "ö", "**"],
)  # fmt: skip
def test_what_no_upstream_is_called(toml: ConfigFile, name: str) -> None:
    problem = toml.problem(f'[upstreams."{name}"]\n')
    assert problem.origin == ":1"
    assert problem.message == f"upstreams cannot have the name {name}"
    assert "lower case" in problem.hint or "registry's host" in problem.hint


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        (
            '\n[upstreams."quay.io"]\nusernam = "x"\n',
            ":3",
            "unknown key upstreams.quay.io.usernam",
            "did you mean upstreams.quay.io.username?",
        ),
        (
            'upstreams."quay.io".zzz = 1\n',
            ":1",
            "unknown key upstreams.quay.io.zzz",
            "[upstreams.NAME] has preset, endpoints",
        ),
        (
            '[upstreams]\n"quay.io" = { proxy = 3 }\n',
            ":2",
            "upstreams.quay.io.proxy cannot be this value",
            "it must be",
        ),
        (
            "[upstreams.'quay.io']\nfailures = 0\n",
            ":2",
            "upstreams.quay.io.failures cannot be 0",
            "at least 1",
        ),
        ("[upstreams]\nproxy = 'none'\n", ":2", "upstreams.proxy belongs to no name", "NAME"),
        ("[upstreams]\nquay = 1\n", ":2", "upstreams.quay must be a table", '[upstreams."quay"]'),
        ("upstreams = 1\n", ":1", "upstreams must be tables with names", "docker.io"),
        ("[[upstreams]]\n", ":1", "upstreams must be tables with names", "docker.io"),
        ("[upstream.a]\n", ":1", "unknown section [upstream]", "did you mean [upstreams.NAME]?"),
        ("[site.a]\n", ":1", "unknown section [site]", "did you mean [sites.NAME]?"),
        ("[sites.eu]\nuri = ''\n", ":2", "unknown key sites.eu.uri", "did you mean sites.eu.url?"),
        (
            '[upstreams."docker.io"]\n[upstreams."index.docker.io"]\n',
            ":2",
            "index.docker.io and docker.io are the same upstream",
            "one table",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(
    toml: ConfigFile, text: str, place: str, message: str, hint: str
) -> None:
    first, *_ = toml.problems(text)
    assert first.origin == place
    assert first.message == message
    assert hint in first.hint


def test_all_mistakes_are_told_at_once(toml: ConfigFile) -> None:
    text = '[upstreams.a]\nx = 1\nmode = "?"\n[upstreams.b]\nauth = "basic"\n[servr]\n'
    assert [one.origin for one in toml.problems(text)] == [":2", ":6", ":3", ":5"]


def test_the_environment_has_tables_as_json(toml: ConfigFile) -> None:
    environ = {
        "ENTREPOT_UPSTREAMS": json.dumps({"quay.io": {"max_size": "1g"}, "b.test": {}}),
        "ENTREPOT_SITES": '{"eu": {"url": "https://b.example.com/{hex}", "networks": ["::/0"]}}',
    }
    settings = toml.load('[upstreams."quay.io"]\nmax_size = 1\ntag_ttl = 2\n', environ)
    assert settings.upstreams == {
        "quay.io": UpstreamSettings(max_size=1024**3, tag_ttl=2.0),
        "b.test": UpstreamSettings(),
    }
    assert settings.sites["eu"].networks == ("::/0",)
    origins = resolve(toml.path, environ, {}).origins
    assert origins["upstreams", "quay.io", "max_size"] == "ENTREPOT_UPSTREAMS"
    assert origins["upstreams", "quay.io", "tag_ttl"] == f"{toml.path}:3"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"a": {"password": "geheim"', "is not valid JSON"),
        ("[]", "upstreams must be tables with names"),
        ('{"a": 1}', "upstreams.a must be a table"),
        ('{"a": {"passwort": "geheim"}}', "unknown key upstreams.a.passwort"),
        ('{"a": {"failures": "3"}}', 'upstreams.a.failures cannot be "3"'),
    ],
)
def test_a_wrong_variable_is_named(toml: ConfigFile, value: str, message: str) -> None:
    problem = toml.problem("", {"ENTREPOT_UPSTREAMS": value})
    assert problem.origin == "ENTREPOT_UPSTREAMS"
    assert problem.message == message
    assert "geheim" not in str(problem)


def test_an_unknown_variable_may_have_meant_a_table(toml: ConfigFile) -> None:
    problem = toml.problem("", {"ENTREPOT_UPSTREAM": "{}"})
    assert problem.hint == "did you mean ENTREPOT_UPSTREAMS?"

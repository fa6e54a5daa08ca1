"""The `config.yaml` of oci-proxy starts this server unchanged."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from entrepot.config import Settings, UpstreamSettings, load, resolve
from entrepot.config.runtime_upstreams import merged_upstreams, unlisted_upstream
from tests.unit.config.reading import ConfigFile

EVERY_KEY: Final = """\
# Every key that the program's README names.
port: 8080
log_level: warn
whitelist_mode: true
default_registry: registry-1.docker.io
base_url: https://proxy.example.com

auth:
  username: admin
  password: front-secret

defaults:
  cache_dir: ./cache
  cache_max_size: 1g
  upstream_proxy: http://127.0.0.1:7890
  follow_redirects: true
  insecure: false

registries:
  registry-1.docker.io:
    auth:
      username: someone
      password: hub-secret
    cache_max_size: 500m
  ghcr.io:
    cache_dir: /var/cache/ghcr
    cache_max_size: 1024k
    upstream_proxy: socks5://user:proxy-secret@127.0.0.1:1080
  registry.local:5000:
    follow_redirects: false
    insecure: true
"""


@pytest.fixture
def every_key(yaml: ConfigFile) -> Settings:
    return yaml.load(EVERY_KEY)


def test_the_program_itself(every_key: Settings) -> None:
    """PX-05: port, log_level and base_url; PX-03: the login and the closed list."""
    assert every_key.server.listen == (":8080",)
    assert every_key.log.level == "warning"
    assert every_key.proxy.default_registry == "docker.io"
    assert every_key.proxy.external_url == "https://proxy.example.com"
    assert every_key.proxy.open is False
    assert (every_key.access.username, every_key.access.password) == ("admin", "front-secret")
    assert every_key.access.private == ("*",)


def test_only_blobs_are_kept_and_the_least_recently_used_go_first(every_key: Settings) -> None:
    """CA-02 and CA-03, as in that program."""
    assert every_key.cache.freshness == "off"
    assert every_key.cache.policy == "lru"
    assert {one.freshness for one in every_key.upstreams.values()} == {""}, "the cache's counts"


@pytest.mark.parametrize(
    ("upstream", "merged"),
    [
        (
            "docker.io",
            UpstreamSettings(
                username="someone",
                password="hub-secret",
                cache_path=Path("cache"),
                max_size=500 * 1024**2,
                proxy="http://127.0.0.1:7890",
            ),
        ),
        (
            "ghcr.io",
            UpstreamSettings(
                cache_path=Path("/var/cache/ghcr"),
                max_size=1024**2,
                proxy="socks5://user:proxy-secret@127.0.0.1:1080",
            ),
        ),
        (
            "registry.local:5000",
            UpstreamSettings(
                cache_path=Path("cache"),
                max_size=1024**3,
                proxy="http://127.0.0.1:7890",
                follow_redirects=False,
                insecure=True,
            ),
        ),
        (
            "*",
            UpstreamSettings(
                cache_path=Path("cache"), max_size=1024**3, proxy="http://127.0.0.1:7890"
            ),
        ),
    ],
    ids=["docker.io", "ghcr.io", "registry.local", "unlisted"],
)
def test_each_registry_is_merged_over_the_defaults(
    every_key: Settings, upstream: str, merged: UpstreamSettings
) -> None:
    """PX-05: the table of merged values."""
    assert every_key.upstreams[upstream] == merged


@pytest.mark.parametrize(
    ("default", "own", "merged"),
    [
        ("insecure: true", "insecure: false", {"insecure": False}),
        ("insecure: true", "", {"insecure": True}),
        ("follow_redirects: no", "follow_redirects: yes", {"follow_redirects": True}),
        ("follow_redirects: no", "", {"follow_redirects": False}),
        ("cache_max_size: 2T", "cache_max_size: 3Gb", {"max_size": 3 * 1024**3}),
        ("cache_max_size: 2tB", "", {"max_size": 2 * 1024**4}),
        ("cache_max_size: 4096", "", {"max_size": 4096}),
        ("cache_dir: a", "cache_dir: b", {"cache_path": Path("b")}),
        ("cache_dir: a", "cache_dir: ''", {"cache_path": Path("a")}),
        ("upstream_proxy: http://p:1", "upstream_proxy:", {"proxy": "http://p:1"}),
        (
            "auth: {username: a, password: 0123}",
            "",
            {"username": "a", "password": "0123"},
        ),
        (
            "auth: {username: a, password: b}",
            "auth: {username: c, password: d}",
            {"username": "c", "password": "d"},
        ),
    ],
)
def test_a_key_of_its_own_wins_over_the_default(
    yaml: ConfigFile, default: str, own: str, merged: dict[str, object]
) -> None:
    """PX-05, key by key; a login is taken as a whole."""
    text = f"defaults:\n  {default}\nregistries:\n  quay.io:\n    {own}\n"
    upstream = yaml.load(text).upstreams["quay.io"]
    assert {key: getattr(upstream, key) for key in merged} == merged


def test_half_a_login_is_not_completed_by_the_default(yaml: ConfigFile) -> None:
    text = (
        "defaults: {auth: {username: a, password: b}}\n"
        "registries:\n  quay.io:\n    auth: {username: c}\n"
    )
    assert yaml.problem(text).message == "upstreams.quay.io.username is set without password"


def test_without_a_key_the_programs_own_defaults_count(yaml: ConfigFile) -> None:
    settings = yaml.load("registries:\n")
    assert settings.server.listen == (":80",)
    assert settings.proxy.default_registry == "docker.io"
    assert settings.proxy.open is False
    assert settings.upstreams == {"docker.io": UpstreamSettings()}


@pytest.mark.parametrize(
    ("text", "is_open"), [("false", True), ("no", True), ("true", False), ("''", False)]
)
def test_others_are_mirrored_only_if_the_list_is_switched_off(
    yaml: ConfigFile, text: str, is_open: bool
) -> None:
    """PX-03: `whitelist_mode`."""
    assert yaml.load(f"whitelist_mode: {text}\n").proxy.open is is_open


def test_the_defaults_hold_for_registries_that_are_not_listed(yaml: ConfigFile) -> None:
    settings = yaml.load(
        "whitelist_mode: false\ndefault_registry: quay.io\n"
        "defaults:\n  insecure: true\n  auth: {username: u, password: p}\n"
    )
    assert unlisted_upstream(settings) == UpstreamSettings(insecure=True)
    named_by_the_file = UpstreamSettings(insecure=True, username="u", password="p")
    assert merged_upstreams(settings, {}) == {"quay.io": named_by_the_file}


def test_flags_and_the_environment_win(yaml: ConfigFile) -> None:
    yaml.load(EVERY_KEY)
    environ = {"ENTREPOT_CONFIG": str(yaml.path), "ENTREPOT_CACHE_FRESHNESS": "always"}
    settings = load(None, environ, {"server.listen": ["127.0.0.1:1"]})
    assert settings.server.listen == ("127.0.0.1:1",)
    assert settings.cache.freshness == "always"


def test_every_value_has_its_line(yaml: ConfigFile) -> None:
    yaml.load(EVERY_KEY)
    origins = resolve(yaml.path, {}, {}).origins
    lines = EVERY_KEY.splitlines()
    for name, line in {
        ("server", "listen"): "port: 8080",
        ("access", "password"): "  password: front-secret",
        ("upstreams", "docker.io"): "  registry-1.docker.io:",
        ("upstreams", "docker.io", "password"): "      password: hub-secret",
        ("upstreams", "docker.io", "proxy"): "  upstream_proxy: http://127.0.0.1:7890",
        ("upstreams", "*"): "defaults:",
    }.items():
        assert origins[name] == f"{yaml.path}:{lines.index(line) + 1}"
    assert origins["cache", "freshness"] == str(yaml.path)


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("prot: 80", 1, "unknown key prot", "did you mean port?"),
        ("port: 80\nzzz: 1", 2, "unknown key zzz", "oci-proxy's file has port, log_level"),
        ("auth:\n  user: x", 2, "unknown key auth.user", "did you mean username?"),
        ("defaults: {cachedir: x}", 1, "unknown key defaults.cachedir", "cache_dir?"),
        (
            "registries:\n  ghcr.io:\n    insecur: true",
            3,
            "unknown key registries.ghcr.io.insecur",
            "did you mean insecure?",
        ),
        (
            "registries:\n  ghcr.io:\n    auth:\n      token: geheim",
            4,
            "unknown key registries.ghcr.io.auth.token",
            "registries.ghcr.io.auth has username, password",
        ),
        ("port: 0", 1, "port cannot be 0", "from 1 to 65535"),
        ("port: 65536", 1, "port cannot be 65536", "from 1 to 65535"),
        ("port: http", 1, "port cannot be http", "from 1 to 65535"),
        ("port: [80]", 1, "port must be a single value", ""),
        ("log_level: loud", 1, 'log_level cannot be "loud"', '"warning"'),
        ("whitelist_mode: maybe", 1, "whitelist_mode cannot be maybe", "true or false"),
        ("base_url: proxy", 1, 'base_url cannot be "proxy"', "it must be a URL"),
        ("default_registry: a/b", 1, 'default_registry cannot be "a/b"', "a registry's host"),
        ("auth: me", 1, "auth must be a mapping", "username, password"),
        ("auth: [me]", 1, "auth must be a mapping", "username, password"),
        ("registries: [ghcr.io]", 1, "registries must be a mapping", "ghcr.io: {}"),
        ("registries:\n  ghcr.io: x", 2, "registries.ghcr.io must be a mapping", "cache_dir"),
        ("registries:\n  ghcr.io/x:", 2, "ghcr.io/x is no registry", "a registry's host"),
        (
            "registries:\n  docker.io:\n  index.docker.io:",
            3,
            "index.docker.io and docker.io are the same registry",
            "write one of them",
        ),
        (
            "registries:\n  ghcr.io:\n    cache_max_size: 1x",
            3,
            'registries.ghcr.io.cache_max_size cannot be "1x"',
            "a size such as",
        ),
        (
            "defaults:\n  insecure: maybe\nregistries:\n  a.b:\n  c.d:",
            2,
            'defaults.insecure cannot be "maybe"',
            "true or false",
        ),
        (
            "defaults:\n  upstream_proxy: ftp://u:geheim@h",
            2,
            "defaults.upstream_proxy cannot be this value",
            "socks5",
        ),
        ("auth:\n  password: geheim", 2, "access.password is set without", "needs both"),
    ],
)
def test_a_mistake_is_told_in_the_files_own_words(
    yaml: ConfigFile, text: str, place: int, message: str, hint: str
) -> None:
    problem = yaml.problem(text)
    assert problem.origin == f":{place}"
    assert problem.message.startswith(message)
    assert hint in problem.hint
    assert "geheim" not in str(problem)


def test_all_mistakes_are_told_at_once(yaml: ConfigFile) -> None:
    problems = yaml.problems("port: x\nlog_level: x\nregistries: {a: {x: 1}}\nauth: {username: u}")
    assert [one.origin for one in problems] == [":3", ":1", ":2", ":4"]


def test_a_mixture_of_both_forms_is_told_with_the_way_out(yaml: ConfigFile) -> None:
    problems = yaml.problems("port: 80\nserver: {workers: 2}\nregistries: {}\n")
    assert [(one.origin, one.message) for one in problems] == [
        (":1", "port is a key of oci-proxy in a file that has [server]"),
        (":3", "registries is a key of oci-proxy in a file that has [server]"),
    ]
    assert problems[0].hint.startswith("write [server] listen instead")


def test_yaml_is_imported_only_for_a_file_of_it(toml: ConfigFile) -> None:
    toml.path.write_text("[server]\nworkers = 1\n")
    program = (
        "import sys; from pathlib import Path; from entrepot.config import load; "
        f"load(Path({str(toml.path)!r}), {{}}, {{}}); sys.exit('yaml' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

"""Our own settings in YAML: the same as in TOML."""

import pytest

from tests.unit.config.reading import ConfigFile

IN_TOML = """\
[server]
listen = [":1"]
workers = 2
idle_timeout = 30

[log]

[proxy]
default_registry = "docker.io"

[upstreams."docker.io"]
max_size = "1g"
insecure = true

[upstreams."b.test"]
"""

IN_YAML = """\
server:
  listen: [":1"]
  workers: 2
  idle_timeout: 30
log:
proxy: {default_registry: docker.io}
upstreams:
  docker.io: &hub
    max_size: 1g
    insecure: true
  b.test:
"""


def test_sections_and_tables_are_mappings(toml: ConfigFile, yaml: ConfigFile) -> None:
    """CF-01: one model, in either form."""
    assert yaml.load(IN_YAML) == toml.load(IN_TOML)


def test_yml_is_yaml_and_other_names_are_toml(yaml: ConfigFile) -> None:
    yaml.path = yaml.path.with_suffix(".YML")
    assert yaml.load("server: {workers: 3}\n").server.workers == 3
    yaml.path = yaml.path.with_suffix(".conf")
    assert yaml.load("server.workers = 3\n").server.workers == 3


def test_anchors_are_unfolded(yaml: ConfigFile) -> None:
    text = (
        "upstreams:\n  a.x: &a {max_size: 1g, failures: 2}\n  b.x:\n    <<: *a\n    failures: 3\n"
    )
    upstreams = yaml.load(text).upstreams
    assert upstreams["b.x"].max_size == upstreams["a.x"].max_size
    assert (upstreams["a.x"].failures, upstreams["b.x"].failures) == (2, 3)


def test_an_empty_file_sets_nothing(yaml: ConfigFile) -> None:
    assert yaml.load("# nothing\n").server.listen == ("127.0.0.1:5000",)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("server:\n  workrs: 2", ":2", "unknown key server.workrs"),
        ("server:\n  workers: x", ":2", 'server.workers cannot be "x"'),
        ("server:\n  workers: '2'", ":2", 'server.workers cannot be "2"'),
        ("server:\n  workers: 2020-01-01", ":2", 'server.workers cannot be "2020-01-01"'),
        ("server:\n  workers:", ":2", "server.workers cannot be null"),
        ("server: 2", ":1", "server must be a section"),
        ("upstreams:\n  quay.io:\n    x: 2", ":3", "unknown key upstreams.quay.io.x"),
        ("upstreams: [a]", ":1", "upstreams must be tables with names"),
        ("upstreams:\n  5000: {x: 1}", ":2", "unknown key upstreams.5000.x"),
        ("zzz: 1", ":1", "unknown section [zzz]"),
        ("1: 1", ":1", "unknown section [1]"),
        ("server: {workers: 1}\nserver: {}", ":2", "server is there twice"),
        ("log: {level: info, level: error}", ":1", "level is there twice"),
        ("- a", ":1", "is no mapping"),
        ("text", ":1", "is no mapping"),
        ("a: b: c", ":1", "is not valid YAML: mapping values are not allowed here"),
        ("a: !!python/name:os.system x", ":1", "is not valid YAML: could not determine"),
        ("a: 1\n---\nb: 1", ":2", "is not valid YAML: but found another document"),
        ("a: 2020-99-99", "", "is not valid YAML"),
        ("a: \x01", "", "is not valid YAML"),
        ("server: &a {x: *a}", ":1", "unknown key server.x"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    yaml: ConfigFile, text: str, place: str, message: str
) -> None:
    first, *_ = yaml.problems(text)
    assert first.origin == place
    assert first.message.startswith(message)


def test_brackets_without_end_are_a_mistake_like_others(yaml: ConfigFile) -> None:
    assert yaml.problem("a: " + "[" * 2000).message == "is not valid YAML"


def test_what_yaml_cannot_read_is_not_repeated(yaml: ConfigFile) -> None:
    problem = yaml.problem("access:\n  password: geheim: x\n")
    assert "geheim" not in str(problem)

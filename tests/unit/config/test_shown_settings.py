"""What `entrepot config show` prints: it loads to the same settings, and tells no secret."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.config import load, reference, resolve
from entrepot.config.model import SETTINGS, TABLE_SETTINGS
from entrepot.config.setting import Setting
from entrepot.config.toml_text import heading, literal
from tests.unit.config.reading import ConfigFile

WITH_SECRETS: Final = """\
[access]
username = "admin"
password = "geheim-0"

[upstreams."docker.io"]
username = "me"
password = "geheim-1"
headers = ["X-Key: geheim-2"]
proxy = "socks5://user:geheim-3@127.0.0.1:1080"

[upstreams."empty.test"]

[sites.eu]
url = "https://b.example/{digest}"
networks = ["10.0.0.0/8"]
"""

PAIRS: Final = frozenset({"tls_certificate", "tls_key", "username", "password"})
"""Settings that stand together or not at all."""

LEFT_OUT: Final = PAIRS | {"default_registry", "upstream", "auth", "exec", "client_key", "mode",
                           "aliases", "hosts", "path", "url"}  # fmt: skip
"""Those that other settings may contradict."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/."), min_size=1)

VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "boolean": st.booleans(),
    "integer": st.integers(1, 100),
    "size": st.integers(64 * 1024, 1024**2),
    "duration": st.integers(60_000, 3_600_000).map(lambda milliseconds: f"{milliseconds}ms"),
    "path": texts.map(lambda text: f"x{text}"),
    "string": texts,
    "list of strings": st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126),
                                        min_size=1, max_size=20), max_size=3),
    "list of patterns": st.lists(texts, max_size=3),
    "address": st.sampled_from(["", "127.0.0.1:53"]),
    "list of platforms": st.just(["linux/amd64", "linux/arm64/v8"]),
    "list of networks": st.lists(st.ip_addresses().map(str), max_size=3),
    "list of addresses": st.just(["[::1]:0", "unix:/x y"]),
    "list of endpoints": st.just(["https://a.example/p weight=2 cost=0.25"]),
    "list of rewrites": st.just(["a/*=b/*"]),
    "list of secrets": st.just(["X-Key: ***"]),
    "URL": st.sampled_from(["", "environment", "none", "socks5://u:***@h:1", "https://a.example",
                            "srv+https://_r._tcp.a.example"]),
}  # fmt: skip


def values_of(setting: Setting) -> st.SearchStrategy[Any]:
    """Return values that a setting may have, as a file has them."""
    if setting.kind.name == "choice":
        return st.sampled_from(re.findall(r'"([^"]*)"', setting.kind.allowed))
    return VALUES[setting.kind.name].filter(lambda value: allows(setting, value))


def allows(setting: Setting, value: object) -> bool:
    try:
        setting.kind.read(value)
    except ValueError:
        return False
    return True


@st.composite
def files(draw: st.DrawFn) -> str:
    """Draw a configuration file, with the stars of hidden secrets as its secrets."""
    lines: list[str] = []
    for section in dict.fromkeys(section for section, _ in SETTINGS):
        lines.append(heading(section))
        for (of, key), setting in SETTINGS.items():
            if of == section and key not in LEFT_OUT and draw(st.booleans()):
                lines.append(f"{key} = {literal(draw(values_of(setting)))}")
    names = draw(
        st.lists(st.sampled_from(["docker.io", "b:5000", "[::1]:1", "team.x"]), unique=True)
    )
    for name in names:
        lines.append(heading("upstreams", name))
        for key, setting in TABLE_SETTINGS["upstreams"].items():
            if key not in LEFT_OUT and draw(st.integers(0, 3)) == 0:
                lines.append(f"{key} = {literal(draw(values_of(setting)))}")
        lines += draw(st.sampled_from([[], ['username = "u"', 'password = "***"'],
                                       ['auth = "exec"', 'exec = ["x", "get"]']]))  # fmt: skip
    for number, name in enumerate(draw(st.lists(texts.map(str.strip), unique=True, max_size=2))):
        if name.isprintable() and 0 < len(name) <= 64:
            lines += [heading("sites", name), 'url = "https://b.example/{hex}"']
            lines.append(f'networks = ["10.{number}.0.0/16"]')
    return "\n".join(lines) + "\n"


@given(files())
@settings(max_examples=40)
def test_what_is_shown_loads_to_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = ConfigFile(tmp_path_factory.getbasetemp() / "shown.toml")
    first = file.load(text)
    assert file.load(reference.as_toml(resolve(file.path, {}, {}))) == first


def test_secrets_are_hidden(toml: ConfigFile) -> None:
    toml.load(WITH_SECRETS)
    resolved = resolve(toml.path, {}, {})
    shown = [reference.as_toml(resolved), reference.as_json(resolved), repr(resolved)]
    assert [text for text in shown if "geheim" in text] == []
    assert resolved.settings.upstreams["docker.io"].password == "geheim-1"


def test_tables_show_what_was_given_and_where(toml: ConfigFile) -> None:
    toml.load(WITH_SECRETS)
    resolved = resolve(toml.path, {"ENTREPOT_UPSTREAMS": '{"docker.io": {"failures": 3}}'}, {})
    toml_text = reference.as_toml(resolved)
    assert (
        f'[upstreams."docker.io"]  # {toml.path}:5\n'
        f'username = "me"  # {toml.path}:6\n'
        f'password = "***"  # {toml.path}:7\n'
        f'headers = ["X-Key: ***"]  # {toml.path}:8\n'
        f'proxy = "socks5://user:***@127.0.0.1:1080"  # {toml.path}:9\n'
        "failures = 3  # ENTREPOT_UPSTREAMS\n"
        f'\n[upstreams."empty.test"]  # {toml.path}:11\n'
        f"\n[sites.eu]  # {toml.path}:13\n"
    ) in toml_text
    tree = json.loads(reference.as_json(resolved))
    assert tree["upstreams"]["empty.test"] == {}
    assert tree["upstreams"]["docker.io"]["failures"] == {
        "value": 3,
        "origin": "ENTREPOT_UPSTREAMS",
    }


def test_a_files_strange_name_does_not_break_what_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "a\nlevel = 1 #.toml"
    file.write_text("[server]\nworkers = 2\n")
    shown = reference.as_toml(resolve(file, {}, {}))
    assert tomllib.loads(shown)["server"]["workers"] == 2
    assert load(file, {}, {}).server.workers == 2


@pytest.mark.parametrize("table", ["upstreams", "sites"])
def test_the_page_has_every_key_of_a_table(table: str) -> None:
    page = reference.page()
    assert f"## `[{table}.NAME]`" in page
    missing = [key for key in TABLE_SETTINGS[table] if f"### `{table}.NAME.{key}`" not in page]
    assert missing == []

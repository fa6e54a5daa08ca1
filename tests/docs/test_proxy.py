"""docs/proxy.md and the guide for oci-proxy: tables are what the program knows, names of settings
and metrics exist, examples are configurations."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

import pytest

from entrepot.cli.commands import run
from entrepot.config import Settings, load
from entrepot.config.model import SETTINGS, TABLE_SETTINGS
from entrepot.config.runtime_upstreams import read_runtime_upstreams
from entrepot.ports.cache_index import CacheEvent
from entrepot.rules.endpoint_choice import Selection
from entrepot.rules.eviction_policies import PolicyName
from entrepot.rules.freshness import ConflictRule, Mode
from entrepot.rules.upstream_presets import (
    CUSTOM,
    PRESETS,
    ArtifactoryLayout,
    UpstreamPreset,
    artifactory_place,
)
from entrepot.web.metrics import Metrics, prepare
from tests.docs.documents import blocks
from tools.environment import ROOT

PAGE: Final = ROOT / "docs" / "proxy.md"
OPERATIONS: Final = ROOT / "docs" / "operations.md"
GUIDES: Final = sorted((ROOT / "docs" / "guides").glob("*.md"))
HOSTS: Final[Mapping[ArtifactoryLayout, str]] = {
    "cloud": "acme.jfrog.io",
    "cloud-sub-domain": "acme.jfrog.io",
    "path": "art.example.com",
    "repository-path": "art.example.com",
    "sub-domain": "art.example.com",
    "port": "art.example.com:5001",
}
"""Where Artifactory is in the page's table of layouts; the repository is `hub`."""


def code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words)


def preset_row(preset: UpstreamPreset) -> str:
    names = code(preset.name, *preset.aliases, *preset.hosts)
    asked = [
        *preset.endpoints,
        *(["`https://NAME`"] if preset.hosts or not preset.endpoints else []),
    ]
    login = {"basic": "Basic", "bearer": "tokens", "none": "none"}[preset.login]
    if preset is CUSTOM:
        login = "as it asks"
    official = f" One-word names are in `{preset.official}/`." if preset.official else ""
    cells = (names, code(*preset.words), " or ".join(asked), login, preset.notes + official)
    return f"| {' | '.join(cells)} |"


def preset_table() -> str:
    head = "| names | also as `preset` | asked at | login | |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join(map(preset_row, PRESETS))


def command(layout: ArtifactoryLayout) -> str:
    """Return what adds the upstream `tools` in a layout."""
    key = "" if layout == "port" else " --repository hub"
    options = f"--preset artifactory --layout {layout}{key} --url {HOSTS[layout]}"
    return f"entrepot upstream add tools {options}"


def artifactory_table() -> str:
    head = "| layout | `endpoints` | `rewrites` | |\n| --- | --- | --- | --- |\n"
    rows = []
    for layout, host in HOSTS.items():
        place = artifactory_place(layout, host, "hub")
        rewrites = f'`["{place.rewrites[0]}"]`' if place.rewrites else ""
        rows.append(f"| {layout} | `{place.endpoint}` | {rewrites} | `{command(layout)}` |")
    return head + "\n".join(rows)


def metrics(folder: Path) -> dict[str, str]:
    """Return the name and kind of every metric of the mirror, as a scrape shows it."""
    prepare(folder)
    every = Metrics(folder, 0)
    mirror = every.mirror
    for outcome in ("hit", "miss"):
        mirror.asked("quay.io", "blob", outcome)
    mirror.fetched("quay.io", "blob", 1)
    mirror.served("quay.io", "blob", 1)
    mirror.evicted("quay.io", 1)
    mirror.exchanged("quay.io", "https://quay.io", "blob", "ok", 0.1)
    mirror.breaker("quay.io", "https://quay.io", "open")
    mirror.rate_limit("quay.io", 100, 99)
    mirror.noted("tag.diverged", "quay.io", "")
    text = every.render().decode()
    every.close()
    found = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    return {name: kind for name, kind in found.items() if not name.startswith("registry_http")}


def test_the_presets_are_those_that_are_known() -> None:
    assert preset_table() in PAGE.read_text(), f"write it anew:\n{preset_table()}"


def test_the_layouts_of_artifactory_are_those_that_are_known() -> None:
    assert HOSTS.keys() == {*get_args(ArtifactoryLayout)}
    assert artifactory_table() in PAGE.read_text(), f"write it anew:\n{artifactory_table()}"


@pytest.mark.parametrize("choices", [Selection, PolicyName, Mode, ConflictRule])
def test_every_choice_is_explained(choices: object) -> None:
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(), re.M))
    assert {*get_args(choices)} <= rows


def test_every_metric_is_named_with_its_kind(tmp_path: Path) -> None:
    rows = re.findall(r"^\| (`[^|]*`) \| (counter|gauge|histogram) \|", PAGE.read_text(), re.M)
    named = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)", names)}
    assert named == {
        name: kind for name, kind in metrics(tmp_path).items() if name != "entrepot_build_info"
    }


@pytest.mark.parametrize("layout", HOSTS)
def test_a_layouts_command_adds_its_row(layout: ArtifactoryLayout, tmp_path: Path) -> None:
    words = shlex.split(command(layout).removeprefix("entrepot "))
    assert run([*words, "--data", str(tmp_path)]) == 0
    (upstream,) = read_runtime_upstreams(tmp_path / "upstreams.toml").values()
    place = artifactory_place(layout, HOSTS[layout], "hub")
    assert (upstream.endpoints, upstream.rewrites) == ((place.endpoint,), place.rewrites)


def test_metrics_of_alerts_exist(tmp_path: Path) -> None:
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metrics(tmp_path)}
    asked = re.findall(r"\b(?:entrepot|registry_proxy)_\w+", OPERATIONS.read_text())
    assert asked
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= known


def test_every_event_is_explained() -> None:
    kinds = set(re.findall(r"`([a-z]+\.[a-z]+)`", CacheEvent.__doc__ or ""))
    rows = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", PAGE.read_text(), re.M))
    assert kinds
    assert kinds <= rows


@pytest.mark.parametrize("page", [PAGE, OPERATIONS, *GUIDES], ids=lambda page: page.stem)
def test_settings_that_are_named_exist(page: Path) -> None:
    sections = {section for section, _ in SETTINGS}
    named = set(re.findall(r"`([a-z]+\.[a-z_0-9]+)(?: =[^`]*)?`", page.read_text()))
    wrong = {
        name
        for name in named
        if name.partition(".")[0] in sections
        and tuple(name.split(".")) not in SETTINGS
        and not name.endswith((".db", ".log"))
    }
    assert wrong == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda page: page.stem)
def test_who_looks_at_counters_after_a_pull_waits_for_them(page: Path) -> None:
    """A server writes once a second how its cache was used."""
    for block in blocks(page):
        before, stats, _ = block.text.partition("entrepot cache stats")
        assert not stats or re.search(r"(?:^|\n)sleep 2\b.*\n\S*$", before), block.text


@pytest.mark.parametrize("page", [PAGE, *GUIDES], ids=lambda page: page.stem)
def test_examples_are_configurations(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(one for one in blocks(page) if one.kind == "toml"):
        file = tmp_path / f"{number}.toml"
        file.write_text(block.text)
        assert load(file, {}, {}) != Settings()


def test_every_key_of_oci_proxy_has_its_row() -> None:
    page = (ROOT / "docs" / "guides" / "migrating-from-oci-proxy.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Za-z_.]+)` \| (?:`([a-zA-Z_.]+)`|[^|]*) \|", page, re.M))
    reference = (ROOT / "docs" / "configuration.md").read_text()
    table = reference.partition("told by its keys:\n\n")[2].partition("\n\n")[0]
    cells = [re.sub(r"\(.*\)", "", cell) for cell in re.findall(r"^\| (`.*?) \|", table, re.M)]
    keys = {key for cell in cells for key in re.findall(r"`([A-Za-z_.…]+)`", cell)}
    assert keys
    assert {key.replace("….", "registries.HOST.") for key in keys} == rows.keys()
    for ours in filter(None, rows.values()):
        section, _, key = ours.partition(".")
        if section == "upstreams":
            assert key == "HOST" or key.removeprefix("HOST.") in TABLE_SETTINGS["upstreams"], ours
        else:
            assert (section, key) in SETTINGS, ours

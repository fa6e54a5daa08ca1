"""Modules are named by the field's nouns and stay small enough to read in one sitting."""

from pathlib import Path
from typing import Final

from tools.environment import ROOT

PACKAGE: Final = ROOT / "src" / "entrepot"
SOURCES: Final = sorted(PACKAGE.rglob("*.py"))

NO_NOUNS: Final = frozenset(
    {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
)
MOST_LINES: Final = 450
WRITTEN_BY_PROGRAMS: Final = frozenset({"adapters/metadata_stores/sql.py"})
"""Nobody reads these from top to bottom; the program that writes them is held to the limit."""


def name(source: Path) -> str:
    """Return the path inside the package, as a failure shows it."""
    return source.relative_to(PACKAGE).as_posix()


def words(source: Path) -> set[str]:
    """Return the words of the module's name and of its packages' names."""
    return set(name(source).removesuffix(".py").replace("/", "_").split("_"))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 10


def test_a_module_can_be_read_in_one_sitting() -> None:
    read = [source for source in SOURCES if name(source) not in WRITTEN_BY_PROGRAMS]
    lines = {name(source): len(source.read_text().splitlines()) for source in read}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}


def test_a_module_is_named_for_what_belongs_in_it() -> None:
    assert [name(source) for source in SOURCES if words(source) & NO_NOUNS] == []


def test_a_module_says_what_belongs_in_it() -> None:
    texts = {name(source): source.read_text().strip() for source in SOURCES}
    assert [m for m, text in texts.items() if text and not text.startswith(('"""', 'r"""'))] == []


def test_every_folder_is_a_package() -> None:
    """A folder without `__init__.py` would stay unseen by the layer contracts."""
    folders = {source.parent for source in SOURCES}
    assert sorted(name(f) for f in folders if not (f / "__init__.py").is_file()) == []

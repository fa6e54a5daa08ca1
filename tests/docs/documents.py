"""The project's documents, and the blocks of code in them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.environment import ROOT

DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_BLOCK: Final = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SECTION: Final = re.compile(r"^## (.+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, its info string, and its text."""

    document: str
    section: str
    kind: str
    text: str


def name_of(document: Path) -> str:
    """Return a document's path in the repository."""
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path) -> list[Block]:
    """Return a document's blocks in order; those before its first section have none."""
    name, text = name_of(document), document.read_text()
    before, *parts = _SECTION.split(text)
    sections = [("", before), *zip(parts[::2], parts[1::2], strict=True)]
    return [
        Block(name, title, kind, content)
        for title, body in sections
        for kind, content in _BLOCK.findall(body)
    ]


def prose(document: Path) -> str:
    """Return a document's text without its blocks."""
    return _BLOCK.sub("", document.read_text())

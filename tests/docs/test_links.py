"""What a document links to exists: files of the repository and headings in them."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

from tests.docs.documents import DOCUMENTS, name_of, prose

_LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_OUTSIDE: Final = re.compile(r"https?://")


def anchors(document: Path) -> set[str]:
    """Return the fragments that name a document's headings, as code hosts make them."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(document)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = sum(one == slug or one.startswith(f"{slug}-") for one in found)
        found.add(f"{slug}-{number}" if slug in found else slug)
    return found


def broken(document: Path) -> list[str]:
    """Return the document's links that lead nowhere."""
    found = []
    for link in _LINK.findall(prose(document)):
        if _OUTSIDE.match(link):
            continue
        path, _, fragment = link.partition("#")
        target = document.parent / unquote(path) if path else document
        missing = not target.exists()
        if missing or (fragment and fragment not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# A page: of `code`\n[a](#a-page-of-code) [b](#elsewhere) [c](gone.md) [d](page.md#none) "
        "[e](page.md) ![f](gone.svg) [g](https://example.org/)\n```sh\n[h](i)\n```\n"
    )
    assert broken(document) == ["#elsewhere", "gone.md", "page.md#none", "gone.svg"]

"""What documents tell to run: every block says what it is, and our own commands exist.

That the commands work is shown by test_operations.py here, and for clients by
tests/interop/test_documented_commands.py.
"""

import re
from pathlib import Path
from typing import Final

import pytest

from dev import COMMANDS
from tests.docs.documents import DOCUMENTS, blocks, name_of

KINDS: Final = {"", "sh", "sh outside", "console", "ini", "json", "nginx", "toml", "yaml"}
"""`sh` is run by a test; `sh outside` needs what no test has; the rest are no commands."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_says_what_it_is(document: Path) -> None:
    assert {block.kind for block in blocks(document)} <= KINDS


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_of_dev_py_exist(document: Path) -> None:
    named = set(re.findall(r"dev\.py ([a-z]+)", document.read_text()))
    assert named <= COMMANDS.keys()

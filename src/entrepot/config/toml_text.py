"""TOML as it is written: headings of tables and values on one line."""

import json
import re
from typing import Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def heading(*names: str) -> str:
    """Write the heading of a table, e.g. `[upstreams."docker.io"]`."""
    return "[" + ".".join(one if _BARE.fullmatch(one) else literal(one) for one in names) + "]"


def literal(value: object) -> str:
    """Write a value, whose strings, numbers, booleans and arrays are JSON's."""
    # JSON leaves DEL as it is, TOML does not allow it.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

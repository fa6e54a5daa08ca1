"""Writes `sql`: every statement of `statements` as text for both engines.

Compiling ahead of time keeps SQLAlchemy out of the processes that serve (25 MB and half a
second each), and shows in review what the engines will be asked. A test holds the file equal
to what this module renders. Run it after a change:
`python -m entrepot.adapters.metadata_stores.compile`.
"""

import re
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Dialect, Select
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql.dml import UpdateBase

from entrepot.adapters.metadata_stores import statements

TARGET: Final = Path(__file__).with_name("sql.py")
STATEMENT: Final = (Select, UpdateBase)
HEAD: Final = '''\
"""Every statement as text. Written by `compile` from `statements`; do not edit."""

from typing import Final

from entrepot.adapters.metadata_stores.database import Statement

# fmt: off
# ruff: noqa: E501
'''
ENTRY: Final = '''
{name}: Final = Statement(
    sqlite="""
{sqlite}
""",
    postgresql="""
{postgresql}
""",
)
'''


def render() -> str:
    """Return the text of `sql`."""
    sqlite = pysqlite.dialect(paramstyle="named")
    postgresql = psycopg.dialect()  # type: ignore[no-untyped-call]
    return HEAD + "".join(
        ENTRY.format(name=name, sqlite=_text(value, sqlite), postgresql=_text(value, postgresql))
        for name, value in vars(statements).items()
        if isinstance(value, STATEMENT) and not name.startswith("_")
    )


def _text(statement: Select[Any] | UpdateBase, dialect: Dialect) -> str:
    """Compile, with what SQLAlchemy made a parameter of its own written as a literal."""
    compiled = statement.compile(dialect=dialect)
    text = str(compiled)
    for name, value in compiled.params.items():
        if value is not None:
            text = re.sub(rf":{name}\b", str(int(value)), text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")

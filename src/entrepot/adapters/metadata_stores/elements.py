"""A list as one parameter: the only thing that `statements` says differently to each engine."""

from typing import Any

from sqlalchemy import BigInteger, TableValuedAlias, Text, bindparam, column
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class Elements(FunctionElement[Any]):
    """A list parameter as a table of one column, `value`."""

    name = "elements"
    inherit_cache = True


@compiles(Elements, "sqlite")
def _from_json(element: Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(Elements, "postgresql")
def _from_array(element: Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT unnest({compiler.process(element.clauses, **options)}) AS value)"


def elements(name: str, kind: type[Text] | type[BigInteger] = Text) -> TableValuedAlias:
    """Return the elements of the list parameter `name` as rows."""
    values = Elements(bindparam(name, type_=ARRAY(kind)))
    return values.table_valued(column("value", kind), name="given")

"""A database URL names an engine."""

from pathlib import Path

import pytest

from entrepot.adapters.metadata_stores.location import sqlite_path
from entrepot.config import kinds


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///metadata.db", Path("metadata.db")),
        ("sqlite:////var/lib/entrepot/metadata.db", Path("/var/lib/entrepot/metadata.db")),
        ("sqlite:////odd/100%25 ?#.db", Path("/odd/100%25 ?#.db")),
        ("postgresql://user@host/database", None),
        ("postgres:///database?host=/run/postgresql", None),
    ],
)
def test_what_a_url_names(url: str, path: Path | None) -> None:
    assert sqlite_path(url) == path
    assert kinds.DATABASE_URL.read(url) == url


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "postgres:", "mysql://u:secret@h/d", "/metadata.db"]
)
def test_anything_else_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="a metadata database URL is") as refused:
        sqlite_path(url)
    assert "secret" not in str(refused.value)
    with pytest.raises(ValueError):  # noqa: PT011 - the configuration shows its own message
        kinds.DATABASE_URL.read(url)


def test_the_empty_url_is_a_setting_but_names_nothing() -> None:
    assert kinds.DATABASE_URL.read("") == ""
    with pytest.raises(ValueError, match="a metadata database URL is"):
        sqlite_path("")

"""Whatever is wrong with a PostgreSQL URL, what is said of it shows no part of its password."""

import socket
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from entrepot.adapters.metadata_stores.migrate import is_current
from entrepot.adapters.metadata_stores.migrations.upgrade import upgrade
from entrepot.adapters.metadata_stores.postgresql_connect import LIMITS, connect, connect_async
from entrepot.oci.errors import Unavailable

URLS = [
    "postgresql://u:hunter2%zz@127.0.0.1:1/d",
    "postgresql://u:hunter2@127.0.0.1:1/d",
    "postgresql://u:x@hunter2@127.0.0.1:1/d",
    "postgresql://u:hunter2/x@127.0.0.1:1/d",
    "postgresql://127.0.0.1:1/hunter2@127.0.0.1:1/d",
    "postgresql://u:x?hunter2=1@127.0.0.1:1/d",
    "postgres://127.0.0.1:1/d?user=u&password=hunter2",
    "postgresql://u:hunter2\udcff@127.0.0.1:1/d",
]


def refused(connect: Callable[[str], Any], url: str) -> str:
    """Return the whole traceback of a connection that fails."""
    with pytest.raises(Unavailable) as caught:
        connect(url)
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("using", [connect, is_current, upgrade])
def test_no_password_is_shown(using: Callable[[str], Any], url: str) -> None:
    shown = refused(using, url)
    assert "hunter2" not in shown
    assert "***" in shown


@pytest.mark.parametrize("url", URLS)
async def test_no_password_is_shown_while_serving(url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await connect_async(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/d"


SHORTEST = 2
"""Seconds; psycopg waits no shorter time to connect."""


def test_a_server_that_says_nothing_is_given_up(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "connect_timeout", SHORTEST)
    assert "timeout" in refused(is_current, silent)


def test_the_limits_of_a_url_are_kept(silent: str) -> None:
    assert LIMITS["connect_timeout"] > SHORTEST
    before = time.monotonic()
    refused(connect, f"{silent}?connect_timeout={SHORTEST}")
    assert time.monotonic() - before < LIMITS["connect_timeout"]


def test_the_limits_of_the_environment_are_kept(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", str(SHORTEST))
    before = time.monotonic()
    refused(connect, silent)
    assert time.monotonic() - before < LIMITS["connect_timeout"]

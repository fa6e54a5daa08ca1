"""The client opens what a command asks for, wherever and as whoever that runs."""

import pwd

import pytest

from entrepot.client import Client, RemoteOptions


async def test_a_user_of_no_name_needs_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number: no HOME, no line in the passwd file."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    async with Client({}) as client:
        assert client.registry("registry.test", RemoteOptions()).rate_limit is None

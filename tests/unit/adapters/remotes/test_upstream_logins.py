"""Logins to upstreams: header fields, and programs that print credentials."""

import stat
import sys
from pathlib import Path

import pytest

from entrepot.adapters.remotes.upstream_logins import ProgramLogin, parse_headers
from entrepot.oci.errors import Unauthorized, Unsupported
from entrepot.ports.credential_store import Credentials

PRINTS = "import sys; sys.stdin.read(); print('''{}''')"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def program(code: str, *, ttl: float = 600.0, seconds: float = 30.0) -> ProgramLogin:
    return ProgramLogin([sys.executable, "-c", code], {}, ttl=ttl, seconds=seconds)


def printing(text: str) -> ProgramLogin:
    return program(PRINTS.format(text))


def test_header_fields_are_read() -> None:
    assert parse_headers(["X-Key: a: b", "Y:c"]) == {"X-Key": "a: b", "Y": "c"}


@pytest.mark.parametrize(
    "line", ["no colon", ": secret", "X-Empty:", "Host: secret", "range: secret"]
)
def test_a_field_that_cannot_be_sent_is_refused_without_its_value(line: str) -> None:
    with pytest.raises(Unsupported, match="header field") as caught:
        parse_headers([line])
    assert "secret" not in str(caught.value)


class TestPrograms:
    async def test_name_and_secret(self) -> None:
        found = await printing('{"Username": "AWS", "Secret": "s"}').find("x.example")
        assert found == Credentials("AWS", "s")

    async def test_an_identity_token(self) -> None:
        found = await printing('{"Username": "<token>", "Secret": "s"}').find("x.example")
        assert found == Credentials(identity_token="s")

    async def test_nothing(self) -> None:
        assert await printing('{"Username": "", "Secret": ""}').find("x.example") is None
        absent = program("print('credentials not found in native keychain'); raise SystemExit(1)")
        assert await absent.find("x.example") is None

    @pytest.mark.parametrize(
        "text", ["hush", "[]", "null", '{"Username": "hush"}', '{"Username": 1, "Secret": "hush"}']
    )
    async def test_what_it_prints_wrongly_is_not_shown(self, text: str) -> None:
        with pytest.raises(Unauthorized, match="did not print") as caught:
            await printing(text).find("x.example")
        assert "hush" not in str(caught.value)

    async def test_one_that_gives_no_answer_is_stopped(self) -> None:
        with pytest.raises(Unauthorized, match=r"no answer in 0\.2 s"):
            await program("import time; time.sleep(60)", seconds=0.2).find("x.example")

    async def test_one_that_is_not_there(self) -> None:
        with pytest.raises(Unauthorized, match="no program that can be found"):
            await ProgramLogin(["no-such-program"], {}, ttl=1).find("x.example")

    async def test_it_is_asked_once_in_its_time_also_when_it_fails(self, tmp_path: Path) -> None:
        asked = tmp_path / "asked"
        helper = tmp_path / "helper"
        helper.write_text(f"#!/bin/sh\ncat >> {asked}\nexit 3\n")
        helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
        clock = Clock()
        login = ProgramLogin([str(helper)], {}, ttl=600, clock=clock)
        for now, runs in ((0.0, 1), (9.0, 1), (11.0, 2)):
            clock.now = now
            with pytest.raises(Unauthorized, match="status 3"):
                await login.find("x.example")
            assert asked.read_text() == "x.example" * runs

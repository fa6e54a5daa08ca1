"""Logs: their two forms, what never appears in them, and the access log."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from entrepot.config import LogSettings, ServerSettings, Settings
from entrepot.logs import AccessLog, access_log, configure, get_logger, scrub

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logged(**fields: object) -> dict[str, Any]:
    """Log an event with these fields as JSON and return it without what every event has."""
    stream = io.StringIO()
    configure(LogSettings(), stream)
    get_logger("test").info("event", **fields)
    (line,) = lines(stream)
    return {name: line[name] for name in fields}


def test_elsewhere_than_on_a_terminal_a_line_is_json() -> None:
    stream = io.StringIO()
    configure(LogSettings(), stream)
    get_logger("server").warning("worker died", slot=3)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert list(line.items()) == [
        ("level", "warning"),
        ("event", "worker died"),
        ("source", "server"),
        ("slot", 3),
    ]


def test_on_a_terminal_a_line_is_for_people() -> None:
    stream = Terminal()
    configure(LogSettings(), stream)
    get_logger("server").warning("worker died", slot=3)
    (line,) = stream.getvalue().splitlines()
    assert "worker died" in line
    assert "\x1b[" in line


def test_the_form_can_be_chosen() -> None:
    terminal, file = Terminal(), io.StringIO()
    configure(LogSettings(format="json"), terminal)
    get_logger("x").info("one")
    assert lines(terminal)[0]["event"] == "one"
    configure(LogSettings(format="human"), file)
    get_logger("x").info("two")
    assert "[info" in file.getvalue()
    assert "\x1b[" not in file.getvalue()


def test_what_is_below_the_level_is_left_out_also_by_loggers_made_before() -> None:
    stream = io.StringIO()
    log = get_logger("x")
    configure(LogSettings(level="warning"), stream)
    log.info("no")
    log.warning("yes")
    configure(LogSettings(level="debug"), stream)
    log.debug("now")
    assert [line["event"] for line in lines(stream)] == ["yes", "now"]


def test_libraries_log_the_same_way() -> None:
    stream = io.StringIO()
    configure(LogSettings(), stream)
    logging.getLogger("alembic").warning("slow %s", "migration")
    logging.getLogger("alembic").info("chatter")
    (line,) = lines(stream)
    assert (line["event"], line["source"], line["level"]) == (
        "slow migration",
        "alembic",
        "warning",
    )


def test_a_traceback_is_part_of_the_line_and_without_secrets() -> None:
    stream = io.StringIO()
    configure(LogSettings(), stream)
    try:
        raise ValueError("postgresql://user:secret@host/name")
    except ValueError:
        get_logger("x").exception("failed")
    (line,) = lines(stream)
    assert line["exception"].startswith("Traceback")
    assert "postgresql://user:***@host/name" in line["exception"]


@pytest.mark.parametrize(
    "name",
    ["authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "password", "db_password",
     "token", "refresh_token", "secret", "client-secret", "api_key"],
)  # fmt: skip
def test_secrets_are_hidden_by_name(name: str) -> None:
    assert logged(**{name: "hunter2"}) == {name: "***"}
    assert logged(headers={name: "hunter2"}) == {"headers": {name: "***"}}
    assert logged(headers=[(name, "hunter2")]) == {"headers": [[name, "***"]]}


def test_what_is_no_secret_stays() -> None:
    fields = {"tokens": 3, "path": "/v2/secret/tags/list", "ok": True, "none": None, "half": 0.5}
    assert logged(**fields) == fields


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://user:pw@host/v2/", "GET https://user:***@host/v2/"),
        ("https://:pw@host", "https://:***@host"),
        ("to postgresql://u:pa/ss@h/db, once", "to postgresql://u:***@h/db, once"),
        ("postgresql://u:p@ss/w@h/db", "postgresql://u:***@h/db"),
        ("https://u:1234/ss@h/v2/", "https://u:***@h/v2/"),
        ("https://TOKEN@h/v2/", "https://***@h/v2/"),
        ("docker://u:pw@host/repo@sha256:abc", "docker://u:***@host/repo@sha256:abc"),
        ("https://host/repo@sha256:abc", "https://host/repo@sha256:abc"),
        ("https://host/@scope/name me@host", "https://host/@scope/name me@host"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer ***"),
        ("basic dXNlcjpwdw==", "basic ***"),
        ("/token?service=a&access_token=abc&b=c", "/token?service=a&access_token=***&b=c"),
        ("https://s3/b?X-Amz-Signature=abc", "https://s3/b?X-Amz-Signature=***"),
        ("docker://host:5000/repo@sha256:abc", "docker://host:5000/repo@sha256:abc"),
        ("a basic idea", "a basic idea"),
    ],
)
def test_credentials_are_hidden_inside_text(text: str, shown: str) -> None:
    assert scrub(text) == shown
    assert logged(text=text, error=ValueError(text)) == {"text": shown, "error": shown}


def test_logging_does_not_load_rich() -> None:
    code = (
        "import sys; from entrepot import logs; from entrepot.config import LogSettings;"
        "logs.configure(LogSettings()); print('rich' in sys.modules);"
        "import rich.console; print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\nTrue\n", done.stderr


class Pipe:
    """A pipe that keeps writes apart, as a reader of several workers' lines would need."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)

    def writes(self) -> list[bytes]:
        found = []
        try:
            while data := os.read(self.reader, 1 << 16):
                found.append(data)
        except BlockingIOError:
            pass
        return found


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.writer)
    os.close(pipe.reader)


def write(log: AccessLog, **changes: object) -> None:
    request: dict[str, Any] = {
        "at": NOON, "request": "1f-2", "client": "10.0.0.1", "method": "GET", "path": "/v2/",
        "query": "", "status": 200, "sent": 2, "seconds": 0.0015, "agent": "docker/24",
    }  # fmt: skip
    log.write(**{**request, **changes})


def written(pipe: Pipe, **changes: object) -> dict[str, Any]:
    log = AccessLog(pipe.writer, "json")
    write(log, **changes)
    log.close()
    (line,) = pipe.writes()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_request_is_one_line_of_json(pipe: Pipe) -> None:
    assert written(pipe, at=NOON + 0.25) == {
        "timestamp": "2026-01-01T12:00:00.250Z",
        "level": "info",
        "event": "request",
        "request": "1f-2",
        "client": "10.0.0.1",
        "method": "GET",
        "target": "/v2/",
        "status": 200,
        "sent": 2,
        "ms": 1.5,
        "agent": "docker/24",
    }


def test_a_request_is_one_line_for_people(pipe: Pipe) -> None:
    log = AccessLog(pipe.writer, "human")
    write(log, client="")
    log.close()
    assert pipe.writes() == [
        b'2026-01-01T12:00:00.000Z 200 GET /v2/ 2 B 1.5 ms - "docker/24" 1f-2\n'
    ]
    colourful = AccessLog(pipe.writer, "colour")
    write(colourful, status=404)
    colourful.close()
    assert b" \x1b[33m404\x1b[0m GET " in pipe.writes()[0]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("n=10&last=v1", "?n=10&last=v1"),
        ("digest=sha256:ab&_state=secret", "?digest=sha256:ab"),
        ("mount=sha256:ab&from=a%2Fb", "?mount=sha256:ab&from=a%2Fb"),
        ("token=secret", ""),
        ("artifactType=a/b&ns=docker.io&tag=x", "?artifactType=a/b&ns=docker.io&tag=x"),
        ("secret", ""),
    ],
)
def test_only_harmless_parameters_are_kept(pipe: Pipe, query: str, kept: str) -> None:
    assert written(pipe, query=query)["target"] == "/v2/" + kept


@pytest.mark.parametrize("style", ["json", "human"])
def test_nothing_a_client_sends_breaks_the_line(pipe: Pipe, style: Any) -> None:
    log = AccessLog(pipe.writer, style)
    nasty = 'a"\\\n\r\x1b[2J\x00é\u2028'
    write(log, path="/" + nasty, agent=nasty, method=nasty, request=nasty, client=nasty)
    log.close()
    (line,) = pipe.writes()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\x1b" not in line
    if style == "json":
        assert json.loads(line)["agent"] == nasty


def test_long_paths_and_agents_are_cut(pipe: Pipe) -> None:
    line = written(pipe, path="/" + "x" * 60_000, agent="y" * 60_000)
    assert len(line["target"]) == 1024
    assert len(line["agent"]) == 256


def test_lines_gather_until_they_are_flushed(pipe: Pipe) -> None:
    log = AccessLog(pipe.writer, "json")
    write(log)
    write(log)
    assert pipe.writes() == []
    log.flush()
    assert b"".join(pipe.writes()).count(b"\n") == 2
    log.flush()
    assert pipe.writes() == []


def test_whole_lines_are_written_in_pieces_that_workers_cannot_mix(pipe: Pipe) -> None:
    log = AccessLog(pipe.writer, "json")
    for number in range(100):
        write(log, request=str(number))
    log.flush()
    pieces = pipe.writes()
    assert len(pieces) > 1
    assert all(piece.endswith(b"\n") and len(piece) <= 4096 for piece in pieces)
    numbers = [json.loads(line)["request"] for line in b"".join(pieces).splitlines()]
    assert numbers == [str(number) for number in range(100)]


def test_many_lines_leave_by_themselves(pipe: Pipe) -> None:
    log = AccessLog(pipe.writer, "json")
    while not (pieces := pipe.writes()):
        write(log)
    assert sum(len(piece) for piece in pieces) >= 64 * 1024 - 4096


def test_a_log_that_cannot_be_written_fails_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = AccessLog(writer, "json")
    write(log)
    log.flush()
    os.close(writer)


def test_settings_choose_the_access_log(pipe: Pipe) -> None:
    with open(pipe.writer, "w", closefd=False) as stream:
        assert access_log(Settings(server=ServerSettings(access_log=False)), stream) is None
        assert access_log(Settings(log=LogSettings(level="warning")), stream) is None
        for form, mark in (("auto", b"{"), ("json", b"{"), ("human", b"2026-")):
            log = access_log(Settings(log=LogSettings(format=form)), stream)  # type: ignore[arg-type]
            assert log is not None
            write(log)
            log.close()
            assert pipe.writes()[0].startswith(mark)

"""Logs: structlog's set-up, what must never be in a log, and the access log.

Everything goes to standard error: coloured lines on a terminal, one JSON object per line
elsewhere. Times are UTC. What is *said* belongs to those who say it; they get their logger
from `get_logger`.
"""

import contextlib
import importlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

    from entrepot.config import LogSettings, Settings

_FLUSH_BYTES: Final = 64 * 1024
_ATOMIC_BYTES: Final = 4096
_MAX_TARGET: Final = 1024
_MAX_AGENT: Final = 256
_LOGGED_PARAMETERS: Final = frozenset(
    {"artifactType", "digest", "from", "last", "mount", "n", "ns", "tag"}
)
_COLOURS: Final = {2: "32", 3: "36", 4: "33", 5: "31"}

HIDDEN: Final = "***"
"""What stands in a log in place of a secret."""

_SECRET_NAMES: Final = frozenset(
    {
        "api_key", "authorization", "cookie", "credentials", "passwd", "password", "private_key",
        "proxy_authorization", "secret", "secret_key", "set_cookie", "token",
    }
)  # fmt: skip
_SECRET_ENDINGS: Final = ("_password", "_secret", "_token")
_WORD: Final = re.compile(r"\S+")
_DIGEST: Final = re.compile(r"@sha(?:256|512):[^@\s]*\Z")
_CREDENTIALS: Final = re.compile(r"\b(basic|bearer)\s+[\w+/=.~-]{6,}", re.ASCII | re.IGNORECASE)
_SECRET_PARAMETER: Final = re.compile(
    r"([?&][^=&\s]*(?:password|secret|token|signature)=)[^&\s]+", re.ASCII | re.IGNORECASE
)


def configure(log: "LogSettings", stream: TextIO | None = None) -> None:
    """Set up structlog, and send the standard library's logging the same way.

    May be called again; loggers that exist follow. `stream` is standard error by default.
    """
    structlog = _structlog()
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[log.level.upper()]
    renderers: list[Processor] = [_in_reading_order, structlog.processors.JSONRenderer()]
    if is_human(log, stream.isatty()):
        renderers = [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Forward()]
    # Libraries are chatty: what they say below a warning is for those who debug.
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))


def get_logger(name: str) -> "FilteringBoundLogger":
    """Return a logger whose lines carry `source=name`."""
    return cast("FilteringBoundLogger", _structlog().get_logger(source=name))


def is_human(log: "LogSettings", terminal: bool) -> bool:
    """Whether lines are written for people, given whether they go to a terminal."""
    return log.format == "human" or (log.format == "auto" and terminal)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Hide secrets in a log event: by name (`authorization`, `password`, `…_token`, headers
    among them), and credentials inside any text (URLs, `Bearer …`)."""
    return {name: _redacted(name, value) for name, value in event.items()}


def scrub(text: str) -> str:
    """Return text with the credentials in it hidden."""
    if "://" in text and "@" in text:
        text = _WORD.sub(_without_account, text)
    text = _CREDENTIALS.sub(rf"\1 {HIDDEN}", text)
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", text)


def _without_account(found: re.Match[str]) -> str:
    """Return a word with the account of the URL in it hidden: all of one that is a token alone.

    A raw `/` or `@` in a password is a mistake, but must not leak: the last `@` counts, unless
    it begins a digest. Rather hide a part of a path than show a password.
    """
    word = found[0]
    digest = _DIGEST.search(word)
    end = digest.start() if digest else len(word)
    before, slashes, rest = word[:end].partition("://")
    account, at, place = rest.rpartition("@")
    user, colon, _ = account.partition(":")
    if not account or "/" in user:
        return word
    shown = f"{user}:{HIDDEN}" if colon else HIDDEN
    return f"{before}{slashes}{shown}{at}{place}{word[end:]}"


def _redacted(name: str, value: Any) -> Any:
    plain = name.lower().replace("-", "_")
    if plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS):
        return HIDDEN
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        # A pair may be a header: its first part names the second.
        if len(value) == 2 and isinstance(value[0], str):
            return [value[0], _redacted(value[0], value[1])]
        return [_redacted("", one) for one in value]
    if value is None or isinstance(value, int | float):
        return value
    # An exception or a path, say: what the renderer would make of it must be scrubbed too.
    return scrub(str(value))


def _in_reading_order(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**first, **event}


class _Forward(logging.Handler):
    """Hands records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger(record.name).log(
            record.levelno, record.getMessage(), exc_info=record.exc_info or None
        )


def _structlog() -> Any:
    """Import structlog without rich.

    structlog takes rich for tracebacks if it can. Ours are plain, and rich costs every process
    110 ms and 7 MB.
    """
    if "structlog" in sys.modules:
        return sys.modules["structlog"]
    with _hidden("rich"):
        return importlib.import_module("structlog")


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
    present = sys.modules.get(module)
    sys.modules[module] = cast("Any", None)
    try:
        yield
    finally:
        del sys.modules[module]
        if present is not None:
            sys.modules[module] = present


class AccessLog:
    """One line per request, buffered: a request costs microseconds and no system call.

    Lines leave with `flush`, which a worker calls a few times a second, when 64 KiB have
    gathered, and with `close`. A log that cannot be written fails no request: its lines are
    dropped.
    """

    def __init__(self, descriptor: int, style: Literal["json", "human", "colour"]) -> None:
        self._descriptor = descriptor
        self._json = style == "json"
        self._colours = _COLOURS if style == "colour" else {}
        self._lines: list[str] = []
        self._size = 0
        self._second = -1
        self._prefix = ""

    def write(
        self,
        at: float,
        request: str,
        client: str,
        method: str,
        path: str,
        query: str,
        status: int,
        sent: int,
        seconds: float,
        agent: str,
    ) -> None:
        """Add a request that ended at Unix time `at` after `seconds`, having `sent` body bytes.

        Of the query only parameters that are known to hold no secret are kept.
        """
        second = int(at)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        moment = f"{self._prefix}.{int((at - second) * 1000):03d}Z"
        target = quote((path + _harmless(query) if query else path)[:_MAX_TARGET])
        if self._json:
            line = (
                f'{{"timestamp":"{moment}","level":"info","event":"request",'
                f'"request":{quote(request)},"client":{quote(client)},"method":{quote(method)},'
                f'"target":{target},"status":{status},"sent":{sent},'
                f'"ms":{seconds * 1000:.3f},"agent":{quote(agent[:_MAX_AGENT])}}}\n'
            )
        else:
            colour = self._colours.get(status // 100)
            shown = f"\x1b[{colour}m{status}\x1b[0m" if colour else f"{status}"
            line = (
                f"{moment} {shown} {quote(method)[1:-1]} {target[1:-1]} {sent} B "
                f"{seconds * 1000:.1f} ms {quote(client)[1:-1] or '-'} "
                f"{quote(agent[:_MAX_AGENT])} {quote(request)[1:-1]}\n"
            )
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write out what has gathered."""
        lines, self._lines, self._size = self._lines, [], 0
        # Several workers share the descriptor: a pipe keeps small writes whole, larger ones mix.
        start = size = 0
        for end, line in enumerate(lines):
            if size + len(line) > _ATOMIC_BYTES and size:
                self._emit(lines[start:end])
                start, size = end, 0
            size += len(line)
        self._emit(lines[start:])

    def close(self) -> None:
        """Write out what has gathered; the descriptor is not ours to close."""
        self.flush()

    def _emit(self, lines: list[str]) -> None:
        data = memoryview("".join(lines).encode("ascii"))
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]


def access_log(settings: "Settings", stream: TextIO | None = None) -> AccessLog | None:
    """Return the access log that the settings ask for; None if they ask for none.

    `stream` is standard error by default; lines go to its descriptor.
    """
    if not settings.server.access_log or settings.log.level not in ("debug", "info"):
        return None
    stream = stream or sys.stderr
    terminal = stream.isatty()
    if is_human(settings.log, terminal):
        return AccessLog(stream.fileno(), "colour" if terminal else "human")
    return AccessLog(stream.fileno(), "json")


def _harmless(query: str) -> str:
    """Return `?` and the parameters of a query that may be logged; empty if none may."""
    kept = [
        parameter
        for parameter in query.split("&")
        if parameter.partition("=")[0] in _LOGGED_PARAMETERS
    ]
    return "?" + "&".join(kept) if kept else ""

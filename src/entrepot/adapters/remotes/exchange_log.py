"""The log of exchanges with registries, for `--debug`: what was asked and answered, and no secret.

Only what is known to be harmless is shown. Query parameters hold signatures, upload states and
tokens under names that nobody can list, header fields too: any other value reads `***`.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from entrepot.adapters.remotes.exchange import Request, Response
from entrepot.logs import HIDDEN, get_logger, scrub
from entrepot.ports.upstream_endpoint import Exchanged

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_PARAMETERS: Final = frozenset(
    {
        "artifacttype", "client_id", "digest", "from", "grant_type", "last", "mount", "n", "ns",
        "scope", "service", "tag",
    }
)  # fmt: skip
_FIELDS: Final = frozenset(
    {
        "accept", "accept-encoding", "accept-ranges", "age", "cache-control", "connection",
        "content-encoding", "content-length", "content-range", "content-type", "date",
        "docker-content-digest", "docker-distribution-api-version", "docker-ratelimit-source",
        "docker-upload-uuid", "etag", "expect", "if-match", "if-none-match", "last-modified",
        "oci-chunk-min-length", "oci-filters-applied", "oci-namespace", "oci-subject", "oci-tag",
        "range", "ratelimit", "ratelimit-limit", "ratelimit-policy", "ratelimit-remaining",
        "retry-after", "server", "transfer-encoding", "user-agent", "vary", "via", "warning",
        "www-authenticate", "x-ratelimit-limit", "x-ratelimit-remaining", "x-request-id",
    }
)  # fmt: skip
_URLS: Final = frozenset({"content-location", "location", "referer"})
_LINKED: Final = re.compile(r"<([^>]*)>")
_URL_IN_TEXT: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)


class ExchangeLog:
    """Writes one line per exchange, and nothing unless it is `enabled`. `observe` is told of
    each exchange in any case."""

    def __init__(self, enabled: bool, observe: Callable[[Exchanged], None] | None = None) -> None:
        self.enabled = enabled
        self._observe = observe
        self._logger: FilteringBoundLogger | None = None

    def answered(self, request: Request, response: Response, seconds: float) -> None:
        """Note a response whose head has arrived."""
        if self._observe is not None:
            self._observe(
                Exchanged(
                    request.method,
                    shown_url(request.url),
                    response.status,
                    seconds,
                    response.http_version,
                )
            )
        if not self.enabled:
            return
        self._log(
            "exchange",
            request,
            seconds,
            status=response.status,
            http=response.http_version,
            response=shown_fields(dict(response.headers)),
        )

    def failed(self, request: Request, error: Exception, seconds: float) -> None:
        """Note a request that got no response."""
        if self._observe is not None:
            text = shown_text(str(error))
            url = shown_url(request.url)
            self._observe(Exchanged(request.method, url, 0, seconds, error=text))
        if self.enabled:
            self._log("no answer", request, seconds, error=shown_text(str(error)))

    def _log(self, event: str, request: Request, seconds: float, **values: object) -> None:
        self._logging().debug(
            event,
            method=request.method,
            url=shown_url(request.url),
            request=shown_fields(request.headers),
            ms=round(seconds * 1000, 1),
            **values,
        )

    def _logging(self) -> "FilteringBoundLogger":
        # structlog is imported here, when it is certain that somebody wants to read the log.
        if self._logger is None:
            self._logger = get_logger("remote")
        return self._logger


def shown_url(url: str) -> str:
    """Return a URL as it may be read by anybody: without account and fragment, and with the
    values of all query parameters hidden but those that are known to hold no secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    place = parts.netloc.rpartition("@")[2]
    shown = [_parameter(one) for one in parts.query.split("&") if one]
    return SplitResult(parts.scheme, place, parts.path, "&".join(shown), "").geturl()


def shown_text(text: str) -> str:
    """Return text with the secrets in it hidden: accounts and parameters of URLs, credentials."""
    return scrub(_URL_IN_TEXT.sub(lambda found: shown_url(found[0]), text))


def shown_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Return header fields as they may be read by anybody."""
    return {name: _field(name.lower(), value) for name, value in fields.items()}


def _field(name: str, value: str) -> str:
    if name == "authorization":
        return f"{value.partition(' ')[0]} {HIDDEN}"
    if name in _URLS:
        return shown_url(value)
    if name == "link":
        return ", ".join(f"<{shown_url(url)}>" for url in _LINKED.findall(value)) or HIDDEN
    return shown_text(value) if name in _FIELDS else HIDDEN


def _parameter(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not equals:
        return HIDDEN
    return text if name.lower() in _PARAMETERS else f"{name}={HIDDEN}"

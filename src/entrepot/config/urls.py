"""URLs in settings: how they are checked, and how they are shown without passwords."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from entrepot.config.errors import Refusal

_SECRET_PARAMETER: Final = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token)=)[^&]*")
_NAME_PATH: Final = re.compile(r"/v2/(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)*", re.ASCII)
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


def redacted(url: str) -> str:
    """Return a URL with `***` for every password in it."""
    scheme, slashes, rest = url.partition("://")
    # A raw `@` or `/` in a password is a mistake, but must not leak: the last `@` counts.
    account, at, place = rest.rpartition("@")
    user, colon, password = account.partition(":")
    shown = f"{user}:***" if colon and password else account
    return _SECRET_PARAMETER.sub(r"\1***", f"{scheme}{slashes}{shown}{at}{place}")


def http_url(text: str) -> str:
    """Return a URL of http or https without credentials. Raise Refusal for others."""
    _parts(text, ("http", "https"))
    return text


def registry_url(text: str) -> str:
    """Return where redirected names are, e.g. `https://us-docker.pkg.dev/v2/project/images/`.

    It is an absolute https URL whose path begins with `/v2/`; the slash at its end is added where
    it is missing. Plain http is only allowed for hosts of this machine (`localhost`, 127.0.0.0/8,
    `[::1]`), for tests: clients would be sent to it. Raise Refusal for anything else.
    """
    parts = _parts(text, ("http", "https"))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise Refusal("it must be an https URL; clients are sent there")
    path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
    if _NAME_PATH.fullmatch(path) is None:
        raise Refusal(
            "its path must begin with /v2/ and go on with a name, "
            "as in https://us-docker.pkg.dev/v2/project/images/"
        )
    if "?" in text or "#" in text:
        raise Refusal("it must end with its path, without ? or #")
    return f"{parts.scheme}://{parts.netloc}{path}"


def registry_origin(text: str) -> str:
    """Return where a registry is asked: a URL with the path in front of `/v2/`, if there is one,
    and without a slash at its end. Raise Refusal."""
    parts = _parts(text, ("http", "https"))
    if "?" in text or "#" in text:
        raise Refusal("a registry's URL has neither ? nor #")
    path = parts.path.rstrip("/")
    if path == "/v2" or path.endswith("/v2"):
        raise Refusal("write what stands in front of /v2/ only")
    return f"{parts.scheme}://{parts.netloc}{path}"


def proxy_url(text: str) -> str:
    """Return the URL of an egress proxy, with credentials if it has some. Raise Refusal."""
    _parts(text, _PROXY_SCHEMES, credentials=True)
    return text


def url_host(url: str) -> str:
    """Return the host of a URL that was checked."""
    return urlsplit(url).hostname or ""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _parts(text: str, schemes: tuple[str, ...], *, credentials: bool = False) -> SplitResult:
    """Take an absolute URL apart. No message repeats it: it may hold a password."""
    allowed = f"it must be a URL such as {schemes[-1]}://HOST:PORT"
    # urlsplit drops tabs and line ends, and cuts a scheme in any case.
    if not text.isprintable() or " " in text or "\\" in text:
        raise Refusal(f"{allowed}, without spaces")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refusal(allowed) from None
    if parts.scheme not in schemes or not host or port == 0:
        raise Refusal(f"{allowed}; schemes are {', '.join(schemes)}")
    if "@" in parts.netloc and not credentials:
        raise Refusal("it must not hold a login; there are settings for that")
    return parts

"""A request, told to libcurl: every option that is set on a transfer, and why."""

import re
from collections.abc import Mapping
from typing import Any, Final

import pycurl

from entrepot.adapters.remotes.exchange import Body, Request
from entrepot.adapters.remotes.transport_proxy import Proxy
from entrepot.adapters.remotes.transport_settings import TransportSettings
from entrepot.adapters.remotes.transport_trust import Trust
from entrepot.oci.errors import Unsupported

_RECEIVE_BUFFER: Final = 512 * 1024
_SEND_BUFFER: Final = 2 * 1024 * 1024

# Options of libcurl that pycurl takes by number only.
_SUPPRESS_CONNECT_HEADERS: Final = 265
_DISALLOW_USERNAME_IN_URL: Final = 278
_QUICK_EXIT: Final = 322

_FIELD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def set_connection(easy: Any, settings: TransportSettings) -> None:
    """Set what is the same for all requests."""
    easy.setopt(pycurl.NOSIGNAL, 1)
    easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    easy.setopt(pycurl.FOLLOWLOCATION, 0)
    easy.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
    easy.setopt(_DISALLOW_USERNAME_IN_URL, 1)
    easy.setopt(pycurl.PATH_AS_IS, 1)
    easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(settings.connect_timeout * 1000)))
    easy.setopt(_QUICK_EXIT, 1)  # never wait for a resolver's thread
    easy.setopt(pycurl.TCP_KEEPALIVE, 1)
    easy.setopt(pycurl.BUFFERSIZE, _RECEIVE_BUFFER)
    easy.setopt(pycurl.UPLOAD_BUFFERSIZE, _SEND_BUFFER)
    easy.setopt(pycurl.USERAGENT, settings.user_agent)
    if settings.connect_to is not None:
        place, address = settings.connect_to
        port = place.rpartition(":")[2]
        shown = f"[{address}]" if ":" in address else address
        easy.setopt(pycurl.CONNECT_TO, [f"{place}:{shown}:{port}"])


def set_trust(easy: Any, trust: Trust, verify: bool) -> None:
    """Set whom TLS trusts; verifying may be off for the registry, never for a proxy."""
    easy.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
    easy.setopt(pycurl.PROXY_SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
    easy.setopt(pycurl.SSL_VERIFYPEER, int(verify))
    easy.setopt(pycurl.SSL_VERIFYHOST, 2 if verify else 0)
    if trust.bundle:
        easy.setopt(pycurl.CAINFO_BLOB, trust.bundle)
        easy.setopt(pycurl.PROXY_CAINFO_BLOB, trust.bundle)
    elif trust.file:  # libcurl keeps a file's authorities parsed, which it does not for a blob
        easy.setopt(pycurl.CAINFO, str(trust.file))
        easy.setopt(pycurl.PROXY_CAINFO, str(trust.file))
    if trust.folder:
        easy.setopt(pycurl.CAPATH, str(trust.folder))
        easy.setopt(pycurl.PROXY_CAPATH, str(trust.folder))
    if trust.certificate:
        easy.setopt(pycurl.SSLCERT, str(trust.certificate))
        easy.setopt(pycurl.SSLKEY, str(trust.key or trust.certificate))


def set_proxy(easy: Any, proxy: Proxy | None, unproxied: str) -> None:
    """Set the proxy; libcurl is kept from looking into the environment by itself."""
    easy.setopt(pycurl.PROXY, proxy.url if proxy else "")
    easy.setopt(pycurl.NOPROXY, unproxied)
    # The answers to CONNECT are no part of the response, and our header fields none of CONNECT.
    easy.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
    easy.setopt(pycurl.HEADEROPT, pycurl.HEADER_SEPARATE)
    if proxy and (proxy.name or proxy.password):
        easy.setopt(pycurl.PROXYAUTH, pycurl.HTTPAUTH_BASIC)
        easy.setopt(pycurl.PROXYUSERNAME, proxy.name.encode())
        easy.setopt(pycurl.PROXYPASSWORD, proxy.password.encode())


def may_share(request: Request) -> bool:
    """Tell whether a request may be one of several on an HTTP/2 connection.

    Large bodies are better off over HTTP/1.1, each on a connection of its own. HTTP/2 servers
    open small windows for uploads (1 MiB for Go's, on all streams together), so that one
    connection carries no more than that per round trip. For downloads libcurl opens a window of
    10 MiB on each stream, all of which it may have to hold for a slow reader.
    """
    return not request.bulk and not isinstance(request.body, Body)


def needs_lane(request: Request) -> bool:
    """Tell whether a thread may be going to move a request's bodies."""
    body = request.body
    return request.bulk or (isinstance(body, Body) and body.blocks is not None)


def set_request(easy: Any, request: Request, shared: bool) -> None:
    """Set method, URL, header fields and body. Raise Unsupported for what cannot be sent."""
    body = request.body
    version = pycurl.CURL_HTTP_VERSION_2TLS if shared else pycurl.CURL_HTTP_VERSION_1_1
    easy.setopt(pycurl.URL, request.url.encode())
    easy.setopt(pycurl.HTTP_VERSION, version)
    easy.setopt(pycurl.HTTPHEADER, _fields(request.headers))
    if isinstance(body, Body):
        easy.setopt(pycurl.UPLOAD, 1)
        easy.setopt(pycurl.INFILESIZE_LARGE, body.length)
        easy.setopt(pycurl.SEEKFUNCTION, _cannot_rewind)
        easy.setopt(pycurl.CUSTOMREQUEST, request.method)
    elif request.method == "HEAD":
        easy.setopt(pycurl.NOBODY, 1)
    elif request.method == "GET":
        easy.setopt(pycurl.HTTPGET, 1)
    elif body is None and request.method == "DELETE":
        easy.setopt(pycurl.HTTPGET, 1)
        easy.setopt(pycurl.CUSTOMREQUEST, request.method)
    else:
        easy.setopt(pycurl.POST, 1)
        easy.setopt(pycurl.POSTFIELDS, body or b"")
        easy.setopt(pycurl.CUSTOMREQUEST, request.method)


def _fields(headers: Mapping[str, str]) -> list[bytes]:
    # What libcurl would add by itself is taken out by a name without a value.
    lines = [b"Expect:"]
    names = {name.lower() for name in headers}
    lines += [
        f"{name}:".encode() for name in ("Accept", "Content-Type") if name.lower() not in names
    ]
    for name, value in headers.items():
        if not _FIELD.fullmatch(name) or _UNSENDABLE.search(value):
            raise Unsupported(
                f"the header field {name[:40]!r} cannot be sent: it holds a line break or another "
                "control character; check what was configured, or what the server told us to send"
            )
        line = f"{name}: {value}" if value.strip() else f"{name};"
        lines.append(line.encode("utf-8", "surrogateescape"))
    return lines


def _cannot_rewind(_offset: int, _origin: int) -> int:
    # A body is sent once: whether it may be sent again is the caller's decision.
    return pycurl.SEEKFUNC_FAIL  # type: ignore[no-any-return]

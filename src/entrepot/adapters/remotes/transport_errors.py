"""What libcurl's failures mean, once and for all: its codes and words to our errors.

A message names the host (and the proxy, without credentials), never a whole URL: queries hold
signatures and tokens.
"""

from dataclasses import dataclass, replace
from typing import Final

from entrepot.oci.errors import (
    CertificateRefused,
    ConnectionLost,
    Denied,
    HostUnknown,
    Unavailable,
    Unsupported,
)

RegistryFailure = Unavailable | Unsupported


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a request was for, and through what it went; both safe to show."""

    host: str
    proxy: str = ""

    def __str__(self) -> str:
        return f"{self.host} (through the proxy {self.proxy})" if self.proxy else self.host


@dataclass(frozen=True, slots=True)
class Meaning:
    """What happened and what to do next; `{peer}`, `{host}`, `{proxy}` and `{words}` are filled.

    A plain Unavailable is final: asking again the same way gets the same answer."""

    text: str
    error: type[Unavailable] | type[Unsupported] = ConnectionLost


_OWN_AUTHORITY: Final = (
    "if you trust who signed it, name that authority's file with --ca-file; "
    "--tls-verify=false accepts anybody's"
)
_PLAIN: Final = Meaning(
    "{peer} answered in plain HTTP where TLS was expected; "
    "if it really has no TLS, use --plain-http",
    Unavailable,
)
_NOT_HTTP: Final = Meaning(
    "{peer} did not answer in HTTP ({words}); check the port, and leave out --plain-http "
    "if it speaks TLS",
    Unavailable,
)
_GARBLED: Final = replace(_NOT_HTTP, error=ConnectionLost)
_CLIENT_CERTIFICATE: Final = Meaning(
    "{peer} does not accept our client certificate, or wants one ({words}); "
    "give it with --cert and --key, or in certs.d",
    CertificateRefused,
)
_OWN_CERTIFICATE: Final = Meaning(
    "our client certificate cannot be used ({words}); both it and its key must be PEM, belong "
    "to each other, and the key must need no password",
    CertificateRefused,
)
_HEAD_TOO_LARGE: Final = Meaning(
    "{peer} sent more header fields than are accepted (300 KiB); this is hardly a registry, "
    "check the address"
)
_BROKEN: Final = Meaning("the connection to {peer} broke off ({words}); try again")
_PROXY: Final = Meaning(
    "the proxy {proxy} could not reach {host} ({words}); check that it may be reached from there"
)
_PROXY_CREDENTIALS: Final = Meaning(
    "the proxy {proxy} does not accept our credentials; check the name and password in the "
    "proxy setting (--proxy, or https_proxy in the environment)",
    Unavailable,
)

_BY_CODE: Final[dict[int, Meaning]] = {
    1: _NOT_HTTP,
    3: Meaning("{peer} is not an address that can be asked ({words}); check it", Unsupported),
    5: Meaning(
        "the proxy's name cannot be resolved ({words}); check the proxy setting "
        "(--proxy, or https_proxy in the environment) and the DNS",
        HostUnknown,
    ),
    6: Meaning(
        "the name of {host} cannot be resolved; check how it is spelt, the DNS, "
        "and whether a proxy is needed (--proxy)",
        HostUnknown,
    ),
    7: Meaning(
        "{peer} cannot be reached ({words}); check the port and that it is running, "
        "and whether a proxy is needed (--proxy)"
    ),
    8: _GARBLED,
    16: _BROKEN,
    18: Meaning("{peer} ended its answer before the length it had announced; try again"),
    28: Meaning(
        "{peer} did not answer in time ({words}); check the network, the port, "
        "and whether a proxy is needed (--proxy)"
    ),
    35: Meaning(
        "TLS with {peer} failed ({words}); check the port, and use --plain-http if it has no TLS"
    ),
    52: Meaning(
        "{peer} closed the connection without an answer; if it speaks TLS, leave out "
        "--plain-http, else try again"
    ),
    55: _BROKEN,
    56: _BROKEN,
    58: _OWN_CERTIFICATE,
    60: Meaning(
        "the certificate of {peer} is not trusted ({words}); " + _OWN_AUTHORITY, CertificateRefused
    ),
    65: _BROKEN,
    67: Meaning("the address of {host} holds a name or password; use login instead", Unsupported),
    77: Meaning(
        "the trusted authorities cannot be read ({words}); check --ca-file and SSL_CERT_FILE",
        CertificateRefused,
    ),
    92: _BROKEN,
    97: _PROXY,
    100: _HEAD_TOO_LARGE,
}

# What a code alone does not tell; the first that fits.
_BY_WORDS: Final[tuple[tuple[frozenset[int], tuple[str, ...], Meaning], ...]] = (
    (
        frozenset({35}),
        ("wrong version number", "http request", "packet length too long", "record layer failure"),
        _PLAIN,
    ),
    (
        frozenset({35, 55, 56}),
        (
            "alert certificate required",
            "alert bad certificate",
            "alert unknown ca",
            "alert certificate unknown",
            "alert certificate expired",
            "alert unsupported certificate",
            "alert handshake failure",
            "handshake failure",
        ),
        _CLIENT_CERTIFICATE,
    ),
    (
        frozenset({35}),
        ("alert protocol version", "unsupported protocol"),
        Meaning(
            "{peer} offers no TLS that is safe; TLS 1.2 is the least, so it must be updated",
            CertificateRefused,
        ),
    ),
    (frozenset({43, 58}), ("private key", "certificate"), _OWN_CERTIFICATE),
    (frozenset({7, 56, 97}), ("CONNECT tunnel failed, response 407",), _PROXY_CREDENTIALS),
    (frozenset({7, 56, 97}), ("CONNECT tunnel failed",), _PROXY),
    (
        frozenset({7, 97}),
        ("User was rejected", "No authentication method was acceptable"),
        _PROXY_CREDENTIALS,
    ),
    (frozenset({27, 56, 100}), ("Too large response headers", "Too large header"), _HEAD_TOO_LARGE),
)


def failure(code: int, words: str, peer: Peer) -> RegistryFailure:
    """Return what a transfer that ended with libcurl's `code` and `words` is to the caller."""
    special = (
        meaning
        for codes, marks, meaning in _BY_WORDS
        if code in codes and any(mark in words for mark in marks)
    )
    meaning = next(special, _BY_CODE.get(code, _BROKEN))
    return _make(meaning, words or f"code {code}", peer)


def proxy_credentials_refused(peer: Peer) -> RegistryFailure:
    """Return the error of a plain request that its proxy answered with 407."""
    return _make(_PROXY_CREDENTIALS, "", peer)


def stalled(peer: Peer, seconds: float, waiting: bool) -> RegistryFailure:
    """Return the error of a transfer that stood still; `waiting` for the answer to begin."""
    what = "sent no answer for" if waiting else "stood still for"
    return ConnectionLost(f"{peer} {what} {seconds:g} s; check the network and try again")


def crowded(peer: Peer, seconds: float) -> RegistryFailure:
    """Return the error of a transfer that no thread was free for."""
    return ConnectionLost(
        f"the transfer with {peer} was given up: for {seconds:g} s all threads here were busy with "
        "others; check that the disk keeps up, and try again"
    )


def not_global(peer: Peer) -> Denied:
    """Return the error of a transfer to where only a registry that is listed may lead."""
    return Denied(
        f"{peer} is not asked: it is not at an address on the internet, where alone a registry "
        "that nobody has listed here may lead; to allow it, add the registry: "
        "entrepot upstream add"
    )


def closed(peer: Peer) -> RegistryFailure:
    """Return the error of a transfer whose transport was closed under it."""
    return ConnectionLost(f"the transfer with {peer} was given up, as its client was closed")


def _make(meaning: Meaning, words: str, peer: Peer) -> RegistryFailure:
    shown = "".join(character for character in words if character.isprintable())[:200]
    text = meaning.text.format(peer=peer, host=peer.host, proxy=peer.proxy, words=shown)
    return meaning.error(text)

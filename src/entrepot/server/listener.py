"""Sockets to listen on: addresses as people write them, bound before any worker exists."""

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

BACKLOG = 2048


class ListenError(OSError):
    """An address cannot be listened on; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One address and the sockets that serve it, one per worker (UNIX: one for all)."""

    address: str
    sockets: tuple[socket.socket, ...]
    path: Path | None = None

    def socket_of(self, worker: int) -> socket.socket:
        """Return the socket that worker number `worker` accepts on."""
        return self.sockets[worker % len(self.sockets)]

    def keep_only(self, worker: int) -> None:
        """Close the sockets of the other workers: held open here, they would take connections
        that nobody answers."""
        for sock in self.sockets:
            if sock is not self.socket_of(worker):
                sock.close()

    def stop_listening(self) -> None:
        """Close every socket, so that new connections are refused."""
        for sock in self.sockets:
            sock.close()

    def close(self) -> None:
        """Close every socket and remove a UNIX socket's file."""
        self.stop_listening()
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def listen(address: str, workers: int) -> Listener:
    """Bind `HOST:PORT`, `[V6]:PORT`, `:PORT` (every interface) or `unix:PATH`.

    Port 0 takes a free one; `Listener.address` shows the real one. Each worker gets a socket
    of its own (SO_REUSEPORT), so the kernel spreads connections evenly and a worker that dies
    loses none that it has not accepted. Raise ListenError.
    """
    if address.startswith("unix:"):
        return _listen_unix(Path(address.removeprefix("unix:")))
    host, _, port_text = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port_text.isdigit() or int(port_text) > 65535:
        raise ListenError(f"cannot listen on {address!r}: write HOST:PORT or unix:PATH")
    try:
        found = socket.getaddrinfo(
            host or None, int(port_text), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {address!r}: {error.strerror}") from None
    if not host:  # the IPv6 wildcard serves IPv4 too, where the machine has IPv6
        found.sort(key=lambda one: one[0] != socket.AF_INET6)
    failure: OSError | None = None
    for family, _, _, _, target in found:
        try:
            sockets = _bind_all(family, target, workers)
        except OSError as error:
            failure = failure or error
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                continue
            break
        shown = f"[{host}]" if ":" in host else host or "0.0.0.0"  # noqa: S104  only shown
        return Listener(f"{shown}:{sockets[0].getsockname()[1]}", sockets)
    raise ListenError(f"cannot listen on {address}: {_hint(failure)}") from None


def _hint(failure: OSError | None) -> str:
    number = failure.errno if failure else errno.EADDRNOTAVAIL
    hints = {
        errno.EADDRINUSE: "another program listens there; stop it or choose another port",
        errno.EACCES: "ports below 1024 need privileges; choose a higher port",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    return hints.get(number or 0) or (failure.strerror if failure else "") or "it was refused"


def _bind_all(family: int, target: tuple[object, ...], workers: int) -> tuple[socket.socket, ...]:
    sockets: list[socket.socket] = []
    try:
        # Without this probe a second server would silently share the port with the first.
        with _bound(family, target, share=False):
            pass
        for _ in range(workers):
            sockets.append(_bound(family, target, share=True))
            target = (target[0], sockets[0].getsockname()[1], *target[2:])
        for sock in sockets:
            sock.listen(BACKLOG)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return tuple(sockets)


def _bound(family: int, target: tuple[object, ...], *, share: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(target)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _listen_unix(path: Path) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            _remove_if_stale(path)
        sock.bind(str(path))
        path.chmod(0o660)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = error.strerror or os.strerror(error.errno or 0)
        raise ListenError(f"cannot listen on unix:{path}: {reason}") from None
    sock.setblocking(False)
    return Listener(f"unix:{path}", (sock,), path)


def _remove_if_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()

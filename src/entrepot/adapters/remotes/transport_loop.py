"""libcurl's transfers on an asyncio event loop: sockets and timers, no threads, no polling.

pycurl's own AsyncCurlMulti does the same but hides its multi handle; here a finished transfer is
told by a call instead of a future, because most of a transfer's life (its head, its body, its
pauses) comes before its end.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pycurl

Finished = Callable[[int, str], None]
"""Told libcurl's error code (0 is success) and its words."""


class TransferLoop:
    """A set of connections and the transfers on them, driven by one event loop.

    Callbacks of libcurl run inside `_act`; nothing in them may add or remove a transfer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, connections: int) -> None:
        self._loop = loop
        self._timer: asyncio.Handle | None = None
        self._watched: dict[int, int] = {}
        self._finished: dict[Any, Finished] = {}
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    @property
    def belongs_to(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add(self, easy: Any, finished: Finished) -> None:
        """Start a transfer; `finished` is called once unless it is removed before."""
        self._finished[easy] = finished
        try:
            self._multi.add_handle(easy)
        except BaseException:
            del self._finished[easy]
            raise

    def remove(self, easy: Any) -> None:
        """Take a transfer out; if it has not ended, its connection or stream is given up."""
        if self._finished.pop(easy, None) is not None:
            self._multi.remove_handle(easy)

    def close(self) -> None:
        """Remove all transfers and close all connections."""
        for easy in list(self._finished):
            self.remove(easy)
        self._multi.close()
        self._on_timer(-1)
        for socket in list(self._watched):
            self._watch(socket, pycurl.POLL_NONE)

    def _on_socket(self, interest: int, socket: int, _multi: Any, _data: Any) -> None:
        gone = interest == pycurl.POLL_REMOVE
        self._watch(socket, pycurl.POLL_NONE if gone else interest)

    def _watch(self, socket: int, interest: int) -> None:
        before = self._watched.pop(socket, pycurl.POLL_NONE)
        changed = before ^ interest
        if changed & pycurl.POLL_IN:
            if interest & pycurl.POLL_IN:
                self._loop.add_reader(socket, self._act, socket, pycurl.CSELECT_IN)
            else:
                self._loop.remove_reader(socket)
        if changed & pycurl.POLL_OUT:
            if interest & pycurl.POLL_OUT:
                self._loop.add_writer(socket, self._act, socket, pycurl.CSELECT_OUT)
            else:
                self._loop.remove_writer(socket)
        if interest:
            self._watched[socket] = interest

    def _on_timer(self, milliseconds: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            self._timer = self._loop.call_soon(self._on_time)
        elif milliseconds > 0:
            self._timer = self._loop.call_later(milliseconds / 1000, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, socket: int, events: int) -> None:
        self._multi.socket_action(socket, events)
        waiting = True
        while waiting:
            waiting, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                self._end(easy, 0, "")
            for easy, code, words in failed:
                self._end(easy, code, words)

    def _end(self, easy: Any, code: int, words: str) -> None:
        finished = self._finished.get(easy)
        if finished is not None:
            finished(code, words)
            self.remove(easy)

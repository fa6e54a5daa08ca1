"""Worker processes: one parent that listens, forks, watches and ends them.

The parent never handles a request. It binds the sockets before it forks, so a worker that dies
is replaced without losing a connection that waits to be accepted.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final

MIN_BACKOFF: Final = 0.1
MAX_BACKOFF: Final = 5.0
HEALTHY_AFTER: Final = 10.0
EARLY_DEATHS: Final = 5
"""Workers that may fail in a row as soon as they start, before the server gives up."""

PR_SET_PDEATHSIG: Final = 1
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Keeps `count` workers running until told to stop.

    `run(slot)` is the whole life of one worker, in its own process; it returns an exit code
    after SIGTERM, which is blocked until it has handlers and unblocks it. `report(event, slot,
    detail)` is told what happens to workers; `stop_listening` runs before they are told to end.
    """

    def __init__(
        self,
        count: int,
        run: Callable[[int], int],
        report: Callable[[str, int, str], None],
        stop_listening: Callable[[], None],
    ) -> None:
        self._count = count
        self._run = run
        self._report = report
        self._stop_listening = stop_listening
        self._slots: dict[int, int] = {}
        self._started: dict[int, float] = {}
        self._early_deaths = 0

    def serve(self, grace: float) -> int:
        """Run until SIGTERM or SIGINT; return 0 if every worker then ended by itself.

        Workers get `grace` seconds after the signal, then SIGKILL. Return 1 also if workers
        keep dying as soon as they start.
        """
        watched = {*STOP_SIGNALS, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        for slot in range(self._count):
            self._fork(slot)
        while True:
            received = signal.sigwait(watched)
            if received in STOP_SIGNALS:
                return self._stop(grace)
            for slot, code in self._reaped():
                self._count_death(slot, code)
                if self._early_deaths >= EARLY_DEATHS and not self._any_healthy():
                    self._report("giving up", slot, "workers die as soon as they start")
                    self._stop(grace)
                    return 1
                if self._wait_before_restart() in STOP_SIGNALS:
                    return self._stop(grace)
                self._fork(slot)

    def _fork(self, slot: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._slots[pid] = slot
            self._started[slot] = time.monotonic()
            return
        code = 1
        try:
            _die_with_parent(parent)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            code = self._run(slot)
        except BaseException:
            self._report("worker failed", slot, traceback.format_exc())
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            # No clean-up of the parent's objects in the child.
            os._exit(code)

    def _reaped(self) -> list[tuple[int, int]]:
        ended = []
        while self._slots:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid in self._slots:
                ended.append((self._slots.pop(pid), os.waitstatus_to_exitcode(status)))
        return ended

    def _count_death(self, slot: int, code: int) -> None:
        early = time.monotonic() - self._started[slot] < HEALTHY_AFTER
        # A worker that was killed may do better next time; one that failed at once will not.
        self._early_deaths = self._early_deaths + 1 if early and code > 0 else 0
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._report("worker died", slot, cause)

    def _any_healthy(self) -> bool:
        now = time.monotonic()
        return any(now - self._started[slot] > HEALTHY_AFTER for slot in self._slots.values())

    def _wait_before_restart(self) -> int | None:
        """Let what made workers die pass; return the signal to stop if one comes meanwhile."""
        pause = min(MAX_BACKOFF, MIN_BACKOFF * 2**self._early_deaths)
        received = signal.sigtimedwait(STOP_SIGNALS, pause)
        return received.si_signo if received else None

    def _stop(self, grace: float) -> int:
        self._stop_listening()
        for pid in self._slots:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        failed = False
        until = time.monotonic() + grace
        while self._slots and (left := until - time.monotonic()) > 0:
            failed |= any(code != 0 for _, code in self._reaped())
            if self._slots:
                signal.sigtimedwait({signal.SIGCHLD}, min(left, 1.0))
        for pid, slot in self._slots.items():
            self._report("worker killed", slot, f"still busy {grace:g} s after the signal")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            failed = True
        return 1 if failed else 0


def _die_with_parent(parent: int) -> None:
    """Have the kernel stop this process in order when its parent is killed: else the workers
    would hold the port without anyone to watch them."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)

"""Worker processes: one parent that listens, forks, watches and ends them.

The parent never handles a request. It binds the sockets before it forks, so a worker that dies
is replaced without losing a connection that waits to be accepted.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

MIN_BACKOFF: Final = 0.1
MAX_BACKOFF: Final = 5.0
HEALTHY_AFTER: Final = 10.0
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Keeps `count` workers running until told to stop.

    `run(slot)` is the whole life of one worker, in its own process; it returns an exit code
    after SIGTERM. `report(event, slot, detail)` is told what happens to workers.
    """

    def __init__(
        self,
        count: int,
        run: Callable[[int], int],
        report: Callable[[str, int, str], None],
    ) -> None:
        self._count = count
        self._run = run
        self._report = report
        self._slots: dict[int, int] = {}
        self._started: dict[int, float] = {}
        self._backoff: dict[int, float] = {}

    def serve(self, grace: float) -> int:
        """Run until SIGTERM or SIGINT; return 0 if every worker then ended by itself.

        Workers get `grace` seconds after the signal, then SIGKILL.
        """
        watched = {*STOP_SIGNALS, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        for slot in range(self._count):
            self._fork(slot)
        while True:
            received = signal.sigwait(watched)
            if received in STOP_SIGNALS:
                return self._stop(grace)
            for slot, status in self._reaped():
                self._replace(slot, status)

    def _fork(self, slot: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            self._slots[pid] = slot
            self._started[slot] = time.monotonic()
            return
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {*STOP_SIGNALS, signal.SIGCHLD})
            code = self._run(slot)
        except KeyboardInterrupt:
            code = 0
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

    def _replace(self, slot: int, code: int) -> None:
        lived = time.monotonic() - self._started[slot]
        backoff = MIN_BACKOFF if lived > HEALTHY_AFTER else self._backoff.get(slot, 0.0)
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._report("worker died", slot, cause)
        time.sleep(backoff)
        self._backoff[slot] = min(MAX_BACKOFF, max(MIN_BACKOFF, backoff * 2))
        self._fork(slot)

    def _stop(self, grace: float) -> int:
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

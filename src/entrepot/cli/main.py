"""The entry point. It imports almost nothing, so that `entrepot --version` is immediate."""

import os
import sys
from collections.abc import Sequence

from entrepot import __version__

INTERRUPTED = 130
PIPE_CLOSED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Ctrl-C and a closed pipe end it quietly."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on, as behind `| head`. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return code


def _run(words: list[str]) -> int:
    if words == ["--version"]:
        print(f"entrepot {__version__}")
        return 0
    from entrepot.cli.commands import run

    return run(words or ["--help"])

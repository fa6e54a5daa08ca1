"""What `dev.py` itself has to say to the person at the terminal."""

import sys


def say(message: str) -> None:
    """Print one line on stderr, so that a command's output stays its own."""
    print(f"dev.py: {message}", file=sys.stderr, flush=True)

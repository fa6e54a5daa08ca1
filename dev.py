#!/usr/bin/env python3
"""Everything a person does with a clone of Entrepot: `python3 dev.py COMMAND`.

Needs Python 3.11 or newer and git, nothing else: the first call makes `.venv` and fills it
from the hash-pinned `requirements/`. This file is the list of commands; how they do it is in
`tools/`.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python is what this line is for
    sys.exit("dev.py: Entrepot needs Python 3.11 or newer, not " + sys.version.split()[0])

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from tools import conformance as suite
from tools import debian, environment, go_programs, requirements
from tools.environment import PYTHON, ROOT, VENV, run
from tools.speech import say

QUICK_LEAVES_OUT = (
    "tests/interop",
    "tests/fuzz",
    "tests/integration/cli",
    "tests/integration/failure",
    "tests/integration/mirror",
    "tests/integration/remotes",
)
"""Folders with real clients, long random runs, and our own program, its client and its mirror at
length."""


def serve(arguments: list[str]) -> int:
    """Start the server on the embedded default; all ARGUMENTS go to `entrepot serve`."""
    environment.ensure("runtime")
    program = str(VENV / "bin" / "entrepot")
    os.execve(program, [program, "serve", *arguments], environment.variables())  # noqa: S606


def test(arguments: list[str]) -> int:
    """Run the tests: all, those done in two minutes (--quick), or as pytest's ARGUMENTS say.

    The whole run first installs the real programs it can: Debian's packages and the Go clients.
    Tests whose program is missing are listed at the end as not run.
    """
    parser = argparse.ArgumentParser("dev.py test", allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="only what is done in two minutes")
    options, chosen = parser.parse_known_args(arguments)
    environment.ensure("dev")
    pytest = [str(PYTHON), "-m", "pytest"]
    if options.quick:
        pytest += ["-m", "not slow", "--hypothesis-profile=quick"]
        pytest += [f"--ignore={folder}" for folder in QUICK_LEAVES_OUT]
    elif not chosen:
        install_programs()
    if not chosen:
        # A file stays on one worker, so that its servers and images are made once. Runs with
        # arguments of one's own stay in one process, where -s and --pdb work.
        pytest += ["-n", "2", "--dist", "loadfile"]
    code = run(*pytest, *chosen)
    if not options.quick and not chosen and (missing := debian.missing(debian.FOR_TESTS)):
        say(f"not run: what needs Debian's {', '.join(missing)}, which could not be installed")
    return code


def check(arguments: list[str]) -> int:
    """Check style, types, the layers and the documents; name every check that fails."""
    argparse.ArgumentParser("dev.py check").parse_args(arguments)
    environment.ensure("dev")
    pytest = (PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    checks: dict[str, tuple[str | Path, ...]] = {
        "ruff check": (PYTHON, "-m", "ruff", "check", "."),
        "ruff format": (PYTHON, "-m", "ruff", "format", "--check", "."),
        "mypy": (PYTHON, "-m", "mypy"),
        "architecture": (*pytest, "tests/architecture"),
    }
    if (ROOT / "tests" / "docs").is_dir():
        checks["docs"] = (*pytest, "tests/docs")
    failed = []
    for name, command in checks.items():
        say(name)
        if run(*command) != 0:
            failed.append(name)
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def conformance(arguments: list[str]) -> int:
    """Run the distribution-spec's own suite, every option of its --version on.

    Exits with 77 where there is no Go, or its module proxy does not hand out the suite; with 1
    on whatever else is not a full pass.
    """
    parser = argparse.ArgumentParser("dev.py conformance")
    parser.add_argument("--version", choices=suite.VERSIONS, default="dev")
    options = parser.parse_args(arguments)
    environment.ensure("runtime")
    return suite.main(options.version)


def bench(arguments: list[str]) -> int:
    """Run benchmark NAME; --json FILE keeps its numbers, --check fails on a missed target."""
    benchmarks = sorted(
        file.stem for file in (ROOT / "bench").glob("*.py") if not file.stem.startswith("_")
    )
    if not arguments or arguments[0] not in benchmarks:
        say(f"usage: dev.py bench NAME [--json FILE] [--check]; NAME is one of {benchmarks}")
        return 2
    environment.ensure("dev")
    install_programs()
    return run(PYTHON, "-m", f"bench.{arguments[0]}", *arguments[1:])


def setup(arguments: list[str]) -> int:
    """Install all that tests, checks and benchmarks need, and do nothing else."""
    argparse.ArgumentParser("dev.py setup").parse_args(arguments)
    environment.ensure("dev")
    install_programs()
    return 0


def lock(arguments: list[str]) -> int:
    """Remake requirements/*.txt from pyproject.toml (needs uv); --upgrade takes newer versions."""
    parser = argparse.ArgumentParser("dev.py lock")
    parser.add_argument("--upgrade", action="store_true")
    return requirements.lock(upgrade=parser.parse_args(arguments).upgrade)


def install_programs() -> None:
    """Install the real programs that tests and benchmarks run against, as far as we may."""
    debian.install(debian.FOR_TESTS)
    go_programs.install_clients()


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    command.__name__: command for command in (serve, test, check, conformance, bench, setup, lock)
}


def main(arguments: list[str]) -> int:
    """Run the command that `arguments` name; return its exit code."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"{(__doc__ or '').strip()}\n\nCommands:")
        for name, command in COMMANDS.items():
            print(f"  {name:12} {(command.__doc__ or '').splitlines()[0]}")
        return 0 if arguments[:1] in (["help"], ["--help"], ["-h"]) else 2
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except environment.SetupFailed as failure:
        say(str(failure))
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

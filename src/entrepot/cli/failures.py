"""Failures as a terminal shows them: one line that says what happened, one what to do next."""

import errno
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeGuard

import typer

from entrepot.oci import errors

if TYPE_CHECKING:
    from entrepot.config import ConfigError

_FREE_SPACE: Final = "free space, or choose another place, and run the same command again"

ERROR: Final = 1
USAGE: Final = 64

EXIT_CODES: Final[Mapping[type[errors.RegistryError], int]] = {
    errors.BlobUnknown: 2,
    errors.BlobUploadUnknown: 2,
    errors.ManifestUnknown: 2,
    errors.NameUnknown: 2,
    errors.Unauthorized: 3,
    errors.Denied: 3,
    errors.DigestInvalid: 4,
    errors.SizeInvalid: 4,
    errors.ContentInvalid: 4,
    errors.NameInvalid: 64,
    errors.TagInvalid: 64,
}
"""Exit codes of refusals; any other is 1."""


def report(error: BaseException) -> int:
    """Print an error to standard error and return the exit code it calls for.

    Of a group of errors each message is printed once.
    """
    lines = dict.fromkeys(line for one in _flat(error) for line in _lines(one))
    for message, hint in lines:
        complain(message, hint)
    return exit_code(error)


def messages(error: BaseException) -> list[str]:
    """Return what happened, without what to do next, each message once."""
    return list(dict.fromkeys(message for one in _flat(error) for message, _ in _lines(one)))


def complain(message: str, hint: str = "") -> None:
    """Print an error, and what to do next, to standard error."""
    typer.echo(f"{typer.style('error:', fg='red', bold=True)} {message}", err=True)
    if hint:
        typer.echo(f"{typer.style('hint:', fg='cyan')} {hint}", err=True)


def warn(message: str) -> None:
    """Print a warning to standard error."""
    typer.echo(f"{typer.style('warning:', fg='yellow', bold=True)} {message}", err=True)


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error calls for; 1 for errors that call for different ones."""
    codes = {_exit_code(one) for one in _flat(error)}
    return codes.pop() if len(codes) == 1 else ERROR


def _exit_code(error: BaseException) -> int:
    if isinstance(error, typer.TyperException):
        # Typer gives 2 to every mistake on the command line; for us 2 is "not found".
        return USAGE if error.exit_code == 2 else error.exit_code
    if _is_config_error(error):
        from_flags = all(problem.origin.startswith("--") for problem in error.problems)
        return USAGE if from_flags else ERROR
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), ERROR)


def _flat(error: BaseException) -> Sequence[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _flat(one)]
    return [error]


def _lines(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield (what happened, what to do next or nothing)."""
    if _is_config_error(error):
        for problem in error.problems:
            where = f"{problem.origin}: " if problem.origin else ""
            yield f"{where}{problem.message}", problem.hint
        return
    match error:
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            yield (
                error.format_message(),
                f"{context.command_path if context else 'entrepot'} --help",
            )
        case errors.RegistryError():
            yield error.message, ""
        case typer.Abort():
            yield "given up: there was no answer", ""
        case OSError(filename=str(name), strerror=str(reason)):
            yield f"{name}: {reason}", _FREE_SPACE if error.errno == errno.ENOSPC else ""
        case OSError():
            hint = _FREE_SPACE if error.errno == errno.ENOSPC else ""
            yield error.strerror or str(error), hint
        case _:
            # What a library says is not ours to trust with secrets.
            from entrepot.logs import scrub

            yield (
                f"unexpected {type(error).__name__}: {scrub(str(error))}",
                "this is a mistake in Entrepot; --debug shows where",
            )


def _is_config_error(error: BaseException) -> "TypeGuard[ConfigError]":
    # Only commands that import the settings, which takes 15 ms, can fail with one.
    module = sys.modules.get("entrepot.config.errors")
    return module is not None and isinstance(error, module.ConfigError)

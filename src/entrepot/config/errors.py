"""What is wrong with a configuration: all of it at once, each with its place and a way out."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands (a file and line, a variable or a flag), what, and a hint."""

    origin: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.origin}: {self.message}" if self.origin else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds every mistake found, at least one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class Refusal(ValueError):
    """A value is not allowed; the message says what would be, and never repeats a secret."""

"""Reading configurations in tests: from a file's text, and for the problems it has."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from entrepot.config import ConfigError, Problem, Settings, load


class ConfigFile:
    """A file whose text a test writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str, environ: Mapping[str, str] | None = None) -> Settings:
        self.path.write_text(text)
        return load(self.path, environ or {}, {})

    def problems(self, text: str, environ: Mapping[str, str] | None = None) -> list[Problem]:
        """Return what is wrong, each place without the file's name: `:3`."""
        with pytest.raises(ConfigError) as raised:
            self.load(text, environ)
        return [
            Problem(one.origin.removeprefix(str(self.path)), one.message, one.hint)
            for one in raised.value.problems
        ]

    def problem(self, text: str, environ: Mapping[str, str] | None = None) -> Problem:
        """Return the only thing that is wrong."""
        (problem,) = self.problems(text, environ)
        return problem

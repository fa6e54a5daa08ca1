"""Which command stands in which module, so that a command loads its own module only."""

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

import typer

COMMANDS: Final = {
    "pull": "pull",
    "push": "push",
    "cp": "copy",
    "sync": "sync",
    "save": "archives",
    "load": "archives",
    "login": "login",
    "logout": "login",
    "ping": "registry",
    "repos": "registry",
    "tags": "registry",
    "inspect": "inspect",
    "manifest": "inspect",
    "digest": "digest",
    "config": "config",
    "validate": "validate",
    "blob": "blob",
    "tag": "naming",
    "rm": "naming",
    "attach": "artifacts",
    "referrers": "artifacts",
    "index": "index",
    "append": "layers",
    "flatten": "layers",
    "rebase": "layers",
    "mutate": "mutate",
    "export": "export",
    "serve": "serve",
    "upstream": "upstream",
    "cache": "cache",
    "doctor": "doctor",
    "version": "version",
    "docs": "reference",
}
"""Commands, in the order in which help lists them, and their modules in this folder.

Each module has an `app`; one with a name is the command itself, with commands below it.
"""


class Families(MutableMapping[str, Any]):
    """The commands by name, each built when it is asked for."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            app = importlib.import_module(f"entrepot.cli.{COMMANDS[name]}").app
            # Plain text: rich takes 100 ms to import, and its boxes cannot be searched.
            app.rich_markup_mode = None
            family = typer.main.get_group(app)
            self._built |= {family.name: family} if family.name else family.commands
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

"""`entrepot docs`, hidden: the page that documents every command (docs/cli.md), written from the
commands themselves."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from entrepot.cli.help_text import Command, Records, sections
from entrepot.cli.remote_options import PANEL

app = typer.Typer()

_INTRODUCTION: Final = """\
# Commands

<!-- Written by `entrepot docs`; change src/entrepot/cli instead. -->

## What all commands have in common

**Images and other Ends.** An image is written `[docker://]HOST/NAME[:TAG][@DIGEST]`; a name
without a host is one of Docker Hub. Wherever an image stands, so may

| End | is |
|---|---|
| `oci:DIR[:TAG]` | an image layout in a folder |
| `oci-archive:FILE[:TAG]` | the same in a tar file |
| `docker-archive:FILE[:NAME[:TAG]]` | what `docker save` writes and `docker load` reads |
| `store:[DIR:]NAME[:TAG]` | our own data directory, without a running server |
| `-` | an archive on standard input or output |

`@DIGEST` may stand in place of `:TAG`. Without either the only image of a file is meant, and
`latest` of a repository.

**Output** goes to standard output: text whose columns are aligned, or with `-o json` objects
whose keys stay as they are. The last line of what moves an image is its digest, and with `-q`
the only one. **Progress** goes to standard error: bars on a terminal, elsewhere one JSON object
per line, with `event` `started`, `progress` (once a second at most), `retried`, `finished` and
`manifest`. What a registry warns of is a line that begins with `warning:`, what went wrong one
that begins with `error:`.

**Exit codes**

| code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | there is no such image, tag or blob |
| 3 | not logged in, or not allowed |
| 4 | content is not what its digest says, or a policy refuses it |
| 64 | the command line is wrong |
| 130 | interrupted by Ctrl-C |

**Logins** are those of `entrepot login`, `podman login` and `docker login`. They are looked for
in this order: `--username`, `--authfile`, `$REGISTRY_AUTH_FILE`, podman's `auth.json`, docker's
`config.json` with its helpers; of one file the entry with the longest matching name counts.

**`--debug`**, before or behind a command, logs what is done and shows tracebacks; secrets are
hidden in both. **`--install-completion`** completes commands and options in bash, zsh and fish.
"""

_REMOTE: Final = """\
## Registry options

Every command that may talk to a registry has these. `entrepot cp` and `entrepot sync` have each
of them also as `--src-…` and `--dest-…`, for one side alone. `--tls-verify=false` is understood
too.
"""


@app.command("docs", cls=Command, hidden=True)
def print_page() -> None:
    """Print the page that documents every command (docs/cli.md)."""
    print(page(), end="")


def page() -> str:
    """Return docs/cli.md."""
    # The commands import this module, so that they cannot be imported at its top.
    from entrepot.cli import commands

    root = typer.main.get_command(commands.app)
    context = typer.Context(root, info_name="entrepot")
    parts = [_INTRODUCTION]
    remote: Records = []
    for name, command, inner in _commands(root, context):
        found = dict(sections(command, inner))
        remote = found.pop(PANEL, remote)
        parts.append(_entry(name, command, inner, found))
    parts.insert(1, f"{_REMOTE}\n{_table(remote)}")
    return "\n".join(parts)


def _commands(group: Any, context: typer.Context) -> Iterator[tuple[str, Any, typer.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command.hidden:
            continue
        inner = typer.Context(command, info_name=name, parent=context)
        yield inner.command_path, command, inner
        if hasattr(command, "list_commands"):
            yield from _commands(command, inner)


def _entry(name: str, command: Any, context: typer.Context, found: Mapping[str, Records]) -> str:
    level = "##" if name.count(" ") == 1 else "###"
    usage = " ".join(command.collect_usage_pieces(context))
    help_text = "\n".join(line.strip() for line in (command.help or "").splitlines())
    parts = [f"{level} `{name}`\n", f"```console\n{name} {usage}\n```\n", f"{help_text}\n"]
    for heading, records in found.items():
        shown = [record for record in records if "--help" not in record[0]]
        if shown:
            parts += [f"{heading}:\n", _table(shown)]
    if command.epilog:
        parts.append(f"```console\n{command.epilog}\n```\n")
    return "\n".join(parts)


def _table(records: Records) -> str:
    rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

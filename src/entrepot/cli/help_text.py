"""What `--help` looks like: plain text, options under the heading of their group, examples as
they are typed. The same for every command; `reference` writes the page from the same objects."""

from collections.abc import Iterator
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

OPTIONS: Final = "Options"
ARGUMENTS: Final = "Arguments"
EXAMPLES: Final = "Examples"

Records = list[tuple[str, str]]


def examples(*lines: str) -> str:
    """Return the epilog of a command: one example per line, each a command as it is typed."""
    return "\n".join(lines)


def sections(command: Any, context: typer.Context) -> Iterator[tuple[str, Records]]:
    """Yield (heading, [(names, help)]) of a command's parameters; the general options first."""
    by_heading: dict[str, Records] = {ARGUMENTS: [], OPTIONS: []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        is_argument = parameter.param_type_name == "argument"
        heading = ARGUMENTS if is_argument else parameter_heading(parameter)
        by_heading.setdefault(heading, []).append(record)
    yield from ((heading, records) for heading, records in by_heading.items() if records)


def parameter_heading(parameter: Any) -> str:
    """Return the heading that an option stands under."""
    return getattr(parameter, "rich_help_panel", None) or OPTIONS


class Command(TyperCommand):
    """A command whose epilog are its examples."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # typer puts what is required into braces, which nobody else does.
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for heading, records in sections(self, ctx):
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self, formatter)


class Group(TyperGroup):
    """A group of commands."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for heading, records in sections(self, ctx):
            with formatter.section(heading):
                formatter.write_dl(records)
        self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self, formatter)


def _write_examples(command: Any, formatter: Any) -> None:
    if command.epilog:
        with formatter.section(EXAMPLES):
            for line in command.epilog.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")

"""Groups of options that several commands share: defined once as a function whose parameters are
the options and whose result is one value, and taken by a command as one parameter."""

import functools
import inspect
from collections.abc import Callable, Iterator
from copy import copy
from typing import Annotated, Any, get_args

from typer.models import OptionInfo

Group = Callable[..., Any]
"""A function whose keyword parameters are options, each `Annotated` with a `typer.Option`."""

Command = Callable[..., Any]


def takes(**groups: Group) -> Callable[[Command], Command]:
    """Give a command the options of each group in place of the parameter of that name.

    @takes(remote=remote_options)
    def ping(host: str, remote: RemoteOptions) -> None: ...
    """

    def with_options(command: Command) -> Command:
        offered = {name: inspect.signature(group, eval_str=True) for name, group in groups.items()}
        own = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def call(**values: Any) -> Any:
            folded = {
                name: groups[name](**{one: values.pop(one) for one in signature.parameters})
                for name, signature in offered.items()
            }
            return command(**values, **folded)

        kept = [one for one in own.parameters.values() if one.name not in groups]
        added = [one for signature in offered.values() for one in signature.parameters.values()]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*kept, *added)]
        # typer reads the signature for the order and the annotations for the types.
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        return call

    return with_options


def prefixed(group: Group, prefix: str) -> Group:
    """Return the group with `--<prefix>-` before each of its options, hidden from help.

    Options that have no long name, such as `-u` beside `--username`, lose the short one.
    """
    parameters = list(_prefixed(group, prefix))
    names = {f"{prefix}_{one}": one for one in inspect.signature(group).parameters}

    def call(**values: Any) -> Any:
        return group(**{names[name]: value for name, value in values.items()})

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def joined(*groups: Group) -> Group:
    """Return a group with the options of all, whose value is the tuple of their values."""
    signatures = [inspect.signature(group, eval_str=True) for group in groups]

    def call(**values: Any) -> tuple[Any, ...]:
        return tuple(
            group(**{one: values[one] for one in signature.parameters})
            for group, signature in zip(groups, signatures, strict=True)
        )

    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one for signature in signatures for one in signature.parameters.values()]
    )
    return call


def mapped(group: Group, fold: Callable[[Any], Any]) -> Group:
    """Return the group with `fold` of its value as its value."""

    def call(**values: Any) -> Any:
        return fold(group(**values))

    call.__signature__ = inspect.signature(group, eval_str=True)  # type: ignore[attr-defined]
    return call


def _prefixed(group: Group, prefix: str) -> Iterator[inspect.Parameter]:
    for parameter in inspect.signature(group, eval_str=True).parameters.values():
        kind, option = get_args(parameter.annotation)
        assert isinstance(option, OptionInfo)
        # typer keeps the first name of an annotated option where a default would stand.
        decls = (option.default, *(option.param_decls or ()))
        names = [str(name) for name in decls if name is not ...]
        names = names or [f"--{parameter.name.replace('_', '-')}"]
        option = copy(option)
        option.default = ...
        option.param_decls = [_behind(prefix, name) for name in names if name.startswith("--")]
        option.hidden = True
        yield parameter.replace(
            name=f"{prefix}_{parameter.name}", annotation=Annotated[kind, option]
        )


def _behind(prefix: str, name: str) -> str:
    """Return `--src-name` of `--name`, and `--src-name/--no-src-name` of `--name/--no-name`."""
    yes, slash, no = name.partition("/")
    return f"--{prefix}-{yes[2:]}" + (f"/--no-{prefix}-{no[5:]}" if slash else "")

"""`entrepot upstream`: the registries that are mirrored or redirected to, looked at and changed
while the server runs."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entrepot.cli import failures
from entrepot.cli.cache_places import candidates
from entrepot.cli.help_text import Command, Group, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import human_size, print_lines, table
from entrepot.cli.session import with_client
from entrepot.cli.upstream_check import ask, question
from entrepot.cli.upstream_layouts import placed
from entrepot.cli.upstream_options import Table, upstream_options
from entrepot.cli.upstream_places import (
    NONE,
    AskedArgument,
    ConfigOption,
    Configured,
    DataOption,
    JsonOption,
    configured,
)
from entrepot.client import Client
from entrepot.oci.errors import NameUnknown, RegistryError

if TYPE_CHECKING:
    from entrepot.config import UpstreamSettings
    from entrepot.ports.cache_index import Usage

app = typer.Typer(
    cls=Group,
    name="upstream",
    help="The registries that are mirrored, or that clients are sent to.",
    epilog=examples("entrepot upstream ls", "entrepot upstream add quay.io"),
)


@app.command(cls=Command, epilog=examples("entrepot upstream ls", "entrepot upstream ls --json"))
def ls(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the upstreams.

    Each with where it is asked, where it is configured, and what it takes in the cache, if there
    is one. With --json: name, aliases, mode, endpoints, discovery, configured, settings (those
    that are not the defaults, without secrets), size and items in the cache.
    """
    known = configured(config, data)

    async def work(client: Client) -> Mapping[Path, "Mapping[str, Usage]"]:
        caches = dict.fromkeys(known.cache(one) for one in known.upstreams.values())
        return {path: await _usage(client, path) for path in caches}

    usage = with_client(work)
    rows = [_listed(known, name, usage) for name in known.upstreams]
    if as_json:
        print_lines(json.dumps(row, ensure_ascii=False) for row in rows)
        return
    if not rows:
        print(NONE)
        return
    shown = [
        (
            row["name"],
            row["mode"],
            "-" if row["size"] is None else human_size(row["size"]),
            ", ".join(row["endpoints"]) or row["discovery"],
            row["configured"],
        )
        for row in rows
    ]
    print_lines(table([("NAME", "MODE", "CACHED", "ENDPOINTS", "CONFIGURED"), *shown]))


async def _usage(client: Client, path: Path) -> "Mapping[str, Usage]":
    try:
        return await client.cache_usage(path)
    except RegistryError as error:
        failures.warn(f"the cache {path} cannot be looked at: {error.message}")
        return {}


def _listed(
    known: Configured, name: str, usage: "Mapping[Path, Mapping[str, Usage]]"
) -> dict[str, Any]:
    from entrepot.config.runtime_upstreams import shown_upstream
    from entrepot.services.upstream_addresses import endpoints_of

    upstream = known.upstreams[name]
    try:
        endpoints = [one.url for one in endpoints_of(name, upstream)]
    except RegistryError as error:
        failures.warn(error.message)
        endpoints = []
    cached = usage[known.cache(upstream)].get(name)
    return {
        "name": name,
        "aliases": list(upstream.aliases),
        "mode": upstream.mode,
        "endpoints": endpoints,
        "discovery": upstream.discovery,
        "configured": known.places[name],
        "settings": shown_upstream(upstream),
        "size": cached and cached.size,
        "items": cached and cached.items,
    }


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot upstream check",
        "entrepot upstream check docker.io quay.io",
        "entrepot upstream check docker.io/library/alpine:3.20",
    ),
)
def check(
    names: AskedArgument = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> int:
    """Ask each endpoint whether it is there.

    It is asked as the server asks it: through the same proxy, with the same login. Of an image the
    manifest is asked for, too, with a HEAD. `entrepot doctor` says more of what is wrong.

    With --json: upstream, endpoint, image, state (ok, failed), seconds, authentication,
    authorised, digest, remaining (requests), error.
    """
    known = configured(config, data)
    questions = [question(known, word) for word in names or known.upstreams]
    answers = with_client(lambda client: ask(client, known, questions))
    if as_json:
        print_lines(json.dumps(answer.row(), ensure_ascii=False) for answer in answers)
    elif not answers:
        print(NONE)
    else:
        shown = [answer.line() for answer in answers]
        print_lines(table([("UPSTREAM", "ENDPOINT", "STATE", "TIME", "DETAIL"), *shown]))
    errors = [answer.error for answer in answers if answer.error is not None]
    return failures.exit_code(ExceptionGroup("not there", errors)) if errors else 0


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot upstream add quay.io",
        "entrepot upstream add docker.io --username me --password-stdin < token.txt",
        "entrepot upstream add registry.example.com --ca-file ca.pem --set probe_interval=10s",
        "entrepot upstream add tools --preset artifactory --layout cloud --repository x "
        "--url acme.jfrog.io",
    ),
)
@takes(options=upstream_options)
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The registry's host, or a word of your own.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace it if it is configured already.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    *,
    options: Table,
) -> None:
    """Add an upstream to a server, running or not.

    It is kept in upstreams.toml in the data directory, which only the server's user can read; a
    running server takes it up within two seconds. Well-known registries need nothing but their
    name.

    The first line of standard input is the password (with --password-stdin), the next ones the
    proxy and the header fields that are given as -.
    """
    known = configured(config, data)
    name = _checked_name(name)
    if name in known.upstreams and not replace:
        raise typer.BadParameter(
            f"{name} is configured already, in {known.places[name]}; --replace puts this in its "
            "place"
        )
    upstream = _checked(name, placed(name, options))
    known.file.parent.mkdir(parents=True, exist_ok=True)
    with _changing(known.file) as added:
        added[name] = upstream
    print(f"added {name} to {known.file}; a running server takes it up within two seconds")
    if not _has_run(known):
        data = known.settings.storage.path
        failures.warn(
            f"no server has run with --data {data} yet; if one runs, give its directory by --data "
            "or its file by --config"
        )


@app.command(cls=Command, epilog=examples("entrepot upstream rm quay.io"))
def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Upstreams to remove.")],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Remove upstreams that were added.

    What is being pulled from them comes to its end. What they have in the cache stays there, and
    goes when room is needed. Upstreams of the configuration file are removed there.
    """
    known = configured(config, data)
    if known.file.parent.is_dir():
        with _changing(known.file) as added:
            for name in names:
                _remove(known, added, _checked_name(name))
    else:
        _remove(known, {}, names[0])
    for name in names:
        print(f"removed {name}")


def _has_run(known: Configured) -> bool:
    """Say whether a server has left anything in the data directory."""
    database = known.settings.storage.path / "metadata.db"
    elsewhere = bool(known.settings.metadata.url)
    return elsewhere or any(place.exists() for place in (database, *candidates(known)))


def _remove(known: Configured, added: dict[str, "UpstreamSettings"], name: str) -> None:
    if name not in added:
        known.find(name)
        raise NameUnknown(
            f"{name} was not added at run time; remove it where it is configured: "
            f"{known.places.get(name, name)}"
        )
    del added[name]


def _checked_name(text: str) -> str:
    from entrepot.config.registry_names import upstream_name

    try:
        return upstream_name(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no name of an upstream: {error}") from None


def _checked(name: str, options: Table) -> "UpstreamSettings":
    """Return the settings that the options are. Raise BadParameter with all that is wrong."""
    from entrepot.config import ConfigError
    from entrepot.config.registry_names import is_nowhere
    from entrepot.config.runtime_upstreams import parse_upstreams
    from entrepot.services.upstream_addresses import endpoints_of

    is_told = options.get("endpoints") or options.get("discovery")
    if not is_told and is_nowhere(name, str(options.get("preset", ""))):
        raise typer.BadParameter(_where(name))
    try:
        upstream = parse_upstreams({name: options}, name)[name]
    except ConfigError as error:
        raise typer.BadParameter("; ".join(map(str, error.problems))) from None
    endpoints_of(name, upstream)
    return upstream


def _where(name: str) -> str:
    """Say what to do about a word that is no host."""
    from entrepot.rules.upstream_presets import PRESETS

    meant = next((one for one in PRESETS if name in one.words and one.endpoints), None)
    if meant is not None:
        return f"{name} is no registry's host; do you mean {meant.name}?"
    return f"{name} is no registry's host; say with --url where it is asked"


@contextmanager
def _changing(file: Path) -> "Iterator[dict[str, UpstreamSettings]]":
    """Give the upstreams of the file to be changed, and write them back; one process at a time."""
    from entrepot.config.runtime_upstreams import read_runtime_upstreams, write_runtime_upstreams

    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        added = dict(read_runtime_upstreams(file))
        yield added
        write_runtime_upstreams(file, added)
        owner = os.fstat(folder)
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.chown(file, owner.st_uid, owner.st_gid)  # the server must be able to read it
    finally:
        os.close(folder)

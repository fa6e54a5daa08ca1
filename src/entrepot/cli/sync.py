"""`entrepot sync`: a list of images, kept the same in another place."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from entrepot.cli import failures, progress
from entrepot.cli.destinations import below, shown
from entrepot.cli.help_text import Command, examples
from entrepot.cli.move import Move, move
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, print_json
from entrepot.cli.remote_options import two_remotes
from entrepot.cli.session import with_client
from entrepot.cli.transfer_options import (
    ManifestForm,
    ManifestFormOption,
    Selection,
    outcome,
    selection,
    summary,
)
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError, Unsupported
from entrepot.oci.reference import Tag
from entrepot.rules.sync_list import SyncEntry, read_sync_list
from entrepot.services.transfer import TransferOptions

app = typer.Typer()


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot sync mirror.yaml",
        "entrepot sync --dry-run skopeo.yaml registry.example.com/mirror",
        "entrepot sync --keep-going --quiet -j 8 mirror.yaml",
    ),
)
@takes(what=selection, remotes=two_remotes)
def sync(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The list, as YAML; - for standard input.")
    ],
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="DESTINATION",
            help="Where images go of which the list does not say it: each to DESTINATION/NAME.",
            show_default=False,
        ),
    ] = None,
    form: ManifestFormOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only print what would be copied.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", "-k", help="Go on after an image that failed.")
    ] = False,
    output: OutputOption = "text",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors and warnings.")
    ] = False,
    *,
    what: Selection,
    remotes: tuple[RemoteOptions, RemoteOptions],
) -> int:
    """Copy the images of a list.

    What is there already is not copied again, and nothing is ever deleted. The exit code is 1 if
    any image failed.

    The list is ours, `sync:` with entries of `from`, `to`, `tags` (or `tag-regex` or `semver`),
    `platforms` and `referrers`; or that of skopeo sync, a map of registries with `images`,
    `images-by-tag-regex`, `images-by-semver`, `credentials` and `tls-verify`. Without tags all
    of a repository's are meant.

    With -o json: images, each with status (copied, planned, failed), source, destination, and
    of those copied all that `entrepot cp -o json` prints, of those that failed error.

    Each registry option also exists as --src-… and --dest-…, for one side alone.
    """
    entries = read_sync_list(_document(file))
    plans = [_plan(entry, destination, what, remotes, form) for entry in entries]
    run = _Run(dry_run, keep_going, quiet or output == "json")
    with_client(lambda client: run.all(client, plans))
    if output == "json":
        print_json({"images": run.images})
    elif not quiet:
        print(run.totals())
    return run.exit_code


@dataclass(frozen=True, slots=True)
class _Plan:
    """An entry of the list with the addresses it means, before its tags are known."""

    entry: SyncEntry
    move: Move
    options: TransferOptions


class _Run:
    """A list at work: what has become of each image."""

    def __init__(self, dry_run: bool, keep_going: bool, silent: bool) -> None:
        self.images: list[dict[str, Any]] = []
        self.exit_code = 0
        self._dry_run = dry_run
        self._keep_going = keep_going
        self._silent = silent

    async def all(self, client: Client, plans: list[_Plan]) -> None:
        for plan in plans:
            try:
                for one in await _images(client, plan):
                    if not await self._image(client, one, plan.options):
                        return
            except (RegistryError, OSError, ExceptionGroup) as error:
                # Not even the tags are known.
                if not self._failed(plan.move, error):
                    return

    def totals(self) -> str:
        kinds = ("planned",) if self._dry_run else ("copied", "failed")
        counts = {kind: sum(one["status"] == kind for one in self.images) for kind in kinds}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items())

    async def _image(self, client: Client, one: Move, options: TransferOptions) -> bool:
        """Copy an image; say whether to go on."""
        tags = one.tags or ()
        if not self._silent:
            print(f"{shown(one.source)} -> {shown(one.target, tags)}", flush=True)
        if self._dry_run:
            self._note("planned", one)
            return True
        try:
            with progress.shown(self._silent) as report:
                result = await move(client, one, options, report)
        except (RegistryError, OSError, ExceptionGroup) as error:
            return self._failed(one, error)
        self._note("copied", one, **outcome(one.source, one.target, result, options.platforms))
        if not self._silent:
            print(f"  {summary(result)}", flush=True)
        return True

    def _failed(self, one: Move, error: Exception) -> bool:
        self.exit_code = failures.ERROR
        message = "; ".join(failures.messages(error))
        self._note("failed", one, error=message)
        failures.complain(f"{shown(one.source)}: {message}")
        return self._keep_going

    def _note(self, status: str, one: Move, **more: object) -> None:
        places = {"source": str(one.source), "destination": shown(one.target, one.tags or ())}
        self.images.append({"status": status, **more, **places})


def _document(file: Path) -> object:
    """Read a YAML file. Raise Unsupported if it is none, OSError if it cannot be read."""
    import sys

    import yaml

    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Unsupported(f"{file} is no YAML: {' '.join(str(error).split())}") from None


def _plan(
    entry: SyncEntry,
    destination: str | None,
    what: Selection,
    remotes: tuple[RemoteOptions, RemoteOptions],
    form: ManifestForm | None,
) -> _Plan:
    if not entry.target and not destination:
        raise typer.BadParameter(
            f"the list does not say where {entry.source} goes; name a destination"
        )
    source = parse_address(entry.source)
    target = parse_address(entry.target or below(destination or "", entry.name))
    options = what.options(form)
    options = replace(
        options,
        platforms=entry.platforms or options.platforms,
        referrers=entry.referrers or options.referrers,
    )
    reading, writing = remotes
    return _Plan(entry, Move(source, target, _over(reading, entry), writing), options)


def _over(remote: RemoteOptions, entry: SyncEntry) -> RemoteOptions:
    """Return what the list says of a registry; the command line goes before it."""
    changes: Mapping[str, Any] = {}
    if entry.username and not (remote.username or remote.anonymous):
        changes = {"username": entry.username, "password": entry.password}
    if entry.tls_verify is False:
        changes = {**changes, "tls_verify": False}
    return replace(remote, **changes)


async def _images(client: Client, plan: _Plan) -> list[Move]:
    """Return an entry's images, each with its tag at both ends."""
    entry, one = plan.entry, plan.move
    names = entry.tags
    if names is None and entry.choose is None and one.source.reference is not None:
        tags = (one.source.tag,) if one.source.tag else ()
        return [replace(one, tags=(one.target.tag,) if one.target.tag else tags)]
    if names is None:
        source = await client.source(one.source, one.source_remote)
        there = [str(tag) for tag in await source.tags()]
        names = tuple(tag for tag in there if entry.choose is None or entry.choose(tag))
    return [_named(one, name) for name in names]


def _named(one: Move, name: str) -> Move:
    """Return the move of one tag, or of one digest, which gets no tag."""
    if ":" in name:
        by_digest = replace(one.source, tag=None, digest=Digest.parse(name))
        return replace(one, source=by_digest, tags=())
    tag = Tag.parse(name)
    source, target = replace(one.source, tag=tag, digest=None), replace(one.target, tag=tag)
    return replace(one, source=source, target=target, tags=(tag,))

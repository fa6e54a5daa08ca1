"""`entrepot save` and `load`: archives with any number of images, as docker has them."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Annotated, Final

import typer

from entrepot.cli import progress
from entrepot.cli.destinations import (
    STREAM,
    FileForm,
    below,
    familiar_name,
    shown,
    target_tags,
)
from entrepot.cli.help_text import Command, examples
from entrepot.cli.move import Move, move_between
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, QuietOption, print_json, refuse_terminal
from entrepot.cli.push import origin
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.cli.transfer_options import Selection, outcome, selection, summary
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import DOCKER_HUB, Address, parse_address, repository_address
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, KnowsNames, TakesNames
from entrepot.services.progress import Transferred
from entrepot.services.transfer import transfer

app = typer.Typer()

_OFFICIAL: Final = "library/"


Outcome = tuple[Move, Transferred]


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot save alpine:3.20 busybox -o images.tar",
        "entrepot save localhost:5000/team/app:1 -o - | docker load",
        "entrepot save --format oci-archive --all alpine:3.20 -o alpine.tar",
    ),
)
@takes(what=selection, remote=remote_options)
def save(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="The images, or any other Ends.")
    ],
    file: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The archive, or - for standard output."
        ),
    ],
    form: Annotated[
        FileForm,
        typer.Option(
            "--format",
            metavar="docker-archive|oci-archive|oci",
            help="What docker load reads, an image layout in a tar file, or a folder with one.",
        ),
    ] = "docker-archive",
    quiet: QuietOption = False,
    *,
    what: Selection,
    remote: RemoteOptions,
) -> None:
    """Write images into one archive.

    A docker-archive holds one platform of each, this machine's unless told; the others hold all.
    The last lines of the output are the digests, in the order of the images.
    """
    moves = [_saved(parse_address(image), Address(form, file), remote) for image in images]
    _refuse_same_names(moves, form)
    if file == STREAM:
        refuse_terminal()
    options = what.options(one_platform=form == "docker-archive")

    async def work(client: Client) -> list[Transferred]:
        target = await client.target(moves[0].target, remote)
        done = []
        for one in moves:
            name = str(one.target.repository)
            end = target.under(name) if isinstance(target, TakesNames) else target
            source = await client.source(one.source, one.source_remote)
            with progress.shown(quiet) as report:
                done.append(await move_between(source, end, one, options, report))
            await source.close()
        await target.commit()
        return done

    results = with_client(work)
    with redirect_stdout(sys.stderr if file == STREAM else sys.stdout):
        for one, result in zip(moves, results, strict=True):
            if not quiet:
                print(f"{shown(one.source)} -> {file}: {summary(result)}")
        for result in results:
            print(result.root.digest)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot load -i images.tar",
        "entrepot load -i images.tar localhost:5000/mirror/",
        "docker save team/app:1 | entrepot load store:team/app:1",
    ),
)
@takes(what=selection, remote=remote_options)
def load(
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DESTINATION",
            help="An image, or any other End, for an archive of one image; with a / at its end "
            "each goes below it under its own name. Without it that is our own store.",
            show_default=False,
        ),
    ] = "store:",
    file: Annotated[
        str,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="The archive or image layout.",
            show_default="standard input",
        ),
    ] = STREAM,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    what: Selection,
    remote: RemoteOptions,
) -> None:
    """Read images from an archive into our own store, or to a registry.

    Their names come from the archive, without the host. The last lines of the output are their
    digests. With -o json: images, each as `entrepot cp -o json` prints it.
    """
    source = origin(file, "docker-archive") if file != STREAM else Address("docker-archive", file)
    options = what.options()

    async def work(client: Client) -> list[Outcome]:
        done = []
        archive = await client.source(source, remote)
        for one, digest in await _loaded(archive, source, destination, remote):
            target = await client.target(one.target, remote)
            with progress.shown(quiet) as report:
                result = await transfer(
                    archive,
                    digest,
                    target,
                    one.tags or (),
                    options,
                    report,
                    expected=one.target.digest,
                )
            await target.commit()
            await target.close()
            done.append((one, result))
        return done

    results = with_client(work)
    if output == "json":
        print_json(
            {
                "images": [
                    outcome(one.source, one.target, result, options.platforms)
                    for one, result in results
                ]
            }
        )
        return
    for one, result in results:
        if not quiet:
            print(f"{shown(one.target, result.tags)}: {summary(result)}")
    for _, result in results:
        print(result.root.digest)


def _saved(image: Address, archive: Address, remote: RemoteOptions) -> Move:
    target = replace(archive, repository=familiar_name(image))
    return Move(image, target, remote, remote, target_tags(image, archive))


def _refuse_same_names(moves: Sequence[Move], form: FileForm) -> None:
    """An image layout knows its images by tag only: two with the same would replace each other."""
    keys = [
        (one.target.repository if form == "docker-archive" else "", tag)
        for one in moves
        for tag in one.tags or ()
    ]
    for _, tag in keys:
        if form != "docker-archive" and sum(tag == other for _, other in keys) > 1:
            raise typer.BadParameter(
                f"several of the images have the tag {tag}, by which alone {form} knows them; "
                "save them as docker-archive, or one by one"
            )


async def _loaded(
    archive: ImageSource, source: Address, destination: str, remote: RemoteOptions
) -> list[tuple[Move, Digest | Tag | None]]:
    """Return where each image of the archive goes, and what it is called there."""
    named = await archive.named() if isinstance(archive, KnowsNames) else {}
    if destination.endswith(("/", ":")):
        if not named:
            raise ManifestUnknown(
                f"{source.path} does not say what its images are called; name a destination"
            )
        return [
            (_under(source, destination, name, remote), descriptor.digest)
            for name, descriptor in named.items()
        ]
    target = parse_address(destination)
    if len({descriptor.digest for descriptor in named.values()}) > 1 and source.reference is None:
        raise ManifestUnknown(
            f"{source.path} holds several images, {', '.join(named)}; name one behind the file's "
            "name, as in FILE:TAG, or put / behind the destination to load all"
        )
    known = await archive.tags()
    if source.reference is None and target.reference is None and len(known) == 1:
        source = replace(source, tag=known[0])
    one = Move(source, target, remote, remote, target_tags(source, target))
    return [(one, None)]


def _under(source: Address, destination: str, name: str, remote: RemoteOptions) -> Move:
    """Return the move of one image below a destination: its own name, without the host."""
    own = repository_address(name)
    path = (own.repository or "").removeprefix(_OFFICIAL if own.host == DOCKER_HUB else "")
    target = parse_address(f"{below(destination, path)}:{own.tag}")
    tags = (own.tag,) if own.tag else ()
    return Move(
        replace(source, repository=own.repository, tag=own.tag), target, remote, remote, tags
    )

"""One image from one End to another: what pull, push, cp, sync, save and load have in common."""

import sys
from contextlib import AsyncExitStack, redirect_stdout
from dataclasses import dataclass, replace

from entrepot.cli import progress
from entrepot.cli.destinations import STREAM, target_tags
from entrepot.cli.output import Form, refuse_terminal
from entrepot.cli.session import with_client
from entrepot.cli.transfer_options import print_outcome
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import Address
from entrepot.oci.reference import Tag
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.services.progress import Report, Transferred
from entrepot.services.transfer import TransferOptions, transfer


@dataclass(frozen=True, slots=True)
class Move:
    """From where to where, and how each side is reached. `tags` None follows from the two."""

    source: Address
    target: Address
    source_remote: RemoteOptions
    target_remote: RemoteOptions
    tags: tuple[Tag, ...] | None = None

    @property
    def to_stream(self) -> bool:
        """Whether the image itself goes to standard output, where nothing else may go then."""
        return self.target.path == STREAM


def run(one: Move, options: TransferOptions, output: Form, quiet: bool) -> None:
    """Move an image with progress, and print what was moved."""
    if one.to_stream:
        refuse_terminal()

    async def work(client: Client) -> Transferred:
        with progress.shown(quiet) as report:
            return await move(client, one, options, report)

    result = with_client(work)
    with redirect_stdout(sys.stderr if one.to_stream else sys.stdout):
        print_outcome(one.source, one.target, result, options, output, quiet)


async def move(client: Client, one: Move, options: TransferOptions, report: Report) -> Transferred:
    """Move an image, and commit the target."""
    async with AsyncExitStack() as opened:
        source = await client.source(one.source, one.source_remote)
        opened.push_async_callback(source.close)
        target = await client.target(one.target, one.target_remote)
        opened.push_async_callback(target.close)
        result = await move_between(source, target, one, options, report)
        await target.commit()
        return result


async def move_between(
    source: ImageSource,
    target: ImageTarget,
    one: Move,
    options: TransferOptions,
    report: Report,
) -> Transferred:
    """Move an image between Ends that are open."""
    tags = one.tags if one.tags is not None else await _tags(source, one)
    wanted, expected = one.source.reference, one.target.digest
    return await transfer(source, wanted, target, tags, options, report, expected=expected)


async def _tags(source: ImageSource, one: Move) -> tuple[Tag, ...]:
    from_file = one.source.kind != "docker" and one.source.reference is None
    if from_file and one.target.reference is None:
        # The only image of a file may have a tag, though nobody has named it.
        known = await source.tags()
        if len(known) == 1:
            return target_tags(replace(one.source, tag=known[0]), one.target)
    return target_tags(one.source, one.target)

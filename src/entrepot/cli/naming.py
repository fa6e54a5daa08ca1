"""`entrepot tag` and `rm`: names given and taken, without content being moved."""

from typing import Annotated

import typer

from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.client import Client, RemoteOptions
from entrepot.oci.address import Address, parse_address
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag

app = typer.Typer()


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot tag localhost:5000/team/app:1.2.3 1.2 1 latest",
        "entrepot tag oci:images:build-7 release",
    ),
)
@takes(remote=remote_options)
def tag(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="The tags that it gets.")],
    *,
    remote: RemoteOptions,
) -> None:
    """Give an image more tags without pulling it.

    To give it another name, or to have it in another registry, use `entrepot cp`. The digest is
    the last line of the output.
    """
    address = parse_address(image)
    named = [_tag_of(one, address) for one in tags]

    async def work(client: Client) -> Digest:
        source = await client.source(address, remote)
        root = await source.resolve(address.reference)
        content = await source.manifest(root)
        target = await client.target(address, remote)
        await target.publish(root, content, named)
        await target.commit()
        return root.digest

    digest = with_client(work)
    for one in named:
        print(f"tagged {one}")
    print(digest)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot rm localhost:5000/team/app:old",
        "entrepot rm --digest localhost:5000/team/app:old",
        "entrepot rm localhost:5000/team/app@$(entrepot digest localhost:5000/team/app:old)",
    ),
)
@takes(remote=remote_options)
def rm(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Images, each with a tag or a digest.")
    ],
    by_digest: Annotated[
        bool,
        typer.Option(
            "--digest", help="Remove the manifest that a tag names, and with it all its tags."
        ),
    ] = False,
    *,
    remote: RemoteOptions,
) -> None:
    """Remove tags or manifests from a registry.

    A tag goes alone and what it named stays; an image written with @DIGEST goes with all its
    tags. Nothing is asked, and nothing is guessed: without a tag or a digest nothing is removed.
    """
    addresses = [_removable(one) for one in images]

    async def work(client: Client) -> None:
        for address in addresses:
            print(await _remove(client, address, remote, by_digest))

    with_client(work)


def _tag_of(text: str, image: Address) -> Tag:
    """Return the tag that a word is or, as docker users write it, ends in."""
    if not set("/:@") & set(text):
        return Tag.parse(text)
    address = parse_address(text)
    same = (address.kind, address.host, address.path, address.repository) == (
        image.kind,
        image.host,
        image.path,
        image.repository,
    )
    if not same or address.tag is None or address.digest:
        raise typer.BadParameter(f"{text!r} is no tag in the image's repository; see entrepot cp")
    return address.tag


def _removable(text: str) -> Address:
    address = parse_address(text)
    if address.kind != "docker":
        raise typer.BadParameter(f"{text!r} is not in a registry; remove it with your own tools")
    if address.reference is None:
        raise typer.BadParameter(f"{text!r} has no tag and no digest; say what is to be removed")
    return address


async def _remove(client: Client, address: Address, remote: RemoteOptions, by_digest: bool) -> str:
    repository = client.repository(address, remote)
    digest = address.digest
    if digest is None and by_digest and address.tag:
        digest = (await repository.head(address.tag)).digest
    if digest is not None:
        await repository.delete_manifest(digest)
        return f"removed {address.host}/{address.repository}@{digest}"
    assert address.tag is not None
    await repository.delete_tag(address.tag)
    return f"removed {address.host}/{address.repository}:{address.tag}"

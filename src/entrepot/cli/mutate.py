"""`entrepot mutate`: an image with other settings."""

import shlex
from typing import Annotated

import typer

from entrepot.cli.edited_image import Making, TagOption, make, which_images
from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import OutputOption, QuietOption
from entrepot.cli.pairs import removable_pairs
from entrepot.cli.platform_option import platform_of
from entrepot.cli.remote_options import remote_options
from entrepot.client import RemoteOptions
from entrepot.oci.address import parse_address
from entrepot.oci.descriptor import Descriptor
from entrepot.services.image_editing import EditOptions, edit
from entrepot.services.image_settings import ImageSettings
from entrepot.services.image_settings import mutate as mutated

app = typer.Typer()

_PANEL = "Settings"


def _many(flag: str, metavar: str, help: str, short: str | None = None) -> object:
    return typer.Option(
        *((flag, short) if short else (flag,)),
        metavar=metavar,
        help=f"{help}; may be repeated.",
        rich_help_panel=_PANEL,
        show_default=False,
    )


def _one(flag: str, metavar: str, help: str) -> object:
    return typer.Option(
        flag, metavar=metavar, help=help, rich_help_panel=_PANEL, show_default=False
    )


def _settings(
    *,
    env: Annotated[
        list[str] | None, _many("--env", "NAME=VALUE", "Set a variable, or remove it: NAME-", "-e")
    ] = None,
    label: Annotated[
        list[str] | None, _many("--label", "NAME=VALUE", "Set a label, or remove it: NAME-", "-l")
    ] = None,
    annotation: Annotated[
        list[str] | None,
        _many("--annotation", "NAME=VALUE", "Set an annotation of the manifest, or remove it"),
    ] = None,
    entrypoint: Annotated[
        str | None, _one("--entrypoint", "COMMAND", "Set the entry point, and drop the command.")
    ] = None,
    cmd: Annotated[str | None, _one("--cmd", "COMMAND", "Set the command.")] = None,
    workdir: Annotated[str | None, _one("--workdir", "DIR", "Set the working directory.")] = None,
    user: Annotated[str | None, _one("--user", "USER", "Set the user.")] = None,
    stop_signal: Annotated[
        str | None, _one("--stop-signal", "SIGNAL", "Set what ends a container.")
    ] = None,
    port: Annotated[
        list[str] | None, _many("--port", "PORT/tcp", "Expose a port, or no longer: PORT/tcp-")
    ] = None,
    volume: Annotated[
        list[str] | None, _many("--volume", "DIR", "Declare a volume, or no longer: DIR-")
    ] = None,
    author: Annotated[str | None, _one("--author", "NAME", "Set the author.")] = None,
    created: Annotated[
        str | None, _one("--created", "TIME", "Set when it was made, as RFC 3339.")
    ] = None,
    set_platform: Annotated[
        str | None, _one("--set-platform", "OS/ARCH[/VARIANT]", "Set what it says it is for.")
    ] = None,
) -> ImageSettings:
    """Read what is to be set. Raise BadParameter for what cannot be read."""
    return ImageSettings(
        env=removable_pairs(env, "--env"),
        labels=removable_pairs(label, "--label"),
        annotations=removable_pairs(annotation, "--annotation"),
        entrypoint=_words(entrypoint),
        cmd=_words(cmd),
        workdir=workdir,
        user=user,
        stop_signal=stop_signal,
        exposed_ports=_members(port),
        volumes=_members(volume),
        author=author,
        created=created,
        platform=platform_of(set_platform),
    )


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot mutate localhost:5000/team/app:1 --label stage=test -t :1-test",
        "entrepot mutate localhost:5000/team/app:1 --all -e DEBUG=1 -e OLD- -t :1",
        "entrepot mutate oci:app:1 --entrypoint '/bin/sh -c' --user 1000 -t oci:app:2",
    ),
)
@takes(which=which_images, settings=_settings, remote=remote_options)
def mutate(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")],
    tag: TagOption = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
    *,
    which: EditOptions,
    settings: ImageSettings,
    remote: RemoteOptions,
) -> None:
    """Change the settings of an image.

    An empty text removes a setting; commands are split into words as a shell does it. The digest
    is the last line of the output.
    """
    if settings == ImageSettings():
        raise typer.BadParameter("nothing is to be changed; give at least one setting")
    address = parse_address(image)

    async def work(making: Making) -> Descriptor:
        source, root = await making.image_read()
        change = mutated(settings)
        return await edit(source, root, change, making.target, making.tags, making.report, which)

    make(address, tag, work, remote, output, quiet)


def _words(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} cannot be split into words: {error}") from None


def _members(texts: list[str] | None) -> dict[str, bool]:
    """Return what is to be there, and with False what `NAME-` is to remove."""
    return {text.removesuffix("-"): not text.endswith("-") for text in texts or ()}

"""`entrepot cache`: what is kept of other registries, looked at and changed while the server runs,
or without one."""

import json
from functools import partial
from typing import Annotated

import typer

from entrepot.cli import cache_changes, cache_listing, cache_warm, failures
from entrepot.cli.cache_places import existing, nothing, required
from entrepot.cli.help_text import Command, Group, examples
from entrepot.cli.output import QuietOption
from entrepot.cli.platform_option import read_platform
from entrepot.cli.session import with_client
from entrepot.cli.upstream_places import ConfigOption, DataOption, JsonOption, configured

_CORRUPT = 4

app = typer.Typer(
    cls=Group,
    name="cache",
    help="What is kept of other registries.",
    epilog=examples("entrepot cache stats", "entrepot cache warm docker.io/library/alpine:3.20"),
)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot cache warm docker.io/library/alpine:3.20 ghcr.io/owner/app:1",
        "entrepot cache warm --platform linux/amd64 --pin docker.io/library/alpine:3.20",
        "entrepot cache warm --file images.txt",
    ),
)
def warm(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]...",
            help="Images of upstreams; without a registry, of the default one.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="FILE|-",
            help="File with an image per line, - for standard input; # begins a comment.",
            show_default=False,
        ),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH[/VARIANT]",
            help="Only this platform of a multi-platform image; may be repeated.",
            show_default=False,
        ),
    ] = None,
    referrers: Annotated[
        bool,
        typer.Option(
            "--referrers",
            help="Also what names the image as its subject: signatures, SBOMs, attestations.",
        ),
    ] = False,
    pin: Annotated[
        bool, typer.Option("--pin", help="Keep it when room is needed, until it is unpinned.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Blobs at a time.")
    ] = 4,
    quiet: QuietOption = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> int:
    """Bring images into the cache.

    They are fetched as the server fetches them: what is there already costs nothing but asking for
    the tag, and what broke off goes on where it was. All platforms are fetched unless --platform
    chooses. An image that cannot be had does not stop the others. `cache.warm` in the
    configuration has the server do this by itself.

    With --json: image, repository, digest, media_type, manifests, fetched and present (blobs),
    fetched_bytes, total_bytes, pinned.
    """
    known = configured(config, data)
    words = cache_warm.all_words(images, file)
    if not words and file is None:
        raise typer.BadParameter("name an image, or a list of images with --file")
    platforms = tuple(map(read_platform, platform or ()))
    wanted = cache_warm.Wanted(words, platforms, referrers, pin, jobs, quiet, as_json)
    return with_client(lambda client: cache_warm.warm(client, known, wanted))


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot cache ls",
        "entrepot cache ls docker.io",
        "entrepot cache ls --content docker.io/library/alpine",
    ),
)
def ls(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[UPSTREAM|REPOSITORY|IMAGE]...",
            help="What to list; everything if nothing is named.",
            show_default=False,
        ),
    ] = None,
    content: Annotated[
        bool, typer.Option("--content", help="List the contents by digest instead.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the images in the cache.

    Each with its digest, how long ago the upstream confirmed it, the bytes that are here of it,
    and whether all of it is stored, a part (such as one platform of several), or whether only its
    name is known.

    With --json: cache, repository, tag (null for a repository without any), digest, media_type,
    size, state (stored, partial, known), pinned, checked_at, since, age in seconds. With --content:
    cache, digest, size, state (filling, stored, evicting), upstream, pinned, uses, stored_at,
    used_at, verified_at.
    """
    known = configured(config, data)
    if not existing(known):
        failures.warn(nothing(known))
        return
    read = cache_listing.contents if content else cache_listing.images
    rows = with_client(lambda client: read(client, known, words or ()))
    if as_json:
        cache_listing.print_rows(rows)
    elif not rows:
        print("there is nothing of that in the cache" if words else "the cache is empty")
    elif content:
        cache_listing.print_contents(rows)
    else:
        cache_listing.print_images(rows)


@app.command(
    cls=Command, epilog=examples("entrepot cache stats", "entrepot cache stats --events --json")
)
def stats(
    events: Annotated[
        bool,
        typer.Option("--events", help="Also what has happened: tags that moved, wrong content."),
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the cache takes and saves.

    By upstream and in all, since the cache was made; a running server tells once per second. The
    ratio is that of answers for which nothing had to be fetched.

    With --json: cache, limit, free (bytes on the disk), total and upstreams, each with size, items,
    hits, misses, stale, coalesced, hit_ratio, evictions, evicted_bytes, fetched_bytes,
    served_bytes, and of upstreams their name and limit; events.
    """
    known = configured(config, data)
    if not existing(known):
        failures.warn(nothing(known))
        return
    rows = with_client(lambda client: cache_listing.statistics(client, known, events=events))
    if as_json:
        cache_listing.print_rows(rows)
    else:
        cache_listing.print_statistics(rows)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot cache purge docker.io/library/alpine:3.20",
        "entrepot cache purge docker.io/library/alpine",
        "entrepot cache purge --all --yes",
    ),
)
def purge(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE|REPOSITORY|UPSTREAM|DIGEST]...",
            help="What to forget.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Forget everything.")] = False,
    pinned: Annotated[bool, typer.Option("--pinned", help="Also what is pinned.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget what is in the cache.

    It is asked for upstream again at the next pull. A tag is only a name: what it names can still
    be pulled by digest, and stays until room is needed or its repository is forgotten. What no
    name leads to any more is removed at once, unless it is pinned.

    With --json: names, contents (removed), size (removed bytes), kept (contents that are pinned).
    """
    if everything == bool(words):
        raise typer.BadParameter("name what to forget, or give --all")
    known = configured(config, data)
    required(known)
    if everything and not yes:
        _ask("forget everything that is in the cache")
    work = partial(cache_changes.purge, known=known, words=words or (), pinned=pinned)
    done = with_client(work)
    if as_json:
        row = {"names": done.names, "contents": done.contents, "size": done.size}
        print(json.dumps(row | {"kept": done.kept}))
    else:
        cache_changes.print_purged(done)


ImagesArgument = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE|DIGEST...", help="Images in the cache.", show_default=False),
]


@app.command(cls=Command, epilog=examples("entrepot cache pin docker.io/library/alpine:3.20"))
def pin(
    images: ImagesArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep images when room is needed.

    Everything is pinned that the image leads to now, as far as its manifests are in the cache; what
    its tag points to later is not.

    With --json: image, repository, digest, pinned, changed, contents, size, state (stored,
    partial, known).
    """
    _pin(images, config, data, as_json, pinned=True)


@app.command(cls=Command, epilog=examples("entrepot cache unpin docker.io/library/alpine:3.20"))
def unpin(
    images: ImagesArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let pinned images go when room is needed.

    Layers that another pinned image has in common with it are unpinned, too: pin that one again.

    With --json: as `entrepot cache pin` does.
    """
    _pin(images, config, data, as_json, pinned=False)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot cache verify", "entrepot cache verify --repair docker.io/library/alpine:3.20"
    ),
)
def verify(
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="[IMAGE|DIGEST]", help="An image; everything if none is named.", show_default=""
        ),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch again what was wrong.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare the cache with its digests.

    Every byte is read. What is wrong is dropped, and fetched again when somebody asks for it, or
    at once with --repair. The exit code is 4 if anything was wrong that is not repaired, or could
    not be read.

    With --json: checked, size, corrupt, repaired, failed (why something was not repaired, or not
    read).
    """
    known = configured(config, data)
    done = with_client(lambda client: cache_changes.verify(client, known, image, again=repair))
    if as_json:
        print(json.dumps(cache_changes.verification_row(done)))
    else:
        cache_changes.print_verification(done)
    return _CORRUPT if {*done.corrupt, *done.failed} - set(done.repaired) else 0


def _pin(
    images: list[str], config: ConfigOption, data: DataOption, as_json: bool, *, pinned: bool
) -> None:
    known = configured(config, data)
    required(known)
    rows = with_client(lambda client: cache_changes.pin(client, known, images, pinned=pinned))
    if as_json:
        cache_listing.print_rows(rows)
    else:
        cache_changes.print_pinned(rows)


def _ask(what: str) -> None:
    """Ask whether to do something. Raise BadParameter where nobody can answer, Abort for no."""
    import sys

    if not sys.stdin.isatty():
        raise typer.BadParameter(f"to {what}, say so with --yes")
    typer.confirm(f"{what}?", abort=True)

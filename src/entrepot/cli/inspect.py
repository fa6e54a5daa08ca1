"""`entrepot inspect` and `manifest`: an image looked at without being moved."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from entrepot.cli.help_text import Command, examples
from entrepot.cli.option_groups import takes
from entrepot.cli.output import (
    OutputOption,
    human_size,
    print_fields,
    print_json,
    print_lines,
    table,
    write_bytes,
)
from entrepot.cli.platform_option import PlatformOption, platform_of
from entrepot.cli.remote_options import remote_options
from entrepot.cli.session import with_client
from entrepot.cli.single_image import SingleImage, choice, found
from entrepot.client import Client, RemoteOptions
from entrepot.oci import media_types
from entrepot.oci.address import Address, parse_address
from entrepot.oci.errors import ContentInvalid
from entrepot.rules.platform_choice import is_choosable
from entrepot.services.image_content import read_small_blob

app = typer.Typer()

_CONFIGS = (media_types.OCI_CONFIG, media_types.DOCKER_CONFIG)

ImageArgument = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, or any other End.")]


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot inspect alpine:3.20",
        "entrepot inspect -o json --platform linux/arm64 oci:images:app",
        "entrepot inspect --tags docker://registry.example.com/team/app",
    ),
)
@takes(remote=remote_options)
def inspect(
    image: ImageArgument,
    platform: PlatformOption = None,
    tags: Annotated[
        bool, typer.Option("--tags", help="Also list all tags, which can take long.")
    ] = False,
    output: OutputOption = "text",
    *,
    remote: RemoteOptions,
) -> None:
    """Show what an image is.

    Digest, platforms, layers with their sizes, settings, labels: all but its files. Of a
    multi-platform image, it is this machine's platform that is shown in detail, unless --platform
    tells another.

    With -o json: name, tag, digest, media_type, size, platforms (each with platform, digest,
    size), and of the one shown: manifest_digest, artifact_type, platform, created, author,
    config_digest, total_size, layers (each with digest, size, media_type), env, entrypoint, cmd,
    working_dir, user, exposed_ports, volumes, labels, annotations; and tags.
    """
    address, wanted = parse_address(image), platform_of(platform)

    async def work(client: Client) -> Mapping[str, Any]:
        source, one = await found(client, address, remote, wanted)
        config: Mapping[str, Any] = {}
        if one.manifest.config.media_type in _CONFIGS:
            config = _config(await read_small_blob(source, one.manifest.config))
        facts = _facts(address, one, config)
        return facts | ({"tags": [*map(str, await source.tags())]} if tags else {})

    facts = with_client(work)
    if output == "json":
        print_json(facts)
    else:
        _print(facts)


@app.command(
    cls=Command,
    epilog=examples(
        "entrepot manifest alpine:3.20",
        "entrepot manifest --platform linux/arm64 alpine:3.20 | sha256sum",
    ),
)
@takes(remote=remote_options)
def manifest(
    image: ImageArgument,
    platform: PlatformOption = None,
    *,
    remote: RemoteOptions,
) -> None:
    """Print a manifest byte for byte as it is stored.

    Of a multi-platform image it is the index, or with --platform that platform's manifest.
    """
    address, wanted = parse_address(image), platform_of(platform)

    async def work(client: Client) -> bytes:
        source = await client.source(address, remote)
        root = await source.resolve(address.reference)
        if wanted is None:
            return await source.manifest(root)
        return (await choice(source, root, wanted)).manifest.content

    write_bytes(with_client(work))


def _config(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ContentInvalid("the image's configuration is no JSON object; it is damaged")
    return value


def _facts(address: Address, one: SingleImage, config: Mapping[str, Any]) -> dict[str, Any]:
    run = config.get("config")
    run = run if isinstance(run, dict) else {}
    manifest = one.manifest
    total = manifest.config.size + sum(layer.size for layer in manifest.layers)
    return {
        "name": _name(address),
        "tag": address.tag and str(address.tag),
        "digest": str(one.root.digest),
        "media_type": one.root.media_type,
        "size": one.root.size,
        "platforms": _platforms(one),
        "manifest_digest": str(one.descriptor.digest),
        "artifact_type": None if config else manifest.artifact_type,
        "platform": _platform(one, config),
        "created": config.get("created"),
        "author": config.get("author"),
        "config_digest": str(manifest.config.digest),
        "total_size": total,
        "layers": [
            {"digest": str(layer.digest), "size": layer.size, "media_type": layer.media_type}
            for layer in manifest.layers
        ],
        "env": run.get("Env") or [],
        "entrypoint": run.get("Entrypoint") or [],
        "cmd": run.get("Cmd") or [],
        "working_dir": run.get("WorkingDir") or "",
        "user": run.get("User") or "",
        "exposed_ports": sorted(run.get("ExposedPorts") or {}),
        "volumes": sorted(run.get("Volumes") or {}),
        "labels": run.get("Labels") or {},
        "annotations": dict(manifest.annotations),
    }


def _name(address: Address) -> str:
    if address.kind == "docker":
        return f"{address.host}/{address.repository}"
    return str(address.repository or address.path)


def _platforms(one: SingleImage) -> list[dict[str, Any]]:
    if one.index is None:
        return []
    return [
        {"platform": str(entry.platform), "digest": str(entry.digest), "size": entry.size}
        for entry in one.index.manifests
        if entry.platform is not None and is_choosable(entry)
    ]


def _platform(one: SingleImage, config: Mapping[str, Any]) -> str | None:
    if config.get("os") and config.get("architecture"):
        parts = (config["os"], config["architecture"], config.get("variant"))
        return "/".join(str(part) for part in parts if part)
    return str(one.descriptor.platform) if one.descriptor.platform else None


def _print(facts: Mapping[str, Any]) -> None:
    multiple = bool(facts["platforms"])
    print_fields(
        {
            "name": facts["name"],
            "tag": facts["tag"],
            "digest": facts["digest"],
            "media type": facts["media_type"],
            "artifact type": facts["artifact_type"],
            "platforms": ", ".join(one["platform"] for one in facts["platforms"]),
            "platform": facts["platform"],
            "manifest": facts["manifest_digest"] if multiple else "",
            "config": facts["config_digest"],
            "created": facts["created"],
            "author": facts["author"],
            "total size": human_size(facts["total_size"]),
            "working dir": facts["working_dir"],
            "user": facts["user"],
            "entrypoint": _words(facts["entrypoint"]),
            "cmd": _words(facts["cmd"]),
            "ports": ", ".join(facts["exposed_ports"]),
            "volumes": ", ".join(facts["volumes"]),
        }
    )
    layers = [
        (layer["digest"], human_size(layer["size"]), layer["media_type"])
        for layer in facts["layers"]
    ]
    _print_list("layers", table(layers, "  "))
    _print_list("env", (f"  {variable}" for variable in facts["env"]))
    for kind in ("labels", "annotations"):
        _print_list(kind, (f"  {name}={value}" for name, value in facts[kind].items()))
    _print_list("tags", (f"  {tag}" for tag in facts.get("tags", ())))


def _print_list(heading: str, lines: Any) -> None:
    found = list(lines)
    if found:
        print(f"{heading}:")
        print_lines(found)


def _words(value: Any) -> str:
    """Return a command as one line, each word quoted as a shell would need it."""
    import shlex

    return shlex.join(map(str, value)) if isinstance(value, list) else str(value or "")

"""Images are edited as crane does, the same way every time, and nothing else changes."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.oci import media_types
from entrepot.oci.errors import (
    ContentInvalid,
    ManifestInvalid,
    ManifestUnknown,
    RegistryError,
    Unsupported,
)
from entrepot.oci.image_config import parse_config, with_section
from entrepot.oci.layer_compression import Compression, compressed
from entrepot.oci.platform import Platform
from entrepot.services.directory_packing import Packing
from entrepot.services.flattening import Flattening, Spool, export
from entrepot.services.image_editing import Draft, EditOptions, edit, new_draft, publish
from entrepot.services.image_layers import append, layer_of
from entrepot.services.image_settings import ImageSettings, mutate
from entrepot.services.rebasing import Base, rebase
from entrepot.testing.example_images import ELSEWHERE, HERE, image, index
from entrepot.testing.memory_end import MemoryEnd
from tests.unit.adapters.rootfs import layers as tars
from tests.unit.services.editing import (
    NEW,
    base,
    config,
    contents,
    edited,
    files,
    holding,
    ignore,
    manifest,
)

EXTRA = tars.layer(tars.file("opt/app", b"run"))
MERGED = {"etc": "dir", "etc/motd": "hello", "bin": "dir", "bin/sh": "#!"}


async def nothing(draft: Draft) -> Draft:
    return draft


@pytest.mark.parametrize("docker", [False, True])
async def test_an_edit_of_nothing_is_the_same_image(docker: bool) -> None:
    one = base(docker=docker, odd=True)
    _, root = await edited(one, nothing)
    assert root == one.root
    _, root = await edited(one, mutate(ImageSettings()))
    assert root == one.root


@pytest.mark.parametrize("kind", ["tar", "gzip", "zstd", "directory"])
@pytest.mark.parametrize("docker", [False, True])
async def test_layers_are_appended(tmp_path: Path, kind: str, docker: bool) -> None:
    path = tmp_path / "app"
    if kind == "directory":
        (path / "opt").mkdir(parents=True)
        (path / "opt" / "app").write_bytes(b"run")
    else:
        how = Compression("none" if kind == "tar" else kind)
        path.write_bytes(b"".join(compressed([EXTRA], how)))
    one = base(docker=docker)
    layer = await layer_of(path)
    end, root = await edited(one, append([layer]))
    layer.close()

    added = manifest(end, root)["layers"]
    assert added[:2] == manifest(holding(one), one.root)["layers"]
    packing = "zstd" if kind == "zstd" else "gzip"
    assert added[2]["mediaType"].endswith(f"tar.{packing}" if docker else f"tar+{packing}")
    told = config(end, root)
    assert len(told["rootfs"]["diff_ids"]) == len(told["history"]) == 3
    assert told["config"] == config(holding(one), one.root)["config"]
    if kind != "zstd":
        found = await files(tmp_path / "root", contents(end, root))
        assert found == MERGED | {"opt": "dir", "opt/app": "run"}


async def test_a_directory_packs_the_same_every_time(tmp_path: Path) -> None:
    found = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        order = ("b", "a", "c") if name == "one" else ("c", "b", "a")
        for each in order:
            (folder / each).write_text(each)
        (folder / "d").hardlink_to(folder / "a")
        (folder / "l").symlink_to("a")
        layer = await layer_of(folder, packing=Packing(prefix="usr/local"))
        found.add((layer.file.descriptor, layer.diff_id))
        content = b"".join(layer.file.content(layer.diff_id))
        layer.close()
    assert len(found) == 1
    tree = await files(tmp_path / "root", [content])
    assert set(tree) == {"usr", "usr/local", *(f"usr/local/{one}" for one in "abcdl")}


@pytest.mark.parametrize(
    "content", [b"no tar\n" * 200, gzip.compress(b"no tar\n" * 200)], ids=["plain", "packed"]
)
async def test_what_is_no_layer_is_not_appended(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ContentInvalid, match="file"):
        await layer_of(tmp_path / "file")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_layer_may_come_down_a_pipe(pack: Callable[[bytes], bytes]) -> None:
    content = pack(EXTRA)
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    layer = await layer_of(Path(f"/dev/fd/{reading}"))
    os.close(reading)
    assert b"".join(layer.file.content(layer.diff_id)) == EXTRA
    layer.close()


async def test_an_image_is_made_from_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.tar").write_bytes(EXTRA)
    layer = await layer_of(tmp_path / "app.tar")
    draft = await append([layer])(new_draft(Platform("linux", "arm64", "v8")))
    target = MemoryEnd()
    root = await publish(draft, target, [NEW], ignore)
    layer.close()
    assert root.media_type == media_types.OCI_MANIFEST
    told = config(target, root)
    assert (told["os"], told["architecture"], told["variant"]) == ("linux", "arm64", "v8")
    assert contents(target, root) == [EXTRA]


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (ImageSettings(cmd=("sh", "-c", "x")), {"Cmd": ["sh", "-c", "x"]}),
        (ImageSettings(entrypoint=("/app",)), {"Entrypoint": ["/app"], "Cmd": None}),
        (
            ImageSettings(entrypoint=("/app",), cmd=("x",)),
            {"Entrypoint": ["/app"], "Cmd": ["x"]},
        ),
        (ImageSettings(cmd=()), {"Cmd": None}),
        (ImageSettings(env={"A": "1", "B": "2=3"}), {"Env": ["A=1", "B=2=3"]}),
        (ImageSettings(labels={"x": "y"}), {"Labels": {"seed": "image", "x": "y"}}),
        (ImageSettings(labels={"seed": None}), {"Labels": None}),
        (ImageSettings(user="1:2", workdir="/w"), {"User": "1:2", "WorkingDir": "/w"}),
        (ImageSettings(exposed_ports={"80/tcp": True}), {"ExposedPorts": {"80/tcp": {}}}),
        (ImageSettings(volumes={"/data": True}), {"Volumes": {"/data": {}}}),
        (ImageSettings(stop_signal="SIGINT"), {"StopSignal": "SIGINT"}),
    ],
)
async def test_settings_change_and_nothing_else(
    settings: ImageSettings, changes: dict[str, object]
) -> None:
    one = base()
    before = config(holding(one), one.root)
    end, root = await edited(one, mutate(settings))
    expected = {**before["config"], **changes}
    expected = {name: value for name, value in expected.items() if value is not None}
    assert config(end, root) == before | {"config": expected}


async def test_variables_are_set_where_they_stand() -> None:
    end, root = await edited(base(), mutate(ImageSettings(env={"A": "1", "B": "2", "C": "3"})))
    again = mutate(ImageSettings(env={"B": "new", "A": None, "D": "4"}))
    target = MemoryEnd()
    changed = await edit(end, root, again, target, [], ignore)
    assert config(target, changed)["config"]["Env"] == ["B=new", "C=3", "D=4"]


async def test_time_platform_author_and_annotations() -> None:
    when = "2001-02-03T04:05:06Z"
    settings = ImageSettings(
        created=when, platform=ELSEWHERE, author="me", annotations={"b": "2", "a": "1"}
    )
    end, root = await edited(base(), mutate(settings))
    told = config(end, root)
    assert {told["created"], *(one["created"] for one in told["history"])} == {when}
    assert (told["architecture"], told["variant"], told["author"]) == ("arm64", "v8", "me")
    assert manifest(end, root)["annotations"] == {"a": "1", "b": "2"}


async def test_docker_manifests_take_no_annotations() -> None:
    with pytest.raises(Unsupported, match="annotations"):
        await edited(base(docker=True), mutate(ImageSettings(annotations={"a": "1"})))


async def test_what_is_not_known_of_a_config_stays() -> None:
    one = base()
    content = next(iter(one.blobs.values()))
    document = json.loads(content) | {"moby.buildkit.cache.v0": "kept"}
    document["config"]["ArgsEscaped"] = True
    changed = with_section(parse_config(json.dumps(document).encode()), {"User": "me"})
    read = json.loads(changed.to_bytes())
    document["config"]["User"] = "me"
    assert read == document


async def test_one_image_of_an_index_is_edited() -> None:
    one = index((HERE, base()), (ELSEWHERE, base(platform=ELSEWHERE)))
    cmd = mutate(ImageSettings(cmd=("new",)))
    with pytest.raises(ManifestUnknown, match="platform"):
        await edited(one, cmd)

    end, root = await edited(one, cmd, options=EditOptions(platform=ELSEWHERE))
    assert root.media_type == media_types.OCI_MANIFEST
    assert config(end, root)["architecture"] == "arm64"

    options = EditOptions(platform=ELSEWHERE, keep_index=True)
    end, root = await edited(one, cmd, options=options)
    before = manifest(holding(one), one.root)["manifests"]
    after = manifest(end, root)["manifests"]
    assert after[0] == before[0]
    assert after[1]["platform"] == before[1]["platform"]
    assert after[1]["digest"] != before[1]["digest"]

    end, root = await edited(one, cmd, options=EditOptions(everywhere=True))
    after = manifest(end, root)["manifests"]
    assert not {one["digest"] for one in after} & {one["digest"] for one in before}


OLD = [tars.layer(tars.file("lib", b"old"))]
FRESH = [tars.layer(tars.file("lib", b"new")), tars.layer(tars.file("fix", b"1"))]
OWN = [tars.layer(tars.file("app", b"mine"))]


async def test_an_image_moves_to_another_base(tmp_path: Path) -> None:
    old, new, mine = image(layers=OLD), image(layers=FRESH), image(layers=OLD + OWN)
    source = holding(old, new, mine)
    change = rebase(Base(source, old.root), Base(source, new.root, "docker.io/new"), ignore)
    end, root = await edited(mine, change, source=source)
    assert contents(end, root) == FRESH + OWN
    assert len(config(end, root)["history"]) == 3
    assert manifest(end, root)["annotations"] == {
        "org.opencontainers.image.base.digest": str(new.root.digest),
        "org.opencontainers.image.base.name": "docker.io/new",
    }


async def test_a_base_may_be_an_index() -> None:
    mine = image(layers=OLD + OWN)
    olds = index((HERE, image(layers=OLD)), (ELSEWHERE, image("x", platform=ELSEWHERE)))
    news = index((HERE, image(layers=FRESH)), (ELSEWHERE, image("y", platform=ELSEWHERE)))
    source = holding(olds, news, mine)
    change = rebase(Base(source, olds.root), Base(source, news.root), ignore)
    end, root = await edited(mine, change, source=source)
    assert contents(end, root) == FRESH + OWN


async def test_a_base_that_is_none_is_refused() -> None:
    old, mine = image(layers=FRESH), image(layers=OLD + OWN)
    source = holding(old, mine)
    with pytest.raises(ManifestInvalid, match="not built on"):
        await edited(mine, rebase(Base(source, old.root), Base(source, old.root), ignore),
                     source=source)  # fmt: skip


async def test_layers_become_one(tmp_path: Path) -> None:
    one, found = base(), []
    for _ in range(2):
        flattening = Flattening(ignore, spool=Spool(tmp_path))
        end, root = await edited(one, flattening.change)
        flattening.close()
        found.append(root)
        (flat,) = contents(end, root)
        assert len(config(end, root)["history"]) == 1
        assert config(end, root)["config"] == config(holding(one), one.root)["config"]
    assert found[0] == found[1]
    assert await files(tmp_path / "root", [flat]) == MERGED
    exported = b"".join([chunk async for chunk in export(holding(one), one.root, ignore)])
    assert exported == flat


async def test_hard_links_keep_the_file_they_were_made_of(tmp_path: Path) -> None:
    """Their first name is overwritten by a higher layer, and another one lives there."""
    one = image(
        layers=[
            tars.layer(tars.file("a", b"old"), tars.link("b", "a"), tars.link("c", "a")),
            tars.layer(tars.file("a", b"new"), tars.link("z", "c")),
        ]
    )
    flat = b"".join([chunk async for chunk in export(holding(one), one.root, ignore)])
    assert await files(tmp_path / "root", [flat]) == {
        "a": "new",
        "b": "old",
        "c": "old",
        "z": "old",
    }
    assert (tmp_path / "root/b").stat().st_nlink == 3


@pytest.mark.parametrize("make", [index, lambda: image(layers=[b"no tar" * 99])])
async def test_what_has_no_files_cannot_be_exported(make: object) -> None:
    one = make()  # type: ignore[operator]
    with pytest.raises(RegistryError):
        async for _ in export(holding(one), one.root, ignore):
            pass

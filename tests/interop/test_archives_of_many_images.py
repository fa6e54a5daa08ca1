"""Archives with several images: those of docker and podman are loaded whole, ours by them; and
commands that look at an image look into files of others as well."""

import json
from collections.abc import Callable

import pytest

from tests.interop.clients import Docker, Skopeo, require_root
from tests.interop.ends import here
from tests.interop.images import TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.programs import require_program

pytestmark = [pytest.mark.slow, pytest.mark.real("skopeo", "busybox")]

ENGINES = ["docker", "podman"]
SAVE = {
    "docker": "docker save --output theirs.tar {}",
    "podman": "podman save --quiet --multi-image-archive --output theirs.tar {}",
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, sandbox: Sandbox) -> str:
    """The name of docker or podman, ready and without images."""
    name: str = request.param
    require_program(name)
    require_root(name)
    if name == "docker":
        sandbox.environment["DOCKER_HOST"] = request.getfixturevalue("docker_host")
        Docker(sandbox).forget()
    return name


@pytest.fixture
def two(
    sandbox: Sandbox, new_repository: Callable[[], str], busybox: Layout, multi_platform: Layout
) -> dict[str, str]:
    """Two images in our registry: the config that each has for this machine, by its name."""
    names = {}
    for layout in (busybox, multi_platform):
        name = f"{new_repository()}:{TAG}"
        Skopeo(sandbox).upload(layout, name)
        names[name] = layout.image(here(layout)).config
    return names


def config_of(sandbox: Sandbox, image: str) -> str:
    told = json.loads(sandbox.run("entrepot", "inspect", "--output=json", image))
    return str(told["config_digest"])


def test_engines_load_what_we_save(sandbox: Sandbox, engine: str, two: dict[str, str]) -> None:
    told = sandbox.run("entrepot", "save", *two, "--output", "ours.tar")
    assert len(told.strip().splitlines()) >= len(two)
    sandbox.run(engine, "load", "--input", "ours.tar")
    for name, config in two.items():
        (image,) = json.loads(sandbox.run(engine, "image", "inspect", name))
        assert image["Id"].removeprefix("sha256:") == config.removeprefix("sha256:")


def test_we_load_what_engines_save(
    sandbox: Sandbox, engine: str, two: dict[str, str], repository: str
) -> None:
    """Each under its own name: below a place of a registry, and into our own store."""
    for name in two:
        options = ("--tls-verify=false",) if engine == "podman" else ()
        sandbox.run(engine, "pull", "--quiet", *options, name)
        sandbox.run(engine, "tag", name, name.replace(f":{TAG}", ":again"))
    names = [*two, *(name.replace(f":{TAG}", ":again") for name in two)]
    sandbox.run("sh", "-euc", SAVE[engine].format(" ".join(names)))
    sandbox.run("entrepot", "load", "--input", "theirs.tar", f"{repository}/")
    sandbox.run("entrepot", "load", "--input", "theirs.tar", "store:./data:")
    for name, config in two.items():
        path = name.partition("/")[2]
        for place in (f"{repository}/{path}", f"store:./data:{path}"):
            assert config_of(sandbox, place) == config
            assert sandbox.run("entrepot", "tags", place.rpartition(":")[0]).split() == [
                TAG,
                "again",
            ]
            sandbox.run("entrepot", "validate", place)


def test_one_of_several_is_chosen_by_name(
    sandbox: Sandbox, engine: str, two: dict[str, str], repository: str
) -> None:
    for name in two:
        options = ("--tls-verify=false",) if engine == "podman" else ()
        sandbox.run(engine, "pull", "--quiet", *options, name)
    sandbox.run("sh", "-euc", SAVE[engine].format(" ".join(two)))
    for number, (name, config) in enumerate(two.items()):
        sandbox.run(
            "entrepot", "push", f"docker-archive:theirs.tar:{name}", f"{repository}:{number}"
        )
        assert config_of(sandbox, f"{repository}:{number}") == config
    told = sandbox.fails("entrepot", "push", "theirs.tar", f"{repository}:none")
    for name in two:
        assert name in told


@pytest.mark.parametrize("form", ["oci", "oci-archive"])
def test_a_layout_with_several_tags(
    sandbox: Sandbox, form: str, busybox: Layout, multi_platform: Layout, repository: str
) -> None:
    """Made by skopeo and by us in turn, and read by both."""
    file = {"oci": "both", "oci-archive": "both.tar"}[form]
    if form == "oci":
        for tag, layout in (("one", busybox), ("many", multi_platform)):
            source = f"oci:{layout.path}:{TAG}"
            sandbox.run("skopeo", "copy", "--all", "--quiet", source, f"oci:both:{tag}")
    else:
        for tag, layout in (("one", busybox), ("many", multi_platform)):
            sandbox.run("entrepot", "push", layout.path, f"{repository}:{tag}")
        names = [f"{repository}:{tag}" for tag in ("one", "many")]
        sandbox.run("entrepot", "save", "--format=oci-archive", *names, "--output", file)
    assert sorted(sandbox.run("entrepot", "tags", f"{form}:{file}").split()) == ["many", "one"]
    for tag, layout in (("one", busybox), ("many", multi_platform)):
        sandbox.run(
            "skopeo", "copy", "--all", "--quiet", f"{form}:{file}:{tag}", f"oci:{tag}:{TAG}"
        )
        theirs = Layout(sandbox.folder / tag)
        assert theirs.contents(theirs.find()) == layout.contents(layout.find())
        sandbox.run("entrepot", "push", f"{form}:{file}:{tag}", f"{repository}:from-{tag}")
        told = sandbox.run("entrepot", "digest", f"{repository}:from-{tag}")
        assert told.strip() == layout.find()["digest"]
    told = sandbox.fails("entrepot", "push", f"{form}:{file}", f"{repository}:none")
    assert "many" in told
    assert "one" in told


@pytest.mark.parametrize(
    "written",
    [
        f"skopeo copy oci:{{layout}}:{TAG} docker-archive:file:localhost/a/b:{TAG}",
        f"skopeo copy oci:{{layout}}:{TAG} oci-archive:file:{TAG}",
        f"skopeo copy oci:{{layout}}:{TAG} oci:file:{TAG}",
        f"entrepot cp oci:{{layout}}:{TAG} docker-archive:file:localhost/a/b:{TAG}",
        f"entrepot cp oci:{{layout}}:{TAG} oci-archive:file:{TAG}",
        f"entrepot cp oci:{{layout}}:{TAG} store:./file:a/b:{TAG}",
    ],
    ids=lambda command: "-".join(command.split()[::3])[:40],
)
def test_every_command_looks_into_files(sandbox: Sandbox, busybox: Layout, written: str) -> None:
    sandbox.run("sh", "-euc", written.format(layout=busybox.path))
    address = written.rpartition(" ")[2]
    image = busybox.image(busybox.find())
    told = json.loads(sandbox.run("entrepot", "inspect", "--output=json", address))
    assert told["config_digest"] == image.config
    manifest = json.loads(sandbox.run("entrepot", "manifest", address))
    assert manifest["config"]["digest"] == image.config
    assert sandbox.run("entrepot", "digest", address).strip() == told["digest"]
    config = json.loads(sandbox.run("entrepot", "config", address))
    assert tuple(config["rootfs"]["diff_ids"]) == image.diff_ids
    blobs = json.loads(sandbox.run("entrepot", "blob", "ls", "--output=json", address))["blobs"]
    assert len(blobs) == 1 + len(image.diff_ids)
    assert sandbox.run("entrepot", "tags", address.rpartition(":")[0]).split() == [TAG]
    sandbox.run("entrepot", "validate", address)
    sandbox.run("entrepot", "export", address, "--output", "files.tar")
    assert sandbox.run("tar", "-xOf", "files.tar", "etc/motd") == "Goods from the entrepot\n"
    sandbox.run("entrepot", "pull", address, "--unpack", "root")
    assert (sandbox.folder / "root" / "etc" / "motd").read_text() == "Goods from the entrepot\n"


def test_skopeos_list_gives_what_skopeo_makes_of_it(
    sandbox: Sandbox, two: dict[str, str], repository: str
) -> None:
    """The same digests; skopeo keeps only the last part of a name, we all of it."""
    host = repository.partition("/")[0]
    paths = [name.partition("/")[2].rpartition(":")[0] for name in two]
    entry = {"tls-verify": False, "images": {path: [TAG] for path in paths}}
    (sandbox.folder / "list.yaml").write_text(json.dumps({host: entry}))
    sandbox.run("entrepot", "sync", "list.yaml", f"{repository}/ours")
    sandbox.run("skopeo", "sync", "--all", "--src=yaml", "--dest=docker",
                "--dest-tls-verify=false", "list.yaml", f"{repository}/theirs")  # fmt: skip
    for path in paths:
        ours = sandbox.run("entrepot", "digest", f"{repository}/ours/{path}:{TAG}")
        last = path.rpartition("/")[2]
        assert ours == sandbox.run("entrepot", "digest", f"{repository}/theirs/{last}:{TAG}")

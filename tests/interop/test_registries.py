"""The commands against real registries, by plain HTTP: ours, docker-registry, which has neither
referrers nor a way to remove a tag, and zot. What they tell is what others tell."""

import json
import re
from collections.abc import Callable
from itertools import count, pairwise

import pytest

from tests.docker_registry import RunningDockerRegistry
from tests.interop.clients import Skopeo
from tests.interop.ends import SBOM, here
from tests.interop.images import ELSEWHERE, HERE, TAG
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.server import RunningServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real("busybox", "crane", "oras", "skopeo")]

Registry = RunningServer | RunningDockerRegistry
Entrepot = Callable[..., str]

FIXTURES = {"entrepot": "server", "docker-registry": "docker_registry", "zot": "zot"}
ABSENT = f"sha256:{'0' * 64}"
NO_SUCH = 2
"""The exit code where there is no such image."""

_numbers = count(1)


@pytest.fixture(params=FIXTURES)
def registry(request: pytest.FixtureRequest) -> Registry:
    found: Registry = request.getfixturevalue(FIXTURES[request.param])
    return found


@pytest.fixture
def name(registry: Registry) -> str:
    """A repository in the registry that no other test uses."""
    return f"{registry.host}/tests/commands-{next(_numbers)}"


@pytest.fixture
def entrepot(sandbox: Sandbox) -> Entrepot:
    """Run our program, and return what it prints, without the last line break."""
    return lambda *words: sandbox.run("entrepot", *words).removesuffix("\n")


@pytest.fixture
def image(name: str, busybox: Layout, entrepot: Entrepot) -> str:
    """The image that runs, pushed."""
    entrepot("push", busybox.path, f"{name}:{TAG}")
    return f"{name}:{TAG}"


@pytest.fixture
def index(name: str, multi_platform: Layout, entrepot: Entrepot) -> str:
    """The image for two platforms, pushed."""
    entrepot("push", multi_platform.path, f"{name}:many")
    return f"{name}:many"


def repository(image: str) -> str:
    return image.rpartition(":")[0]


def uploads(registry: Registry, image: str) -> list[str]:
    """Return the requests in the registry's log that have carried bytes to a repository, as soon
    as it shows that an image was pushed there."""
    path = re.escape(f"/v2/{repository(image).partition('/')[2]}/")
    carried = rf"(?:PUT|PATCH)\W[^\n]*?{path}blobs/uploads/|POST\W[^\n]*?{path}[^\n]*?\?digest="
    wait_until(lambda: re.search(rf"PUT\W[^\n]*?{path}manifests/", registry.log()))
    return re.findall(carried, registry.log())


class TestMoving:
    def test_what_is_pushed_is_pulled_by_others_and_by_us(
        self, entrepot: Entrepot, sandbox: Sandbox, index: str, multi_platform: Layout
    ) -> None:
        entrepot("pull", index, f"oci:ours:{TAG}")
        ours, theirs = Layout(sandbox.folder / "ours"), Skopeo(sandbox).download(index, "theirs")
        expected = multi_platform.contents(multi_platform.find())
        assert ours.contents(ours.find()) == theirs.contents(theirs.find()) == expected

    def test_a_copy_inside_a_registry_sends_no_blob(
        self, entrepot: Entrepot, registry: Registry, image: str, busybox: Layout
    ) -> None:
        assert uploads(registry, image), "the log does not show uploads as this test expects"
        copy = f"{repository(image)}-copy:{TAG}"
        told = json.loads(entrepot("cp", "--output=json", image, copy))
        assert told["blobs"] == {"copied": 0, "present": 0, "mounted": 3}
        assert uploads(registry, copy) == []
        assert entrepot("digest", copy) == busybox.find()["digest"]
        entrepot("validate", copy)

    def test_only_what_is_missing_is_sent(
        self, entrepot: Entrepot, registry: Registry, index: str
    ) -> None:
        told = json.loads(entrepot("cp", "--output=json", index, f"{repository(index)}:again"))
        assert told["copied_bytes"] == told["blobs"]["copied"] == 0

    def test_conversion_is_read_by_others(
        self, entrepot: Entrepot, sandbox: Sandbox, index: str, multi_platform: Layout
    ) -> None:
        digest = entrepot("cp", "--quiet", "--format=docker", index, f"{repository(index)}:docker")
        manifest = json.loads(sandbox.run("crane", "manifest", f"{repository(index)}@{digest}"))
        assert manifest["mediaType"].endswith("docker.distribution.manifest.list.v2+json")
        sandbox.run("crane", "validate", "--remote", f"{repository(index)}@{digest}")
        back = f"{repository(index)}:back"
        entrepot("cp", "--format=oci", f"{repository(index)}:docker", back)
        layout = Skopeo(sandbox).download(back, "back")
        image, expected = (one.image(here(one)) for one in (layout, multi_platform))
        assert (image.config, image.diff_ids) == (expected.config, expected.diff_ids)

    def test_lists_are_mirrored(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, index: str
    ) -> None:
        name = repository(image)
        entry = {"from": name, "to": f"{name}-mirror", "tags": [TAG, "many"]}
        (sandbox.folder / "list.yaml").write_text(json.dumps({"sync": [entry]}))
        for _ in range(2):
            entrepot("sync", "list.yaml")
        assert entrepot("tags", f"{name}-mirror").split() == [TAG, "many"]
        assert entrepot("digest", f"{name}-mirror:many") == entrepot("digest", index)


class TestLooking:
    def test_ping_and_lists(self, entrepot: Entrepot, sandbox: Sandbox, image: str) -> None:
        host, _, name = repository(image).partition("/")
        told = json.loads(entrepot("ping", "--output=json", host))
        assert (told["url"], told["authorised"]) == (f"http://{host}", True)
        listed = entrepot("repos", host).split()
        assert name in listed
        assert listed == sandbox.run("crane", "catalog", host).split()
        entrepot("tag", image, "2.0", "latest")
        assert entrepot("tags", repository(image)).split() == [TAG, "2.0", "latest"]

    def test_it_tells_what_crane_tells(
        self, entrepot: Entrepot, sandbox: Sandbox, index: str
    ) -> None:
        platform = f"--platform=linux/{ELSEWHERE}"
        for command in ("digest", "manifest", "config"):
            for words in ((platform,), ()) if command != "config" else ((platform,),):
                told = entrepot(command, *words, index)
                assert told == sandbox.run("crane", command, *words, index).removesuffix("\n")

    def test_inspect(self, entrepot: Entrepot, index: str, multi_platform: Layout) -> None:
        told = json.loads(entrepot("inspect", "--output=json", "--tags", index))
        assert told["digest"] == multi_platform.find()["digest"]
        expected = multi_platform.image(here(multi_platform))
        assert (told["manifest_digest"], told["config_digest"]) == (
            expected.manifest,
            expected.config,
        )
        assert [one["platform"] for one in told["platforms"]] == [
            f"linux/{HERE}",
            f"linux/{ELSEWHERE}",
        ]
        assert told["tags"] == ["many"]

    def test_what_is_not_there(self, entrepot: Entrepot, sandbox: Sandbox, image: str) -> None:
        for missing in (
            f"{repository(image)}:nothing",
            f"{repository(image)}@{ABSENT}",
            f"{repository(image)}-other:{TAG}",
        ):
            done = sandbox.attempt("entrepot", "digest", missing)
            assert (done.returncode, done.stdout) == (NO_SUCH, "")
        done = sandbox.attempt("entrepot", "blob", "get", f"{repository(image)}@{ABSENT}")
        assert (done.returncode, done.stdout) == (NO_SUCH, "")

    def test_all_of_it_is_validated(self, entrepot: Entrepot, index: str) -> None:
        told = json.loads(entrepot("validate", "--output=json", index))
        assert (told["valid"], told["findings"]) == (True, [])

    def test_exported_files_are_those_that_crane_exports(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str
    ) -> None:
        entrepot("export", image, "--output", "ours.tar")
        sandbox.run("crane", "export", image, "theirs.tar")
        for name in ("ours", "theirs"):
            (sandbox.folder / name).mkdir()
            sandbox.run("tar", "-xf", f"{name}.tar", "-C", name)
        sandbox.run("diff", "--recursive", "--no-dereference", "ours", "theirs")


class TestBlobs:
    def test_blobs_are_listed_and_got(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, busybox: Layout
    ) -> None:
        manifest = busybox.document(busybox.find())
        told = json.loads(entrepot("blob", "ls", "--output=json", image))
        expected = [one["digest"] for one in (manifest["config"], *manifest["layers"])]
        assert [one["digest"] for one in told["blobs"]] == expected
        for digest in expected:
            got = f"entrepot blob get {repository(image)}@{digest} > got"
            sandbox.run("sh", "-euc", got)
            assert (sandbox.folder / "got").read_bytes() == busybox.file(digest).read_bytes()

    def test_a_blob_that_was_put_is_fetched_by_oras(
        self, entrepot: Entrepot, sandbox: Sandbox, name: str
    ) -> None:
        (sandbox.folder / "blob").write_bytes(b"a blob" * 1000)
        digest = entrepot("blob", "put", "--quiet", name, "blob")
        piped = sandbox.run("sh", "-euc", f"cat blob | entrepot blob put -q {name} -").strip()
        assert piped == digest
        sandbox.run("oras", "blob", "fetch", "--plain-http", "--output=fetched", f"{name}@{digest}")
        assert (sandbox.folder / "fetched").read_bytes() == b"a blob" * 1000


class TestRemoving:
    def test_a_manifest_goes_with_all_its_tags(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, index: str
    ) -> None:
        entrepot("tag", image, "2.0")
        assert entrepot("rm", "--digest", image).startswith(f"removed {repository(image)}@sha256:")
        assert sandbox.attempt("entrepot", "digest", image).returncode == NO_SUCH
        assert sandbox.attempt("entrepot", "digest", f"{repository(image)}:2.0").returncode == (
            NO_SUCH
        )
        assert "many" in entrepot("tags", repository(image)).split()
        entrepot("validate", index)

    def test_a_tag_goes_alone_or_stays(
        self, entrepot: Entrepot, sandbox: Sandbox, registry: Registry, image: str
    ) -> None:
        """docker-registry cannot remove a tag: nothing may be lost then, and it is said."""
        entrepot("tag", image, "2.0")
        done = sandbox.attempt("entrepot", "rm", image)
        if getattr(registry, "PROGRAM", "") == "docker-registry":
            assert done.returncode == 1
            assert "--digest" in done.stderr
            assert entrepot("tags", repository(image)).split() == [TAG, "2.0"]
        else:
            assert done.returncode == 0, done.stderr
            assert entrepot("tags", repository(image)).split() == ["2.0"]
        entrepot("validate", f"{repository(image)}:2.0")

    def test_what_is_not_there_is_not_removed(self, sandbox: Sandbox, image: str) -> None:
        done = sandbox.attempt("entrepot", "rm", "--digest", f"{repository(image)}:nothing")
        assert done.returncode == NO_SUCH
        done = sandbox.attempt("entrepot", "rm", f"{repository(image)}@{ABSENT}")
        assert done.returncode == NO_SUCH


class TestReferrers:
    @pytest.fixture
    def attached(self, entrepot: Entrepot, sandbox: Sandbox, image: str) -> str:
        """The digest of an SBOM attached to `image`."""
        (sandbox.folder / "sbom.json").write_text("{}")
        file = "sbom.json:application/json"
        return entrepot("attach", "--quiet", f"--artifact-type={SBOM}", image, file)

    def found(self, entrepot: Entrepot, image: str, *words: str) -> list[str]:
        told = json.loads(entrepot("referrers", "--output=json", *words, image))
        return [one["digest"] for one in told["referrers"]]

    def discovered(self, sandbox: Sandbox, image: str) -> list[str]:
        """Return the digests of what oras finds."""
        told = sandbox.run("oras", "discover", "--plain-http", "--format=json", image)
        return [one["digest"] for one in json.loads(told).get("referrers", [])]

    def test_others_find_what_we_attach(
        self, entrepot: Entrepot, sandbox: Sandbox, registry: Registry, image: str, attached: str
    ) -> None:
        assert self.found(entrepot, image) == [attached]
        assert self.discovered(sandbox, image) == [attached]
        host = f"reg={registry.host},tls=disabled"
        told = sandbox.run("regctl", "--host", host, "artifact", "get", f"--subject={image}")
        assert told == "{}"

    def test_we_find_what_others_attach(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, attached: str
    ) -> None:
        sandbox.run("oras", "attach", "--plain-http", "--artifact-type=a/b", image, "sbom.json:a/c")
        host = f"reg={image.partition('/')[0]},tls=disabled"
        sandbox.run("regctl", "--host", host, "artifact", "put", "--artifact-type=c/d",
                    f"--subject={image}", "--file=sbom.json")  # fmt: skip
        assert len(self.found(entrepot, image)) == 3
        assert set(self.found(entrepot, image)) == set(self.discovered(sandbox, image))
        assert self.found(entrepot, image, f"--artifact-type={SBOM}") == [attached]

    def test_the_tag_is_written_only_where_it_must(
        self, entrepot: Entrepot, registry: Registry, image: str, attached: str
    ) -> None:
        fallback = entrepot("digest", image).replace(":", "-")
        without = getattr(registry, "PROGRAM", "") == "docker-registry"
        expected = sorted([TAG, fallback]) if without else [TAG]
        assert entrepot("tags", repository(image)).split() == expected

    def test_they_are_copied_along(
        self,
        entrepot: Entrepot,
        sandbox: Sandbox,
        server: RunningServer,
        docker_registry: RunningDockerRegistry,
        image: str,
        attached: str,
    ) -> None:
        """From a registry with referrers to one without and back."""
        path = repository(image).partition("/")[2]
        away = [f"{one.host}/away/{path}:{TAG}" for one in (docker_registry, server)]
        journey = [image, *away, f"{repository(image)}-back:{TAG}"]
        for source, target in pairwise(journey):
            entrepot("cp", "--referrers", source, target)
            assert self.found(entrepot, target) == self.discovered(sandbox, target) == [attached]

    def test_one_that_was_removed_is_no_longer_listed(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, attached: str
    ) -> None:
        other = entrepot("attach", "--quiet", "--artifact-type=a/b", image, "sbom.json:a/c")
        entrepot("rm", f"{repository(image)}@{attached}")
        assert self.found(entrepot, image) == self.discovered(sandbox, image) == [other]


class TestIndexes:
    def test_an_index_is_made_of_images_added_to_and_taken_from(
        self, entrepot: Entrepot, sandbox: Sandbox, index: str, multi_platform: Layout
    ) -> None:
        name = repository(index)
        platforms = [f"linux/{HERE}", f"linux/{ELSEWHERE}"]
        for platform in platforms:
            tag = platform.replace("/", "-")
            entrepot("cp", "--platform", platform, index, f"{name}:{tag}")
        tags = [f"{name}:{platform.replace('/', '-')}" for platform in platforms]

        def listed() -> list[str]:
            manifests = json.loads(sandbox.run("crane", "manifest", f"{name}:made"))["manifests"]
            return [f"{one['platform']['os']}/{one['platform']['architecture']}"
                    for one in manifests]  # fmt: skip

        digest = entrepot("index", "create", "--quiet", f"{name}:made", tags[0])
        assert digest == sandbox.run("crane", "digest", f"{name}:made").strip()
        assert listed() == platforms[:1]
        entrepot("index", "add", f"{name}:made", tags[1])
        assert listed() == platforms
        sandbox.run("crane", "validate", "--remote", f"{name}:made")
        entrepot("index", "rm", f"{name}:made", platforms[0])
        assert listed() == platforms[1:]
        expected = multi_platform.document(multi_platform.find())["manifests"][1]["digest"]
        assert entrepot("digest", f"--platform={platforms[1]}", f"{name}:made") == expected


class TestEditing:
    @pytest.fixture
    def site(self, sandbox: Sandbox) -> str:
        (sandbox.folder / "site").mkdir()
        (sandbox.folder / "site" / "motd").write_text("changed\n")
        return "site"

    def config(self, sandbox: Sandbox, image: str) -> dict[str, object]:
        config: dict[str, object] = json.loads(sandbox.run("crane", "config", image))
        return config

    def greeting(self, sandbox: Sandbox, image: str) -> str:
        """Return the content of a file in the image, as crane sees it."""
        script = f"crane export {image} - | tar -xO etc/motd"
        return sandbox.run("sh", "-euc", script)

    def test_layers_on_top(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, site: str
    ) -> None:
        made = f"{repository(image)}:appended"
        entrepot("append", "--prefix=etc", image, site, "-t", ":appended")
        sandbox.run("crane", "validate", "--remote", made)
        assert self.greeting(sandbox, made) == "changed\n"

    def test_settings(self, entrepot: Entrepot, sandbox: Sandbox, image: str) -> None:
        words = ("--env=A=b", "--label=stage=test", "--cmd=/bin/echo hello")
        entrepot("mutate", image, *words, "-t", ":changed")
        sandbox.run("crane", "validate", "--remote", f"{repository(image)}:changed")
        settings = self.config(sandbox, f"{repository(image)}:changed")["config"]
        assert settings == {
            "Env": ["PATH=/bin", "A=b"],
            "Labels": {"stage": "test"},
            "Cmd": ["/bin/echo", "hello"],
        }

    def test_one_layer_of_all(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, site: str
    ) -> None:
        entrepot("append", "--prefix=etc", image, site, "-t", ":appended")
        entrepot("flatten", f"{repository(image)}:appended", "-t", ":flat")
        flat = f"{repository(image)}:flat"
        sandbox.run("crane", "validate", "--remote", flat)
        assert len(json.loads(sandbox.run("crane", "manifest", flat))["layers"]) == 1
        assert self.greeting(sandbox, flat) == "changed\n"

    def test_another_base(
        self, entrepot: Entrepot, sandbox: Sandbox, image: str, site: str
    ) -> None:
        name = repository(image)
        entrepot("append", image, site, "-t", ":built")
        entrepot("append", "--prefix=etc", image, site, "-t", ":new-base")
        bases = (f"--old-base={image}", f"--new-base={name}:new-base")
        entrepot("rebase", f"{name}:built", *bases, "-t", ":rebased")
        sandbox.run("crane", "validate", "--remote", f"{name}:rebased")
        layers = [
            [one["digest"] for one in json.loads(sandbox.run("crane", "manifest", one))["layers"]]
            for one in (f"{name}:new-base", f"{name}:built", f"{name}:rebased")
        ]
        assert layers[2] == [*layers[0], layers[1][-1]]
        assert self.greeting(sandbox, f"{name}:rebased") == "changed\n"

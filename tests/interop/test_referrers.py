"""Artifacts with a subject: what one client attaches, the other finds, pulls and deletes."""

import json
from collections.abc import Callable

import pytest

from tests.interop.clients import Oras
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox

pytestmark = pytest.mark.real("oras", "regctl")

SBOM = "application/spdx+json"
SIGNATURE = "application/vnd.example.signature"
CONTENT = {SBOM: '{"spdxVersion":"SPDX-2.3"}', SIGNATURE: "signed"}

Attach = Callable[[Sandbox, str, str], None]


@pytest.fixture
def image(sandbox: Sandbox, busybox: Layout, repository: str) -> str:
    """The reference of a pushed image that nothing refers to yet."""
    Oras(sandbox).upload(busybox, f"{repository}:1.0")
    return f"{repository}:1.0"


def attach_with_oras(sandbox: Sandbox, image: str, kind: str) -> None:
    """Attach an artifact of a type to an image."""
    (sandbox.folder / "attached").write_text(CONTENT[kind])
    sandbox.run("oras", "attach", "--plain-http", f"--artifact-type={kind}", image, "attached")


def attach_with_regctl(sandbox: Sandbox, image: str, kind: str) -> None:
    """Attach an artifact of a type to an image."""
    (sandbox.folder / "attached").write_text(CONTENT[kind])
    options = [f"--artifact-type={kind}", f"--subject={image}", "--file=attached"]
    sandbox.run("regctl", *host(image), "artifact", "put", *options)


def found_by_oras(sandbox: Sandbox, image: str, *options: str) -> dict[str, str]:
    """Return the digest of each referrer of an image by its type."""
    told = sandbox.run("oras", "discover", "--plain-http", "--format=json", *options, image)
    return {one["artifactType"]: one["digest"] for one in json.loads(told)["referrers"]}


def found_by_regctl(sandbox: Sandbox, image: str, *options: str) -> dict[str, str]:
    """Return the digest of each referrer of an image by its type."""
    options = ("--format={{jsonPretty .Descriptors}}", *options)
    told = json.loads(sandbox.run("regctl", *host(image), "artifact", "list", *options, image))
    return {one["artifactType"]: one["digest"] for one in told}


def host(image: str) -> tuple[str, str]:
    """Return the options that tell regctl of the image's registry."""
    return ("--host", f"reg={image.partition('/')[0]},tls=disabled")


BOTH = pytest.mark.parametrize("attach", [attach_with_oras, attach_with_regctl])


@BOTH
def test_both_clients_find_what_is_attached(sandbox: Sandbox, image: str, attach: Attach) -> None:
    assert found_by_oras(sandbox, image) == {}
    attach(sandbox, image, SBOM)
    attach(sandbox, image, SIGNATURE)
    found = found_by_oras(sandbox, image)
    assert found.keys() == CONTENT.keys()
    assert found_by_regctl(sandbox, image) == found


@BOTH
def test_both_clients_filter_by_type(sandbox: Sandbox, image: str, attach: Attach) -> None:
    attach(sandbox, image, SBOM)
    attach(sandbox, image, SIGNATURE)
    by_oras = found_by_oras(sandbox, image, f"--artifact-type={SBOM}")
    assert by_oras.keys() == {SBOM}
    assert found_by_regctl(sandbox, image, f"--filter-artifact-type={SBOM}") == by_oras


def test_the_tag_schema_is_not_used(sandbox: Sandbox, image: str) -> None:
    attach_with_oras(sandbox, image, SBOM)
    attach_with_regctl(sandbox, image, SIGNATURE)
    repository = image.rpartition(":")[0]
    assert sandbox.run("oras", "repo", "tags", "--plain-http", repository).split() == ["1.0"]


@BOTH
def test_attached_file_is_pulled_by_its_digest(
    sandbox: Sandbox, image: str, attach: Attach
) -> None:
    attach(sandbox, image, SBOM)
    digest = found_by_oras(sandbox, image)[SBOM]
    reference = f"{image.rpartition(':')[0]}@{digest}"
    told = sandbox.run("regctl", *host(image), "artifact", "get", reference)
    assert told == CONTENT[SBOM]
    told = sandbox.run("regctl", *host(image), "artifact", "get", f"--subject={image}")
    assert told == CONTENT[SBOM]


def test_subject_and_referrers_travel_together(
    sandbox: Sandbox, image: str, new_repository: Callable[[], str]
) -> None:
    attach_with_oras(sandbox, image, SBOM)
    attach_with_regctl(sandbox, image, SIGNATURE)
    found = found_by_oras(sandbox, image)
    by_oras, by_regctl = f"{new_repository()}:1.0", f"{new_repository()}:1.0"
    plain = ("--from-plain-http", "--to-plain-http")
    sandbox.run("oras", "cp", "--recursive", *plain, image, by_oras)
    sandbox.run("regctl", *host(image), "image", "copy", "--referrers", image, by_regctl)
    assert found_by_oras(sandbox, by_oras) == found
    assert found_by_oras(sandbox, by_regctl) == found


@pytest.mark.parametrize("client", ["oras", "regctl"])
def test_deleted_referrer_is_no_longer_listed(sandbox: Sandbox, image: str, client: str) -> None:
    attach_with_oras(sandbox, image, SBOM)
    attach_with_oras(sandbox, image, SIGNATURE)
    found = found_by_oras(sandbox, image)
    reference = f"{image.rpartition(':')[0]}@{found.pop(SBOM)}"
    if client == "oras":
        sandbox.run("oras", "manifest", "delete", "--plain-http", "--force", reference)
    else:
        options = (*host(image), "manifest", "delete", "--referrers")
        sandbox.run("regctl", *options, reference)
    assert found_by_oras(sandbox, image) == found
    assert found_by_regctl(sandbox, image) == found


def test_artifact_may_come_before_its_subject(
    sandbox: Sandbox, busybox: Layout, image: str, new_repository: Callable[[], str]
) -> None:
    attach_with_oras(sandbox, image, SBOM)
    found = found_by_oras(sandbox, image)
    source = f"{image.rpartition(':')[0]}@{found[SBOM]}"
    repository = new_repository()
    sandbox.run("regctl", *host(image), "image", "copy", source, f"{repository}:sbom")
    Oras(sandbox).upload(busybox, f"{repository}:1.0")
    assert found_by_oras(sandbox, f"{repository}:1.0") == found

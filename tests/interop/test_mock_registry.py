"""Real clients take the mock registry for a registry, whatever it asks of them."""

from collections.abc import Iterator

import pytest

from entrepot.testing import DropConnection, MockRegistry, ServerError, Truncate
from entrepot.testing.mock_content import Compression
from entrepot.testing.mock_presets import PRESETS
from tests.interop.clients import LAYOUT_CLIENTS, Skopeo
from tests.interop.sandbox import Sandbox
from tests.programs import require_program


@pytest.fixture
def source() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.fixture
def target() -> Iterator[MockRegistry]:
    with MockRegistry() as registry:
        yield registry


@pytest.mark.parametrize("name", LAYOUT_CLIENTS)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_clients_pull_and_push(
    source: MockRegistry,
    target: MockRegistry,
    sandbox: Sandbox,
    name: str,
    compression: Compression,
) -> None:
    require_program(name)
    image = source.add_image("tests/mock", "1.0", layer_size=200_000, compression=compression)
    client = LAYOUT_CLIENTS[name](sandbox)
    layout = client.download(image.reference, "pulled")
    assert layout.image(layout.find()).manifest == str(image.digest)
    client.upload(layout, f"{target.host}/pushed/mock:1.0")
    assert target.manifest("pushed/mock", "1.0") == image.manifest
    for blob in image.blobs:
        assert target.blob(blob.digest) == source.blob(blob.digest)


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("preset", PRESETS)
def test_skopeo_pulls_from_every_preset(
    source: MockRegistry, sandbox: Sandbox, preset: str
) -> None:
    source.preset(preset, users={"ann": "her password"})
    image = source.add_image("tests/mock", "1.0")
    login = ("--username", "ann", "--password", "her password")
    sandbox.run("skopeo", "login", "--tls-verify=false", *login, source.host)
    layout = Skopeo(sandbox).download(image.reference, "pulled")
    assert layout.image(layout.find()).manifest == str(image.digest)


@pytest.mark.real("crane")
def test_crane_validates_lists_and_deletes(source: MockRegistry, sandbox: Sandbox) -> None:
    image = source.add_index("tests/mock", "1.0", layers=1)
    sandbox.run("crane", "validate", "--remote", image.reference)
    assert sandbox.run("crane", "ls", f"{source.host}/tests/mock").split() == ["1.0"]
    assert sandbox.run("crane", "catalog", source.host).split() == ["tests/mock"]
    sandbox.run("crane", "delete", f"{source.host}/tests/mock@{image.digest}")
    assert source.manifest("tests/mock", "1.0") is None


@pytest.mark.real("oras")
def test_oras_finds_referrers_with_and_without_their_api(
    source: MockRegistry, sandbox: Sandbox
) -> None:
    image = source.add_image("tests/mock", "1.0")
    (sandbox.folder / "sbom").write_text("{}")
    for referrers in (True, False):
        source.abilities.referrers = referrers
        kind = f"application/vnd.example.{'api' if referrers else 'tag'}"
        attach = ("attach", "--plain-http", "--artifact-type", kind, image.reference, "sbom")
        sandbox.run("oras", *attach)
        found = sandbox.run("oras", "discover", "--plain-http", image.reference)
        assert kind in found
    assert f"sha256-{image.digest.hex}" in source.tags("tests/mock")


@pytest.mark.real("crane")
def test_crane_survives_what_passes(source: MockRegistry, sandbox: Sandbox) -> None:
    image = source.add_image("tests/mock", "1.0")
    source.fault(ServerError(503), path="*/manifests/*")
    source.fault(DropConnection(), path="*/blobs/*")
    sandbox.run("crane", "validate", "--remote", image.reference)
    source.fault(Truncate(100), path=image.blob_path(1), times=None)
    sandbox.fails("crane", "validate", "--remote", image.reference)

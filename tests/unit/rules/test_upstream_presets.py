import pytest

from entrepot.oci.errors import NameInvalid
from entrepot.rules.upstream_presets import (
    PRESETS,
    ArtifactoryLayout,
    artifactory_place,
    canonical_host,
    preset_for,
)

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")


@pytest.mark.parametrize("name", HUB)
def test_docker_hub_is_one_registry_of_many_names(name: str) -> None:
    """BE-01: all names lead to the same endpoint and are aliases of each other."""
    hub = preset_for(name)
    assert (hub.name, hub.endpoints) == ("docker.io", ("https://registry-1.docker.io",))
    assert hub.official == "library"
    assert {name, *hub.aliases} == set(HUB)
    assert canonical_host(name) == "docker.io"


@pytest.mark.parametrize(
    ("name", "preset", "endpoint", "login"),
    [
        ("quay.io", "quay.io", "https://quay.io", "bearer"),
        ("ghcr.io", "ghcr.io", "https://ghcr.io", "bearer"),
        ("gcr.io", "gcr.io", "https://gcr.io", "bearer"),
        ("eu.gcr.io", "gcr.io", "https://eu.gcr.io", "bearer"),
        ("us-central1-docker.pkg.dev", "gcr.io", "https://us-central1-docker.pkg.dev", "bearer"),
        ("registry.k8s.io", "registry.k8s.io", "https://registry.k8s.io", "none"),
        ("k8s.gcr.io", "registry.k8s.io", "https://registry.k8s.io", "none"),
        ("mcr.microsoft.com", "mcr.microsoft.com", "https://mcr.microsoft.com", "none"),
        ("me.azurecr.io", "azurecr.io", "https://me.azurecr.io", "bearer"),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "ecr",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "basic",
        ),
        ("public.ecr.aws", "public.ecr.aws", "https://public.ecr.aws", "bearer"),
        (
            "registry.cloudflare.com",
            "registry.cloudflare.com",
            "https://registry.cloudflare.com",
            "basic",
        ),
        ("r2.me.workers.dev", "serverless-registry", "https://r2.me.workers.dev", "basic"),
        ("registry.rancher.com", "registry.rancher.com", "https://registry.rancher.com", "bearer"),
        ("registry.suse.com", "registry.suse.com", "https://registry.suse.com", "bearer"),
        ("me.jfrog.io", "artifactory", "https://me.jfrog.io", "bearer"),
        ("me-docker.jfrog.io", "artifactory", "https://me-docker.jfrog.io", "bearer"),
        ("registry.corp:5000", "custom", "https://registry.corp:5000", "bearer"),
        ("Quay.IO", "quay.io", "https://quay.io", "bearer"),
    ],
)
def test_a_name_alone_tells_a_registrys_habits(
    name: str, preset: str, endpoint: str, login: str
) -> None:
    found = preset_for(name)
    assert (found.name, found.endpoints, found.login) == (preset, (endpoint,), login)
    assert found.official == ""


@pytest.mark.parametrize(
    "name",
    ["notgcr.io.example", "azurecr.io.evil.net", "evil-azurecr.io", "x.dkr.ecr.amazonaws.com.net"],
)
def test_what_only_looks_alike_has_none(name: str) -> None:
    assert preset_for(name).name == "custom"


def test_a_word_with_a_preset_is_that_registry() -> None:
    hub = preset_for("hub", "docker.io")
    assert hub.endpoints == ("https://registry-1.docker.io",)
    assert hub.aliases == HUB
    assert preset_for("hub", "dockerhub") == hub


def test_what_can_stand_anywhere_stands_where_its_name_says() -> None:
    assert preset_for("work.example:8443", "acr").endpoints == ("https://work.example:8443",)
    assert preset_for("registry", "artifactory").endpoints == ("https://registry",)
    assert preset_for("no_host", "custom").endpoints == ()


def test_one_of_a_family_is_no_other_one() -> None:
    assert preset_for("eu.gcr.io").aliases == ()
    assert preset_for("gcr.io").aliases == ()


@pytest.mark.parametrize(
    ("explicit", "near"),
    [("docker.oi", "docker.io"), ("quay.i", "quay.io"), ("artefactory", "artifactory")],
)
def test_an_unknown_preset_is_refused_with_what_is_near(explicit: str, near: str) -> None:
    with pytest.raises(NameInvalid, match=f"did you mean .*{near}"):
        preset_for("x", explicit)


def test_one_that_is_near_to_none_is_refused_with_all() -> None:
    with pytest.raises(NameInvalid, match=r"there are docker\.io, quay\.io, .*custom"):
        preset_for("x", "%%%%")


def test_no_name_belongs_to_two_presets() -> None:
    names = [name for one in PRESETS for name in (one.name, *one.aliases, *one.words)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("Registry.Example", "registry.example"),
        ("registry.example:443", "registry.example"),
        ("registry.example:5000", "registry.example:5000"),
        ("index.docker.io:443", "docker.io"),
        ("k8s.gcr.io", "registry.k8s.io"),
    ],
)
def test_a_host_has_one_name(host: str, canonical: str) -> None:
    assert canonical_host(host) == canonical


@pytest.mark.parametrize(
    ("layout", "host", "endpoint", "rewrites"),
    [
        ("cloud", "me.jfrog.io", "https://me.jfrog.io", ("*=docker/*",)),
        ("cloud-sub-domain", "me.jfrog.io", "https://me-docker.jfrog.io", ()),
        ("path", "art.corp", "https://art.corp/artifactory/api/docker/docker", ()),
        ("repository-path", "art.corp:8443", "https://art.corp:8443", ("*=docker/*",)),
        ("sub-domain", "art.corp", "https://docker.art.corp", ()),
        ("port", "art.corp:5001", "https://art.corp:5001", ()),
    ],
)
def test_artifactory_has_six_layouts(
    layout: ArtifactoryLayout, host: str, endpoint: str, rewrites: tuple[str, ...]
) -> None:
    """BE-05: cloud and on-premises, by path, sub-domain, port and repository path."""
    place = artifactory_place(layout, host, "docker")
    assert (place.endpoint, place.rewrites) == (endpoint, rewrites)

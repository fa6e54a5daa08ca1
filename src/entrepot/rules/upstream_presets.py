"""Upstream presets: the habits of well-known registries, so that their names are all an operator
has to write. Data and its look-up; how a registry is spoken to stands in `adapters/remotes`.

    docker.io              one registry of many names: Docker Hub
    *.azurecr.io           a family: every host of this shape has the same habits
    artifactory, custom    what is named by `preset` only, since it can stand anywhere
"""

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, Literal

from entrepot.oci.errors import NameInvalid
from entrepot.oci.reference import is_host

Login = Literal["basic", "bearer", "none"]
"""What a registry asks for: Basic at the registry itself, a token from a realm, or nothing."""


@dataclass(frozen=True, slots=True)
class UpstreamPreset:
    """A registry's habits.

    `aliases` are further names of the very same registry; `words` say the same where a preset is
    chosen, and nowhere else. `hosts` are patterns of the hosts in its family, where `*` is one
    label or more. `endpoints` are the URLs it is asked at, `official` the namespace that one-word
    names stand in (empty: they are taken as they are), `allowed_realms` the token servers
    elsewhere that may be sent its login, `notes` what an operator should know.
    """

    name: str
    aliases: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    official: str = ""
    login: Login = "bearer"
    allowed_realms: tuple[str, ...] = ()
    notes: str = ""


CUSTOM: Final = UpstreamPreset(
    "custom",
    notes="Asked as its answers say: Basic, tokens or nobody. Set `endpoints` (with a path in "
    "front of /v2/ if there is one), `ca_file`, `headers` and `auth` where it needs them.",
)
"""A registry that nothing is known of."""

PRESETS: Final[tuple[UpstreamPreset, ...]] = (
    UpstreamPreset(
        "docker.io",
        aliases=("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"),
        words=("dockerhub", "hub"),
        endpoints=("https://registry-1.docker.io",),
        official="library",
        allowed_realms=("auth.docker.io",),
        notes="Limits pulls by address, or by account with a login; HEAD is free. Log in with a "
        "user name and an access token.",
    ),
    UpstreamPreset(
        "quay.io",
        words=("quay",),
        endpoints=("https://quay.io",),
        notes="Log in as a robot: the user name is `organisation+robot`.",
    ),
    UpstreamPreset(
        "ghcr.io",
        words=("ghcr",),
        endpoints=("https://ghcr.io",),
        notes="Log in with any user name and a token that may read packages. An expired token is "
        "refused for public images, too; they are then asked for without it.",
    ),
    UpstreamPreset(
        "gcr.io",
        words=("gcr", "gar"),
        hosts=("*.gcr.io", "*-docker.pkg.dev"),
        endpoints=("https://gcr.io",),
        notes="Log in as `_json_key` with a service account's key, or as `oauth2accesstoken` with "
        "an access token, which lives an hour: let `exec` print it.",
    ),
    UpstreamPreset(
        "registry.k8s.io",
        aliases=("k8s.gcr.io",),
        words=("k8s",),
        endpoints=("https://registry.k8s.io",),
        login="none",
        notes="Redirects to hosts near the client that change without notice.",
    ),
    UpstreamPreset(
        "mcr.microsoft.com",
        words=("mcr",),
        endpoints=("https://mcr.microsoft.com",),
        login="none",
        notes="Public. Blobs are redirected to *.data.mcr.microsoft.com.",
    ),
    UpstreamPreset(
        "azurecr.io",
        words=("acr",),
        hosts=("*.azurecr.io",),
        notes="Log in with a service principal, a repository-scoped token, or the user name "
        "00000000-0000-0000-0000-000000000000 and a refresh token.",
    ),
    UpstreamPreset(
        "ecr",
        hosts=("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn"),
        login="basic",
        notes="Log in as `AWS` with a password that lives 12 hours: let `exec` print it, e.g. by "
        "docker-credential-ecr-login. Blobs are redirected to S3.",
    ),
    UpstreamPreset(
        "public.ecr.aws",
        words=("ecr-public",),
        endpoints=("https://public.ecr.aws",),
        notes="Public. HEAD of a blob is refused; its size is known from its manifest.",
    ),
    UpstreamPreset(
        "registry.cloudflare.com",
        words=("cloudflare",),
        endpoints=("https://registry.cloudflare.com",),
        login="basic",
        notes="Names begin with the account's id. The password is a token that lives minutes: let "
        "`exec` print it.",
    ),
    UpstreamPreset(
        "serverless-registry",
        words=("workers",),
        hosts=("*.workers.dev",),
        login="basic",
        notes="Cloudflare's registry on Workers, also under a domain of one's own. The password "
        "may be a signed token.",
    ),
    UpstreamPreset(
        "registry.rancher.com",
        words=("rancher",),
        endpoints=("https://registry.rancher.com",),
        allowed_realms=("scc.suse.com",),
        notes="Names begin with `rancher/`. For a private copy of Rancher's images set e.g. "
        'rewrites = ["rancher/*=mirror/rancher/*"].',
    ),
    UpstreamPreset(
        "registry.suse.com",
        words=("suse",),
        endpoints=("https://registry.suse.com",),
        allowed_realms=("scc.suse.com",),
        notes="Public, with tokens. Its service's name has spaces in it.",
    ),
    UpstreamPreset(
        "artifactory",
        words=("jfrog",),
        hosts=("*.jfrog.io",),
        notes="`endpoints` and `rewrites` say in which layout of addresses it stands. Log in with "
        "a user name and an identity token, or send a key as the header X-JFrog-Art-Api.",
    ),
    CUSTOM,
)
"""Every preset, special before general."""

_BY_NAME: Final = {known: one for one in PRESETS for known in (one.name, *one.aliases)}
_BY_WORD: Final = {word: one for one in PRESETS for word in one.words} | _BY_NAME


def _shape(host: str) -> re.Pattern[str]:
    return re.compile(re.escape(host).replace(r"\*", r"[a-z0-9.-]*[a-z0-9]"), re.ASCII)


_SHAPES: Final = tuple((_shape(host), one) for one in PRESETS for host in one.hosts)


def preset_for(name: str, explicit: str = "") -> UpstreamPreset:
    """Return the habits of the upstream called `name`: those of the preset `explicit`, or without
    one those that go with the name, or `custom`.

    Its `aliases` are then all other names of that registry. A family, or a preset that can stand
    anywhere, has `https://NAME` as its endpoint, if that is a host. Raise NameInvalid for an
    explicit preset that does not exist.
    """
    known = name.lower()
    found = _BY_WORD.get(explicit.lower()) or _by_host(explicit.lower()) if explicit else _by(known)
    if found is None:
        raise NameInvalid(_unknown(explicit), detail={"preset": explicit[:255]})
    if found.endpoints and known not in _BY_NAME and _by_host(known) is found:
        return replace(found, aliases=(), endpoints=(f"https://{known}",))
    if found.endpoints:
        names = (found.name, *found.aliases)
        return replace(found, aliases=tuple(one for one in names if one != known))
    return replace(found, endpoints=(f"https://{known}",) if is_host(known) else ())


def canonical_host(host: str) -> str:
    """Return the one name of the registry at a host: lower case, without HTTPS's own port, and of
    aliases the preset's name."""
    bare = host.lower().removesuffix(":443")
    known = _BY_NAME.get(bare)
    return known.name if known is not None and bare in known.aliases else bare


def _by(name: str) -> UpstreamPreset:
    return _BY_NAME.get(name) or _by_host(name) or CUSTOM


@lru_cache(maxsize=1024)
def _by_host(host: str) -> UpstreamPreset | None:
    return next((one for shape, one in _SHAPES if shape.fullmatch(host)), None)


def _unknown(explicit: str) -> str:
    names = [one.name for one in PRESETS]
    near = get_close_matches(explicit.lower(), _BY_WORD, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
    return f"{explicit[:100]!r} is no preset; {hint}"


ArtifactoryLayout = Literal[
    "cloud", "cloud-sub-domain", "path", "repository-path", "sub-domain", "port"
]


@dataclass(frozen=True, slots=True)
class ArtifactoryPlace:
    """How a repository of Artifactory is configured as an upstream: its endpoint, its rewrites."""

    endpoint: str
    rewrites: tuple[str, ...] = ()


def artifactory_place(layout: ArtifactoryLayout, host: str, key: str) -> ArtifactoryPlace:
    """Return where the repository `key` of Artifactory at `host[:port]` is asked.

    cloud             INSTANCE.jfrog.io/KEY/image
    cloud-sub-domain  INSTANCE-KEY.jfrog.io/image
    path              HOST/artifactory/api/docker/KEY/v2/image, as Artifactory itself has it
    repository-path   HOST/KEY/image, through a reverse proxy
    sub-domain        KEY.HOST/image, through a reverse proxy
    port              HOST:PORT/image, through a reverse proxy; the port stands for the key
    """
    within = (f"*={key}/*",)
    match layout:
        case "cloud" | "repository-path":
            return ArtifactoryPlace(f"https://{host}", within)
        case "cloud-sub-domain":
            instance, _, domain = host.partition(".")
            return ArtifactoryPlace(f"https://{instance}-{key}.{domain}")
        case "path":
            return ArtifactoryPlace(f"https://{host}/artifactory/api/docker/{key}")
        case "sub-domain":
            return ArtifactoryPlace(f"https://{key}.{host}")
        case "port":
            return ArtifactoryPlace(f"https://{host}")

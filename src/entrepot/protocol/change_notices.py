"""Change notices: what registries send to a URL of one's choice when something was pushed to them
or deleted there.

Four forms are read, each known by its fields:

    events[]                 Docker Distribution's envelope (also Zot, Quay's and Gitea's kin)
    push_data, repository    Docker Hub
    docker_url, updated_tags Quay
    type, event_data or data Harbor, in its own form and as CloudEvents

Sources: distribution, docs/content/about/notifications.md; Docker Hub, "Webhooks"; Quay, "Using
notifications"; Harbor, "Configure Webhook Notifications".
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from entrepot.oci.digest import Digest
from entrepot.oci.errors import ContentInvalid, DigestInvalid, NameInvalid, TagInvalid
from entrepot.oci.reference import RepositoryName, Tag

_CHANGES: Final = frozenset({"push", "delete"})
_HARBOR_CHANGES: Final = frozenset(
    {
        "PUSH_ARTIFACT",
        "DELETE_ARTIFACT",
        "pushImage",
        "deleteImage",
        "harbor.artifact.pushed",
        "harbor.artifact.deleted",
    }
)
_HUB: Final = "docker.io"

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """A tag or a digest of a repository that is not what it was. `host` is the registry's as it
    tells it, empty if it does not."""

    host: str
    repository: RepositoryName
    reference: Tag | Digest


def read_notices(body: bytes) -> tuple[Notice, ...]:
    """Return what a notification tells of, each once; nothing for one of another kind of event.

    Raise ContentInvalid for a body that is of no known form.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    for known, read in _FORMS:
        if isinstance(document, dict) and known(document):
            return tuple(dict.fromkeys(read(document)))
    raise ContentInvalid(
        "the body is no notification that is known here; send those of Docker Distribution, "
        "Docker Hub, Quay or Harbor"
    )


def _of_distribution(document: Fields) -> Iterator[Notice]:
    for event in _list(document, "events"):
        target, request = _object(event, "target"), _object(event, "request")
        action = _text(event, "action")
        if action not in _CHANGES:
            continue
        host = _text(request, "host") or _host(_text(target, "url"))
        deleted = _text(target, "digest") if action == "delete" else ""
        # A push without a tag changes nothing: what a digest names is always the same.
        yield from _notice(host, _text(target, "repository"), _text(target, "tag") or deleted)


def _of_hub(document: Fields) -> Iterator[Notice]:
    name = _text(_object(document, "repository"), "repo_name")
    yield from _notice(_HUB, name, _text(_object(document, "push_data"), "tag"))


def _of_quay(document: Fields) -> Iterator[Notice]:
    host, _, name = _text(document, "docker_url").partition("/")
    tags = document["updated_tags"]
    for tag in tags if isinstance(tags, list | dict) else ():
        yield from _notice(host, name, tag)


def _of_harbor(document: Fields) -> Iterator[Notice]:
    if _text(document, "type") not in _HARBOR_CHANGES:
        return
    data = _object(document, "event_data") or _object(document, "data")
    name = _text(_object(data, "repository"), "repo_full_name")
    for resource in _list(data, "resources"):
        host = _text(resource, "resource_url").partition("/")[0]
        tag = _text(resource, "tag")
        yield from _notice(host, name, tag or _text(resource, "digest"))


_FORMS: Final[tuple[tuple[Callable[[Fields], bool], Callable[[Fields], Iterator[Notice]]], ...]] = (
    (lambda document: "events" in document, _of_distribution),
    (lambda document: "push_data" in document, _of_hub),
    (lambda document: "updated_tags" in document, _of_quay),
    (lambda document: "event_data" in document or "data" in document, _of_harbor),
)


def _notice(host: str, name: object, reference: object) -> Iterator[Notice]:
    """Yield a notice, or nothing of what is no name: nothing here is called that."""
    if isinstance(name, str) and isinstance(reference, str) and reference:
        read = Digest.parse if ":" in reference else Tag.parse
        try:
            yield Notice(host, RepositoryName.parse(name), read(reference))
        except (NameInvalid, TagInvalid, DigestInvalid):
            return


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _object(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _list(fields: Fields, name: str) -> list[Fields]:
    value = fields.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []

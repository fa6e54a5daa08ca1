"""Sync lists: which images a list names, in our form or in that of `skopeo sync --src yaml`.

Ours is a list under `sync`:

    sync:
      - from: docker.io/library/alpine
        to: registry.example.com/base/alpine
        tags: ["3.19", "3.20"]          # or tag-regex: ^3\\.   or semver: ">= 3.19"
        platforms: [linux/amd64]

Skopeo's is a map of registries, each with `images`, `images-by-tag-regex`, `images-by-semver`,
`credentials` and `tls-verify`. What is read here is the document, already parsed as YAML.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from entrepot.oci.errors import Unsupported
from entrepot.oci.platform import Platform
from entrepot.rules.version_range import VersionRange

Choice = Callable[[str], bool]

_OURS: Final = "sync"
_ENTRY_KEYS: Final = frozenset(
    {"from", "to", "tags", "tag-regex", "semver", "platforms", "referrers"}
)
_REGISTRY_KEYS: Final = frozenset(
    {
        "images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify",
        "cert-dir",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SyncEntry:
    """A repository of the list, or an image of it.

    `source` and `target` are addresses as written; `target` is empty where the list names none,
    and `name` is then what stands behind the common destination. Of the source's tags `tags` are
    meant (or digests); None means those that `choose` accepts, all where there is no `choose`.
    """

    source: str
    target: str
    name: str
    tags: tuple[str, ...] | None = None
    choose: Choice | None = None
    platforms: tuple[Platform, ...] = ()
    referrers: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    tls_verify: bool | None = None


def read_sync_list(document: object) -> tuple[SyncEntry, ...]:
    """Read a list. Raise Unsupported, naming the place, for what is wrong in it."""
    if not isinstance(document, dict) or not document:
        raise Unsupported(
            "the list is no map; write `sync:` with a list of from and to, or skopeo's map of "
            "registries"
        )
    if _OURS in document and isinstance(document[_OURS], list):
        if len(document) > 1:
            raise _wrong(str(next(key for key in document if key != _OURS)), "stands beside sync")
        return tuple(_entry(one, f"sync[{n}]") for n, one in enumerate(document[_OURS]))
    return tuple(
        entry for host, one in document.items() for entry in _registry(_text(host, "key"), one)
    )


def _entry(value: object, where: str) -> SyncEntry:
    fields = _map(value, where, _ENTRY_KEYS)
    source = _text(fields.get("from"), f"{where}.from")
    chosen = [key for key in ("tags", "tag-regex", "semver") if key in fields]
    if len(chosen) > 1:
        raise _wrong(where, f"has {' and '.join(chosen)}; keep one")
    tags = _texts(fields["tags"], f"{where}.tags") if "tags" in fields else None
    choose = None
    if "tag-regex" in fields:
        choose = _regex(fields["tag-regex"], f"{where}.tag-regex")
    elif "semver" in fields:
        choose = _semver(fields["semver"], f"{where}.semver")
    platforms = _texts(fields.get("platforms") or [], f"{where}.platforms")
    return SyncEntry(
        source=source,
        target=_text(fields["to"], f"{where}.to") if "to" in fields else "",
        name=source.partition("://")[2] or source,
        tags=tags,
        choose=choose,
        platforms=tuple(Platform.parse(one) for one in platforms),
        referrers=_truth(fields.get("referrers", False), f"{where}.referrers"),
    )


def _registry(host: str, value: object) -> Iterator[SyncEntry]:
    fields = _map(value, host, _REGISTRY_KEYS)
    if fields.get("cert-dir"):
        raise _wrong(f"{host}.cert-dir", "is not understood; use --src-ca-file and --src-cert")
    login = _map(fields.get("credentials") or {}, f"{host}.credentials", {"username", "password"})
    common: dict[str, Any] = {
        "username": _text(login.get("username", ""), f"{host}.credentials.username", empty=True),
        "password": _text(login.get("password", ""), f"{host}.credentials.password", empty=True),
    }
    if "tls-verify" in fields:
        common["tls_verify"] = _truth(fields["tls-verify"], f"{host}.tls-verify")

    def entry(name: str, **more: Any) -> SyncEntry:
        return SyncEntry(f"docker://{host}/{name}", "", name, **more, **common)

    for name, tags in _map(fields.get("images") or {}, f"{host}.images").items():
        listed = _texts(tags or [], f"{host}.images.{name}")
        yield entry(name, tags=listed or None)
    for key, read in (("images-by-tag-regex", _regex), ("images-by-semver", _semver)):
        for name, text in _map(fields.get(key) or {}, f"{host}.{key}").items():
            yield entry(name, choose=read(text, f"{host}.{key}.{name}"))


def _regex(value: object, where: str) -> Choice:
    text = _text(value, where)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise _wrong(where, f"is no regular expression: {error}") from None
    return lambda tag: pattern.search(tag) is not None


def _semver(value: object, where: str) -> Choice:
    return VersionRange.parse(_text(value, where)).accepts


def _map(value: object, where: str, known: AbstractSet[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _wrong(where, "must be a map")
    unknown = sorted(value.keys() - known) if known is not None else []
    if unknown:
        there = ", ".join(sorted(known or ()))
        raise _wrong(f"{where}.{unknown[0]}", f"is unknown; there are {there}")
    return value


def _text(value: object, where: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise _wrong(where, "must be text; put it in quotes")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "must be a list")
    return tuple(_text(one, f"{where}[{n}]") for n, one in enumerate(value))


def _truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "must be true or false")
    return value


def _wrong(where: str, what: str) -> Unsupported:
    return Unsupported(f"{where} {what}")

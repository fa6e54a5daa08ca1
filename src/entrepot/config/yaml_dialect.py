"""The YAML dialect of oci-proxy: its `config.yaml` as our settings, every key of it.

    port, log_level, default_registry, base_url, auth{username, password}, whitelist_mode,
    defaults{…}, registries.HOST{auth{username, password}, cache_dir, cache_max_size,
    upstream_proxy, follow_redirects, insecure}

What that program does without being told is done here, too: it listens on port 80 of every
interface, keeps no manifests (`cache.freshness` is `off`) and evicts what was used least recently.
Names without a registry are Docker Hub's unless `default_registry` says otherwise. Two things are
deliberately different: other registries than those of the file are mirrored only if
`whitelist_mode` is `false` in so many words, and the login in `defaults` is never sent to them.
"""

from collections.abc import Mapping
from typing import Final

from entrepot.config.documents import Given, Layer
from entrepot.config.errors import Problem, Refusal
from entrepot.config.kinds import BOOLEAN
from entrepot.config.model import SECTIONS, TABLES, Name
from entrepot.config.registry_names import TEMPLATE, upstream_name
from entrepot.config.suggestions import key_hint, nearest
from entrepot.config.yaml_documents import Path, YamlText
from entrepot.oci.address import DOCKER_HUB

_DEFAULT_PORT: Final = 80

_KEYS: Final[Mapping[Path, Name]] = {
    ("port",): ("server", "listen"),
    ("log_level",): ("log", "level"),
    ("whitelist_mode",): ("proxy", "open"),
    ("default_registry",): ("proxy", "default_registry"),
    ("base_url",): ("proxy", "external_url"),
    ("auth", "username"): ("access", "username"),
    ("auth", "password"): ("access", "password"),
}
_REGISTRY_KEYS: Final[Mapping[Path, str]] = {
    ("auth", "username"): "username",
    ("auth", "password"): "password",
    ("cache_dir",): "cache_path",
    ("cache_max_size",): "max_size",
    ("upstream_proxy",): "proxy",
    ("follow_redirects",): "follow_redirects",
    ("insecure",): "insecure",
}
_DEFAULTS: Final = "defaults"
_REGISTRIES: Final = "registries"
_TOP: Final = (*dict.fromkeys(path[0] for path in _KEYS), _DEFAULTS, _REGISTRIES)

_Registry = dict[str, Given]
"""What is said about one registry, by our names of the keys."""


def is_dialect(text: YamlText) -> bool:
    """Tell whether a file has keys of oci-proxy rather than sections of ours."""
    keys = [str(key) for key in text.content]
    ours = [*SECTIONS, *TABLES]
    if any(key in ours for key in keys):
        return False
    return any(key in _TOP for key in keys) or any(
        nearest(key, [*ours, *_TOP]) in _TOP for key in keys
    )


def mixture(text: YamlText) -> list[Problem]:
    """Find keys of oci-proxy in a file that has sections of ours."""
    theirs = [str(key) for key in text.content if key in _TOP]
    ours = [str(key) for key in text.content if key in SECTIONS or key in TABLES]
    if not (theirs and ours):
        return []
    return [
        Problem(
            text.place((key,)),
            f"{key} is a key of oci-proxy in a file that has [{ours[0]}]",
            f"write {_counterpart(key)} instead, or all of the file as oci-proxy has it",
        )
        for key in theirs
    ]


def from_dialect(text: YamlText) -> tuple[Layer, list[Problem]]:
    """Read a file of oci-proxy."""
    problems = _unknown(text)
    layer = _of_itself(text.origin)
    for path, name in _KEYS.items():
        given = _scalar(text, path, problems)
        if given is not None and (given := _translated(path, given, problems)) is not None:
            layer[name] = given
    defaults = _registry(text, (_DEFAULTS,), problems)
    listed = {
        host: _registry(text, (_REGISTRIES, host), problems) for host in _hosts(text, problems)
    }
    for upstream, place, registry in _named(text, listed, layer, problems):
        layer["upstreams", upstream] = Given(None, place, text=False)
        for key, given in _merged(defaults, registry).items():
            layer["upstreams", upstream, key] = given
    if defaults:
        place = text.place((_DEFAULTS,))
        layer["upstreams", TEMPLATE] = Given(None, place, text=False)
        for key, given in defaults.items():
            # Whoever names a host would otherwise be told the password.
            if key not in ("username", "password"):
                layer["upstreams", TEMPLATE, key] = given
    return layer, problems


def _of_itself(origin: str) -> Layer:
    """Return what oci-proxy does without being told."""
    return {
        ("server", "listen"): Given([f":{_DEFAULT_PORT}"], origin, text=False),
        ("proxy", "default_registry"): Given(DOCKER_HUB, origin, text=False),
        ("cache", "freshness"): Given("off", origin, text=False),
        ("cache", "policy"): Given("lru", origin, text=False),
    }


def _merged(defaults: _Registry, registry: _Registry) -> _Registry:
    """Lay what a registry says over the defaults; a login is taken as a whole."""
    if registry.keys() & {"username", "password"}:
        defaults = {
            key: given for key, given in defaults.items() if key not in ("username", "password")
        }
    return {**defaults, **registry}


def _named(
    text: YamlText, listed: Mapping[str, _Registry], layer: Layer, problems: list[Problem]
) -> list[tuple[str, str, _Registry]]:
    """Return (name, place, registry) of what is listed, and of the default registry."""
    found: dict[str, tuple[str, str, _Registry]] = {}
    written: dict[str, str] = {}
    for host, registry in listed.items():
        place = text.place((_REGISTRIES, host))
        try:
            name = upstream_name(host)
        except Refusal as refusal:
            problems.append(Problem(place, f"{host} is no registry", str(refusal)))
            continue
        if name in found:
            same = f"{host} and {written[name]} are the same registry"
            problems.append(Problem(place, same, "write one of them with the keys of both"))
        found[name], written[name] = (name, place, registry), host
    default = layer["proxy", "default_registry"]
    try:
        name = upstream_name(str(default.value))
        found.setdefault(name, (name, default.origin, {}))
    except Refusal:
        pass  # told where the setting is read
    return list(found.values())


def _hosts(text: YamlText, problems: list[Problem]) -> list[str]:
    registries = text.content.get(_REGISTRIES)
    if registries is None:
        return []
    if not isinstance(registries, Mapping):
        place = text.place((_REGISTRIES,))
        problems.append(Problem(place, "registries must be a mapping", "write `  ghcr.io: {}`"))
        return []
    return [path[1] for path in text.lines if len(path) == 2 and path[0] == _REGISTRIES]


def _registry(text: YamlText, path: Path, problems: list[Problem]) -> _Registry:
    """Read what stands under a registry, or under `defaults`."""
    found = {}
    for below, key in _REGISTRY_KEYS.items():
        given = _scalar(text, (*path, *below), problems)
        if given is not None:
            found[key] = given
    return found


def _scalar(text: YamlText, path: Path, problems: list[Problem]) -> Given | None:
    """Return what stands at a path; nothing where it is empty, as in the original."""
    called = ".".join(path)
    if path in text.lines and path not in text.scalars:
        problems.append(Problem(text.place(path), f"{called} must be a single value"))
        return None
    value = text.scalars.get(path)
    return Given(value, text.place(path), text=True, called=called) if value else None


def _translated(path: Path, given: Given, problems: list[Problem]) -> Given | None:
    """Say in our words what has other ones there."""
    value = str(given.value)
    match path[0]:
        case "port":
            if not (value.isascii() and value.isdigit() and 0 < int(value[:6]) <= 65535):
                hint = "it must be a port, from 1 to 65535"
                problems.append(Problem(given.origin, f"port cannot be {value[:80]}", hint))
                return None
            return Given([f":{int(value)}"], given.origin, text=False, called="port")
        case "log_level" if value.lower() == "warn":
            return Given("warning", given.origin, text=True, called="log_level")
        case "whitelist_mode":
            try:
                closed = BOOLEAN.parse(value)
            except ValueError:
                what = f"whitelist_mode cannot be {value[:80]}"
                problems.append(Problem(given.origin, what, f"it must be {BOOLEAN.allowed}"))
                return None
            return Given(not closed, given.origin, text=False, called="whitelist_mode")
        case _:
            return given


def _unknown(text: YamlText) -> list[Problem]:
    """Find keys that oci-proxy does not have, and mappings that are none."""
    problems: list[Problem] = []
    _check_keys(text, (), _TOP, problems)
    _check_keys(text, ("auth",), ("username", "password"), problems)
    hosts = [path for path in text.lines if len(path) == 2 and path[0] == _REGISTRIES]
    registry_keys = tuple(dict.fromkeys(path[0] for path in _REGISTRY_KEYS))
    for path in [(_DEFAULTS,), *hosts]:
        _check_keys(text, path, registry_keys, problems)
        _check_keys(text, (*path, "auth"), ("username", "password"), problems)
    return problems


def _check_keys(
    text: YamlText, path: Path, known: tuple[str, ...], problems: list[Problem]
) -> None:
    called = ".".join(path)
    if path in text.lines and path not in text.mappings:
        if text.scalars.get(path, "") is None:
            return
        hint = f"it has {', '.join(known)}"
        problems.append(Problem(text.place(path), f"{called} must be a mapping", hint))
        return
    keys = {below[len(path)] for below in text.lines if below[: len(path)] == path != below}
    for key in sorted(keys - {*known}, key=lambda key: text.lines[*path, key]):
        name = ".".join((*path, key))
        hint = key_hint(key, known, called or "oci-proxy's file")
        problems.append(Problem(text.place((*path, key)), f"unknown key {name}", hint))


def _counterpart(key: str) -> str:
    for path, (section, ours) in _KEYS.items():
        if path[0] == key:
            return f"[{section}] {ours}"
    return "[upstreams.NAME]"

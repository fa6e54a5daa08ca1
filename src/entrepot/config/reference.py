"""Settings as text: the reference page for people, and the settings in force as TOML or JSON.

Secrets are hidden in all of it.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from entrepot.config.loading import Resolved
from entrepot.config.model import SECTIONS, SETTINGS, TABLE_SETTINGS, TABLES, Name
from entrepot.config.origins import FILE_VARIABLE, table_variable, variable
from entrepot.config.setting import Setting
from entrepot.config.toml_text import heading, literal

_INTRODUCTION: Final = f"""\
# Configuration

<!-- Written by `entrepot config reference`; change src/entrepot/config/model.py instead. -->

Nothing needs to be configured: `entrepot serve` runs with the defaults below. What you do set
can stand in three places. The first one that has a setting wins:

1. **Flags** of `entrepot serve`.
2. **The environment**: `ENTREPOT_<SECTION>_<KEY>`, for instance `ENTREPOT_SERVER_LISTEN`.
3. **A file** in TOML, or in YAML if its name ends so, named by `--config FILE` or by
   `{FILE_VARIABLE}`.

`entrepot config show` prints the settings in force and where each came from;
`entrepot config check` looks for mistakes. A section, key or variable that does not exist is a
mistake, and so is a value that is not allowed; every mistake is reported, also in a place that
another one overrides.

```toml
[server]
listen = ["0.0.0.0:5000", "unix:/run/entrepot.sock"]
tls_certificate = "/etc/entrepot/tls.crt"
tls_key = "/etc/entrepot/tls.key"

[storage]
path = "/var/lib/entrepot"
upload_expiry = "3d"

[registry]
delete_blobs = false
max_manifest_size = "8MiB"
```

## Upstreams and sites

Each registry that is mirrored, and each site of object storage, has a table with a name. An
upstream's name is its host, with a port if it has one, or any word; Docker Hub is `docker.io`
whatever name it is given. A registry whose habits are known by its name needs a table only for what
is different. The table `*` stands for all registries that have none, where `proxy.open` lets
clients name any.

```toml
[proxy]
default_registry = "docker.io"

[upstreams."docker.io"]
username = "me"
password = "a token"
max_size = "200GiB"

[upstreams.team]
endpoints = ["https://near.example.com weight=3", "https://registry.example.com:5000"]
ca_file = "/etc/entrepot/team.pem"

[sites.frankfurt]
url = "https://images.s3.eu-central-1.amazonaws.com/blobs/{{digest}}"
networks = ["3.64.0.0/12"]
```

In the environment `{table_variable("upstreams")}` and `{table_variable("sites")}` hold all tables
of a kind as JSON: `{{"docker.io": {{"max_size": "200GiB"}}}}`. A key in the environment wins over
the same key in the file, table by table.

While the server runs, upstreams can be added to `upstreams.toml` inside `storage.path`; a table
there replaces the one of the same name here.

## YAML, and the files of other programs

A file whose name ends in `.yaml` or `.yml` holds the same sections, tables and keys as mappings.
It may also be the `config.yaml` of oci-proxy, which is told by its keys:

| its key | here |
|---|---|
| `port` (80) | `server.listen`, on all interfaces |
| `log_level` | `log.level` |
| `whitelist_mode` | `proxy.open`, the other way round; open only if it is `false` |
| `default_registry` (`docker.io`) | `proxy.default_registry` |
| `base_url` | `proxy.external_url` |
| `auth.username`, `auth.password` | `access.username`, `access.password` |
| `registries.HOST` | `upstreams.HOST` |
| `….auth.username`, `….auth.password` | `username`, `password` |
| `….cache_dir`, `….cache_max_size` | `cache_path`, `max_size` |
| `….upstream_proxy` | `proxy` |
| `….follow_redirects`, `….insecure` | the same |
| `defaults` | the same keys, for every registry that does not have them |

As in that program no manifests are kept (`cache.freshness` is `off`) and what was used least
recently goes first (`cache.policy` is `lru`). A login in `defaults` is only sent to registries that
the file names.

Where the variable `UpstreamRegistry` is set, it is `redirect.upstream`, and `PORT` is the port of
`server.listen`, on all interfaces.

## How values are written

| kind | in the file | in the environment and in flags (no quotes) |
|---|---|---|
| boolean | `true`, `false` | also `yes`, `no`, `on`, `off`, `1`, `0` |
| integer | `4` | `4` |
| size | `"64KiB"`, `"4MiB"`, `"1g"`; a number is bytes | the same |
| duration | `"500ms"`, `"30s"`, `"5m"`, `"24h"`, `"7d"`; a number is seconds | the same |
| list | `["one", "two"]` | `one,two`, or as in the file where an item has a comma |
| others | `"text"` | `text` |

Units of size are always 1024-based: `K`, `KB` and `KiB` mean the same.
"""


def page() -> str:
    """Return docs/configuration.md."""
    parts = [_INTRODUCTION]
    for section, model in SECTIONS.items():
        parts.append(f"## `[{section}]`\n\n{model.__doc__}\n")
        for name, setting in SETTINGS.items():
            if name[0] == section:
                flags = [f"`{setting.flag}`"] if setting.flag else []
                ways = [f"`{variable(name)}`", *flags]
                parts.append(_entry(".".join(name), setting, ways))
    for table, model in TABLES.items():
        parts.append(f"## `[{table}.NAME]`\n\n{model.__doc__}\n")
        parts += [
            _entry(f"{table}.NAME.{key}", setting, [f"`{table_variable(table)}`"])
            for key, setting in TABLE_SETTINGS[table].items()
        ]
    return "\n".join(parts)


def as_toml(resolved: Resolved) -> str:
    """Return the settings in force as TOML that can be read again, with their origins. Tables hold
    what was given."""
    lines: list[str] = []
    section: Name = ()
    for name, value, origin in _in_force(resolved):
        if name[:-1] != section:
            section = name[:-1]
            lines += ["", heading(*section)]
        lines.append(f"{name[-1]} = {literal(value)}{_comment(origin)}")
    for name, origin in _tables(resolved):
        lines += ["", f"{heading(*name)}{_comment(origin)}"]
        lines += [
            f"{key} = {literal(value)}{_comment(place)}"
            for key, (value, place) in _given(resolved, name).items()
        ]
    return "\n".join(lines[1:]) + "\n"


def as_json(resolved: Resolved) -> str:
    """Return `{"section": {"key": {"value": …, "origin": …}}}`, and tables one level deeper."""
    tree: dict[str, dict[str, Any]] = {}
    for (section, key), value, origin in _in_force(resolved):
        tree.setdefault(section, {})[key] = {"value": value, "origin": origin}
    for table, name in (one for one, _ in _tables(resolved)):
        tree.setdefault(table, {})[name] = {
            key: {"value": value, "origin": origin}
            for key, (value, origin) in _given(resolved, (table, name)).items()
        }
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _in_force(resolved: Resolved) -> Iterator[tuple[Name, object, str]]:
    for name, setting in SETTINGS.items():
        section, key = name
        value = getattr(getattr(resolved.settings, section), key)
        yield name, setting.shown(value), resolved.origins[name]


def _tables(resolved: Resolved) -> Iterator[tuple[Name, str]]:
    """Yield (table and name, origin)."""
    for table in TABLES:
        for name in getattr(resolved.settings, table):
            yield (table, name), resolved.origins[table, name]


def _given(resolved: Resolved, name: Name) -> dict[str, tuple[object, str]]:
    """Return the keys that somebody gave a table, each with its value and origin."""
    table = getattr(resolved.settings, name[0])[name[1]]
    return {
        key: (setting.shown(getattr(table, key)), resolved.origins[*name, key])
        for key, setting in TABLE_SETTINGS[name[0]].items()
        if (*name, key) in resolved.origins
    }


def _entry(name: str, setting: Setting, ways: list[str]) -> str:
    kind = setting.kind.name
    if kind == "choice":
        kind = setting.kind.allowed.replace('"', "`").replace("``", "empty")
    if bounds := setting.bounds():
        kind = f"{kind}, {bounds}"
    return (
        f"### `{name}`\n\n{setting.doc}\n\n"
        f"- Default: `{literal(setting.default)}`\n"
        f"- Kind: {kind}\n"
        f"- Also: {', '.join(ways)}\n"
    )


def _comment(origin: str) -> str:
    """Write an origin behind a value; a file's name may hold what a comment may not."""
    return "  # " + "".join(one if one.isprintable() else "?" for one in origin)

"""Settings as text: the reference page for people, and the settings in force as TOML or JSON.

Secrets are hidden in all of it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from entrepot.config.loading import Resolved
from entrepot.config.model import SECTIONS, SETTINGS, Name
from entrepot.config.origins import FILE_VARIABLE, variable
from entrepot.config.setting import Setting

_INTRODUCTION: Final = f"""\
# Configuration

<!-- Written by `entrepot config reference`; change src/entrepot/config/model.py instead. -->

Nothing needs to be configured: `entrepot serve` runs with the defaults below. What you do set
can stand in three places. The first one that has a setting wins:

1. **Flags** of `entrepot serve`.
2. **The environment**: `ENTREPOT_<SECTION>_<KEY>`, for instance `ENTREPOT_SERVER_LISTEN`.
3. **A TOML file**, named by `--config FILE` or by `{FILE_VARIABLE}`.

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
        parts += [
            _entry((section, key), setting)
            for (owner, key), setting in SETTINGS.items()
            if owner == section
        ]
    return "\n".join(parts)


def as_toml(resolved: Resolved) -> str:
    """Return the settings in force as TOML that can be read again, with their origins."""
    lines: list[str] = []
    section = None
    for name, value, origin in _in_force(resolved):
        if name[0] != section:
            section = name[0]
            lines += [*([""] if lines else []), f"[{section}]"]
        lines.append(f"{name[1]} = {_literal(value)}  # {origin}")
    return "\n".join(lines) + "\n"


def as_json(resolved: Resolved) -> str:
    """Return `{"section": {"key": {"value": …, "origin": …}}}`."""
    tree: dict[str, dict[str, Mapping[str, object]]] = {}
    for (section, key), value, origin in _in_force(resolved):
        tree.setdefault(section, {})[key] = {"value": value, "origin": origin}
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _in_force(resolved: Resolved) -> Iterator[tuple[Name, object, str]]:
    for name, setting in SETTINGS.items():
        section, key = name
        value = getattr(getattr(resolved.settings, section), key)
        yield name, setting.shown(value), resolved.origins[name]


def _entry(name: Name, setting: Setting) -> str:
    kind = setting.kind.name
    if kind == "choice":
        kind = setting.kind.allowed.replace('"', "`")
    if bounds := setting.bounds():
        kind = f"{kind}, {bounds}"
    ways = [f"`{variable(name)}`", *([f"`{setting.flag}`"] if setting.flag else [])]
    return (
        f"### `{'.'.join(name)}`\n\n{setting.doc}\n\n"
        f"- Default: `{_literal(setting.default)}`\n"
        f"- Kind: {kind}\n"
        f"- Also: {', '.join(ways)}\n"
    )


def _literal(value: object) -> str:
    """Write a value in TOML, whose strings, numbers, booleans and arrays are JSON's."""
    # JSON leaves DEL as it is, TOML does not allow it.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Layouts of addresses of Artifactory: what `entrepot upstream add` makes of `--layout` and
`--repository`."""

import re
from typing import Any, Final, cast, get_args

import typer

from entrepot.cli.upstream_options import Table

_KEY: Final = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*", re.ASCII)
_PRESETS: Final = ("artifactory", "jfrog")


def placed(name: str, options: Table) -> Table:
    """Return the options of an upstream with the endpoints and rewrites of its layout in place of
    `layout` and `repository`; without these, as they are.

    Each `--url` is then a host, and the upstream's name is one where there is none. Raise
    BadParameter.
    """
    table: dict[str, Any] = dict(options)
    layout, key = table.pop("layout", ""), table.pop("repository", "")
    if not layout:
        if key:
            raise typer.BadParameter("--repository goes with --layout")
        return table
    from entrepot.rules.upstream_presets import ArtifactoryLayout, artifactory_place

    if layout not in get_args(ArtifactoryLayout):
        known = ", ".join(get_args(ArtifactoryLayout))
        raise typer.BadParameter(f"--layout takes one of {known}")
    if table.setdefault("preset", _PRESETS[0]) not in _PRESETS:
        raise typer.BadParameter(f"--layout goes with --preset {_PRESETS[0]}")
    if not key and layout != "port":
        raise typer.BadParameter(f"--layout {layout} needs --repository, the key it has there")
    if key and _KEY.fullmatch(key) is None:
        raise typer.BadParameter(f"--repository takes a key of a-z, 0-9, -, _ and ., not {key!r}")
    endpoints, rewrites = [], list(table.get("rewrites", ()))
    for line in table.get("endpoints") or [name]:
        scheme, host, weights = _host(line)
        place = artifactory_place(cast("ArtifactoryLayout", layout), host, key)
        endpoints.append(" ".join((place.endpoint.replace("https", scheme, 1), *weights)))
        rewrites += [one for one in place.rewrites if one not in rewrites]
    table["endpoints"] = endpoints
    if rewrites:
        table["rewrites"] = rewrites
    return table


def _host(line: str) -> tuple[str, str, list[str]]:
    """Return the scheme and the host that a `--url` with a layout is, and what follows it."""
    from entrepot.oci.reference import is_host

    url, *weights = line.split() or [""]
    scheme, there, rest = url.partition("://")
    host = (rest if there else url).removesuffix("/")
    if (
        not is_host(host)
        or not set(host) & set(".:")
        or (there and scheme not in ("http", "https"))
    ):
        raise typer.BadParameter(
            f"with --layout --url takes Artifactory's host, e.g. acme.jfrog.io, and not {url}; "
            "the layout says the path"
        )
    return scheme if there else "https", host, weights

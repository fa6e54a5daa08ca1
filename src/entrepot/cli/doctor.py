"""`entrepot doctor`: what is wrong with upstreams and their cache, and how to mend it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from entrepot.cli.help_text import Command, examples
from entrepot.cli.output import print_lines, table
from entrepot.cli.session import with_client
from entrepot.cli.upstream_places import (
    NONE,
    ConfigOption,
    Configured,
    DataOption,
    JsonOption,
    UpstreamsArgument,
    configured,
)
from entrepot.client import Client
from entrepot.oci.errors import ConnectionLost, HostUnknown, RegistryError

if TYPE_CHECKING:
    from entrepot.services.doctor import Finding

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class _Examined:
    """A finding, and what it is about: an upstream's endpoint, or a cache directory."""

    upstream: str
    endpoint: str
    finding: "Finding"


@app.command(
    cls=Command,
    epilog=examples("entrepot doctor", "entrepot doctor docker.io", "entrepot doctor --json"),
)
def doctor(
    names: UpstreamsArgument = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find out what is wrong with upstreams.

    Each endpoint is looked at part by part: DNS, TCP or the proxy, TLS, the registry itself, the
    login, the clocks, and how many requests are left; then the cache's directory. The first part
    that is broken is named with what to do about it. Run it as the server's user. The exit code is
    1 if anything is broken.

    With --json: upstream, endpoint, check, state (ok, warning, failed), message, remedy.
    """
    known = configured(config, data)
    chosen = known.chosen(names or ())
    if not chosen and not as_json:
        print(NONE)
        return 0
    found = with_client(lambda client: _examine(client, known, chosen))
    if as_json:
        print_lines(json.dumps(_row(one), ensure_ascii=False) for one in found)
    else:
        print_lines(table([("UPSTREAM", "CHECK", "STATE", "WHAT IS FOUND"), *map(_line, found)]))
        for one in found:
            if one.finding.remedy:
                print(f"\n{one.upstream or 'cache'}, {one.finding.check}: {one.finding.remedy}")
    return int(any(one.finding.state == "failed" for one in found))


def _row(one: _Examined) -> dict[str, str]:
    finding = one.finding
    return {
        "upstream": one.upstream,
        "endpoint": one.endpoint,
        "check": finding.check,
        "state": finding.state,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _line(one: _Examined) -> tuple[str, ...]:
    finding = one.finding
    return one.upstream or "-", finding.check, finding.state, finding.message


async def _examine(client: Client, known: Configured, names: Sequence[str]) -> list[_Examined]:
    found = []
    for name in names:
        found += await _upstream(client, known, name)
    return found + await _caches(client, known, names)


async def _upstream(client: Client, known: Configured, name: str) -> list[_Examined]:
    from entrepot.services.doctor import Finding, examine

    try:
        patients = await client.patients(name, known.upstreams[name])
        return [
            _Examined(name, patient.endpoint.url, finding)
            for patient in patients
            async for finding in examine(patient)
        ]
    except (HostUnknown, ConnectionLost) as error:
        remedy = f'check `discovery` of [upstreams."{name}"], and this machine\'s DNS'
        return [_Examined(name, "", Finding("dns", "failed", error.message, remedy))]
    except RegistryError as error:
        # Its settings are such that it cannot even be tried.
        remedy = f'change [upstreams."{name}"] in {known.places[name]}'
        return [_Examined(name, "", Finding("registry", "failed", error.message, remedy))]


async def _caches(client: Client, known: Configured, names: Sequence[str]) -> list[_Examined]:
    """Look at each cache once: most upstreams share one."""
    from entrepot.services.doctor import Finding, examine_cache

    found = []
    owners = {known.cache(known.upstreams[name]): name for name in names}
    for path, name in owners.items():
        own = known.upstreams[name].cache_path is not None
        quota = known.upstreams[name].max_size if own else known.settings.cache.max_size
        try:
            usage = await client.cache_usage(path)
            used = sum(one.size for one in usage.values())
            directory = await client.directories().directory(path)
            finding = examine_cache(directory, used=used, quota=quota)
        except RegistryError as error:
            remedy = "look at the directory, or set `cache.path` to another one"
            finding = Finding("cache", "failed", error.message, remedy)
        found.append(_Examined(name if own else "", "", finding))
    return found

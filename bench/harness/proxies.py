"""The caches that are compared, each in front of a line to the same upstream."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.harness import servers
from bench.harness.servers import Address, NotHere, Program

ONE_WORKER: Final = f"{servers.OURS}, 1 worker"
TTL, ALWAYS = "ttl.test/", "always.test/"
"""How the upstream is called in our names, where tags are believed for a while, and where they
are confirmed each time."""


def ours(line: Address) -> Program:
    """Return Entrepot with as many workers as it takes by itself."""
    return _ours(servers.OURS, line, 0)


def ours_alone(line: Address) -> Program:
    """Return Entrepot with one worker."""
    return _ours(ONE_WORKER, line, 1)


def _ours(name: str, line: Address, workers: int) -> Program:
    program = servers.KNOWN[servers.OURS]()

    def arguments(address: Address, folder: Path) -> list[str]:
        config = folder / "config.toml"
        config.write_text(
            "".join(
                f"""\
[upstreams."{prefix.rstrip("/")}"]
endpoints = ["http://{line[0]}:{line[1]}"]
insecure = true
freshness = "{freshness}"
tag_ttl = "1h"
"""
                for prefix, freshness in ((TTL, "ttl"), (ALWAYS, "always"))
            )
        )
        words = program.arguments(address, folder)
        return [*words, "--config", str(config), "--workers", str(workers)]

    notes = "default configuration: access log and a line per upstream exchange, to /dev/null"
    return replace(program, name=name, notes=notes, arguments=arguments)


def docker_registry(line: Address) -> Program:
    """Return docker-registry as a pull-through cache."""
    program = servers.KNOWN["docker-registry"]()

    def arguments(address: Address, folder: Path) -> list[str]:
        words = program.arguments(address, folder)
        with Path(words[-1]).open("a") as config:
            config.write(f"proxy: {{remoteurl: 'http://{line[0]}:{line[1]}'}}\n")
        return words

    return replace(program, notes=f"proxy.remoteurl; {program.notes}", arguments=arguments)


def zot(line: Address) -> Program:
    """Return zot that syncs on demand. Raise NotHere, also where its build cannot."""
    program = servers.KNOWN["zot"]()

    def arguments(address: Address, folder: Path) -> list[str]:
        words = program.arguments(address, folder)
        config = Path(words[-1])
        settings = json.loads(config.read_text())
        registry = {
            "urls": [f"http://{line[0]}:{line[1]}"],
            "onDemand": True,
            "tlsVerify": False,
            "content": [{"prefix": "**"}],
        }
        settings["extensions"] = {"sync": {"enable": True, "registries": [registry]}}
        config.write_text(json.dumps(settings))
        return words

    return replace(program, notes=f"sync on demand; {program.notes}", arguments=arguments)


KNOWN: Final[dict[str, Callable[[Address], Program]]] = {
    servers.OURS: ours,
    ONE_WORKER: ours_alone,
    "docker-registry": docker_registry,
    "zot": zot,
}
"""Every cache by name; ours come first."""


def find(name: str, line: Address) -> Program | NotHere:
    """Return a cache by its name, or why it is not to be had."""
    try:
        return KNOWN[name](line)
    except NotHere as reason:
        return reason

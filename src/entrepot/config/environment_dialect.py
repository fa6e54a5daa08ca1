"""The environment of the redirecting proxy: `UpstreamRegistry` and `PORT`.

`PORT` alone is somebody else's variable; it counts only beside `UpstreamRegistry`.
"""

from collections.abc import Mapping
from typing import Final

from entrepot.config.documents import Given, Layer
from entrepot.config.errors import Problem

UPSTREAM: Final = "UpstreamRegistry"
PORT: Final = "PORT"


def from_environment_dialect(environ: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """Read both variables, if the first one is there; it must not be empty then."""
    layer: Layer = {}
    problems: list[Problem] = []
    if UPSTREAM not in environ:
        return layer, problems
    upstream, port = environ[UPSTREAM].strip(), environ.get(PORT)
    if upstream:
        layer["redirect", "upstream"] = Given(upstream, UPSTREAM, text=True)
    else:
        hint = (
            "write where all names are, as in https://us-docker.pkg.dev/v2/project/images/, "
            "or unset it"
        )
        problems.append(Problem(UPSTREAM, "is empty", hint))
    if port is None:
        return layer, problems
    if port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535:
        layer["server", "listen"] = Given([f":{int(port)}"], PORT, text=False)
    else:
        hint = "it must be a port, from 1 to 65535"
        problems.append(Problem(PORT, f"the port cannot be {port[:80]!r}", hint))
    return layer, problems

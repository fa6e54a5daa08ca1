"""A credential helper that really runs: a script on PATH that keeps logins in a JSON file."""

import json
import sys
from pathlib import Path
from typing import Final

_SCRIPT: Final = """\
#!{python}
import json, pathlib, sys, time
store = pathlib.Path({store!r})
kept = json.loads(store.read_text()) if store.exists() else {{}}
word, given = sys.argv[1], sys.stdin.read()
if {seconds} and word == "get":
    time.sleep({seconds})
if word == "get":
    if given.strip() not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    user, secret = kept[given.strip()]
    print(json.dumps({{"ServerURL": given.strip(), "Username": user, "Secret": secret}}))
elif word == "list":
    print(json.dumps({{server: user for server, (user, _) in kept.items()}}))
else:
    if word == "store":
        entry = json.loads(given)
        kept[entry["ServerURL"]] = [entry["Username"], entry["Secret"]]
    else:
        kept.pop(given.strip(), None)
    store.write_text(json.dumps(kept))
"""


class Keychain:
    """The helper `docker-credential-NAME`, and what it keeps: user and secret by server."""

    def __init__(self, folder: Path, name: str = "test", *, seconds: float = 0) -> None:
        self.folder = folder
        self._store = folder / f"{name}.json"
        script = _SCRIPT.format(python=sys.executable, store=str(self._store), seconds=seconds)
        self.install(name, script)

    def install(self, name: str, script: str) -> None:
        """Put a script on PATH."""
        program = self.folder / f"docker-credential-{name}"
        program.write_text(script)
        program.chmod(0o755)

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which it is found."""
        return {"PATH": str(self.folder)}

    @property
    def kept(self) -> dict[str, list[str]]:
        """What it keeps."""
        return json.loads(self._store.read_text()) if self._store.exists() else {}

    def keep(self, server: str, user: str, secret: str) -> None:
        """Put a login in."""
        self._store.write_text(json.dumps(self.kept | {server: [user, secret]}))

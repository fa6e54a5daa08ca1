"""The lock files in `requirements/`, made from pyproject.toml by uv.

Every file is pinned by hash and no line names where to fetch it from: that is each machine's
own setting.
"""

import shutil
import subprocess

from tools.environment import ROOT
from tools.speech import say


def lock(*, upgrade: bool) -> int:
    """Remake both lock files for every platform and Python we support; return an exit code."""
    uv = shutil.which("uv")
    if uv is None:
        say("locking needs uv on PATH; `python3 -m pip install uv` brings it")
        return 1
    compile_lock = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-header",
        "--annotation-style=line",
        *(["--upgrade"] if upgrade else []),
        "pyproject.toml",
        "--group=build",
    ]
    # The server's own versions rule: what is tested is what is served.
    lanes = {
        "requirements/runtime.txt": [],
        "requirements/dev.txt": ["--group=dev", "--constraints=requirements/runtime.txt"],
    }
    for file, extra in lanes.items():
        command = [*compile_lock, *extra, f"--output-file={file}"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            return 1
    return 0

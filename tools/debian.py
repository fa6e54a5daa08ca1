"""Real programs that tests and benchmarks use, from Debian's packages.

Installed only where that is possible without asking anyone: apt-get is there, and we are root
or sudo wants no password. No daemon is started; tests start their own on free ports.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.processes import quietly
from tools.speech import say

FOR_TESTS: Final = (
    "buildah",
    "busybox-static",
    "chromium",
    "crun",
    "curl",
    "debootstrap",
    "dnsmasq-base",
    "docker-registry",
    "docker.io",
    "fuse-overlayfs",
    "iproute2",
    "iptables",
    "microsocks",
    "nghttp2-client",
    "podman",
    "postgresql",
    "skopeo",
    "squid",
    "uidmap",
    "umoci",
    "wrk",
)

_UNITS: Final = (
    "containerd.service",
    "docker-registry.service",
    "docker.service",
    "docker.socket",
    "podman-restart.service",
    "podman.service",
    "podman.socket",
    "postgresql.service",
    "squid.service",
)
"""What these packages would start where systemd runs."""

_UPDATE_SECONDS: Final = 180
_INSTALL_SECONDS: Final = 900


def missing(packages: Sequence[str]) -> list[str]:
    """Return those of `packages` that dpkg does not have installed; none without dpkg."""
    if shutil.which("dpkg-query") is None:
        return []
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\\n", *packages],
        capture_output=True,
        text=True,
        check=False,  # it fails when one is unknown, and still tells of the others
    )
    there = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in there]


def install(packages: Sequence[str]) -> None:
    """Install what is missing of `packages`; where that cannot be, say so and go on.

    Tests that need a program which is still missing report themselves as not run.
    """
    wanted = missing(packages)
    if not wanted:
        return
    prefix = _privilege()
    if prefix is None or shutil.which("apt-get") is None:
        say(f"not installing Debian packages (neither root nor sudo): {' '.join(wanted)}")
        return
    say(f"installing Debian packages: {' '.join(wanted)}")
    try:
        _apt([*prefix, "apt-get", "update", "-q"], _UPDATE_SECONDS)
        _install_without_starting(prefix, wanted)
    except (subprocess.SubprocessError, OSError) as failure:
        say(f"Debian packages could not be installed: {failure}")
        if isinstance(failure, subprocess.CalledProcessError):
            say(str(failure.output)[-2000:])


def _privilege() -> list[str] | None:
    """Return what goes before apt-get, or None where we may not install."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    asked = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return [sudo, "-n"] if asked.returncode == 0 else None


def _install_without_starting(prefix: list[str], packages: Sequence[str]) -> None:
    """Install `packages` so that none of their daemons starts, now or by this installation.

    Init scripts look at RUNLEVEL, and 1 is the level where nothing is started; systemd looks
    at its units, which are masked meanwhile, and only until the next boot at the worst.
    """
    systemd = Path("/run/systemd/system").is_dir()
    if systemd:
        _apt([*prefix, "systemctl", "mask", "--runtime", "--quiet", *_UNITS], 60)
    try:
        _apt(
            [
                *prefix,
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "RUNLEVEL=1",
                "apt-get",
                "install",
                "--yes",
                "-q",
                "--no-install-recommends",
                "-o",
                "DPkg::Lock::Timeout=120",
                *packages,
            ],
            _INSTALL_SECONDS,
        )
    finally:
        if systemd:
            _apt([*prefix, "systemctl", "unmask", "--runtime", "--quiet", *_UNITS], 60)


def _apt(command: list[str], seconds: int) -> None:
    quietly(command, seconds=seconds).check_returncode()

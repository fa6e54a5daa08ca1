"""Layers that try to leave the directory they are unpacked to, by name.

`{outside}` stands for the absolute path of a folder that holds `canary`; the directory is its
neighbour, so `../outside/canary` leads there too. Run as a program, this file unpacks all of them
without root's rights and prints what came of each.
"""

import asyncio
import json
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[4]))

from entrepot.oci.errors import RegistryError
from tests.unit.adapters.rootfs.layers import (
    Layer,
    file,
    folder,
    layer,
    link,
    opaque,
    pax,
    raw_header,
    special,
    symlink,
    unpack,
    whiteout,
)

NOBODY: Final = 65534

END: Final = bytes(1024)

Make = Callable[[str], list[Layer]]


def _evil(*entries: object) -> Make:
    return lambda outside: [layer(*entries)]  # type: ignore[arg-type]


REFUSED: Final[dict[str, Make]] = {
    "dot-dot": _evil(file("../outside/canary", b"evil")),
    "dot-dot in the middle": _evil(folder("a"), file("a/../../outside/canary", b"evil")),
    "dot-dot that stays inside": _evil(file("a/../b", b"evil")),
    "absolute dot-dot": _evil(file("/../outside/canary", b"evil")),
    "only dot-dot": _evil(folder("..")),
    "folder dot-dot": _evil(folder("../outside", mode=0o777)),
    "symlink at dot-dot": _evil(symlink("../outside/new", "x")),
    "hard link to outside": _evil(link("a", "../outside/canary")),
    "hard link to an absolute path": lambda outside: [layer(link("a", f"{outside}/canary"))],
    "hard link through a symlink": lambda outside: [
        layer(symlink("a", outside), link("b", "a/canary"), file("b", b"evil"))
    ],
    "hard link to a folder": _evil(folder("a"), link("b", "a")),
    "hard link to the root": _evil(link("b", "/")),
    "hard link to nothing": _evil(link("b", "")),
    "hard link to a whiteout": _evil(file("a"), whiteout("a"), link("b", ".wh.a")),
    "hard link to a removed file": lambda outside: [
        layer(file("a")),
        layer(whiteout("a"), link("b", "a")),
    ],
    "whiteout of dot": _evil(file(".wh..")),
    "whiteout of dot-dot": _evil(folder("a"), file("a/.wh...")),
    "whiteout of nothing": _evil(file("a/.wh.")),
    "whiteout above": _evil(whiteout("../outside/canary")),
    "opaque above": _evil(opaque("../outside")),
    "a folder called a whiteout": _evil(file(".wh.a/b")),
    "symlinks in a circle": _evil(symlink("a", "b"), symlink("b", "a"), file("a/c")),
    "symlink to itself": _evil(symlink("a", "a"), file("a/c")),
    "a file below a file of the layer": _evil(file("a"), file("a/b")),
    "root as a file": _evil(symlink(".", "/etc")),
    "a name with NUL": lambda outside: [pax(("path", b"a\0b")) + raw_header(b"a") + END],
    "a target with NUL": lambda outside: [
        pax(("linkpath", b"/etc\0b")) + raw_header(b"a", b"2") + END
    ],
    "a name that is too long": _evil(file("a" * 300)),
    "a path that is too long": _evil(file("a/" * 2500 + "b")),
    "a path that is too deep": _evil(file("a/" * 1000 + "b")),
    "depth by symlinks": lambda outside: [
        layer(
            symlink("a", "b/" * 300),
            symlink("c", "a/" + "b/" * 300),
            file("c/" + "b/" * 200 + "d", b"evil"),
        )
    ],
    "an empty target": lambda outside: [raw_header(b"a", b"2") + END],
    "a negative size": lambda outside: [raw_header(b"a", size=b"-1") + END],
    "a size beyond 63 bits": lambda outside: [raw_header(b"a", size=b"\x80" + b"\xff" * 11) + END],
    "a size in words": lambda outside: [pax(("size", b"many")) + raw_header(b"a") + END],
    "an owner that means unchanged": lambda outside: [
        pax(("uid", b"4294967295")) + raw_header(b"a") + END
    ],
    "a wrong checksum": lambda outside: [raw_header(b"a")[:148] + b"0000001\0" + bytes(356) + END],
    "no tar at all": lambda outside: [b"#!/bin/sh\nrm -rf /\n" * 100],
    "cut off in a header": lambda outside: [raw_header(b"a")[:300]],
    "cut off in content": lambda outside: [raw_header(b"a", size=b"7777") + bytes(100)],
    "cut off after pax": lambda outside: [pax(("path", b"b"))],
    "a huge pax header": lambda outside: [raw_header(b"x", b"x", size=b"77777777777") + END],
    "a huge long name": lambda outside: [raw_header(b"x", b"L", size=b"77777777777") + END],
    "pax records of no length": lambda outside: [
        raw_header(b"x", b"x", size=b"20") + b"0 path=b\n".ljust(512, b"x") + raw_header(b"a") + END
    ],
    "pax records beyond the header": lambda outside: [
        raw_header(b"x", b"x", size=b"20") + b"99 path=b\n".ljust(512, b"x") + END
    ],
    "an unknown type": lambda outside: [raw_header(b"a", b"Q") + END],
    "a volume of many": lambda outside: [raw_header(b"a", b"M", size=b"4") + bytes(512) + END],
    "a sparse file out of itself": lambda outside: [
        pax(("GNU.sparse.map", b"9223372036854775000,1"), ("GNU.sparse.size", b"4"))
        + raw_header(b"a", size=b"1")
        + bytes(512)
        + END
    ],
    "a sparse map of letters": lambda outside: [
        pax(("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"4"))
        + raw_header(b"a", size=b"1000")
        + b"x" * 512
        + END
    ],
    "a sparse map that overlaps": lambda outside: [
        pax(("GNU.sparse.map", b"2,2,0,2"), ("GNU.sparse.size", b"4"))
        + raw_header(b"a", size=b"4")
        + bytes(512)
        + END
    ],
    "a device Linux cannot have": lambda outside: [
        raw_header(b"a", b"3", major=b"7777777", minor=b"0") + END
    ],
}
"""What is no layer: nothing of it stays, and the message names layer and entry."""

CONTAINED: Final[dict[str, Make]] = {
    "an absolute name": lambda outside: [layer(file(f"{outside}/canary", b"evil"))],
    "a symlink to outside, then a file": lambda outside: [
        layer(symlink("a", outside), file("a/canary", b"evil"))
    ],
    "a symlink of a lower layer, then a file": lambda outside: [
        layer(symlink("a", outside)),
        layer(file("a/canary", b"evil")),
    ],
    "a symlink up and away": lambda outside: [
        layer(symlink("a", "../../../../../../../../" + outside), file("a/canary", b"evil"))
    ],
    "a symlink to the neighbour": _evil(symlink("a", "../outside"), file("a/canary", b"evil")),
    "symlinks in a chain": lambda outside: [
        layer(
            symlink("a", "b"),
            symlink("b", "c/.."),
            symlink("c", outside),
            file("a/canary", b"evil"),
            file("c/canary", b"evil"),
        )
    ],
    "a file over a symlink to outside": lambda outside: [
        layer(symlink("a", f"{outside}/canary"), file("a", b"evil", mode=0o666))
    ],
    "a folder over a symlink to outside": lambda outside: [
        layer(symlink("a", outside), folder("a", mode=0o777), file("a/canary", b"evil"))
    ],
    "a device over a symlink": lambda outside: [
        layer(
            symlink("a", f"{outside}/canary"),
            special("a", tarfile.FIFOTYPE, mode=0o777),
        )
    ],
    "a hard link to a symlink, then a file": lambda outside: [
        layer(symlink("a", f"{outside}/canary"), link("b", "a"), file("b", b"evil"))
    ],
    "a hard link over a symlink": lambda outside: [
        layer(file("x", b"evil"), symlink("a", f"{outside}/canary"), link("a", "x"))
    ],
    "a whiteout through a symlink": lambda outside: [
        layer(symlink("a", outside)),
        layer(whiteout("a/canary")),
    ],
    "an opaque folder through a symlink": lambda outside: [
        layer(symlink("a", outside)),
        layer(opaque("a")),
    ],
    "a whiteout of a symlink to outside": lambda outside: [
        layer(symlink("a", outside)),
        layer(whiteout("a")),
    ],
    "an absolute whiteout": lambda outside: [layer(file(f"{outside}/.wh.canary"))],
    "a folder replaced that holds a symlink": lambda outside: [
        layer(folder("a"), symlink("a/b", outside)),
        layer(file("a", b"evil")),
    ],
    "a name with newlines": _evil(file("a\n\x1b[2J../b", b"evil")),
    "a name that is no text": lambda outside: [raw_header(b"\xff\xfe\x80") + END],
    "modes of a symlink": lambda outside: [
        layer(symlink("a", outside), special("a/canary", tarfile.FIFOTYPE, mode=0o777))
    ],
    "attributes of AUFS": _evil(file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")),
    "a time beyond every calendar": lambda outside: [
        pax(("mtime", b"9" * 30)) + raw_header(b"a") + END
    ],
    "a device": _evil(special("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)),
    "a repeated symlink and folder": lambda outside: [
        layer(
            folder("a"),
            file("a/b"),
            symlink("a", outside),
            file("a/canary", b"evil"),
            folder("a"),
            file("a/canary", b"evil"),
        )
    ],
}
"""What other tools apply too, and what must stay inside when it is applied."""

ALL: Final = REFUSED | CONTAINED


def outcome(directory: Path, outside: Path, make: Make) -> str:
    """Unpack; return how it ended: `unpacked`, or the refusal's class and message."""
    try:
        asyncio.run(unpack(directory, *make(str(outside))))
    except RegistryError as error:
        return f"{type(error).__name__}: {error.message}"
    return "unpacked"


def main(folder: Path) -> None:
    """Try all as nobody, each in a folder of its own that root has made."""
    asyncio.run(asyncio.to_thread(len, ""))  # nobody may not even read the standard library
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    found = {
        name: outcome(folder / str(number) / "root", folder / str(number) / "outside", make)
        for number, (name, make) in enumerate(ALL.items())
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

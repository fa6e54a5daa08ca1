"""A process that pushes a blob of 200 MiB and pulls it again, and prints its peak memory in bytes,
before and after.

python -m tests.integration.remotes.carrier HOST
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

from entrepot.oci.digest import Hasher
from entrepot.testing.image_end_contents import generated
from tests.remote_registries import name, remote

BLOCKS: Final = 200
"""The size of the blob in MiB."""


def peak() -> int:
    """Return the most memory that this process has had, in bytes.

    Not from `getrusage`, which also knows that of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines)["VmHWM"]
    return int(told.removesuffix("kB")) * 1024


async def carry(host: str) -> None:
    """Push and pull, and verify what has come."""
    content = generated(BLOCKS)
    before = peak()
    async with remote(host) as registry:
        repository = registry.repository(name())
        await repository.put_blob(content)
        hasher = Hasher()
        async for chunk in repository.blob(content.descriptor):
            hasher.update(chunk)
    assert hasher.digest() == content.descriptor.digest
    print(before, peak())


if __name__ == "__main__":
    asyncio.run(carry(sys.argv[1]))

"""A process that pushes a large blob and stands still at 60 %: run it, and kill it.

python -m tests.integration.remotes.pusher HOST REPOSITORY FOLDER-OF-NOTES
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

from entrepot.testing.image_end_contents import MIB, ScriptedContent, generated
from tests.remote_registries import name, remote

BLOCKS: Final = 50
"""The size of the blob in MiB."""

STALL: Final = 30 * MIB


def content(*, stalls: bool = False) -> ScriptedContent:
    """Return the blob, the same one in every process."""
    made = generated(BLOCKS)
    made.stalls_at = STALL if stalls else None
    return made


async def push(host: str, repository: str, notes: Path) -> None:
    """Push until the content stands still, and say so."""
    stalling = content(stalls=True)
    async with remote(host, uploads=notes) as registry:
        pushing = asyncio.ensure_future(registry.repository(name(repository)).put_blob(stalling))
        await stalling.reached.wait()
        print("standing", flush=True)
        await pushing


if __name__ == "__main__":
    asyncio.run(push(sys.argv[1], sys.argv[2], Path(sys.argv[3])))

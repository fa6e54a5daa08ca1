"""The fake cache index: the whole contract in memory, for tests of what stands on it."""

import time
from collections.abc import Callable

from entrepot.testing.memory_cache_contents import MemoryContents, MemoryUpkeep
from entrepot.testing.memory_cache_names import MemoryCatalog, MemoryNames


class MemoryCacheIndex:
    """See the port. `now` gives the time at which what was absent is found to be expired."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self.names = MemoryNames(now)
        self.contents = MemoryContents()
        self.catalog = MemoryCatalog(self.names, self.contents)
        self.upkeep = MemoryUpkeep(self.contents)

    async def crashed_machine(self) -> bool:
        """Nothing of it survives a machine."""
        return False

    async def machine_checked(self) -> None:
        """There is nothing to remember."""

    async def close(self) -> None:
        """Nothing is pending."""

"""Services on fakes: content in memory, metadata in a database of the test's own, a clock that
is set, and gates that note what they are asked."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.oci.errors import Denied
from entrepot.ports.metadata_store import MetadataStore
from entrepot.services.gates import Change, Gates
from entrepot.testing import MemoryContentStore
from tests.unit.services.examples import NOW


@dataclass
class SetClock:
    """A clock that stands until it is set."""

    time: float = NOW

    def now(self) -> float:
        return self.time


@dataclass
class Gatekeeper:
    """A gate that notes every change, and refuses them all while `shut`."""

    shut: bool = False
    asked: list[Change] = field(default_factory=list)

    async def __call__(self, change: Change) -> None:
        self.asked.append(change)
        if self.shut:
            raise Denied("the gate is shut")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def keeper() -> Gatekeeper:
    return Gatekeeper()


@pytest.fixture
def gates(keeper: Gatekeeper) -> Gates:
    return Gates((keeper,))


@pytest.fixture
def content(clock: SetClock) -> MemoryContentStore:
    return MemoryContentStore(now=clock.now)


@pytest.fixture
async def metadata(migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[MetadataStore]:
    file = shutil.copy(migrated_sqlite, tmp_path)
    store = await SqlMetadataStore.open(f"sqlite:///{file}", durable=False)
    yield store
    await store.close()

"""What drivers and services are tested with, published: a contract suite per port, and fakes.

A driver proves itself by subclassing its port's suite and giving it a fixture:

    class TestMyStore(ContentStoreSuite, CanEnumerateSuite):
        @pytest.fixture
        def store(self) -> MyStore: ...

A client proves itself against `MockRegistry`; its faults are in `mock_faults` (answers) and
`mock_connection_faults` (connections, uploads), its token servers in `mock_tokens`.

Needs pytest and pytest-asyncio.
"""

from pkgutil import iter_modules

import pytest

# So that a failing assert shows its values also when it stands in a suite.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from entrepot.testing.content_store_suite import (  # noqa: E402 - not before it is rewritten
    CanEnumerateSuite,
    ContentStoreSuite,
    FullContentStoreSuite,
)
from entrepot.testing.deliveries import collect  # noqa: E402
from entrepot.testing.memory_content_store import MemoryContentStore  # noqa: E402
from entrepot.testing.metadata_store_suite import MetadataStoreSuite  # noqa: E402
from entrepot.testing.mock_exchange import Exchange, HangUp, Record, Reply  # noqa: E402
from entrepot.testing.mock_images import MockImage  # noqa: E402
from entrepot.testing.mock_registry import MockRegistry  # noqa: E402

__all__ = [
    "CanEnumerateSuite",
    "ContentStoreSuite",
    "Exchange",
    "FullContentStoreSuite",
    "HangUp",
    "MemoryContentStore",
    "MetadataStoreSuite",
    "MockImage",
    "MockRegistry",
    "Record",
    "Reply",
    "collect",
]

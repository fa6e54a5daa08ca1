"""What drivers and services are tested with, published: a contract suite per port, and fakes.

A driver proves itself by subclassing its port's suite and giving it a fixture:

    class TestMyStore(ContentStoreSuite, CanEnumerateSuite):
        @pytest.fixture
        def store(self) -> MyStore: ...

A client proves itself against `MockRegistry`, whose module has the tutorial; what can go wrong
there is published here too.

Needs pytest and pytest-asyncio.
"""

from pkgutil import iter_modules

import pytest

# So that a failing assert shows its values also when it stands in a suite.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from entrepot.testing.cache_index_suite import (  # noqa: E402 - not before it is rewritten
    CacheIndexSuite,
)
from entrepot.testing.content_store_suite import (  # noqa: E402
    CanEnumerateSuite,
    ContentStoreSuite,
    FullContentStoreSuite,
)
from entrepot.testing.deliveries import collect  # noqa: E402
from entrepot.testing.image_end_suite import ImageEndSuite  # noqa: E402
from entrepot.testing.memory_cache_index import MemoryCacheIndex  # noqa: E402
from entrepot.testing.memory_content_store import MemoryContentStore  # noqa: E402
from entrepot.testing.memory_end import MemoryEnd, MemoryImages  # noqa: E402
from entrepot.testing.metadata_store_suite import MetadataStoreSuite  # noqa: E402
from entrepot.testing.mock_connection_faults import (  # noqa: E402
    AcceptThenFail,
    Delay,
    DoThenDrop,
    DropConnection,
    LoseUpload,
    Refuse100,
    Reset,
    Slow,
    Stall,
    Truncate,
    UploadOffsetLies,
)
from entrepot.testing.mock_exchange import Exchange, HangUp, Record, Reply  # noqa: E402
from entrepot.testing.mock_faults import (  # noqa: E402
    BadJson,
    Challenge,
    Endless,
    Headers,
    HtmlError,
    Instead,
    NoDigestHeader,
    NoLength,
    NoRange,
    RateLimited,
    RedirectLoop,
    RedirectTo,
    ServerError,
    Status,
    WrongContentType,
    WrongDigest,
    WrongDigestHeader,
    WrongLength,
    WrongRange,
)
from entrepot.testing.mock_images import MockImage  # noqa: E402
from entrepot.testing.mock_registry import MockRegistry  # noqa: E402
from entrepot.testing.mock_tokens import TokenFlavour, TokenServer  # noqa: E402

__all__ = [
    "AcceptThenFail",
    "BadJson",
    "CacheIndexSuite",
    "CanEnumerateSuite",
    "Challenge",
    "ContentStoreSuite",
    "Delay",
    "DoThenDrop",
    "DropConnection",
    "Endless",
    "Exchange",
    "FullContentStoreSuite",
    "HangUp",
    "Headers",
    "HtmlError",
    "ImageEndSuite",
    "Instead",
    "LoseUpload",
    "MemoryCacheIndex",
    "MemoryContentStore",
    "MemoryEnd",
    "MemoryImages",
    "MetadataStoreSuite",
    "MockImage",
    "MockRegistry",
    "NoDigestHeader",
    "NoLength",
    "NoRange",
    "RateLimited",
    "Record",
    "RedirectLoop",
    "RedirectTo",
    "Refuse100",
    "Reply",
    "Reset",
    "ServerError",
    "Slow",
    "Stall",
    "Status",
    "TokenFlavour",
    "TokenServer",
    "Truncate",
    "UploadOffsetLies",
    "WrongContentType",
    "WrongDigest",
    "WrongDigestHeader",
    "WrongLength",
    "WrongRange",
    "collect",
]

"""What drivers and services are tested with, published: a contract suite per port, and fakes.

The suites need pytest and pytest-asyncio; the fakes need nothing. To prove a content store:

    class TestMyStore(ContentStoreSuite):
        @pytest.fixture
        def store(self) -> MyStore: ...
"""

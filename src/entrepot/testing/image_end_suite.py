"""The contract suite of Ends: `entrepot.ports.image_end`.

    class TestMyEnd(ImageEndSuite):
        @pytest.fixture
        def place(self) -> MyPlace: ...

A place (`image_end_contents.Place`) opens the End to read and to write, again and again. What an
End cannot do is said by class attributes: `holds_indexes`, `holds_artifacts`, `algorithms`,
`finds_referrers`, `adds`, `commits`, `continues`, `one_stream`.
"""

import pytest

from entrepot.testing.image_end_names import NameTests
from entrepot.testing.image_end_round_trips import RoundTripTests
from entrepot.testing.image_end_writes import WriteTests


@pytest.mark.asyncio
class ImageEndSuite(RoundTripTests, NameTests, WriteTests):
    """Subclasses give the fixture `place`, where nothing has been written yet."""

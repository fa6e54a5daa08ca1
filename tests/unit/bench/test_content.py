"""Bodies to push: each distinct, each under the digest of what is sent."""

from pathlib import Path

import pytest

from bench.harness.clients import upload_target
from bench.harness.content import Bodies, digest_of


def test_bodies_are_distinct_and_carry_their_digest(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path, 5000)
    made = [bodies.fresh() for _ in range(3)]
    sent = [body.file.read_bytes()[: body.shared] + body.tail for body in made]
    assert [digest_of(content) for content in sent] == [body.digest for body in made]
    assert len(set(sent)) == 3
    assert {len(content) for content in sent} == {body.size for body in made} == {5000}


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v2/a/blobs/uploads/1", "/v2/a/blobs/uploads/1?digest=sha256:0"),
        (
            "http://host:1/v2/a/blobs/uploads/1?_state=x",
            "/v2/a/blobs/uploads/1?_state=x&digest=sha256:0",
        ),
    ],
)
def test_an_upload_ends_where_its_location_says(location: str, target: str) -> None:
    assert upload_target(location, "sha256:0") == target

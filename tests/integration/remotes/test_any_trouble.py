"""Whatever happens on the way, and in whichever order: a blob that was pushed is the blob, and so
is one that was read."""

import random
from pathlib import Path
from typing import Any

import pytest

from entrepot.oci.errors import RegistryError
from entrepot.testing import MockRegistry
from entrepot.testing.image_end_contents import blob, blob_of
from entrepot.testing.mock_connection_faults import (
    AcceptThenFail,
    DoThenDrop,
    DropConnection,
    LoseUpload,
    Reset,
    Truncate,
    UploadOffsetLies,
)
from entrepot.testing.mock_faults import NoLength, NoRange, RateLimited, Status, WrongRange
from tests.remote_registries import name, remote

SIZE = 6_000_000
UPLOADS = "*/blobs/uploads/*"
BLOBS = "*/blobs/sha256:*"


def upload_trouble(dice: random.Random) -> Any:
    return dice.choice(
        [
            AcceptThenFail(dice.randrange(SIZE), keep=dice.random() < 0.7),
            AcceptThenFail(dice.randrange(SIZE), status=dice.choice([500, 503])),
            DropConnection(reset=dice.random() < 0.5),
            DoThenDrop(reset=dice.random() < 0.5),
            LoseUpload(),
            UploadOffsetLies(dice.choice([-1000, -1, 1, 1000])),
            RateLimited(retry_after=0),
            Status(dice.choice([404, 409, 416, 502])),
        ]
    )


def download_trouble(dice: random.Random) -> Any:
    return dice.choice(
        [
            Truncate(dice.randrange(SIZE)),
            Reset(dice.randrange(SIZE)),
            DropConnection(),
            NoRange(),
            NoLength(),
            WrongRange(dice.choice([-5, 5]), honest=True),
            RateLimited(retry_after=0),
            Status(dice.choice([416, 500, 503])),
        ]
    )


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(10), id="10 times"),
        pytest.param(range(10, 150), id="140 times", marks=pytest.mark.slow),
    ],
)
async def test_pushes(tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        dice = random.Random(seed)
        whole = dice.randbytes(SIZE)
        content = blob(whole)
        chunk_size = dice.choice([None, None, 1_000_000])
        with MockRegistry() as mock:
            for _ in range(dice.randrange(1, 6)):
                methods = dice.choice(["PATCH", "PATCH", "PUT", "GET", "POST", "*"])
                mock.fault(
                    upload_trouble(dice), method=methods, path=UPLOADS, after=dice.randrange(4)
                )
            for _ in range(3):  # a user would, too
                async with remote(
                    mock.host, uploads=tmp_path, noted=0, chunk_size=chunk_size
                ) as registry:
                    try:
                        await registry.repository(name()).put_blob(content)
                        break
                    except RegistryError:
                        continue
            assert mock.blob(content.descriptor.digest) == whole, seed
            assert set(mock.blobs) == {content.descriptor.digest}, seed


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(10), id="10 times"),
        pytest.param(range(10, 150), id="140 times", marks=pytest.mark.slow),
    ],
)
async def test_reads(seeds: range) -> None:
    for seed in seeds:
        dice = random.Random(seed)
        content = dice.randbytes(SIZE)
        offset = dice.choice([0, 0, dice.randrange(SIZE)])
        with MockRegistry() as mock:
            there = mock.add_blob("tests/one", content)
            for _ in range(dice.randrange(1, 6)):
                mock.fault(download_trouble(dice), path=BLOBS, after=dice.randrange(4))
            for _ in range(3):
                async with remote(mock.host) as registry:
                    try:
                        read = await blob_of(registry.repository(name()), there, offset)
                        break
                    except RegistryError:
                        continue
            assert read == content[offset:], seed

"""What must hold for every answer and for the data directory, whatever was asked."""

import hashlib
import json
import re
from pathlib import Path

from tests.http_client import Response

_BLOB = re.compile(
    r"blobs/(sha256/([0-9a-f]{2})/\2[0-9a-f]{62}|sha512/([0-9a-f]{2})/\3[0-9a-f]{126})"
)
_INGEST = re.compile(r"ingests/[0-9A-Za-z_-]{1,64}/(sha(256|512)-[0-9a-f]{16}|checkpoint)")
_OURS = re.compile(r"metadata\.db(-wal|-shm|-writer)?|token\.key")
_CODE = re.compile(r"[A-Z]+(_[A-Z]+)*")


def assert_sound(response: Response, *, method: str = "GET") -> None:
    """No answer is a server's error, none shows its insides, and refusals are OCI errors."""
    assert 200 <= response.status < 500, response
    assert b"Traceback" not in response.body
    assert b'.py"' not in response.body
    for name, value in response.headers:
        assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), name
        assert "\r" not in value, (name, value)
        assert "\n" not in value, (name, value)
        value.encode("latin-1")
    if response.status >= 400 and method != "HEAD":
        assert response.header("Content-Type") == "application/json", response
        document = json.loads(response.body)
        assert set(document) == {"errors"}
        assert document["errors"]
        for error in document["errors"]:
            assert set(error) == {"code", "message", "detail"}
            assert _CODE.fullmatch(error["code"])
            assert error["message"]


def assert_confined(data: Path) -> None:
    """Every file has a name we gave it, below the data directory, and content its digest."""
    for path in data.rglob("*"):
        assert not path.is_symlink(), path
        if path.is_dir():
            continue
        name = path.relative_to(data).as_posix()
        blob = _BLOB.fullmatch(name)
        assert blob or _INGEST.fullmatch(name) or _OURS.fullmatch(name), name
        if blob:
            algorithm = name.split("/")[1]
            found = hashlib.new(algorithm, path.read_bytes()).hexdigest()
            assert found == path.name

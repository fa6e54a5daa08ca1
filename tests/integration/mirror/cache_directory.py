"""A mirror's cache directory, looked at from outside: its index, its files, and whether they
agree."""

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mirrors import UPSTREAM
from tests.waiting import wait_until


@dataclass(frozen=True, slots=True)
class CacheDirectory:
    """The cache in a directory. Nothing is changed, but by `flip`, `cut` and `remove`."""

    path: Path

    def states(self) -> Mapping[str, str]:
        """Return the state of all content that the index knows, by digest."""
        return dict(self._rows("SELECT digest, state FROM content"))

    def stored(self) -> set[str]:
        """Return the digests of what is stored."""
        return {digest for digest, state in self.states().items() if state == "stored"}

    def usage(self, column: str = "size", upstream: str = UPSTREAM) -> int:
        """Return a column of the sums of an upstream."""
        rows = self._rows(f"SELECT {column} FROM usage WHERE upstream = ?", upstream)
        return int(rows[0][0]) if rows else 0

    def upstreams(self) -> set[str]:
        """Return the upstreams of which anything is counted."""
        return {upstream for (upstream,) in self._rows("SELECT upstream FROM usage")}

    def expected(self, repository: str) -> int:
        """Return of how much it is noted that manifests of a repository list it."""
        query = "SELECT count(*) FROM link WHERE repository = ? AND kind = 2"
        return int(self._rows(query, repository)[0][0])

    def events(self, kind: str) -> list[str]:
        """Return `repository reference detail` of the events of a kind, oldest first."""
        rows = self._rows(
            "SELECT repository, reference, detail FROM event WHERE kind = ? ORDER BY id", kind
        )
        return [" ".join(row) for row in rows]

    def linked(self, repository: str) -> set[str]:
        """Return what a repository is known to hold; `repository` begins with the upstream."""
        rows = self._rows(
            "SELECT digest FROM link WHERE repository = ? AND kind IN (0, 1)", repository
        )
        return {digest for (digest,) in rows}

    def file(self, digest: object) -> Path:
        """Return where content lies."""
        algorithm, _, hexadecimal = str(digest).partition(":")
        return self.path / "blobs" / algorithm / hexadecimal[:2] / hexadecimal

    def files(self) -> Mapping[str, Path]:
        """Return all files of content, by digest."""
        found = (self.path / "blobs").glob("*/*/*")
        return {f"{one.parent.parent.name}:{one.name}": one for one in found}

    def spools(self) -> Mapping[str, int]:
        """Return how many bytes are there of what is on its way, or was, by digest."""
        found = (self.path / "spools").glob("*")
        return {
            one.name.replace("-", ":", 1): sum(file.stat().st_size for file in one.iterdir())
            for one in found
        }

    def sizes(self, state: str) -> Mapping[str, int]:
        """Return the sizes of all content in a state, by digest."""
        return dict(self._rows("SELECT digest, size FROM content WHERE state = ?", state))

    def uses(self) -> int:
        """Return how often content was used, as far as that is written."""
        return int(self._rows("SELECT coalesce(sum(uses), 0) FROM content")[0][0])

    def spooled(self, digest: object) -> int:
        """Return how many bytes of content on its way have come."""
        folder = self.path / "spools" / str(digest).replace(":", "-")
        return max((one.stat().st_size for one in folder.glob("*")), default=0)

    def flip(self, digest: object, at: int = 0) -> None:
        """Change one byte of content behind the cache's back."""
        path = self.file(digest)
        mode = path.stat().st_mode
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
        path.chmod(mode)

    def cut(self, digest: object, size: int) -> None:
        """Shorten content behind the cache's back."""
        path = self.file(digest)
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.truncate(size)

    def remove(self, digest: object) -> None:
        """Remove content behind the cache's back."""
        self.file(digest).unlink()

    def lock_up(self, digest: object) -> None:
        """Let content be there and not be read, for root either."""
        path = self.file(digest)
        path.unlink()
        path.symlink_to(path)

    def holds(self, *digests: object) -> bool:
        """Wait until content is stored, which may be a moment after a client has the last byte of
        it. Fail if it never is."""
        wait_until(lambda: {str(digest) for digest in digests} <= self.stored())
        return True

    def check(self) -> None:
        """See that index and files agree: nothing is stored that is not there, whole and right;
        nothing is there that the index does not know; and the sums are those of the rows."""
        with closing(self._open()) as index:
            index.execute("BEGIN")  # so that both say the same moment
            rows = index.execute("SELECT digest, size, state, upstream FROM content").fetchall()
            told = index.execute("SELECT upstream, size, items FROM usage WHERE items > 0")
            usage = {upstream: [size, items] for upstream, size, items in told}
            files = dict(self.files())
        sums: dict[str, list[int]] = {}
        for digest, size, state, upstream in rows:
            total = sums.setdefault(upstream, [0, 0])
            total[0] += size
            total[1] += 1
            file = files.pop(digest, None)  # what is filling may be in place already
            if state == "stored":
                assert file is not None, f"{digest} is said to be stored"
                content = file.read_bytes()
                algorithm, _, hexadecimal = digest.partition(":")
                assert len(content) == size, digest
                assert hashlib.new(algorithm, content).hexdigest() == hexadecimal
        assert not files, "content that the index does not know"
        assert usage == sums

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.path}/index.db?mode=ro", uri=True)

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(self._open()) as index:
            return index.execute(query, parameters).fetchall()

"""Locks by name hold between openers and processes, end with their process, and can be seen."""

import os
import signal
from pathlib import Path

import pytest

from entrepot.adapters.content_stores.name_locks import NameLocks
from entrepot.oci.errors import Unavailable


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "locks")


def test_a_lock_is_held_once(path: str) -> None:
    locks, others = NameLocks(path), NameLocks(path)
    lock = locks.take("one")
    assert lock is not None
    assert [one.take("one") for one in (locks, others)] == [None, None]
    assert [one.is_held("one") for one in (locks, others)] == [True, True]
    assert not locks.is_held("two")
    lock.release()
    lock.release()
    assert not others.is_held("one")
    assert others.take("one") is not None


def test_a_lock_ends_with_its_process(path: str) -> None:
    locks = NameLocks(path)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        assert NameLocks(path).take("one") is not None
        os.write(tell, b"1")
        signal.pause()
    assert os.read(told, 1) == b"1"
    assert locks.take("one") is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert locks.take("one") is not None
    os.close(told)
    os.close(tell)


def test_locks_take_no_room(path: str) -> None:
    locks = NameLocks(path)
    held = [locks.take(f"name {number}") for number in range(100)]
    assert None not in held
    assert os.stat(path).st_size == 0


def test_a_place_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        NameLocks(str(tmp_path / "missing" / "locks"))

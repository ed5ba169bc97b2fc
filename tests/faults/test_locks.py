"""Locks: exactly one holder, also when the lock's file is removed while others wait for it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from yt8m_ensemble.locks import lock


def test_a_second_holder_is_refused_and_nothing_is_left(tmp_path):
    target = str(tmp_path / "out")
    with lock(target, wait=False):
        with pytest.raises(BlockingIOError), lock(target, wait=False):
            pass
        assert [entry.name for entry in tmp_path.iterdir()] == [".out.lock"]
    assert not list(tmp_path.iterdir())
    (tmp_path / ".out.lock").touch()  # of a process that was killed
    with lock(target, wait=False):
        pass


def test_never_two_holders(tmp_path):
    target = str(tmp_path / "out")
    inside, most = 0, []
    count = threading.Lock()

    def hold(_):
        nonlocal inside
        with lock(target, wait=True):
            with count:
                inside += 1
                most.append(inside)
            with count:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(400)))
    assert most == [1] * 400

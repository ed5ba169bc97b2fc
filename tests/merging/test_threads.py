import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from yt8m_ensemble.threads import BlockMemory, map_in_order, result_of


@pytest.mark.parametrize("ahead", [0, 1, 5, 100])
def test_results_come_in_the_order_of_the_jobs(ahead):
    with ThreadPoolExecutor(3) as pool:
        found = map_in_order(pool, lambda n: n * n, iter(range(50)), ahead=ahead)
        assert list(found) == [n * n for n in range(50)]


def test_no_more_jobs_are_taken_than_may_wait():
    taken = []

    def jobs():
        for number in range(50):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        for position, _ in enumerate(map_in_order(pool, abs, jobs(), ahead=4)):
            assert len(taken) <= position + 5


def test_an_error_comes_in_its_place_and_ends_the_work():
    ran = []

    def work(number):
        ran.append(number)
        if number == 2:
            msg = "two"
            raise ValueError(msg)
        return number

    found = []
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="two"):  # noqa: PT012
        for result in map_in_order(pool, work, range(1000), ahead=3):
            found.append(result)
    assert found == [0, 1]
    assert len(ran) <= 6


def test_memory_is_used_again_and_never_twice_at_once():
    memory = BlockMemory(64)
    first, second = memory.take(4, np.dtype(np.float32)), memory.take(16, np.dtype(np.uint8))
    assert not np.shares_memory(first, second)
    memory.give_back(first)
    third = memory.take(8, np.dtype(np.float16))
    assert np.shares_memory(first, third)
    assert third.dtype.name == "float16"
    assert third.shape == (8,)

    def use(number):
        block = memory.take(16, np.dtype(np.int32))
        block[:] = number
        barrier.wait()  # all hold theirs
        is_whole = bool((block == number).all())
        memory.give_back(block)
        return is_whole

    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(40)))


def test_a_result_is_waited_for_in_steps_and_an_error_is_raised():
    # A signal just before a wait begins does not end it: a later step does.
    def late(value):
        time.sleep(1.2)
        if isinstance(value, Exception):
            raise value
        return value

    with ThreadPoolExecutor(2) as pool:
        good, bad = pool.submit(late, 3), pool.submit(late, TimeoutError("its own"))
        assert result_of(good) == 3
        with pytest.raises(TimeoutError, match="its own"):
            result_of(bad)

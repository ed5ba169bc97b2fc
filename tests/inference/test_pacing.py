import threading

import pytest

from yt8m_ensemble.inference import score_ahead


def test_batches_come_in_order_with_their_scores():
    assert list(score_ahead(range(5), lambda batch: batch * 10)) == [
        (batch, batch * 10) for batch in range(5)
    ]
    assert list(score_ahead([], str)) == []


def test_the_next_batch_is_scored_while_the_caller_uses_the_last():
    started = [threading.Event() for _ in range(3)]
    for batch, _ in score_ahead(range(3), lambda batch: started[batch].set()):
        if batch < 2:
            assert started[batch + 1].wait(timeout=60)


def test_an_error_of_scoring_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(score_ahead([1, 0, 1], lambda batch: 1 / batch))

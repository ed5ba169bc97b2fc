"""Greedy soup and the search of the last k, on scores that can be checked by hand."""

import numpy as np

from yt8m_ensemble.averaging import chosen, greedy_soup, plan_average, search_last
from yt8m_ensemble.values import DictSource


def candidates(*values):
    return {f"c{v}": DictSource({"w": np.array([v], np.float32)}) for v in values}


def near(target):
    """Score a source by how near its only value is to a target."""
    return lambda source: -abs(float(source.read("w")[0]) - target)


def test_greedy_soup_keeps_what_does_not_lower_the_score():
    # Alone: 4 is off by 1, 2 by 3, 9 by 4. 4+2 = 3 is worse; 4+9 = 6.5 is worse: 4 stays alone.
    sources = candidates(2, 4, 9)
    plan = plan_average(sources, newest="c9")
    noted: list[object] = []
    trials = greedy_soup(sources, plan, score=near(5), note=noted.append)
    assert [trial.inputs for trial in trials] == [
        ("c4",), ("c2",), ("c9",), ("c4", "c2"), ("c4", "c9"),
    ]  # fmt: skip
    assert [trial.score for trial in trials] == [-1, -3, -4, -2, -1.5]
    assert [trial.kept for trial in trials] == [True, False, False, False, False]
    assert chosen(trials) == ("c4",)
    assert noted == trials[3:]
    # Towards 6: 4 and 9 average to 6.5, better than 4 alone; with 2 it is 5, worse again.
    trials = greedy_soup(sources, plan, score=near(6))
    assert chosen(trials) == ("c4", "c9")


def test_search_scores_the_last_k_in_one_pass():
    sources = candidates(8, 1, 3)
    reads = []

    class Counting(DictSource):
        def read(self, name):
            reads.append(name)
            return super().read(name)

    counted = {label: Counting({"w": s.read("w")}) for label, s in sources.items()}
    plan = plan_average(counted, newest="c3")
    trials = search_last(counted, plan, score=near(4))
    assert [trial.inputs for trial in trials] == [("c3",), ("c3", "c1"), ("c3", "c1", "c8")]
    assert [trial.score for trial in trials] == [-1, -2, 0]
    assert chosen(trials) == ("c3", "c1", "c8")
    assert reads == ["w"] * 3


def test_ties_keep_the_fewer():
    sources = candidates(4)
    sources["again"] = DictSource({"w": np.array([4], np.float32)})
    plan = plan_average(sources, newest="c4")
    assert chosen(search_last(sources, plan, score=near(4))) == ("again",)

"""Selection under a byte budget, against trying every set by hand."""

import itertools

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.tuning import Scorer, collect_candidates, search_weights, selection
from yt8m_ensemble.tuning.selection import Variant, list_variants, select_members

SCORES, LABELS = make_predictions(num_members=5)
VIDEO_IDS = np.array([b"video%03d" % n for n in range(len(LABELS))])
SIZES = {name: {"float32": 8 * s, "float16": 4 * s, "uint4": s} for name, s in
         zip("abcde", (50, 40, 30, 20, 10), strict=True)}  # fmt: skip


@pytest.fixture(scope="module")
def candidates():
    return collect_candidates(blocks(SCORES, LABELS), names="abcde")


def variants(precision="float16"):
    return list_variants("abcde", SIZES, [precision])


def select(candidates, max_bytes, chosen=None):
    return select_members(
        candidates, VIDEO_IDS, chosen or variants(), max_bytes=max_bytes, space="logit", holdout=0
    )


def gap_of(candidates, columns):
    scorer = Scorer(candidates.select_members(columns), "logit")
    return search_weights(scorer, method="coordinate", step=0.1).gap


@pytest.mark.slow
def test_the_frontier_is_that_of_all_sets(candidates):
    selection = select(candidates, 10_000)
    assert selection.is_exact
    tried = {}
    for count in range(1, 6):
        for columns in itertools.combinations(range(5), count):
            size = sum((200, 160, 120, 80, 40)[c] for c in columns)
            tried[columns] = (size, gap_of(candidates, list(columns)))
    for choice in selection.frontier:
        columns = tuple(v.column for v in choice.variants)
        assert tried[columns] == (choice.size_bytes, pytest.approx(choice.gap_in_sample))
        smaller = [gap for size, gap in tried.values() if size <= choice.size_bytes]
        # Tuning is exact to its step: a ruled-out set may be better by less than that.
        assert choice.gap_in_sample >= max(smaller) - 5e-4
    assert selection.num_scored + selection.num_ruled_out == 31


@pytest.mark.slow
def test_the_choice_fits_the_budget_and_more_bytes_never_lose(candidates):
    gaps = []
    for max_bytes in (100, 200, 300, 600):
        selection = select(candidates, max_bytes)
        assert selection.chosen.size_bytes <= max_bytes
        assert selection.chosen.weights.values == pytest.approx(selection.chosen.weights.values)
        gaps.append(selection.chosen.gap_out_of_fold)
    assert gaps == sorted(gaps)


def test_beyond_the_exact_limit_greedy_with_swaps_comes_close(candidates, monkeypatch):
    exact = select(candidates, 300)
    monkeypatch.setattr(selection, "MAX_EXACT", 2)
    greedy = select(candidates, 300)
    assert not greedy.is_exact
    assert greedy.chosen.size_bytes <= 300
    assert greedy.chosen.gap_in_sample >= exact.chosen.gap_in_sample - 2e-3


def test_precisions_need_predictions_of_their_own_where_they_lose():
    assumed = list_variants(["a", "b"], SIZES, ["float32", "float16", "uint4"])
    assert [(v.name, v.is_measured) for v in assumed] == [
        ("a@float32", True), ("a@float16", False), ("b@float32", True), ("b@float16", False),
    ]  # fmt: skip
    measured = list_variants(["a", "a@uint4"], SIZES, ["float16", "uint4"])
    assert [(v.name, v.column, v.is_measured) for v in measured] == [
        ("a@float16", 0, False), ("a@uint4", 1, True),
    ]  # fmt: skip


def test_one_precision_of_a_member_is_taken():
    names = ["a", "b", "a@uint4"]
    worse = np.clip(SCORES[0] + np.random.default_rng(1).normal(0, 0.02, LABELS.shape), 0, 1)
    scores = np.stack([SCORES[0], SCORES[1], worse]).astype(np.float32)
    candidates = collect_candidates(blocks(scores, LABELS), names=names)
    chosen = list_variants(names, SIZES, ["float16", "uint4"])
    tight, wide = (select(candidates, size, chosen).chosen for size in (220, 1000))
    assert {v.name for v in tight.variants} <= {"a@uint4", "b@float16", "a@float16"}
    assert [v.name for v in wide.variants] == ["a@float16", "b@float16"]


def test_bad_input_is_named(candidates):
    with pytest.raises(UsageError, match="Not even 'e@float16' with 40 bytes fits into 10") as e:
        select(candidates, 10)
    assert e.value.details == {"smallest": "e@float16", "size_bytes": 40}
    with pytest.raises(UsageError, match="The size of 'x' is not known"):
        list_variants("ax", SIZES, ["float32"])
    assert isinstance(variants()[0], Variant)

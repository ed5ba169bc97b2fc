"""Selection under a byte budget: the set, its weights, the frontier."""

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.tuning import Scorer, collect_candidates, split_videos
from yt8m_ensemble.tuning.selection import select_members
from yt8m_ensemble.tuning.subset_search import Limits
from yt8m_ensemble.tuning.variants import Variant, list_variants

SCORES, LABELS = make_predictions(num_members=5)
VIDEO_IDS = np.array([b"video%03d" % n for n in range(len(LABELS))])
SIZES = {name: {"float32": 8 * s, "float16": 4 * s, "uint4": s} for name, s in
         zip("abcde", (50, 40, 30, 20, 10), strict=True)}  # fmt: skip


@pytest.fixture(scope="module")
def candidates():
    return collect_candidates(blocks(SCORES, LABELS), names="abcde")


def variants(precision="float16"):
    return list_variants("abcde", SIZES, [precision])


def select(candidates, max_bytes, chosen=None, *, holdout=0.0):
    return select_members(
        candidates,
        VIDEO_IDS,
        chosen or variants(),
        limits=Limits(max_bytes),
        space="logit",
        holdout=holdout,
    )


def uniform_gap(candidates, chosen):
    columns = [variant.column for variant in chosen]
    return Scorer(candidates.select_members(columns), "logit").gap(np.ones(len(columns)))


def test_more_bytes_never_lose(candidates):
    gaps = []
    for max_bytes in (100, 200, 300, 600):
        selection = select(candidates, max_bytes)
        assert selection.proof.is_proven
        assert selection.chosen.size_bytes <= max_bytes
        assert selection.chosen.gap_in_sample == pytest.approx(
            uniform_gap(candidates, selection.chosen.variants), abs=1e-4
        )
        gaps.append(selection.chosen.gap_in_sample)
    assert gaps == sorted(gaps)


def test_the_frontier_rises_and_holds_the_choice(candidates):
    selection = select(candidates, 300)
    sizes = [choice.size_bytes for choice in selection.frontier]
    gaps = [choice.gap_in_sample for choice in selection.frontier]
    assert sizes == sorted(sizes)
    assert gaps == sorted(gaps)
    assert selection.chosen.gap_in_sample in gaps
    assert max(sizes) > 300  # also what more bytes would bring


@pytest.mark.parametrize("seed", range(6))
def test_the_weights_of_the_choice_never_lose_to_its_uniform_mean(seed):
    scores, labels = make_predictions(num_videos=400, num_members=5, seed=seed)
    video_ids = np.array([b"video%03d" % n for n in range(400)])
    found = collect_candidates(blocks(scores, labels), names="abcde")
    selection = select_members(
        found, video_ids, variants(), limits=Limits(400), space="logit", seed=seed
    )
    _, outer = split_videos(video_ids, fraction=0.5, seed=seed)
    held_out = found.select(outer)
    columns = [variant.column for variant in selection.chosen.variants]
    tuned = Scorer(held_out.select_members(columns), "logit").gap(selection.tuned.weights.values)
    uniform = uniform_gap(held_out, selection.chosen.variants)
    assert selection.chosen.gap_held_out == pytest.approx(uniform)
    assert selection.tuned.gap_held_out == pytest.approx(tuned)
    # 200 videos tell GAPs apart to about this much.
    assert tuned >= uniform - 1e-3
    assert selection.tuned.weights.names == tuple(v.name for v in selection.chosen.variants)


def test_videos_without_labels_are_refused():
    unlabeled = collect_candidates(blocks(SCORES, np.zeros_like(LABELS)), names="abcde")
    with pytest.raises(PredictionsError, match="None of the 200 videos to tune on has a label"):
        select(unlabeled, 300)


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

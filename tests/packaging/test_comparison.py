import numpy as np
import pytest

from yt8m_ensemble.errors import AlignmentError, DataError, PredictionsError
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.packaging import Comparer, stored_scores
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.values import MixtureWeights

IDS = np.array([b"v0", b"v1", b"v2"])
LABELS = np.eye(3, 4, dtype=np.bool_)
MIXTURE = MixtureWeights(("b", "a"), (0.25, 0.75), "logit")


def draw_scores(seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (3, 4)).astype(np.float32)


def write_cache(path, *, top_k=None, members=("a", "b", "spare")):
    scores = np.stack([draw_scores(seed) for seed in range(len(members))])
    with PredictionsWriter(
        str(path), members=members, digests=["d"] * len(members), num_classes=4, top_k=top_k
    ) as writer:
        writer.append(IDS, scores, LABELS)
        writer.end_shard("s")
    return str(path), dict(zip(members, scores, strict=True))


def compare(path, scores, *, ids=IDS, labels=LABELS, mixture=None):
    with stored_scores(path, num_classes=4, mixture=mixture) as expected:
        comparer = Comparer(expected, num_classes=4)
        for n in range(len(ids)):
            comparer.update(ids[n : n + 1], scores[n : n + 1], labels[n : n + 1])
        return comparer.result()


def test_the_largest_difference_is_placed(tmp_path):
    path, members = write_cache(tmp_path / "p.h5")
    scores = mix([members["b"], members["a"]], MIXTURE)
    scores[1, 2] += 0.25
    scores[0, 0] -= 0.125
    found = compare(path, scores, mixture=MIXTURE)
    assert (found.video_id, found.class_id, found.num_videos) == ("v1", 2, 3)
    assert found.max_difference == pytest.approx(0.25, abs=1e-6)
    assert found.gap is not None
    assert found.stored_gap is not None


def test_equal_scores_do_not_differ_in_any_order(tmp_path):
    path, members = write_cache(tmp_path / "p.h5")
    scores = mix([members["b"], members["a"]], MIXTURE)
    found = compare(path, scores[::-1], ids=IDS[::-1], labels=LABELS[::-1], mixture=MIXTURE)
    assert found.max_difference == 0.0
    assert found.gap == found.stored_gap


def test_records_without_labels_have_no_gap(tmp_path):
    path, members = write_cache(tmp_path / "p.h5", members=("only",))
    found = compare(path, members["only"], labels=np.zeros_like(LABELS))
    assert (found.gap, found.stored_gap, found.max_difference) == (None, None, 0.0)


def test_without_stored_scores_there_is_the_gap_alone():
    comparer = Comparer(None, num_classes=4)
    comparer.update(IDS, LABELS.astype(np.float32) * 0.5, LABELS)
    found = comparer.result()
    assert (found.gap, found.stored_gap, found.max_difference) == (1.0, None, 0.0)


def test_a_nan_is_refused():
    comparer = Comparer(None, num_classes=4)
    with pytest.raises(PredictionsError):
        comparer.update(IDS, np.full((3, 4), np.nan, np.float32), LABELS)


def test_what_a_top_k_cache_left_out_is_not_compared(tmp_path):
    path, members = write_cache(tmp_path / "p.h5", top_k=2, members=("only",))
    scores = members["only"].copy()
    left_out = np.argsort(scores[0])[0]
    scores[0, left_out] = 0.0
    assert compare(path, scores).max_difference == 0.0
    scores[0, np.argsort(scores[0])[-1]] += 0.5
    assert compare(path, scores).max_difference == pytest.approx(0.5)


def test_a_submission_bounds_what_it_leaves_out(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("VideoId,LabelConfidencePairs\nv0,1 0.5 2 0.25\nv1,0 0.75 3 0.5\n")
    scores = np.array([[0.25, 0.5, 0.25, 0.125], [0.75, 0.5, 0.5, 0.5]], np.float32)
    assert compare(str(path), scores, ids=IDS[:2]).max_difference == 0.0
    scores[1, 2] = 0.625  # above the lowest that was kept: it would have been listed
    found = compare(str(path), scores, ids=IDS[:2])
    # The file prints two decimals at most, so 0.5 may stand for 0.505.
    assert found.max_difference == pytest.approx(0.12, abs=1e-6)
    assert (found.video_id, found.class_id) == ("v1", 2)


@pytest.mark.parametrize("line", ["v0", "v0,1", "v0,1 0.5 9 0.2", "v0,x 0.5", "v0,", "v0,1 0.5,2"])
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    path = tmp_path / "s.csv"
    path.write_text(f"VideoId,LabelConfidencePairs\nv1,0 0.5\n{line}\n")
    with (
        pytest.raises(DataError, match="Line 3 of") as caught,
        stored_scores(str(path), num_classes=4, mixture=None),
    ):
        pass
    assert caught.value.line == 3


def test_videos_that_are_not_stored_are_named(tmp_path):
    path, members = write_cache(tmp_path / "p.h5", members=("only",))
    with pytest.raises(AlignmentError, match="lacks the videos v9 of the records") as caught:
        compare(path, members["only"], ids=np.array([b"v0", b"v9", b"v2"]))
    assert caught.value.missing == ["v9"]


def test_a_cache_of_other_members_is_refused(tmp_path):
    path, members = write_cache(tmp_path / "p.h5", members=("a", "c"))
    with pytest.raises(PredictionsError, match="holds predictions of a, c; the bundle's members"):
        compare(path, members["a"], mixture=MIXTURE)
    with pytest.raises(PredictionsError, match="are not named") as caught:
        compare(path, members["a"])
    assert caught.value.members == ("a", "c")


def test_a_cache_of_other_classes_is_refused(tmp_path):
    path, _ = write_cache(tmp_path / "p.h5", members=("only",))
    with (
        pytest.raises(PredictionsError, match="holds 4 classes, the bundle predicts 5") as caught,
        stored_scores(path, num_classes=5, mixture=None),
    ):
        pass
    assert (caught.value.found, caught.value.expected) == (4, 5)

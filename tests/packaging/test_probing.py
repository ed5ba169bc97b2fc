"""What scores depend on besides the video is found by scoring it in several batches."""

import numpy as np
import pytest

from yt8m_ensemble.packaging.probing import SAME_SCORE, Chance, made_up_videos, probe
from yt8m_ensemble.values import FeatureSpec

VIDEO = FeatureSpec(("mean_rgb",), (24,), frame_level=False)
FRAME = FeatureSpec(("rgb",), (4,), frame_level=True, max_frames=7)


NO_CHANCE = Chance()


class Model:
    """Scores that depend on the video, and on what a test adds."""

    def __init__(self, extra):
        self._extra = extra

    def predict(self, features, num_frames):
        own = 1 / (1 + np.exp(-features.reshape(len(features), -1)[:, :24]))
        return (0.5 * own + self._extra(features, num_frames)).astype(np.float32)


def outcome(extra, chance=NO_CHANCE):
    checks = probe(Model(extra), made_up_videos(VIDEO), where="X", chance=chance)
    return {check.name.removesuffix(" in X"): check for check in checks}


def failed(*arguments):
    return [name for name, check in outcome(*arguments).items() if not check.is_ok]


AGAIN, BATCH = "scores are the same again", "scores are the same in any batch"


def test_scores_of_the_video_alone_pass():
    found = outcome(lambda features, _: 0.1 * (features.std(axis=1, keepdims=True) > 1))
    assert all(check.is_ok for check in found.values())
    assert list(found) == [
        "scores a batch of 1",
        "scores a batch of 6",
        "20 classes or more",
        AGAIN,
        BATCH,
    ]


@pytest.mark.parametrize(
    "extra",
    [
        lambda features, _: 0.01 * np.tanh(features.mean()),
        lambda features, _: 0.01 * (len(features) > 1),
        lambda features, _: 0.01 * np.arange(len(features))[:, None],
        lambda features, _: 0.01 * np.tanh(features.max(axis=0)),
    ],
    ids=["mean of the batch", "size of the batch", "place in the batch", "largest of the batch"],
)
def test_scores_that_depend_on_the_batch_fail(extra):
    assert failed(extra) == [BATCH]


def test_scores_that_drift_or_vary_fail():
    state = iter(range(100))
    assert failed(lambda *_: 0.001 * next(state)) == [AGAIN, BATCH]
    draw = np.random.default_rng(0)
    assert failed(lambda *_: 0.01 * draw.random()) == [AGAIN, BATCH]


def test_what_rounding_explains_passes():
    draw = np.random.default_rng(0)
    assert failed(lambda f, _: 0.5 * SAME_SCORE * draw.random(f.shape)) == []


def test_scores_that_are_no_numbers_fail():
    with np.errstate(invalid="ignore"):
        assert {AGAIN, BATCH} <= {*failed(lambda f, _: np.where(f > 0, np.nan, 0.1))}


@pytest.mark.parametrize(
    ("chance", "is_ok", "told"),
    [
        (Chance(frames=("u",)), True, "official readers load it; scores vary from run to run"),
        (
            Chance(frames=("u",), is_ours=True),
            False,
            "`yt8m-ens merge --fix-frames` takes even ones",
        ),
        (Chance(frames=("u",), others=("mask",)), False, "'mask' draws at random"),
    ],
)
def test_draws_of_frames_are_told_and_fail_only_ours(chance, is_ok, told):
    draw = np.random.default_rng(0)
    found = outcome(lambda *_: 0.01 * draw.random(), chance)
    assert (found[AGAIN].is_ok, BATCH in found) == (is_ok, False)
    assert told in found[AGAIN].detail
    assert "up to 0.00" in found[AGAIN].detail


def test_made_up_frames_end_where_the_counts_say():
    batch, counts = made_up_videos(FRAME, size=5)
    assert batch.shape == (5, 7, 4)
    for frames, count in zip(batch, counts, strict=True):
        assert 1 <= count <= 7
        assert np.all(frames[:count] != 0)
        assert not frames[count:].any()

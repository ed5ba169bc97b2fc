"""`write_predictions`: scores of any framework, written from memory or refused by name."""

import numpy as np
import pytest

import yt8m_ensemble as yt
from tests.builders.predictions import make_predictions
from yt8m_ensemble.errors import EnsembleError
from yt8m_ensemble.values import Labels

SCORES, LABELS = make_predictions(50, 30, 2)
IDS = [f"video{n}" for n in range(50)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("as_labels", [True, False])
def test_scores_come_back(tmp_path, dtype, as_labels):
    path = str(tmp_path / "p.h5")
    ids = np.array(IDS).astype(np.bytes_)
    labels = Labels.from_dense(ids, LABELS) if as_labels else LABELS.astype(int)
    scores = SCORES[0].astype(dtype)
    yt.write_predictions(path, IDS, scores, labels)
    with yt.open_predictions(path) as file:
        assert file.members == ("model",)
        assert file.video_ids.tolist() == ids.tolist()
        assert file.video_ids.dtype.metadata is None  # else `np.savez` warns
        np.testing.assert_array_equal(file.scores(0), scores.astype(np.float32))
        assert file.labels is not None
        np.testing.assert_array_equal(file.labels.to_dense(), LABELS)
        assert file.digests[0].startswith("scores:")


def test_several_members_and_a_top_k(tmp_path):
    path = str(tmp_path / "p.h5")
    yt.write_predictions(path, IDS, {"a": SCORES[0], "b": SCORES[1]}, top_k=20)
    with yt.open_predictions(path) as file:
        assert (file.members, file.top_k, file.labels) == (("a", "b"), 20, None)
        assert len(set(file.digests)) == 2
    with pytest.raises(EnsembleError, match="--force"):
        yt.write_predictions(path, IDS, SCORES[0])
    yt.write_predictions(path, IDS, SCORES[0], force=True)


@pytest.mark.parametrize(
    ("ids", "scores", "labels", "message"),
    [
        (IDS, SCORES[0] * np.nan, None, "class 0 of video 'video0' the score nan"),
        (IDS, SCORES[0] * 9, None, "expected 0 to 1; .* not logits"),
        (IDS, SCORES, None, r"expected floats of shape \(50, classes\)"),
        (IDS[:9], SCORES[0], None, r"\(50, 30\), expected floats of shape \(9, classes\)"),
        (["v"] * 50, SCORES[0], None, "Video 'v' comes twice"),
        (range(50), SCORES[0], None, "`video_ids` of 'model' are int64"),
        (IDS, {}, None, "There are no scores"),
        (IDS, {"a": SCORES[0], "b": SCORES[0][:, :9]}, None, "Give arrays of one shape"),
        (IDS, SCORES[0], LABELS[:9], r"Labels are bool of shape \(9, 30\), expected"),
        (IDS, SCORES[0], LABELS * 2, "expected true or false"),
    ],
)
def test_what_is_no_scores_is_refused_and_nothing_written(tmp_path, ids, scores, labels, message):
    with pytest.raises(EnsembleError, match=message):
        yt.write_predictions(str(tmp_path / "p.h5"), ids, scores, labels)
    assert not list(tmp_path.iterdir())

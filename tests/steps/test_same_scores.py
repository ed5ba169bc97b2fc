"""`eval`, `predict` and the packaged bundle score the same records the same, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small import NUM_CLASSES, SMALL, random_weights, small_flags
from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.inference import GraphRunner, runner
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.models import REGISTRY
from yt8m_ensemble.scoring.evaluation import scored_batches
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.synth import synthesize
from yt8m_ensemble.storage import open_predictions

pytestmark = pytest.mark.tf

VIDEOS = 7


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    for level in ("video", "frame"):
        synthesize(
            out=f"{folder}/{level}",
            level=level,
            videos=VIDEOS,
            classes=NUM_CLASSES,
            shards=2,
            feature_sizes=(6, 2),
        )
    return folder


@pytest.mark.parametrize("name", REGISTRY)
def test_every_path_to_a_model_gives_the_same_scores(tmp_path, monkeypatch, records, name):
    assert name in SMALL
    flags = small_flags(name)
    # Batches of two videos, frames one at a time, and what they become a whole file at a time.
    one_video = 4 * flags.features.max_frames * flags.features.total_size
    monkeypatch.setattr(runner, "_PIECE_BYTES", one_video)
    run = tmp_path / "run"
    run.mkdir()
    (run / "model_flags.json").write_text(flags.to_json())
    weights = random_weights(flags)
    write_checkpoint(str(run / "model.ckpt-9"), {**weights, "global_step": np.array(9)})
    merge_models(members=[str(run)], out=str(tmp_path / "merged"))
    package_model(model=str(tmp_path / "merged"), out=str(tmp_path / "bundle.tgz"))
    data = f"{records}/{'frame' if flags.features.frame_level else 'video'}/*"

    found: dict[str, np.ndarray] = {}
    texts = set()
    for path in ("run", "run/model.ckpt-9", "merged", "bundle.tgz"):
        predict_scores(
            models=[f"x={tmp_path}/{path}"],
            data=data,
            cache=f"{tmp_path}/p.h5",
            csv=f"{tmp_path}/p.csv",
            batch_size=2,
            force=True,
        )
        with open_predictions(f"{tmp_path}/p.h5") as predictions:
            found[f"predict {path}"] = predictions.scores(0)
        texts.add((tmp_path / "p.csv").read_bytes())
        with (
            open_model(f"{tmp_path}/{path}") as opened,
            GraphRunner(opened.graph, opened.source) as loaded,
        ):
            batches = scored_batches(loaded, opened, sorted(tf.io.gfile.glob(data)), batch_size=2)
            found[f"eval {path}"] = np.concatenate([scores for scores, _ in batches])

    expected = found["predict run"]
    assert expected.shape == (VIDEOS, NUM_CLASSES)
    assert len(np.unique(expected)) > NUM_CLASSES
    for path, scores in found.items():
        np.testing.assert_array_equal(scores, expected, err_msg=path)
    assert len(texts) == 1

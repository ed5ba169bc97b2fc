"""The whole way of every architecture: trained, averaged, merged, packaged; one score all along."""

import numpy as np
import pytest

from tests.models.small import SMALL
from tests.training.records import FRAME, NUM_CLASSES, VIDEO, train_options, write_records
from yt8m_ensemble.models import REGISTRY
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.eval import evaluate_model
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.train import train_model
from yt8m_ensemble.storage import open_predictions

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.fixture(scope="module")
def globs(tmp_path_factory):
    return {
        frame_level: write_records(
            tmp_path_factory.mktemp("records"), videos=48, frame_level=frame_level
        )
        for frame_level in (False, True)
    }


def scores_of(model, glob, cache):
    predict_scores(models=[str(model)], data=glob, cache=str(cache))
    with open_predictions(str(cache)) as file:
        return np.array(file.scores(0))


@pytest.mark.parametrize("name", list(REGISTRY))
def test_checkpoint_graph_and_bundle_score_alike(tmp_path, globs, name):
    frame_level = REGISTRY[name].frame_level
    glob = globs[frame_level]
    train_model(
        model=name,
        train_data=glob,
        train_dir=str(tmp_path / "run"),
        num_classes=NUM_CLASSES,
        **train_options(
            FRAME if frame_level else VIDEO,
            {**SMALL[name], "batch_size": 16, "max_steps": 4, "save_steps": 2},
        ),
    )
    averaged = str(tmp_path / "averaged" / "model.ckpt-4")
    average_checkpoints(prefix=str(tmp_path / "run"), last=2, out=averaged)
    scores, gaps = {}, {}
    for precision in ("none", "auto"):
        merged = str(tmp_path / f"merged-{precision}")
        merge_models(members=[f"only={averaged}"], out=merged, fp16=precision)
        bundle = tmp_path / f"{precision}.tgz"
        package_model(model=merged, out=str(bundle))
        scores[precision] = scores_of(bundle, glob, tmp_path / f"{precision}.h5")
        gaps[precision] = evaluate_model(model=str(bundle), data=glob).report.metrics.gap
    alone = scores_of(averaged, glob, tmp_path / "alone.h5")
    # One member of weight 1, in float32: not a bit differs between checkpoint and bundle.
    np.testing.assert_array_equal(scores["none"], alone)
    assert gaps["none"] == evaluate_model(model=averaged, data=glob).report.metrics.gap
    np.testing.assert_allclose(scores["auto"], alone, atol=5e-3)

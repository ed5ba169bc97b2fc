"""What version 0.1.0 wrote still opens, scores, packages, and counts as done.

`tests/golden/0.1.0.tar.xz` holds a finished run of a recipe (records, train directories, averages,
caches, weights, model, archive, run state), an ensemble under the original's naming, a cache of top
scores and weights by class. Files of later versions are added beside it, never changed.
"""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.provenance import read_provenance
from yt8m_ensemble.recipe import load_recipe, run_recipe
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.eval_predictions import evaluate_predictions
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.values import MixtureWeights, Predictions

pytestmark = pytest.mark.tf

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0.tar.xz"
RECORDS = "run/records/validate/*"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def folder(unpacked, monkeypatch):
    monkeypatch.chdir(unpacked)
    return unpacked


@pytest.mark.usefixtures("folder")
def test_a_finished_run_is_not_run_again():
    result = run_recipe(load_recipe("recipe.toml"))
    assert {step.status for step in result.steps} == {"done before"}
    (report,) = result.reports
    assert report.rows[-1].gaps == pytest.approx((0.26275, 0.26998, 0.26998), abs=1e-5)


@pytest.mark.usefixtures("folder")
def test_caches_and_weights_open():
    with open_predictions("run/e/predictions/averaged.h5") as dense:
        assert (dense.members, dense.num_videos, dense.top_k) == (("a", "b"), 60, None)
    found = evaluate_predictions(predictions=["top5.h5"], weights="run/e/weights.json")
    assert found.top_k == 20
    by_class = MixtureWeights.parse(Path("by-class.json").read_bytes(), path="by-class.json")
    assert by_class.space == "logit"


@pytest.mark.usefixtures("folder")
def test_models_score_as_they_did():
    with open_predictions("run/e/predictions/averaged.h5") as stored:
        scores = [np.array(stored.scores(name)) for name in stored.members]
    again = predict_scores(
        models=["a=run/e/average/a", "b=run/e/average/b", "mixed=run/e/e.tgz"][:2], data=RECORDS
    )
    assert isinstance(again, Predictions)
    np.testing.assert_allclose(again.scores, scores, atol=1e-6)


@pytest.mark.usefixtures("folder")
def test_archives_are_sound_and_can_be_packed_again(tmp_path):
    assert verify_bundle(path="run/e/e.tgz", data=RECORDS).runs
    again = package_model(model="run/e/merged", out=str(tmp_path / "again.tgz"))
    assert (tmp_path / "again.tgz").read_bytes() == Path("run/e/e.tgz").read_bytes()
    assert again.member_bytes.keys() == {"a", "b"}


@pytest.mark.usefixtures("folder")
def test_the_naming_called_seed_is_read(tmp_path):
    with open_model("original") as model:
        assert model.members == ("a", "b")
    assert verify_bundle(path="original.tgz").bundle.members
    words: tuple[Any, ...] = ("seed", "original")
    for word in words:
        merge_models(
            members=["a=run/e/train/a", "b=run/e/train/b"],
            weights=(0.25, 0.75),
            out=str(tmp_path / word),
            naming=word,
            fp16=word,
        )
        data = (tmp_path / word / "inference_model.data-00000-of-00001").read_bytes()
        assert data == Path("original/inference_model.data-00000-of-00001").read_bytes()
    assert read_provenance(str(tmp_path / "seed")).options["naming"] == "original"


@pytest.mark.usefixtures("folder")
def test_averages_carry_their_flags(tmp_path):
    assert read_provenance("run/e/average/b").model_flags
    average_checkpoints(prefix="run/e/average/b", out=str(tmp_path / "x"))
    with open_model(str(tmp_path / "x")) as model:
        assert model.architecture == "MoeModel"

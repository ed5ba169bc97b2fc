"""Weights that are no numbers: refused where a model is made of them, blamed where it is scored."""

from pathlib import Path

import numpy as np
import pytest

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint
from yt8m_ensemble.errors import CheckpointError, PredictionsError
from yt8m_ensemble.steps.eval import evaluate_models
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model, plan_package_model
from yt8m_ensemble.steps.predict import predict_scores

pytestmark = pytest.mark.tf


def spoil(prefix, value):
    """Put one bad value into the largest weight of a checkpoint."""
    with open_checkpoint(str(prefix)) as source:
        arrays = {name: np.array(source.read(name)) for name in source.specs()}
    name = max(arrays, key=lambda name: arrays[name].size)
    arrays[name].reshape(-1)[0] = value
    write_checkpoint(str(prefix), arrays, force=True)
    return name


@pytest.fixture
def setting(tmp_path):
    for seed, name in enumerate(("good", "bad")):
        write_train_dir(tmp_path / name, small_flags("LogisticModel"), seed=seed)
    write_video_records(tmp_path / "r.tfrecord", seed=0)
    (prefix,) = (path.with_suffix("") for path in (tmp_path / "bad").glob("*.index"))
    return tmp_path, prefix


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_merge_refuses_them_by_member_and_tensor(setting, value):
    path, prefix = setting
    name = spoil(prefix, value)
    with pytest.raises(CheckpointError, match=rf"1 of 32 values of '{name}' in 'bad'"):
        merge_models(members=[f"{path}/good", f"{path}/bad"], out=f"{path}/blend")
    assert not (path / "blend").exists()


def test_a_package_refuses_them_and_damage(setting):
    path, _ = setting
    merge_models(members=[f"{path}/good"], out=f"{path}/blend")
    name = spoil(path / "blend/inference_model", np.nan)
    for step in (plan_package_model, package_model):
        with pytest.raises(CheckpointError, match=f"'{name}' in '{path}/blend' are NaN"):
            step(model=f"{path}/blend", out=f"{path}/x.tgz")
    data = Path(f"{path}/blend/inference_model.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[8] ^= 1
    data.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        package_model(model=f"{path}/blend", out=f"{path}/x.tgz")
    assert not (path / "x.tgz").exists()


def test_scores_of_them_name_the_member(setting):
    path, prefix = setting
    spoil(prefix, np.nan)
    blamed = pytest.raises(PredictionsError, match="Member 'bad' scores video")
    models, data = [f"{path}/bad"], f"{path}/r.tfrecord"
    with blamed:
        predict_scores(models=models, data=data, csv=f"{path}/out.csv")
    with blamed:
        predict_scores(models=models, data=data)
    with blamed:
        predict_scores(models=[f"{path}/good", *models], data=data, cache=f"{path}/out.h5")
    with blamed:
        evaluate_models(models=models, data=data)
    assert not any((path / name).exists() for name in ("out.csv", "out.h5"))


def test_a_merged_model_is_blamed_by_its_member(setting):
    path, _ = setting
    merge_models(members=[f"{path}/good", f"{path}/bad"], out=f"{path}/blend")
    with open_checkpoint(f"{path}/blend/inference_model") as source:
        arrays = {name: np.array(source.read(name)) for name in source.specs()}
    arrays["bad/tower/fully_connected/weights"][:] = np.nan
    write_checkpoint(f"{path}/blend/inference_model", arrays, force=True)
    with pytest.raises(PredictionsError, match="Member 'bad' scores video"):
        predict_scores(models=[f"{path}/blend"], data=f"{path}/r.tfrecord", csv=f"{path}/out.csv")

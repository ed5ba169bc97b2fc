"""Checkpoints of the original code load by name and give the scores that the original gave."""

import csv
import json
import tarfile

import numpy as np
import pytest

from tests.builders.models import predictor
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.models import recognize

pytestmark = pytest.mark.tf

STARTER = ["LogisticModel", "MoeModel", "FrameLevelLogisticModel", "DbofModel", "LstmModel"]


def assert_scores_as_stored(prefix, raw, fixtures, stored):
    with open_checkpoint(str(prefix)) as source:
        flags = recognize(source.specs(), raw)
        weights = {name: source.read(name) for name in source.specs()}
    level = "frame" if flags.features.frame_level else "video"
    paths = sorted(map(str, (fixtures / "data_const" / level).glob("test*")))
    rows = {row["VideoId"]: row["LabelConfidencePairs"].split() for row in csv.DictReader(stored)}
    batches = list(
        read_batches(paths, features=flags.features, num_classes=flags.num_classes, batch_size=40)
    )
    seen = 0
    with predictor(flags, weights) as predict:
        for batch in batches:
            scores = predict(batch.features, batch.num_frames)
            for video_id, found in zip(batch.video_ids, scores, strict=True):
                pairs = rows[video_id.decode()]
                expected = np.zeros(40)
                expected[np.array(pairs[::2], int)] = np.array(pairs[1::2], float)
                np.testing.assert_allclose(found, expected, atol=1e-5)
                seen += 1
    assert seen == len(rows) == 80
    return flags


@pytest.mark.parametrize("member", ["c2h8", "c4h6", "c2h12"])
def test_gated_netvlad_of_the_10th_place(fixtures, member):
    folder = fixtures / "tiny" / member
    raw = json.loads((folder / "model_flags.json").read_text())
    assert raw["model"] == "LogisticModel"  # the original writes it so
    with (folder / "predictions_const_210.csv").open() as stored:
        flags = assert_scores_as_stored(folder / "model.ckpt-210", raw, fixtures, stored)
    assert flags.model == "NetVLADModelLF"
    assert flags.options["gating"]
    assert flags.options["moe_prob_gating"]


@pytest.mark.parametrize("model", STARTER)
def test_starter_code_of_2018(fixtures, tmp_path, model):
    folder = fixtures / "google2018" / model
    with tarfile.open(folder / "model.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    raw = json.loads((tmp_path / "model_flags.json").read_text())
    with (folder / "predictions_const.csv").open() as stored:
        flags = assert_scores_as_stored(tmp_path / "inference_model", raw, fixtures, stored)
    assert flags.model == model

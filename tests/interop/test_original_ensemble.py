"""The 10th-place solution's whole way, by our commands: average, merge as float16, package."""

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.packaging import extract_bundle, stored_scores
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.verify import verify_bundle

pytestmark = [pytest.mark.tf, pytest.mark.slow]

MEMBERS = {"c2h8": 0.5, "c4h6": 0.2, "c2h12": 0.3}
TENSORS_A_MEMBER = 32


@pytest.fixture(scope="module")
def ensemble(fixtures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    for name in MEMBERS:
        average_checkpoints(
            prefix=str(fixtures / "tiny" / name),
            step_range=(60, 210),
            out=str(folder / name / "model.ckpt-0"),
        )
        flags = (fixtures / "tiny" / name / "model_flags.json").read_bytes()
        (folder / name / "model_flags.json").write_bytes(flags)
    merge_models(
        members=[f"{name}={folder / name / 'model.ckpt-0'}" for name in MEMBERS],
        out=str(folder / "m"),
        weights=tuple(MEMBERS.values()),
        naming="original",
        fp16="original",
    )
    package_model(model=str(folder / "m"), out=str(folder / "m.tgz"))
    return folder


def test_every_tensor_is_the_originals(fixtures, ensemble, tmp_path):
    extract_bundle(str(fixtures / "tiny/ens/ensemble_T.tgz"), str(tmp_path / "theirs"))
    with (
        open_checkpoint(str(ensemble / "m/inference_model")) as ours,
        open_checkpoint(str(tmp_path / "theirs/inference_model")) as theirs,
    ):
        assert len(ours.specs()) == TENSORS_A_MEMBER * len(MEMBERS) + 1
        assert ours.specs() == theirs.specs()
        for name in ours.specs().keys() - {"global_step"}:
            np.testing.assert_array_equal(ours.read(name), theirs.read(name), err_msg=name)


@pytest.mark.parametrize("version", ["1.15.5", "1.14.0", "1.8.0"])
def test_the_archive_scores_as_the_originals_did(fixtures, ensemble, tf1_python, version):
    found = verify_bundle(
        path=str(ensemble / "m.tgz"),
        data=f"{fixtures}/data_const/frame/test*.tfrecord",
        against=str(fixtures / "tiny/ens/predictions_const_google2018.csv"),
        tf1=tf1_python(version),
        tolerance=1e-5,
    )
    differences = [run.comparison.max_difference for run in found.runs if run.comparison]
    assert len(differences) == 2
    assert max(differences) < 1e-5
    assert [run.model.tensorflow for run in found.runs][1] == version


def test_the_stored_scores_hold_every_class(fixtures):
    path = fixtures / "tiny/ens/predictions_const_google2018.csv"
    ids = np.array([line.split(",")[0] for line in path.read_text().splitlines()[1:]], "S")
    with stored_scores(str(path), num_classes=40, mixture=None) as expected:
        assert not np.isnan(expected(ids)[0]).any()

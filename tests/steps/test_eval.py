import re

import pytest

from yt8m_ensemble.errors import DataError, PredictionsError
from yt8m_ensemble.steps.eval import evaluate_model
from yt8m_ensemble.steps.eval_predictions import evaluate_predictions
from yt8m_ensemble.steps.predict import write_scores

pytestmark = pytest.mark.tf

LINE = re.compile(
    r"(?P<name>\w+) eval (?P<checkpoint>\S+) rc=0 .*Avg_Hit@1: (?P<hit>[\d.]+) \| "
    r"Avg_PERR: (?P<perr>[\d.]+) \| MAP: (?P<map>[\d.]+) \| GAP: (?P<gap>[\d.]+) \| "
    r"Avg_Loss: (?P<loss>[\d.]+)"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c2h8", "c4h6", "c2h12"])
def test_an_original_checkpoint_evaluates_to_what_the_original_printed(fixtures, name):
    lines = (fixtures / "tiny/eval_const_validate.txt").read_text().splitlines()
    printed = next(
        m for line in lines if (m := LINE.match(line)) and m["name"] == name and "210" in line
    )
    found = evaluate_model(
        model=str(fixtures / f"tiny/{name}/{printed['checkpoint']}"),
        data=str(fixtures / "data_const/frame/validate*.tfrecord"),
    )
    assert found.architecture == "NetVLADModelLF"
    assert found.report.metrics.gap == pytest.approx(float(printed["gap"]), abs=1e-5)
    assert found.report.metrics.hit_at_one == pytest.approx(float(printed["hit"]), abs=1e-3)
    assert found.report.metrics.perr == pytest.approx(float(printed["perr"]), abs=1e-3)
    assert found.report.metrics.mean_average_precision_all_classes == pytest.approx(
        float(printed["map"]), abs=1e-3
    )
    assert found.report.loss == pytest.approx(float(printed["loss"]), abs=1e-4)


def test_the_originals_archive_evaluates_as_its_members_mixture(fixtures):
    lines = (fixtures / "tiny/eval_const_validate.txt").read_text().splitlines()
    (line,) = (line for line in lines if "w=0.5 0.2 0.3" in line)
    (gap,) = map(float, re.findall(r"GAP: ([\d.]+)", line))
    found = evaluate_model(
        model=str(fixtures / "tiny/ens/ensemble_T.tgz"),
        data=str(fixtures / "data_const/frame/validate*.tfrecord"),
    )
    assert found.report.metrics.gap == pytest.approx(gap, abs=1e-4)


def test_records_without_labels_are_refused_and_empty_files_named(fixtures, tmp_path):
    (model,) = map(str, (fixtures / "google2018/LogisticModel").glob("*.tgz"))
    for path in (fixtures / "data_const/video").glob("*.tfrecord"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "validate_empty.tfrecord").touch()
    with pytest.raises(DataError, match=r"None of the 80 videos of '.*test\*' has a label"):
        evaluate_model(model=model, data=str(tmp_path / "test*"))
    (warning,) = evaluate_model(model=model, data=str(tmp_path / "validate*")).warnings
    assert re.match(r"1 of \d+ files holds no records: '.*validate_empty\.tfrecord'\.", warning)
    cache = str(tmp_path / "p.h5")
    done = write_scores(models=[model], data=str(tmp_path / "test*"), cache=cache)
    assert (done.num_videos, done.warnings) == (80, ())
    with pytest.raises(PredictionsError, match="holds no labels"):
        evaluate_predictions(predictions=[cache])

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import OutputExistsError, RecipeError
from yt8m_ensemble.recipe import load_recipe, run_recipe
from yt8m_ensemble.recipe.plan import Layout
from yt8m_ensemble.recipe.report import report_ensemble
from yt8m_ensemble.values import MixtureWeights

pytestmark = [pytest.mark.tf, pytest.mark.slow]

RECIPE = """
out = "{base}"

[synth.train]
videos = 200
classes = 25
feature_sizes = [6, 2]

[synth.validate]
videos = 120
classes = 25
feature_sizes = [6, 2]
seed = 1

[ensembles.e]
train_data = "{out}/records/train/*"
validate_data = "{out}/records/validate/*"
features = "video"
feature_sizes = "6,2"
num_classes = 25

[ensembles.e.train]
batch_size = 50
num_epochs = 2
save_steps = 2
log_steps = 2

[ensembles.e.members.a]
model = "LogisticModel"

[ensembles.e.members.b]
model = "MoeModel"

[ensembles.e.average]
last = 2

[ensembles.e.tune]
step = 0.25

[ensembles.e.merge]
fp16 = "auto"
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    base = tmp_path_factory.mktemp("recipe")
    path = base / "r.toml"
    path.write_text(RECIPE.replace("{base}", str(base / "out")))
    return path, run_recipe(load_recipe(str(path)))


def statuses(result):
    return {step.name: step.status for step in result.steps}


def test_a_run_ends_with_a_report_and_a_verified_bundle(done):
    _, result = done
    (report,) = result.reports
    assert set(statuses(result).values()) == {"ran"}
    assert [step.number for step in result.steps] == [*range(1, len(result.steps) + 1)]
    assert {step.num_steps for step in result.steps} == {len(result.steps)}
    assert Path(report.bundle).exists()
    assert [row.name for row in report.rows[:4]] == [
        "a",
        "b",
        "uniform, probability",
        "uniform, logit",
    ]
    assert report.columns == ("last checkpoint", "averaged, float32", "in the bundle")
    for row in report.rows:
        assert all(0 < gap < 1 for gap in row.gaps)
        assert row.gaps[1] == pytest.approx(row.gaps[2], abs=2e-3)
    assert 0 < report.num_videos < 120


def test_videos_that_are_both_tuned_on_and_trained_on_are_counted(done, tmp_path):
    path, result = done
    assert result.reports[0].num_trained_on == 0
    words = ["run", str(path)]
    assert "Careful" not in CliRunner().invoke(cli, words).output
    assert "Careful" not in Path(result.page).read_text()
    own = {
        "out": str(tmp_path / "out"),
        "e.validate_data": "{out}/records/train/*,{out}/records/validate/*",
    }
    words += [f"--set={key}={value}" for key, value in own.items()]
    sentence = "Careful: 200 of these videos are among the training records"
    for _ in ("run", "skip"):
        told = CliRunner().invoke(cli, words)
        assert sentence in told.output
    assert "e/tune-weights: skipped" in told.output
    assert sentence in (tmp_path / "out/report.html").read_text()
    (report,) = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)["reports"]
    assert report["num_trained_on"] == 200
    page = json.loads((tmp_path / "out/report.json").read_text())
    assert page["mixture"]["e"]["num_trained_on"] == 200


def test_a_run_ends_with_a_page_that_needs_no_model_again(done):
    path, result = done
    data = json.loads(Path(result.page).with_suffix(".json").read_text())
    assert "passed all" in data["verdict"]["e"]["sentence"]
    assert len(data["checks"]["e"]) > 5
    assert data["recipe"]["e"]["text"] == path.read_text()
    assert data["sizes"]["e"]["archive_bytes"] == Path(result.reports[0].bundle).stat().st_size
    packaged = result.reports[0].rows[-1].gaps
    assert data["steps"]["e"][-1]["gap"] == pytest.approx(packaged[-1], abs=1e-12)
    for member in data["members"]["e"]:
        assert len(member["averaged"]) == 2
        assert list(map(int, member["checkpoint_gaps"])) == member["checkpoints"]
        assert member["averaged"] == member["checkpoints"][-2:]
        assert [step for step, _ in member["loss"]] == list(
            range(2, member["checkpoints"][-1] + 1, 2)
        )
        assert member["train_s"] > 0
        assert data["sizes"]["e"]["members"][member["name"]] > 0
    assert Path(result.page).read_text().count("<svg") >= 9


def test_the_report_weighs_by_class_where_the_weights_do(done, tmp_path):
    path, result = done
    recipe = load_recipe(str(path))
    folder = shutil.copytree(f"{recipe.out}/e", tmp_path / "e")
    weights = MixtureWeights.parse((folder / "weights.json").read_text(), path="w")
    weights = replace(weights, class_bias=())
    tuned = [replace(weights, class_values=((share,) * 25, (1 - share,) * 25)) for share in (0, 1)]
    for mixture, member in zip(tuned, result.reports[0].rows[1::-1], strict=True):
        # All weight on one member in every class: the mixture is that member, whatever `weights`.
        (folder / "weights.json").write_text(mixture.to_json())
        report = report_ensemble(recipe.ensembles[0], Layout(str(folder), "e"))
        assert f"{weights.space}, by class, as packaged" in report.rows[-1].name
        assert report.rows[-1].gaps == pytest.approx(member.gaps, abs=1e-3)


def test_what_is_done_is_not_done_again(done):
    path, first = done
    again = run_recipe(load_recipe(str(path)))
    assert set(statuses(again).values()) == {"done before"}
    assert {step.reason for step in again.steps} == {"inputs and options unchanged"}
    assert again.reports == first.reports


def test_a_changed_option_is_refused_without_force(done):
    path, _ = done
    changed = load_recipe(str(path), {"e.tune.step": "0.5"})
    assert statuses(run_recipe(changed, dry_run=True)) == {
        **dict.fromkeys(statuses(done[1]), "done before"),
        **dict.fromkeys(
            [f"e/{n}" for n in ("tune-weights", "merge", "package", "predict-bundle", "verify")],
            "would run",
        ),
    }
    reasons = [step.reason for step in run_recipe(changed, dry_run=True).steps]
    assert reasons[-5:] == ["options or inputs changed", *["its inputs are made first"] * 4]
    with pytest.raises(OutputExistsError, match="Step 'e/tune-weights' ran before") as caught:
        run_recipe(changed)
    assert caught.value.step == "e/tune-weights"
    redone = statuses(run_recipe(changed, force=True))
    assert redone["e/train/a"] == "done before"
    assert redone["e/tune-weights"] == "ran"
    run_recipe(load_recipe(str(path)), force=True)


def test_an_interrupted_step_is_resumed(done):
    path, _ = done
    recipe = load_recipe(str(path))

    class Stop(BaseException):
        pass

    def stop(task, *_, **__):
        if task.endswith(" e/predict: predict"):
            raise Stop

    with pytest.raises(Stop):
        run_recipe(recipe, from_step="e/predict", force=True, progress=stop)
    result = run_recipe(recipe)
    resumed = statuses(result)
    assert resumed["e/predict-last"] == "done before"
    assert resumed["e/predict"] == "ran"
    (reason,) = [step.reason for step in result.steps if step.name == "e/predict"]
    assert reason == "unfinished, or outputs changed"


def test_a_report_that_was_interrupted_is_made_by_the_next_run(done):
    path, first = done
    recipe = load_recipe(str(path))

    class Stop(BaseException):
        pass

    def stop(task, *_, **__):
        if task == "report":
            raise Stop

    before = Path(first.page).stat().st_mtime_ns
    with pytest.raises(Stop):
        run_recipe(recipe, from_step="e/verify", force=True, progress=stop)
    assert Path(first.page).stat().st_mtime_ns == before
    assert set(statuses(run_recipe(recipe)).values()) == {"done before"}
    made = Path(first.page).stat().st_mtime_ns
    assert made > before
    run_recipe(recipe)
    assert Path(first.page).stat().st_mtime_ns == made


def test_damage_to_an_output_is_noticed(done):
    path, _ = done
    bundle = path.parent / "out/e/e.tgz"
    content = bundle.read_bytes()
    bundle.write_bytes(content[:-1])
    dry = statuses(run_recipe(load_recipe(str(path)), dry_run=True))
    assert dry["e/merge"] == "done before"
    assert dry["e/package"] == "would run"
    run_recipe(load_recipe(str(path)))
    assert bundle.read_bytes() == content


def test_an_unknown_step_to_start_from_is_answered_with_the_steps(done):
    with pytest.raises(RecipeError, match=r"no step of .* synth/train, synth/validate, e/train/a"):
        run_recipe(load_recipe(str(done[0])), from_step="e/trian/a")


LEVELS = """
out = "{base}"

[synth.frames]
level = "frame"
videos = 120
classes = 25
feature_sizes = [6, 2]
frames = [3, 9]

[synth.means]
videos = 200
classes = 25
feature_sizes = [6, 2]
seed = 1

[ensembles.e]
train_data = "{out}/records/frames/*"
validate_data = "{out}/records/frames/*"
features = "frame"
feature_sizes = "6,2"
num_classes = 25

[ensembles.e.train]
batch_size = 50
num_epochs = 2
save_steps = 2

[ensembles.e.members.frames]
model = "FrameLevelLogisticModel"

[ensembles.e.members.means]
model = "MoeModel"
train_data = "{out}/records/means/*"
features = "video"

[ensembles.e.average]
last = "auto"
"""


def test_a_member_of_means_is_trained_judged_and_shipped_among_frames(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(LEVELS.replace("{base}", str(tmp_path / "out")))
    result = run_recipe(load_recipe(str(path)))
    (report,) = result.reports
    assert {"frames", "means"} <= {row.name for row in report.rows}
    flags = json.loads((tmp_path / "out/e/merged/model_flags.json").read_text())
    assert (flags["frame_features"], flags["members"]) == (True, ["frames", "means"])
    stored = json.loads((tmp_path / "out/e/train/means/model_flags.json").read_text())
    assert (stored["frame_features"], stored["feature_names"]) == (False, "mean_rgb,mean_audio")

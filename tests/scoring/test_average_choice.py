"""Which average of a run is taken: only one that is better than the last checkpoint for certain."""

import json
from typing import Any

import numpy as np
import pytest

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.averaging import MeanSource, candidate_weights, plan_average
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.errors import PredictionsError, RecipeError, UsageError
from yt8m_ensemble.options import AverageOptions
from yt8m_ensemble.progress import no_progress
from yt8m_ensemble.scoring.average_choice import FEW_VIDEOS, LAST, choose_average
from yt8m_ensemble.tuning.candidates import BestPairs
from yt8m_ensemble.values import DictSource

VIDEOS, CLASSES = 600, 12


def world(seed=0):
    """Return features, labels and the weights that made the labels."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(6, CLASSES))
    features = rng.normal(size=(VIDEOS, 6))
    chances = 1 / (1 + np.exp(-(features @ truth - 2)))
    return features, rng.random(chances.shape) < chances, truth


def choose(noises, *, rows=slice(0, 300), held=slice(300, 600), labels=None):
    """Choose among checkpoints that are the truth plus noises of given sizes, oldest first."""
    features, drawn, truth = world()
    labels = drawn if labels is None else labels
    rng = np.random.default_rng(5)
    sources = {}
    for step, size in enumerate(noises):
        moved = rng.normal(size=truth.shape) * size
        sources[f"c{step}"] = DictSource({"w": (truth + moved).astype(np.float32)})
    plan = plan_average(sources, newest=f"c{len(noises) - 1}")

    def score(source):
        best = BestPairs()
        best.update(1 / (1 + np.exp(-(features @ source.read("w") - 2))), labels)
        return best.candidates()

    ids = np.arange(VIDEOS)
    return choose_average(
        sources,
        plan,
        score=score,
        tuned_on=ids[rows],
        held_out=ids[held],
        seed=0,
        progress=no_progress,
    )


def test_noisy_checkpoints_are_averaged():
    """Noises of one size cancel in a mean, and the last checkpoint is as noisy as the others."""
    choice = choose([1.0] * 8)
    assert choice.chosen != LAST
    assert len(choice.best.inputs) >= 3
    assert choice.best.interval[0] > 0
    assert choice.held_out is not None
    assert choice.held_out.difference > 0
    assert sum(choice.best.weights) == pytest.approx(1)


def test_a_last_checkpoint_that_is_best_stays():
    choice = choose([4.0, 3.0, 2.5, 2.0, 0.0])
    assert choice.chosen == LAST
    assert choice.best.inputs == ("c4",)
    assert choice.held_out is not None
    assert choice.held_out.difference == 0


def test_ties_and_few_videos_leave_the_last():
    assert choose([0.0] * 5).chosen == LAST
    few = choose([1.0] * 8, rows=slice(0, FEW_VIDEOS - 1))
    assert few.chosen == LAST
    assert "under 50 videos" in few.rule
    assert choose([1.0]).chosen == LAST  # a run of one checkpoint


def test_an_old_checkpoint_may_be_the_best():
    choice = choose([0.0, 3.0, 3.0, 3.0])
    assert "c0" in choice.best.inputs
    assert choice.best.difference > 0.05


def test_held_out_videos_choose_nothing():
    _, labels, _ = world()
    other = labels.copy()
    other[300:] = ~other[300:]
    first, second = choose([1.0] * 6), choose([1.0] * 6, labels=other)
    assert first.candidates == second.candidates
    assert first.held_out != second.held_out


def test_labels_are_needed():
    with pytest.raises(PredictionsError, match="300 videos of `--eval-data` that choose"):
        choose([1.0] * 3, labels=np.zeros((VIDEOS, CLASSES), np.bool_))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 20])
def test_candidate_weights_are_means(count):
    found = candidate_weights(count)
    assert bool(found) == (count > 1)
    for weights in found.values():
        assert len(weights) == count
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
    rounded = [tuple(np.round(weights, 9)) for weights in found.values()]
    assert len(set(rounded)) == len(rounded)


def test_decay_weights_are_the_updates_share_that_a_decay_would_leave():
    """Of k updates of size 1, a mean by differences of d keeps d_0, d_1, … of each."""
    weights = np.array(candidate_weights(10)["1 - sqrt decay 10"])
    left = np.cumsum(weights[::-1])[::-1]  # the share of each update in the mean
    np.testing.assert_allclose(left, 1 - np.sqrt(np.arange(10) / 10))


@pytest.mark.tf
@pytest.mark.slow
def test_the_command_writes_what_it_chose(tmp_path):
    from click.testing import CliRunner

    from yt8m_ensemble.cli.root import cli

    for step in (1, 2, 3):
        write_train_dir(tmp_path / "r", small_flags("LogisticModel"), seed=step, step=step)
    for number in range(8):
        write_video_records(tmp_path / f"v{number}.tfrecord", seed=number, first=10 * number)
    out = str(tmp_path / "avg")
    words = ["avg-ckpt", "--prefix", str(tmp_path / "r"), "--last", "auto", "--out", out]
    words += ["--allow-different-runs", "--eval-data", f"{tmp_path}/v*.tfrecord"]
    done = CliRunner().invoke(cli, [*words, "--holdout", "0.3"])
    assert done.exit_code == 0, done.output
    assert "videos held out" in done.output
    assert "Fed with" not in done.output
    facts = json.loads((tmp_path / "avg.provenance.json").read_text())
    choice = facts["choice"]
    names = [one["name"] for one in choice["candidates"]]
    assert names[0] == LAST
    assert choice["chosen"] in names
    assert choice["num_videos"] + choice["held_out"]["num_videos"] == 80
    best = choice["candidates"][names.index(choice["chosen"])]
    assert [*facts["inputs"]] == best["inputs"]
    sources = {path: open_checkpoint(path) for path in best["inputs"]}
    newest = f"{tmp_path}/r/model.ckpt-3"
    plan = plan_average(sources | {newest: open_checkpoint(newest)}, newest=newest)
    expected = MeanSource(sources, plan, best["weights"])
    with open_checkpoint(out) as found:
        for name in found.specs():
            np.testing.assert_array_equal(found.read(name), expected.read(name))


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.parametrize("way", [{"soup": "greedy"}, {"search": True}])
def test_soup_and_search_see_no_video_that_is_held_out(tmp_path, way):
    from yt8m_ensemble.data import encode_means, read_video_ids, write_records
    from yt8m_ensemble.steps.avg_ckpt import average_checkpoints
    from yt8m_ensemble.tuning import split_videos

    for step in (1, 2, 3):
        write_train_dir(tmp_path / "r", small_flags("LogisticModel"), seed=step, step=step)
    data = tmp_path / "v.tfrecord"
    rng = np.random.default_rng(0)
    ids = [b"v%02d" % n for n in range(60)]
    held_out = {ids[row] for row in split_videos(np.array(ids), fraction=0.4, seed=3)[1]}

    def scores(*, held_out_class):
        means = {"mean_rgb": np.zeros(6, np.float32), "mean_audio": np.zeros(2, np.float32)}
        rows = []
        for number, name in enumerate(ids):
            own = {key: rng.normal(size=value.shape) for key, value in means.items()}
            label = held_out_class if name in held_out else number % 4
            rows.append(encode_means(name, [label], own))
        write_records(str(data), rows)
        assert read_video_ids([str(data)]).tolist() == ids
        given: dict[str, Any] = {"prefix": str(tmp_path / "r"), "last": 3, "holdout": 0.4}
        given |= {"seed": 3, "eval_data": str(data), "allow_different_runs": True, "force": True}
        return [t.score for t in average_checkpoints(**given, **way, out=f"{tmp_path}/a").trials]

    rng = np.random.default_rng(0)
    first = scores(held_out_class=0)
    rng = np.random.default_rng(0)
    assert scores(held_out_class=3) == first


def test_options_that_contradict_each_other():
    given: dict[str, Any] = {"prefix": "d", "out": "x", "last": "auto"}
    with pytest.raises(UsageError, match="`--last auto` needs"):
        AverageOptions(**given)
    with pytest.raises(UsageError, match="Give one"):
        AverageOptions(**given, eval_data="x", soup="greedy")
    with pytest.raises(UsageError, match="one of auto"):
        AverageOptions(**{**given, "last": "some"}, eval_data="x")


def test_recipes_choose_by_tunings_split(tmp_path):
    from yt8m_ensemble.recipe.document import load_recipe
    from yt8m_ensemble.recipe.plan import plan_steps

    text = """
out = "{out}"
[ensembles.e]
train_data = "t*"
validate_data = "v*"
features = "video"
feature_sizes = "6,2"
num_classes = 4
[ensembles.e.train]
max_steps = 3
[ensembles.e.members.a]
model = "LogisticModel"
[ensembles.e.tune]
holdout = 0.25
seed = 4
[ensembles.e.average]
last = "auto"
"""
    path = tmp_path / "r.toml"
    path.write_text(text.replace("{out}", str(tmp_path / "o")))
    steps = {step.name: step for step in plan_steps(load_recipe(str(path)))}
    options = steps["e/average/a"].options
    assert options == {"last": "auto", "eval_data": "v*", "holdout": 0.25, "seed": 4}
    path.write_text(path.read_text().replace('last = "auto"', 'last = 3\nsoup = "greedy"'))
    steps = {step.name: step for step in plan_steps(load_recipe(str(path)))}
    judged = {"last": 3, "soup": "greedy", "eval_data": "v*", "holdout": 0.25, "seed": 4}
    assert steps["e/average/a"].options == judged
    path.write_text(path.read_text() + 'eval_data = "v*"\n')
    with pytest.raises(RecipeError, match="eval_data"):
        load_recipe(str(path))

"""`convert scores` and `blend`: lists of teammates through the whole tool, without any model."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import AlignmentError, EnsembleError, MixtureWeightsError
from yt8m_ensemble.files import sha256
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.steps.blend import blend_scores
from yt8m_ensemble.steps.compare import compare_predictions
from yt8m_ensemble.steps.convert_scores import convert_scores, plan_convert_scores
from yt8m_ensemble.steps.eval_predictions import evaluate_predictions
from yt8m_ensemble.steps.merge_predictions import merge_predictions
from yt8m_ensemble.steps.select import select_ensemble
from yt8m_ensemble.steps.tune_weights import tune_weights
from yt8m_ensemble.storage import open_predictions, predictions_digest
from yt8m_ensemble.storage.arrays import write_predictions
from yt8m_ensemble.storage.submission import SUBMISSION_HEADER, format_submission, read_submission
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()
IDS = np.array([b"v%03d" % n for n in range(len(LABELS))])
NAMES = "abc"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Lists of three members in orders of their own, the dense scores, and the labels."""
    folder = tmp_path_factory.mktemp("world")
    for number, name in enumerate(NAMES):
        order = np.random.default_rng(number).permutation(len(IDS))
        rows = format_submission(IDS[order], SCORES[number][order], top_k=25 + number)
        (folder / f"{name}.csv").write_text(SUBMISSION_HEADER + "".join(rows))
        np.savez(folder / f"{name}.npz", video_ids=IDS[order], scores=SCORES[number][order])
    lines = [
        f"{i.decode()},{' '.join(map(str, np.flatnonzero(row)))}\n"
        for i, row in zip(IDS, LABELS, strict=True)
    ]
    (folder / "labels.csv").write_text("".join(lines))
    write_predictions(str(folder / "dense.h5"), IDS, dict(zip(NAMES, SCORES, strict=True)), LABELS)
    return folder


def given(world, suffix="csv", names=NAMES):
    return [f"{name}={world / name}.{suffix}" for name in names]


@pytest.fixture(scope="module")
def cache(world):
    out = str(world / "lists.h5")
    convert_scores(scores=given(world), out=out, labels=str(world / "labels.csv"), num_classes=60)
    return out


def test_lists_become_a_cache_in_the_order_of_the_labels(world, cache):
    with open_predictions(cache) as file:
        assert file.video_ids.tolist() == IDS.tolist()
        assert file.members == tuple(NAMES)
        assert file.top_k == 25  # the shortest list
        assert file.digests == tuple(f"scores:{sha256(str(world / f'{n}.csv'))}" for n in NAMES)
        assert file.labels is not None
        np.testing.assert_array_equal(file.labels.to_dense(), LABELS)
        for member, scores in enumerate(SCORES):
            kept = file.kept(member)
            found = np.take_along_axis(scores, kept.class_ids, axis=1)
            np.testing.assert_allclose(kept.scores, found, rtol=1e-5)
            np.put_along_axis(left_out := scores.copy(), kept.class_ids, 0, axis=1)
            assert np.all(left_out.max(axis=1) <= kept.bounds)
            assert np.all(kept.bounds > kept.scores.min(axis=1))  # wider by half a digit


def test_dense_files_become_a_dense_cache_and_lists_cut_them(world, tmp_path):
    labels = str(world / "labels.csv")
    out = str(tmp_path / "d.h5")
    assert (
        convert_scores(scores=given(world, "npz"), out=out, labels=labels, num_classes=60).top_k
        is None
    )
    with open_predictions(out) as file:
        for member, scores in enumerate(SCORES):
            np.testing.assert_array_equal(file.scores(member), scores)
    both = [*given(world, names="a"), *given(world, "npz", "b")]
    done = plan_convert_scores(scores=both, out=str(tmp_path / "m.h5"), num_classes=60)
    assert done.top_k == 25
    assert not (tmp_path / "m.h5").exists()
    cut = convert_scores(
        scores=both, out=str(tmp_path / "m.h5"), labels=labels, num_classes=60, top_k=20
    )
    assert cut.top_k == 20
    with pytest.raises(EnsembleError, match=r"a\.csv' lists 25 scores .* fewer than `--top-k 30`"):
        convert_scores(scores=both, out=str(tmp_path / "n.h5"), num_classes=60, top_k=30)


def test_the_interval_of_lists_holds_gap_of_all_scores(world, cache):
    dense = evaluate_predictions(predictions=[str(world / "dense.h5")], weights=[0.5, 0.2, 0.3])
    lists = evaluate_predictions(predictions=[cache], weights=[0.5, 0.2, 0.3])
    for full, part in zip(dense.evaluations[:3], lists.evaluations[:3], strict=True):
        assert part.report.metrics.gap == pytest.approx(full.report.metrics.gap, abs=1e-4)
        assert np.isnan(part.report.loss)
    low, high = lists.evaluations[3].gap_interval
    assert low <= dense.evaluations[3].report.metrics.gap <= high


def test_tuning_and_evaluation_count_what_is_left_out_alike(cache, tmp_path):
    """Tuning's estimate of a mixture is what `eval` and `compare` say of it."""
    out = str(tmp_path / "w.json")
    tuned = tune_weights(
        predictions=[cache], out=out, holdout=0, class_bias=False, space="probability", bootstrap=9
    )
    evaluated = evaluate_predictions(predictions=[cache], weights=out).evaluations[-1]
    compared = compare_predictions(predictions=[cache], weights=out)
    assert evaluated.report.metrics.gap == pytest.approx(tuned.result.gap_in_sample, abs=1e-12)
    assert compared.comparison is not None
    assert compared.comparison.gaps["mixture"] == pytest.approx(
        evaluated.report.metrics.gap, abs=1e-12
    )
    numbers = compare_predictions(predictions=[cache], weights=[0.5, 0.2, 0.3], space="logit")
    assert numbers.weights == MixtureWeights(tuple(NAMES), (0.5, 0.2, 0.3), "logit")


def test_the_ensemble_is_selected_from_lists(cache):
    chosen = select_ensemble(
        predictions=[cache], sizes=dict.fromkeys(NAMES, 100), max_size=150, holdout=0
    )
    assert chosen


def test_a_joined_cache_keeps_bounds(cache, tmp_path):
    joined = str(tmp_path / "j.h5")
    merge_predictions(parts=[cache], out=joined)
    assert predictions_digest(joined) == predictions_digest(cache)
    with open_predictions(joined) as file, open_predictions(cache) as source:
        np.testing.assert_array_equal(file.kept(1).bounds, source.kept(1).bounds)


def blended(path):
    lists = read_submission(path)
    order = np.argsort(lists.video_ids)
    return lists.video_ids[order], lists.kept(order, 20)


@pytest.mark.parametrize("space", ["probability", "logit", "geometric"])
def test_dense_scores_are_blended_as_they_are_mixed(world, tmp_path, space):
    out = str(tmp_path / "b.csv")
    mixture = MixtureWeights(tuple(NAMES), (0.5, 0.2, 0.3), space)
    done = blend_scores(scores=given(world, "npz"), weights=mixture, csv=out)
    assert (done.num_videos, done.weights, done.space) == (200, mixture.values, space)
    lines = format_submission(IDS, mix(list(SCORES), mixture))
    assert sorted((tmp_path / "b.csv").read_text().splitlines()[1:]) == sorted(
        line.rstrip("\n") for line in lines
    )


def test_lists_and_their_cache_blend_to_the_same(world, cache, tmp_path):
    numbers = [0.5, 0.2, 0.3]
    first, second = str(tmp_path / "1.csv"), str(tmp_path / "2.csv")
    # The cache cuts to 25, so the others are given no more.
    for name in "bc":
        rows = read_submission(str(world / f"{name}.csv"))
        kept = rows.kept(np.arange(len(IDS)), 25)
        scores = np.zeros((len(IDS), 60), np.float32)
        np.put_along_axis(scores, kept.class_ids, kept.scores, axis=1)
        lines = format_submission(rows.video_ids, scores, top_k=25)
        (tmp_path / f"{name}.csv").write_text(SUBMISSION_HEADER + "".join(lines))
    cut = [*given(world, names="a"), *given(tmp_path, names="bc")]
    blend_scores(scores=cut, weights=numbers, csv=first, space="logit")
    blend_scores(scores=[cache], weights=numbers, csv=second, space="logit")
    assert blended(first)[0].tolist() == blended(second)[0].tolist() == IDS.tolist()
    for one, other in zip(blended(first)[1], blended(second)[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_bias_and_temperature_apply(world, tmp_path):
    bias = tuple(np.linspace(-2, 2, 60).tolist())
    mixture = MixtureWeights(
        tuple(NAMES), (0.5, 0.2, 0.3), "logit", class_bias=bias, temperature=1.5
    )
    weights, out = tmp_path / "w.json", tmp_path / "b.csv"
    weights.write_text(mixture.to_json())
    # In another order: members are matched by name.
    blend_scores(scores=given(world, "npz", "cab"), weights=str(weights), csv=str(out))
    expected = format_submission(IDS, mix(list(SCORES[[2, 0, 1]]), mixture.reordered("cab")))
    assert sorted(out.read_text().splitlines()[1:]) == sorted(map(str.strip, expected))
    with pytest.raises(MixtureWeightsError, match="goes with logit space only"):
        blend_scores(
            scores=given(world), weights=str(weights), csv=str(tmp_path / "c"), space="geometric"
        )
    with pytest.raises(MixtureWeightsError, match=r"a, b, c, the members are a, b. .*--scores"):
        blend_scores(scores=given(world, names="ab"), weights=str(weights), csv=str(tmp_path / "c"))
    small = MixtureWeights(tuple(NAMES), (0.5, 0.2, 0.3), "logit", class_bias=bias[:7])
    with pytest.raises(EnsembleError, match="the mixture 7"):
        blend_scores(scores=given(world), weights=small, csv=str(tmp_path / "c"))
    assert not (tmp_path / "c").exists()


def test_videos_that_a_file_lacks(world, tmp_path):
    lines = (world / "b.csv").read_text().splitlines(keepends=True)
    (tmp_path / "b.csv").write_text("".join(lines[:-3]))
    both, out = [*given(world, names="a"), *given(tmp_path, names="b")], tmp_path / "o.csv"
    with pytest.raises(AlignmentError, match=r"b\.csv' lacks 3 of the 200 videos .*--intersect"):
        blend_scores(scores=both, csv=str(out))
    with pytest.raises(AlignmentError, match=r"b\.csv' lacks 3 of the 200 videos .*--intersect"):
        convert_scores(scores=both, out=str(out), num_classes=60, labels=str(world / "labels.csv"))
    assert list(tmp_path.iterdir()) == [tmp_path / "b.csv"]
    assert blend_scores(scores=both, csv=str(out), intersect=True).num_videos == 197
    done = convert_scores(
        scores=both,
        out=str(tmp_path / "o.h5"),
        num_classes=60,
        labels=str(world / "labels.csv"),
        intersect=True,
    )
    assert done.num_videos == 197


def test_nothing_is_overwritten_without_force(world, tmp_path):
    out = tmp_path / "b.csv"
    out.write_text("mine")
    with pytest.raises(EnsembleError, match="--force"):
        blend_scores(scores=given(world), csv=str(out))
    assert out.read_text() == "mine"
    blend_scores(scores=given(world), csv=str(out), force=True)
    assert out.read_text().startswith(SUBMISSION_HEADER)


def test_the_commands(world, tmp_path):
    out = str(tmp_path / "c.h5")
    labels = ["--labels", str(world / "labels.csv"), "--num-classes", "60"]
    arguments = ["convert", "scores", *given(world), out, *labels]
    planned = CliRunner().invoke(cli, [*arguments, "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert not (tmp_path / "c.h5").exists()
    done = CliRunner().invoke(cli, arguments)
    assert f"200 videos with {LABELS.sum():,} labels" in done.output
    assert "the top 25 of 60 classes" in done.output
    csv = str(tmp_path / "b.csv")
    arguments = ["blend", "--scores", out, "--weights", "0.5,0.25,0.25", "--csv", csv, "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert json.loads(done.stdout) == {
        "csv": csv,
        "num_videos": 200,
        "members": ["a", "b", "c"],
        "weights": [0.5, 0.25, 0.25],
        "space": "probability",
    }
    done = CliRunner().invoke(cli, ["eval", "--predictions", out, "--weights", "0.5,0.25,0.25"])
    assert "half of the lowest of these" in done.output


@pytest.mark.slow
def test_blending_loads_no_tensorflow(world, tmp_path):
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from yt8m_ensemble.__main__ import main\n"
        "main()"
    )
    scores = [text for pair in given(world) for text in ("--scores", pair)]
    scores += ["--scores", f"d={world / 'c.npz'}", "--scores", f"b2={world / 'one.h5'}"]
    write_predictions(str(world / "one.h5"), IDS, SCORES[1])
    done = subprocess.run(
        [sys.executable, "-c", code, "blend", *scores, "--csv", str(tmp_path / "b.csv")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.csv").exists()


@pytest.mark.tf
@pytest.mark.slow
def test_labels_come_from_records(tmp_path):
    from tests.builders.records import make_frames, make_means
    from yt8m_ensemble.data import read_labels, write_records

    for make in (make_means, make_frames):
        folder = tmp_path / make.__name__
        folder.mkdir()
        write_records(str(folder / "r.tfrecord"), [make(n) for n in range(3)])
        labels = read_labels([str(folder / "r.tfrecord")], num_classes=60)
        scores = np.full((3, 60), 0.5)
        np.savez(folder / "s.npz", video_ids=labels.video_ids[::-1], scores=scores)
        done = convert_scores(
            scores=[f"a={folder / 's.npz'}"],
            out=str(folder / "c.h5"),
            labels=str(folder / "*.tfrecord"),
            num_classes=60,
        )
        assert done.num_positives == labels.num_positives
        with open_predictions(done.out) as file:
            assert file.video_ids.tolist() == labels.video_ids.tolist()

"""The step and the command `select`: sizes from models or options, the frontier, the picture."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.steps.select import member_sizes, select_ensemble
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.values import MixtureWeights, TensorSpec

SCORES, LABELS = make_predictions()
SIZES = {"a": 400, "b": 300, "c": 100}


@pytest.fixture
def predictions(tmp_path):
    path = str(tmp_path / "p.h5")
    with PredictionsWriter(path, members="abc", digests="abc", num_classes=60) as writer:
        writer.append(np.array([b"v%03d" % n for n in range(200)]), SCORES, LABELS)
    return path


def test_the_choice_is_written_as_mixture_weights(tmp_path, predictions):
    out, plot = str(tmp_path / "w.json"), str(tmp_path / "p.png")
    result = select_ensemble(
        predictions=[predictions], sizes=SIZES, max_size=260, space="logit", out=out, plot=plot
    )
    assert result.selection is not None
    chosen = result.selection.chosen
    assert chosen.size_bytes <= 260  # float16: half of the given sizes
    weights = MixtureWeights.parse((tmp_path / "w.json").read_text(), path=out)
    assert weights.names == tuple(v.member for v in chosen.variants)
    assert weights.values == result.selection.tuned.weights.values
    assert weights.details["size_bytes"] == chosen.size_bytes
    assert weights.details["proof"]["is_proven"] is True
    assert set(weights.details["precisions"].values()) == {"float16"}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_shows_the_frontier(predictions):
    arguments = ["select", "--predictions", predictions, "--max-size", "1kB"]
    for name, size in SIZES.items():
        arguments += ["--size", f"{name}={size}B"]
    dry = CliRunner().invoke(cli, [*arguments, "--precisions", "float16,uint8", "--dry-run"])
    assert "a@uint8" in dry.output
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    proof = json.loads(done.stdout)["selection"]["proof"]
    assert (proof["is_proven"], proof["gap"]) == (True, 0)
    assert "Chosen (proven best in sample):" in done.stderr
    hasty = CliRunner().invoke(cli, [*arguments, "--seconds", "1e-9"])
    assert "Chosen (best found; another set can be better by 0." in hasty.output


def test_families_are_capped(predictions):
    sizes = {"a": 1, "b": 1, "c": 1}
    free = select_ensemble(predictions=[predictions], sizes=sizes)
    assert len(free.selection.chosen.variants) > 1
    renamed = predictions.replace("p.h5", "q.h5")
    with PredictionsWriter(
        renamed, members=["m-1", "m-2", "n"], digests="abc", num_classes=60
    ) as writer:
        writer.append(np.array([b"v%03d" % n for n in range(200)]), SCORES, LABELS)
    sizes = {"m-1": 1, "m-2": 1, "n": 1}
    capped = select_ensemble(predictions=[renamed], sizes=sizes, max_per_family=1)
    assert capped.selection.proof.is_proven
    families = [variant.family for variant in capped.selection.chosen.variants]
    assert families.count("m") <= 1


def test_sizes_count_what_stays_wide():
    specs = [
        TensorSpec("w", (1024, 10), "float32"),
        TensorSpec("bn/moving_mean", (4096,), "float32"),
    ]
    sizes = member_sizes(specs)
    assert sizes["float32"] == 4 * 10_240 + 4 * 4096
    assert sizes["float16"] == 2 * 10_240 + 4 * 4096
    assert sizes["uint4"] < sizes["uint8"] < sizes["float16"]


def test_bad_options_are_named(predictions):
    with pytest.raises(UsageError, match="expected a list of float32, float16"):
        select_ensemble(predictions=[predictions], precisions=["int3"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="The size of 'a' is not known"):
        select_ensemble(predictions=[predictions])

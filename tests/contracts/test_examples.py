"""The scripts in `examples/` run as they say."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from yt8m_ensemble.steps.synth import synthesize
from yt8m_ensemble.storage import PredictionsWriter

ROOT = Path(__file__).parents[2]


def run(name, *arguments, timeout=120):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=timeout,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    return done.stdout


def test_spaces_are_compared(tmp_path):
    path = str(tmp_path / "p.h5")
    draw = np.random.default_rng(0)
    with PredictionsWriter(path, members=["a", "b"], digests=["", ""], num_classes=30) as writer:
        ids = np.array([f"v{n}".encode() for n in range(40)])
        scores = draw.random((2, 40, 30)).astype(np.float32)
        writer.append(ids, scores, scores.mean(axis=0) > 0.8)
    lines = run("compare_spaces.py", path).splitlines()
    assert [line.split()[0] for line in lines] == ["a", "b", "uniform,", "uniform,", "uniform,"]
    values = [float(line.split()[-1]) for line in lines]
    assert values[2] == pytest.approx(1, abs=1e-4)  # labels are the mean's own top


def test_arrays_are_averaged_into_a_checkpoint(tmp_path):
    out = run("merge_arrays.py", str(tmp_path / "model.ckpt-2"))
    assert out.splitlines() == ["global_step 2", "w [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]"]


@pytest.mark.slow
def test_an_architecture_of_ones_own_goes_all_the_way(tmp_path):
    for seed, name in enumerate(("train", "validate")):
        synthesize(
            videos=400, classes=25, feature_sizes=(32, 8), seed=seed, out=str(tmp_path / name)
        )
    out = run(
        "own_architecture.py",
        f"{tmp_path}/train/*",
        f"{tmp_path}/validate/*",
        f"{tmp_path}/out",
    )
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows] == ["TwoLayerModel", "graph"]
    gaps = [float(row[1]) for row in rows]
    assert gaps[0] > 0.1
    assert gaps[1] == pytest.approx(gaps[0], abs=2e-3)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        # The class is this script's: without it the files are of no known model.
        run_code(
            f"import yt8m_ensemble as yt; yt.open_model('{tmp_path}/out/averaged').__enter__()"
        )
    assert "of no known video-level model" in caught.value.stderr


@pytest.mark.slow
def test_models_of_four_origins_become_one_file(tmp_path, tf1_python):
    folder = tmp_path / "records"
    counts: dict[tuple[Literal["video", "frame"], str], int] = {
        ("video", "train"): 3000,
        ("frame", "train"): 300,
        ("frame", "validate"): 300,
    }
    for seed, ((level, split), videos) in enumerate(counts.items()):
        synthesize(
            level=level,
            videos=videos,
            classes=60,
            feature_sizes=(64, 16),
            frames=(10, 40),
            seed=seed,
            out=str(folder / f"{level}-{split}"),
        )
    out = run("any_models.py", str(folder), str(tmp_path / "out"), tf1_python("1.15.5"))
    # Another version's kernels move a score by a few units in the last place of its logit.
    allowed = {"float32 in TensorFlow 2": 1e-6, "float32 in TensorFlow 1": 1e-5, "float16": 5e-3}
    found = [line for line in out.splitlines() if "differs" in line]
    assert len(found) == 4
    for line in found:
        (most,) = [value for start, value in allowed.items() if line.startswith(start)]
        assert float(line.rsplit(" ", 1)[1]) <= most
    assert "four, blended, held out: GAP" in out


@pytest.mark.slow
def test_a_prediction_survives_a_killed_worker(tmp_path):
    out = run("many_machines.py", str(tmp_path / "out"), timeout=600).splitlines()
    assert re.fullmatch(r"killed 1 of 2 workers after \d+ of 24 files", out[0])
    ended = re.fullmatch(r"the job ended with exit code ([1-9]\d*) and (\d+) of 24 files", out[1])
    assert ended
    again = re.fullmatch(r"given again, it scored the other (\d+) videos", out[2])
    assert again
    assert int(again[1]) == 1200 // 24 * (24 - int(ended[2])) > 0
    assert out[3] == "1200 videos, as one process scores them: True"


def run_code(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )


def test_every_example_is_run_here():
    here = Path(__file__).read_text()
    assert all(f'"{path.name}"' in here for path in (ROOT / "examples").glob("*.py"))

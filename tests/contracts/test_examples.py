"""The scripts in `examples/` run as they say."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from yt8m_ensemble.storage import PredictionsWriter

ROOT = Path(__file__).parents[2]


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
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


def test_every_example_is_run_here():
    here = Path(__file__).read_text()
    assert all(f'"{path.name}"' in here for path in (ROOT / "examples").glob("*.py"))

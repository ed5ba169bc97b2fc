"""A user's script is checked by types: a wrong keyword, a wrong type, a missing argument."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

RIGHT = """
import numpy as np
import yt8m_ensemble as yt

made = yt.merge_models(members=["a", "b"], out="blend", fp16="auto", weights=[0.5, 0.5])
reveal_type(made)
yt.merge_models(members=["a"], out="x", weights=yt.MixtureWeights.uniform(["a"]))
reveal_type(yt.plan_merge_models(members=["a"], out="x").plan)
reveal_type(yt.tune_weights(predictions=["val.h5"], method="grid").result.weights)
reveal_type(yt.train_model(model="MoeModel", train_data="t*", train_dir="d", batch_size=3))
reveal_type(yt.average([{"w": np.zeros(3)}], weights="uniform"))
with yt.open_model("blend.tgz", num_classes=4) as model:
    reveal_type(model.predict(np.zeros((2, 3), np.float32)))
    reveal_type(model.members)
reveal_type(yt.hit_at_one(np.zeros((2, 3)), np.zeros((2, 3), np.bool_)))
"""

WRONG = {
    'yt.merge_models(membrs=3, out="x")': "call-arg",
    'yt.merge_models(members=["a"])': 'Missing named argument "out"',
    'yt.merge_models(members=3, out="x")': 'Argument "members"',
    'yt.merge_models(members=["a"], out="x", fp16="half")': 'Argument "fp16"',
    'yt.tune_weights(predictions=["a.h5"], step="much")': 'Argument "step"',
    'yt.train_model(model="MoeModel", train_data="t", train_dir="d", batch_sice=3)': "batch_sice",
    "yt.predict_scores(models=['a'])": 'Missing named argument "data"',
    'yt.open_model("a", num_clases=3)': "num_clases",
    "yt.average_checkpoints(last=5)": 'Missing named argument "out"',
    "yt.global_average_precision(3, 4)": "arg-type",
    "yt.nonsense": "attr-defined",
}


def check(folder, script):
    path = folder / "script.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=",
         f"--cache-dir={ROOT}/.mypy_cache/scripts", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line.startswith("script.py")]


def test_types_see_every_keyword_and_result(tmp_path):
    revealed = check(tmp_path, RIGHT)
    assert not [line for line in revealed if "error" in line]
    text = "\n".join(revealed)
    for kind in (
        "steps.merge.MergeResult", "merging.plan.MergePlan", "values.scores.MixtureWeights",
        "values.tensors.Checkpoint", "dict[", "_32Bit", "tuple[", "float",
    ):  # fmt: skip
        assert kind in text, kind
    assert "Any" not in text.replace("dtype[Any]", "").replace("tuple[Any, ...]", "")


def test_what_is_wrong_is_refused_line_by_line(tmp_path):
    lines = list(WRONG)
    found = check(tmp_path, "import yt8m_ensemble as yt\n" + "\n".join(lines) + "\n")
    for number, line in enumerate(lines, start=2):
        errors = [error for error in found if error.startswith(f"script.py:{number}: error")]
        assert errors, line
        assert any(WRONG[line] in error for error in errors), errors

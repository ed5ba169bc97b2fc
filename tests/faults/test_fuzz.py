"""A fixed budget of mutants of every input format, and those that were once misread."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.formats import FORMATS
from tests.faults.fuzz import fuzz
from yt8m_ensemble.errors import EnsembleError

pytestmark = pytest.mark.tf

SLOW = {
    "tfrecord": 60,
    "meta-graph": 60,
    "recipe": 60,
    "saved-model": 60,
    "frozen-graph": 60,
    "keras-model": 60,
}
"""Formats that take long to open, and how many mutants of them fit into a test."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in Keras
@pytest.mark.parametrize("name", FORMATS)
def test_mutants_open_or_are_refused(name):
    found = fuzz(name, seed=1, count=SLOW.get(name, 300))
    assert found["faults"] == []
    assert found["opened"] + found["refused"] == SLOW.get(name, 300)


def test_it_runs_by_hand_from_anywhere(tmp_path):
    driver = str(Path(__file__).with_name("fuzz.py"))
    command = [sys.executable, driver, "flags", "--seconds", "0.2", "--keep", f"{tmp_path}/kept"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["faults"] == []


SAMPLES = {
    "cloud": "cloud-json",
    "csv_labels": "labels-csv",
    "csv_submission": "submission-csv",
    "flags_bundle": "flags",
    "keras": "keras",
    "npz": "npz",
    "npz_signed": "npz",
    "recipe": "recipe",
    "safetensors": "safetensors",
}


def test_samples_that_were_misread_once(shared, tmp_path):
    """Each opens or is refused; no traceback."""
    seen = {"meta_inspect", "meta_open"}  # in `tests/graphs/test_model_graph.py`
    for path in sorted((shared / "faulty").iterdir()):
        kind = path.name.rpartition("-")[0] or "README.md"
        if kind in SAMPLES:
            seen.add(kind)
            copy = tmp_path / path.name
            copy.write_bytes(path.read_bytes())
            with suppress(EnsembleError):
                FORMATS[SAMPLES[kind]].read(copy)
        assert kind in seen or kind == "README.md"
    assert seen >= set(SAMPLES)

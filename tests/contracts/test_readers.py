"""Every module that reads a file from outside is in the fuzz driver's table, or says why not."""

import ast
from pathlib import Path

from tests.faults.formats import FORMATS

ROOT = Path(__file__).parents[2] / "yt8m_ensemble"

READS = {
    *("files.read_bytes", "files.read_text", "files.read_limited", "files.read_csv", "read_csv"),
    *("files.open_binary", "h5py.File", "np.load", "zipfile.ZipFile", "tarfile.open", "os.open"),
    *("data.TFRecordDataset", "pq.ParquetFile", "Path.open", "open"),
}
"""Calls that open a file or take all of it in."""

FUZZED = {
    "checkpoints/keras_weights.py": {"keras"},
    "checkpoints/reader.py": {"index"},
    "checkpoints/shards.py": {"index"},
    "checkpoints/train_dir.py": {"state-file"},
    "columns.py": {"npz", "scores-npz", "scores-parquet"},
    "data/custom_features.py": {"npz"},
    "data/diagnosis.py": {"tfrecord"},
    "data/ground_truth.py": {"labels-csv"},
    "data/reading.py": {"tfrecord"},
    "data/record_count.py": {"tfrecord"},
    "data/record_info.py": {"tfrecord"},
    "graphs/frozen_graph.py": {"frozen-graph"},
    "graphs/meta_files.py": {"meta-graph"},
    "graphs/saved_model.py": {"saved-model"},
    "hdf5.py": {"cache", "keras"},
    "loading/keras_files.py": {"keras-model"},
    "loading/keras_model.py": {"keras-model"},
    "loading/paths.py": {"flags"},
    "loading/weights.py": {"keras-model"},
    "packaging/reading.py": {"tgz"},
    "provenance.py": {"provenance"},
    "recipe/document.py": {"recipe"},
    "recipe/report.py": {"weights"},
    "reporting/card.py": {"flags"},
    "reporting/content.py": {"weights", "flags"},
    "reporting/events.py": {"events"},
    "reporting/stored.py": {"run-state"},
    "steps/convert_records.py": {"cloud-json"},
    "steps/inspect.py": {"meta-graph"},
    "steps/package.py": {"flags", "meta-graph"},
    "steps/train.py": {"flags"},
    "steps/verify.py": {"tgz", "flags"},
    "storage/mixtures.py": {"weights"},
    "storage/reader.py": {"cache", "cache-top-k"},
    "storage/submission.py": {"submission-csv", "scores-csv"},
    "storage/vocabulary.py": {"vocabulary"},
    "training/validation.py": {"validation-history"},
}
"""Formats whose mutants pass through each module."""

NOT_READ = {
    "checkpoints/safetensors.py": "reads what its own map holds; fuzzed as `safetensors`",
    "cli/silence_tensorflow.py": "opens the null device",
    "files.py": "the door itself",
    "loading/checkpoints.py": "takes a digest",
    "locks.py": "opens lock files, of which it reads nothing",
    "packaging/official_client.py": "runs in a child after the archive was checked",
    "packaging/writing.py": "writes",
    "scoring/beam.py": "joins rows that its own workers wrote",
    "scratch.py": "opens directories to lock them",
    "steps/blend.py": "writes",
    "steps/predict.py": "writes",
    "storage/writer.py": "continues what the reader has opened; fuzzed as `cache`",
}
"""Modules that open files and interpret nothing of what strangers wrote."""


def readers():
    """Return the modules that call one of `READS`."""
    found = set()
    for path in ROOT.rglob("*.py"):
        calls = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
        if any(name_of(call) in READS for call in calls):
            found.add(path.relative_to(ROOT).as_posix())
    return found


def name_of(called):
    if isinstance(called, ast.Attribute):
        owner = called.value
        inner = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        return f"{inner}.{called.attr}"
    return getattr(called, "id", "")


def test_every_reader_is_fuzzed_or_says_why_not():
    assert readers() - {*FUZZED, *NOT_READ} == set(), (
        "add it to FUZZED, and its format to tests/faults/formats.py"
    )


def test_the_table_names_formats_and_readers_that_there_are():
    named = set().union(*FUZZED.values())
    assert named <= set(FORMATS)
    assert set(FUZZED) <= readers()
    assert all((ROOT / name).exists() for name in NOT_READ)
    assert not set(FUZZED) & set(NOT_READ)

"""`inspect` on every kind of file."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import CheckpointError, CheckpointNotFoundError
from yt8m_ensemble.steps.convert_checkpoint import convert_checkpoint
from yt8m_ensemble.steps.inspect import compare_checkpoints, inspect_checkpoint


@pytest.fixture
def prefix(tmp_path):
    prefix = str(tmp_path / "model.ckpt-7")
    arrays = {
        "global_step": np.array(7),
        "w": np.array([[0.0, 1.0], [2.0, 99999.0]], np.float32),
    }
    write_checkpoint(prefix, arrays)
    return prefix


def test_a_checkpoint_by_prefix_step_and_directory(prefix, tmp_path):
    for path in (prefix, f"{tmp_path}@7", str(tmp_path)):
        found = inspect_checkpoint(path)
        assert (found.place, found.global_step, found.nbytes) == (prefix, 7, 24)
        assert found.graph is None
        w = found.tensors[1]
        assert w.spec.shape == (2, 2)
        assert w.statistics is not None
        assert (w.statistics.maximum, w.statistics.outside_float16) == (99999.0, 1)


def test_without_stats_no_value_is_read(prefix):
    data = f"{prefix}.data-00000-of-00001"
    with open(data, "r+b") as file:  # noqa: PTH123 - damage in place
        file.seek(-1, 2)
        file.write(b"\xff")
    found = inspect_checkpoint(prefix, stats=False)
    assert [tensor.statistics for tensor in found.tensors] == [None, None]
    with pytest.raises(CheckpointError, match="is damaged"):
        inspect_checkpoint(prefix)
    assert inspect_checkpoint(prefix, verify=False).tensors[0].statistics is not None


@pytest.mark.parametrize("name", ["m.safetensors", "m.weights.h5"])
def test_other_formats_and_differences_between_them(prefix, tmp_path, name):
    path = str(tmp_path / name)
    convert_checkpoint(prefix, path)
    assert [t.spec.name for t in inspect_checkpoint(path).tensors] == ["global_step", "w"]
    compared = compare_checkpoints(prefix, path)
    assert compared.num_different == 0
    assert len(compared.differences) == 2


def test_a_bundle_and_its_graph(fixtures):
    found = inspect_checkpoint(str(fixtures / "tiny/ens/ensemble_T.tgz"))
    assert found.graph is not None
    assert {"input_batch_raw", "num_frames", "predictions"} <= set(found.graph.collections)
    halves = [t.spec.name for t in found.tensors if t.spec.dtype == "float16"]
    assert len(halves) == 12  # four a member, as the original casts
    assert len(found.tensors) == 97


def test_a_path_that_is_none(tmp_path):
    with pytest.raises(CheckpointNotFoundError):
        inspect_checkpoint(str(tmp_path / "nothing"))


def test_the_command(prefix, tmp_path):
    shown = CliRunner().invoke(cli, ["inspect", prefix])
    assert shown.exit_code == 0, shown.output
    for word in ("float32", "1e+05", "25.0%", "not in float16", "2 tensors, 24 B, step 7"):
        assert word in shown.output
    facts = json.loads(CliRunner().invoke(cli, ["inspect", prefix, "--json"]).stdout)
    assert facts["tensors"][1]["statistics"]["maximum"] == 99999.0
    other = str(tmp_path / "other")
    write_checkpoint(other, {"w": np.ones((2, 2), np.float32), "global_step": np.array(7)})
    shown = CliRunner().invoke(cli, ["inspect", prefix, "--diff", other])
    assert "1 of 2 tensors differ." in shown.output
    assert "9.999e+0" in shown.output or "1e+05" in shown.output
    same = CliRunner().invoke(cli, ["inspect", prefix, "--diff", prefix])
    assert same.output == "0 of 2 tensors differ.\n"


def test_neither_tensorflow_nor_the_models_are_loaded(prefix):
    code = (
        "import sys\n"
        "from yt8m_ensemble.cli.root import cli\n"
        f"cli.main(['inspect', {prefix!r}, '--no-stats'], standalone_mode=False)\n"
        "print(sorted({'tensorflow', 'h5py', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")

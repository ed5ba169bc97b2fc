"""Safetensors and Keras weight files: exact round trips, and against the packages that own them."""

import json
from itertools import pairwise
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from click.testing import CliRunner

from yt8m_ensemble.checkpoints import (
    CheckpointWriter,
    open_checkpoint,
    open_keras_weights,
    open_safetensors,
    write_checkpoint,
)
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import CheckpointError, OutputExistsError, UsageError
from yt8m_ensemble.steps.convert_checkpoint import convert_checkpoint, plan_convert_checkpoint
from yt8m_ensemble.values import TensorSpec

ENDINGS = (".index", ".data-00000-of-00001")


def contents(prefix):
    return [Path(f"{prefix}{ending}").read_bytes() for ending in ENDINGS]


@pytest.fixture
def prefix(tmp_path):
    prefix = str(tmp_path / "model")
    generator = np.random.default_rng(0)
    arrays = {
        "bool": np.array([True, False]),
        "complex": np.array([1 + 2j], np.complex64),
        "empty": np.zeros((0, 4), np.float32),
        "global_step": np.array(7, np.int64),
        "half": generator.normal(size=5).astype(np.float16),
        "names": np.array([[b"a\0b", b""], ["é".encode(), b"\xff"]], object),
        "tower/bn/beta": np.zeros(3, np.float32),
        "tower/bn/gamma": np.ones(3, np.float32),
        "tower/bn/moving_mean": np.full(3, 2, np.float32),
        "tower/bn/moving_variance": np.full(3, 3, np.float32),
        "tower/gates/biases": generator.normal(size=3).astype(np.float32),
        "tower/gates/weights": generator.normal(size=(4, 3)).astype(np.float32),
        "truncated": generator.normal(size=(2, 2)).astype(ml_dtypes.bfloat16),
    }
    arrays["float8"] = arrays["half"].astype(ml_dtypes.float8_e4m3fn)
    with CheckpointWriter(prefix) as writer:
        for name in sorted([*arrays, "quantized"]):
            if name == "quantized":
                writer.add_blocks(TensorSpec(name, (3,), "quint8"), [np.arange(3, dtype=np.uint8)])
            else:
                writer.add(name, arrays[name])
    return prefix


@pytest.mark.parametrize("ending", [".safetensors", ".weights.h5"])
def test_round_trip_is_bit_for_bit(prefix, tmp_path, ending):
    there = str(tmp_path / f"there{ending}")
    back = str(tmp_path / "back")
    result = convert_checkpoint(prefix, there)
    assert result.num_tensors == 15
    convert_checkpoint(there, back)
    assert contents(back) == contents(prefix)


def test_all_three_formats_in_a_circle(prefix, tmp_path):
    stations = [prefix, *(str(tmp_path / name) for name in ("a.weights.h5", "b.safetensors", "c"))]
    for source, out in pairwise(stations):
        convert_checkpoint(source, out)
    assert contents(stations[-1]) == contents(prefix)


@pytest.mark.parametrize("ending", [".safetensors", ".weights.h5"])
def test_training_checkpoints_of_the_original(fixtures, tmp_path, ending):
    original = str(fixtures / "tiny/c2h8/model.ckpt-210")
    convert_checkpoint(original, str(tmp_path / f"there{ending}"))
    convert_checkpoint(str(tmp_path / f"there{ending}"), str(tmp_path / "back"))
    assert contents(tmp_path / "back") == contents(original)


def test_the_safetensors_package_reads_ours_and_we_read_its(prefix, tmp_path):
    path = str(tmp_path / "ours.safetensors")
    convert_checkpoint(prefix, path)
    with safetensors.safe_open(path, "numpy") as theirs, open_checkpoint(prefix) as source:
        assert set(theirs.keys()) == set(source.specs()) - {"names"}
        for name in set(theirs.keys()) - {"float8"}:  # which its numpy side does not read
            assert np.array_equal(theirs.get_tensor(name), source.read(name)), name
    arrays = {"b": np.arange(6, dtype=np.int16).reshape(2, 3), "a": np.ones(5, np.float64)}
    safetensors.numpy.save_file(arrays, tmp_path / "theirs.safetensors", {"note": "x"})
    ours = open_safetensors(str(tmp_path / "theirs.safetensors"))
    assert list(ours.specs()) == ["a", "b"]
    for name, array in arrays.items():
        assert ours.read(name).tolist() == array.tolist()  # type: ignore[attr-defined]
        assert not ours.read(name).flags.owndata


def test_keras_paths_follow_keras_order(prefix, tmp_path):
    path = str(tmp_path / "w.weights.h5")
    convert_checkpoint(prefix, path)
    with h5py.File(path) as file:
        assert file["tower/gates/vars/0"].shape == (4, 3)
        assert file["tower/gates/vars/1"].shape == (3,)
        assert [float(file[f"tower/bn/vars/{i}"][0]) for i in range(4)] == [1, 0, 2, 3]
        assert file["tower/gates/vars/0"].attrs["tensor_name"] == "tower/gates/weights"


@pytest.mark.tf
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in Keras
def test_keras_loads_ours_and_we_carry_its(tmp_path):
    keras = pytest.importorskip("keras")

    class Model(keras.Model):  # type: ignore[name-defined,misc]
        def __init__(self):
            super().__init__()
            self.gates = keras.layers.Dense(3)
            self.norm = keras.layers.BatchNormalization()

        def call(self, inputs):
            return self.norm(self.gates(inputs))

    generator = np.random.default_rng(1)
    arrays = {
        "gates/biases": generator.normal(size=3).astype(np.float32),
        "gates/weights": generator.normal(size=(4, 3)).astype(np.float32),
        **{
            f"norm/{name}": generator.uniform(1, 2, 3).astype(np.float32)
            for name in ("beta", "gamma", "moving_mean", "moving_variance")
        },
    }
    write_checkpoint(str(tmp_path / "model"), arrays)
    path = str(tmp_path / "model.weights.h5")
    convert_checkpoint(str(tmp_path / "model"), path)
    model = Model()
    inputs = generator.normal(size=(5, 4)).astype(np.float32)
    model(inputs)
    model.load_weights(path)
    assert np.array_equal(model.gates.kernel.numpy(), arrays["gates/weights"])
    assert np.array_equal(model.norm.moving_variance.numpy(), arrays["norm/moving_variance"])

    model.save_weights(str(tmp_path / "keras.weights.h5"))
    convert_checkpoint(str(tmp_path / "keras.weights.h5"), str(tmp_path / "carried"))
    convert_checkpoint(str(tmp_path / "carried"), str(tmp_path / "back.weights.h5"))
    other = Model()
    other(inputs * 0)
    other.load_weights(str(tmp_path / "back.weights.h5"))
    assert np.array_equal(other(inputs).numpy(), model(inputs).numpy())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "its header should have 0 bytes"),
        (b"\xff" * 20, "its header should have"),
        (b"\x05\0\0\0\0\0\0\0{]}  ", "damaged one"),
        (b"\x02\0\0\0\0\0\0\0[]", "damaged one"),
    ],
)
def test_damaged_safetensors(tmp_path, content, words):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as error:
        open_safetensors(str(path))
    assert error.value.path == str(path)


@pytest.mark.parametrize(
    "item",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]},
        {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]},
        {"shape": [2]},
        [],
    ],
)
def test_safetensors_headers_that_lie(tmp_path, item):
    header = json.dumps({"w": item}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(CheckpointError, match="damaged one"):
        open_safetensors(str(path))


def test_damaged_h5_and_names_given_twice(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is no HDF5 file") as error:
        open_keras_weights(str(path))
    assert error.value.path == str(path)
    with h5py.File(path, "w") as file:
        for number in range(2):
            file.create_dataset(f"d{number}", data=[1.0]).attrs["tensor_name"] = "same"
    with pytest.raises(CheckpointError, match="names 1 of its tensors twice"):
        open_keras_weights(str(path))


def test_missing_sources(tmp_path):
    for name in ("a.safetensors", "a.h5", "a"):
        with pytest.raises(CheckpointError, match=r"There is no (file|checkpoint) '.*a"):
            convert_checkpoint(str(tmp_path / name), str(tmp_path / "out"))


def test_a_dtype_without_a_place_leaves_nothing(tmp_path):
    write_checkpoint(str(tmp_path / "c"), {"z": np.ones(1, np.complex128)})
    with pytest.raises(CheckpointError, match=r"no dtype for 'z' \(complex128\)") as error:
        convert_checkpoint(str(tmp_path / "c"), str(tmp_path / "c.safetensors"))
    assert error.value.dtype == "complex128"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.data-00000-of-00001", "c.index"]
    convert_checkpoint(str(tmp_path / "c"), str(tmp_path / "c.weights.h5"))


@pytest.mark.parametrize("name", ["o.safetensors", "o.weights.h5"])
def test_a_target_that_cannot_be_written(prefix, tmp_path, name):
    (tmp_path / "file").write_text("no directory")
    out = str(tmp_path / "file" / name)
    with pytest.raises(CheckpointError, match=f"Cannot write '{out}'") as error:
        convert_checkpoint(prefix, out)
    assert error.value.out == out


def test_outputs_are_kept_and_dry_runs_write_nothing(prefix, tmp_path):
    out = str(tmp_path / "o.safetensors")
    assert plan_convert_checkpoint(prefix, out).kind == "safetensors"
    assert not Path(out).exists()
    convert_checkpoint(prefix, out)
    with pytest.raises(OutputExistsError):
        convert_checkpoint(prefix, out)
    with pytest.raises(UsageError, match="is the source itself"):
        convert_checkpoint(prefix, prefix, force=True)


def test_the_command(prefix, tmp_path):
    out = str(tmp_path / "o.weights.h5")
    done = CliRunner().invoke(cli, ["convert", "checkpoint", prefix, out])
    assert done.exit_code == 0, done.output
    assert f"15 tensors, 152 B: {out}" in done.output

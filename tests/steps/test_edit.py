import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import (
    CastOverflowError,
    OutputExistsError,
    TensorMismatchError,
    UsageError,
)
from yt8m_ensemble.steps.edit import edit_weights, plan_edit_weights
from yt8m_ensemble.steps.inspect import compare_checkpoints, inspect_checkpoint

ARRAYS: dict[str, Any] = {
    "global_step": np.array(7, np.int64),
    "tower/a/weights": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "tower/a/weights/Adam": np.ones((3, 4), np.float32),
    "tower/b": np.array([1.5, -0.0, np.nan], np.float64),
    "words": np.array([b"x", b"yz"], object),
}


@pytest.fixture
def source(tmp_path):
    prefix = str(tmp_path / "runs/model.ckpt-7")
    write_checkpoint(prefix, ARRAYS)
    flags = {"feature_names": "rgb", "feature_sizes": "3", "frame_features": True}
    (tmp_path / "runs/model_flags.json").write_text(json.dumps(flags))
    return prefix


def read(prefix):
    with open_checkpoint(prefix) as opened:
        return {name: np.array(opened.read(name)) for name in opened.specs()}


def test_rename_drop_keep_and_cast_come_in_this_order(source, tmp_path):
    out = str(tmp_path / "o")
    done = edit_weights(source, rename=[r"tower/(.*)=>net/\1"], drop=["net/*/Adam"],
                        keep=["net/*", "words"], cast={"net/a/*": "float16"}, out=out)  # fmt: skip
    found = {change.name: vars(change) for change in done.changes}
    assert found["global_step"] == {"name": "global_step", "new_name": None, "action": "drop",
                                    "dtype": "int64"}  # fmt: skip
    assert found["tower/a/weights"] == {"name": "tower/a/weights", "new_name": "net/a/weights",
                                        "action": "cast", "dtype": "float16"}  # fmt: skip
    assert [found[n]["action"] for n in ("tower/a/weights/Adam", "tower/b", "words")] == [
        "drop", "rename", "keep"]  # fmt: skip
    arrays = read(out)
    assert list(arrays) == ["net/a/weights", "net/b", "words"]
    np.testing.assert_array_equal(
        arrays["net/a/weights"], ARRAYS["tower/a/weights"].astype(np.float16)
    )
    assert json.loads((tmp_path / "o.provenance.json").read_text())["model_flags"][
        "feature_names"
    ] == ("rgb")


@pytest.mark.parametrize("ending", ["", ".safetensors", ".weights.h5"])
def test_there_and_back_gives_the_same_bits(source, tmp_path, ending):
    if ending:  # strings have no place there
        plain = str(tmp_path / "plain")
        edit_weights(source, drop=["words"], out=plain)
        source = plain
    there, back = str(tmp_path / f"x{ending}"), str(tmp_path / "y")
    edit_weights(source, rename=["(.*)=>deep/er/\\1"], out=there)
    edit_weights(there, rename=["deep/er/(.*)=>\\1"], out=back)
    assert compare_checkpoints(source, back).num_different == 0
    if not ending:
        one, other = (Path(f"{place}.data-00000-of-00001") for place in (source, back))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.tf
def test_an_object_graph_follows(shared, tmp_path):
    import tensorflow as tf

    path = str(shared / "foreign/checkpoint_manager/ckpt-30")
    there, back = str(tmp_path / "x"), str(tmp_path / "y")
    edit_weights(path, rename=["(.*)=>o/\\1"], out=there)
    reader = tf.train.load_checkpoint(there)
    graph = reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert all(name.startswith("o/") and name.encode() in graph for name in names)
    edit_weights(there, rename=["o/(.*)=>\\1"], out=back)
    assert compare_checkpoints(path, back).num_different == 0


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("keras3.keras", ".safetensors"),
        ("frozen.pb", ".weights.h5"),
        ("saved_model_tf2", ""),
        ("keras_legacy.h5", ".safetensors"),
        ("partitioned/model.ckpt-7", ".safetensors"),
    ],
)
@pytest.mark.tf
def test_any_format_is_read(shared, tmp_path, path, ending):
    out = str(tmp_path / f"o{ending}")
    done = edit_weights(str(shared / "foreign" / path), cast={"*": "float16"}, out=out)
    assert any(change.action == "cast" for change in done.changes)
    kinds = {tensor.spec.dtype for tensor in inspect_checkpoint(out).tensors}
    assert kinds <= {"float16", "int64", "int32", "string"}


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"rename": ["tower/.*=>x"]}, TensorMismatchError, "would both be called 'x'; 1 more"),
        ({"rename": ["tower/b=>words"]}, TensorMismatchError, "'tower/b' and 'words'"),
        ({"rename": ["nothing=>x"]}, UsageError, "'nothing' matches none of the 5 tensors"),
        ({"rename": ["(=>x"]}, UsageError, "no regular expression"),
        ({"rename": [r"tower/b=>\2"]}, UsageError, "no regular expression"),
        ({"rename": ["tower"]}, UsageError, "is not REGEX=>NEW"),
        ({"drop": ["nope*"]}, UsageError, "`--drop`: 'nope"),
        ({"cast": {"nope": "float16"}}, UsageError, "`--cast`"),
        ({"cast": {"*": "int8"}}, UsageError, "`--cast`: expected"),
        ({"drop": ["*"]}, UsageError, "would be left"),
    ],
)  # fmt: skip
def test_slips_are_refused_and_nothing_is_written(*, source, tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        edit_weights(source, **options, out=str(tmp_path / "o"))
    assert not list(tmp_path.glob("o*"))


def test_what_does_not_fit_float16_is_refused(tmp_path):
    write_checkpoint(str(tmp_path / "m"), {"w": np.full(3, 1e6, np.float32)})
    with pytest.raises(CastOverflowError, match="3 of 3 values in 'w'"):
        edit_weights(str(tmp_path / "m"), cast={"w": "float16"}, out=str(tmp_path / "o"))
    assert not list(tmp_path.glob("*o.*"))


def test_nothing_is_replaced_unasked(source, tmp_path):
    with pytest.raises(UsageError, match="is the source itself"):
        edit_weights(source, out=source)
    edit_weights(source, out=str(tmp_path / "o"))
    with pytest.raises(OutputExistsError):
        edit_weights(source, out=str(tmp_path / "o"))
    edit_weights(source, drop=["words"], out=str(tmp_path / "o"), force=True)
    assert "words" not in read(str(tmp_path / "o"))


def test_a_dry_run_lists_the_same_changes(source, tmp_path):
    arguments = ["edit", source, "--rename", "tower/(.*)=>\\1", "--out", str(tmp_path / "o")]
    planned = plan_edit_weights(source, rename=["tower/(.*)=>\\1"], out=str(tmp_path / "o"))
    run = CliRunner().invoke(cli, [*arguments, "--dry-run", "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["changes"] == [vars(change) for change in planned.changes]
    assert not list(tmp_path.glob("o*"))
    assert CliRunner().invoke(cli, arguments).exit_code == 0

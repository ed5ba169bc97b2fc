"""What `inspect` measures and compares, against plain numpy."""

import math

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_ensemble.checkpoints import (
    compare,
    measure,
    open_checkpoint,
    open_keras_weights,
    summarize_meta_graph,
    write_checkpoint,
)
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.values import DictSource, no_progress


def measured(array, **options):
    return measure(DictSource({"w": np.asarray(array)}), progress=no_progress, **options)["w"]


def test_by_hand():
    values = np.array([0.0, -2.0, 70000.0, np.nan, np.inf, -np.inf, 0.0, 4.0], np.float32)
    found = measured(values)
    assert (found.minimum, found.maximum) == (-2.0, 70000.0)
    assert found.mean == 70002.0 / 5
    assert (found.zeros, found.outside_float16, found.nans, found.infinities) == (2, 1, 1, 2)


def test_the_limit_of_float16_is_where_rounding_passes_it():
    found = measured(np.array([65519.99, 65520.0, -65520.0, 65504.0], np.float32))
    assert found.outside_float16 == 2


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.float16]),
        hnp.array_shapes(max_dims=2),
    )
)
def test_agrees_with_numpy(values):
    found = measured(values)
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    assert found.nans == np.isnan(wide).sum()
    assert found.infinities == np.isinf(wide).sum()
    assert found.zeros == (wide == 0).sum()
    if finite.size:
        assert (found.minimum, found.maximum) == (finite.min(), finite.max())
        if np.abs(finite).max() < 1e300:
            assert found.mean == pytest.approx(math.fsum(finite) / finite.size, rel=1e-9, abs=1e-9)
    else:
        assert math.isnan(found.minimum)
        assert math.isnan(found.mean)


def test_all_dtypes_blocks_and_threads(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {
        "bfloat16": generator.normal(size=100).astype(ml_dtypes.bfloat16),
        "complex": np.array([3 + 4j, 0], np.complex64),
        "empty": np.zeros((0, 2), np.float32),
        "large": generator.normal(size=(3, 300_000)).astype(np.float32),
        "text": np.array([b"x"], object),
    }
    write_checkpoint(str(tmp_path / "c"), arrays)
    with open_checkpoint(str(tmp_path / "c")) as source:
        found = measure(source, progress=no_progress, threads=3)
    assert set(found) == set(arrays) - {"text"}
    assert found["complex"].maximum == 5.0
    assert found["bfloat16"].mean == pytest.approx(float(arrays["bfloat16"].astype(float).mean()))
    assert found["large"].mean == pytest.approx(float(arrays["large"].mean(dtype=np.float64)))
    assert found["large"].minimum == float(arrays["large"].min())
    assert math.isnan(found["empty"].maximum)


def test_differences_of_every_kind():
    first = {
        "added": None,
        "dtype": np.ones(2, np.float32),
        "equal": np.ones(2),
        "missing": np.ones(2),
        "shape": np.ones(2),
        "text": np.array([b"a", b"b"], object),
        "values": np.array([1.0, 2.0, 3.0, -0.0]),
    }
    second = {
        "added": np.ones((1, 2)),
        "dtype": np.ones(2, np.float64),
        "equal": np.ones(2),
        "missing": None,
        "shape": np.ones(3),
        "text": np.array([b"a", b"c"], object),
        "values": np.array([1.0, 2.5, 1.0, 0.0]),
    }
    sources = [
        DictSource({name: array for name, array in arrays.items() if array is not None})
        for arrays in (first, second)
    ]
    found = {d.name: d for d in compare(*sources, progress=no_progress)}
    kinds = {name: d.kind for name, d in found.items()}
    assert kinds == {
        **{name: name for name in ("added", "dtype", "equal", "missing", "shape", "values")},
        "text": "values",
    }
    assert (found["added"].first, found["added"].second) == ("-", "float64 [1, 2]")
    assert (found["shape"].first, found["shape"].second) == ("float64 [2]", "float64 [3]")
    values = found["values"]
    assert (values.largest, values.mean, values.count) == (2.0, 2.5 / 4, 3)
    assert found["text"].count == 1


def test_integers_do_not_wrap_and_nans_of_equal_bits_are_equal():
    first = DictSource({"n": np.array([0], np.uint8), "w": np.array([np.nan, 1.0])})
    second = DictSource({"n": np.array([255], np.uint8), "w": np.array([np.nan, 1.0])})
    by_name = {d.name: d for d in compare(first, second, progress=no_progress)}
    assert by_name["n"].largest == 255
    assert by_name["w"].kind == "equal"


def test_h5_blocks_are_the_rows_that_hold_them(tmp_path):
    values = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/w"] = values
        file["scalar"] = np.float64(3)
    with open_keras_weights(str(tmp_path / "x.h5")) as source:
        for start, size in ((0, 60), (7, 11), (59, 1), (12, 12)):
            out = np.empty(size, np.float32)
            source.read_block("a/w", start, out)
            assert np.array_equal(out, values.reshape(-1)[start : start + size])
        assert measure(source, progress=no_progress)["scalar"].mean == 3


@pytest.mark.tf
def test_meta_graphs_as_tensorflow_reads_them(fixtures):
    tf = pytest.importorskip("tensorflow")
    for path in sorted(fixtures.glob("tiny/*/*.meta")):
        meta = tf.compat.v1.MetaGraphDef.FromString(path.read_bytes())
        found = summarize_meta_graph(path.read_bytes(), path=str(path))
        assert found.num_nodes == len(meta.graph_def.node)
        assert sum(found.operations.values()) == found.num_nodes
        listed = {
            key: tuple(value.node_list.value)
            for key, value in meta.collection_def.items()
            if value.node_list.value
        }
        assert found.collections == listed


def test_what_is_no_meta_graph():
    with pytest.raises(CheckpointError, match=r"'x\.meta' is no meta graph") as error:
        summarize_meta_graph(b"\x12\xff\x01", path="x.meta")
    assert error.value.path == "x.meta"

"""What unfolds to more than a model needs is refused by the numbers in the file."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs import graph_limits
from yt8m_ensemble.graphs.asked_sizes import SIZED_BY_VALUES
from yt8m_ensemble.graphs.graph_limits import check_attributes, check_limits, check_shapes
from yt8m_ensemble.operation_policy import load_operation_policy

pytestmark = pytest.mark.tf


def with_constant(value=0.0, *, dims=(), dtype=tf.float32, name="c"):
    meta = tf.compat.v1.MetaGraphDef()
    add_constant(meta, value, dims=dims, dtype=dtype, name=name)
    return meta


def add_constant(meta, value, *, dims=(), dtype=tf.float32, name="c"):
    node = meta.graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
    for dim in dims:
        node.attr["value"].tensor.tensor_shape.dim.add(size=dim)
    return node


def doubling(times):
    """Return functions that each call the next one twice, `times` deep."""
    meta = tf.compat.v1.MetaGraphDef()
    meta.graph_def.node.add(name="call", op="f0")
    for number in range(times):
        function = meta.graph_def.library.function.add()
        function.signature.name = f"f{number}"
        for name in "ab":
            call = function.node_def.add(name=name, op="PartitionedCall")
            call.attr["f"].func.name = f"f{number + 1}"
    return meta


@pytest.mark.parametrize(
    "dims", [(4_000_000_000,), (2**40, 2**40), (1 << 20, 1 << 20), (2**62, 2**62)]
)
def test_a_constant_of_one_value_and_a_huge_shape_is_refused(dims):
    with pytest.raises(GraphError, match=r"constants unfold to over .* bytes at 'c'") as caught:
        check_limits(with_constant(dims=dims), path="m")
    assert caught.value.nbytes == 4 * dims[0] * (dims[1] if len(dims) > 1 else 1)


def test_many_constants_count_together_and_those_in_functions_too():
    meta = with_constant(dims=(50_000_000,))
    check_limits(meta, path="m")
    function = meta.graph_def.library.function.add()
    function.node_def.add().CopyFrom(with_constant(dims=(50_000_000,), name="d").graph_def.node[0])
    with pytest.raises(GraphError, match=r"unfold to over .* at 'd', which takes 200,000,000"):
        check_limits(meta, path="m")


def test_what_constants_may_unfold_to_grows_with_the_file(monkeypatch):
    monkeypatch.setattr(graph_limits, "MIN_CONSTANT_BYTES", 100)
    full = with_constant(np.ones(1000, np.float32))
    check_limits(full, path="m")
    with pytest.raises(GraphError, match="unfold"):
        check_limits(with_constant(dims=(1000,)), path="m")


@pytest.mark.parametrize(
    "damage",
    [
        lambda node: node.attr["dtype"].CopyFrom(tf.compat.v1.AttrValue(type=3)),
        lambda node: node.attr["value"].tensor.tensor_shape.dim.add(size=-1),
        lambda node: setattr(node.attr["value"].tensor, "tensor_content", b"abc"),
        lambda node: setattr(node.attr["value"].tensor, "dtype", 0),
    ],
    ids=["dtype", "shape", "content", "no dtype"],
)
def test_a_constant_whose_parts_do_not_fit_is_refused(damage):
    meta = with_constant()
    damage(meta.graph_def.node[0])
    with pytest.raises(GraphError, match="'m' is damaged: dtype, shape and value"):
        check_limits(meta, path="m")


def test_functions_that_double_are_refused_without_being_unfolded():
    check_limits(doubling(10), path="m")
    with pytest.raises(GraphError, match=r"has 2,199,023,255,551 nodes, 40 functions deep"):
        check_limits(doubling(40), path="m")
    with pytest.raises(GraphError, match="functions deep"):
        check_limits(doubling(5_000), path="m")


def test_functions_that_call_themselves_are_refused():
    meta = doubling(2)
    meta.graph_def.library.function[1].node_def[0].op = "f0"
    with pytest.raises(GraphError, match=r"'f[01]' calls itself"):
        check_limits(meta, path="m")


@pytest.mark.parametrize(
    ("op", "given"),
    [
        ("Fill", ([3_000_000_000], 0)),
        ("Fill", ([100_000, 100_000], 0)),
        ("BroadcastTo", (0, [1 << 20, 1 << 20])),
        ("Tile", (0, [1 << 20, 1 << 20])),
        ("OneHot", (0, 3_000_000_000, 1, 0)),
        ("Range", (0, 5_000_000_000, 1)),
        ("LinSpace", (0, 1, 3_000_000_000)),
        ("Pad", ([0], [[0, 3_000_000_000]])),
        ("PadV2", ([[0]], [[50_000, 50_000], [0, 100_000]], 0)),
        ("MirrorPad", ([0], [[3_000_000_000, 0]])),
        ("SpaceToBatchND", ([0], [1], [[0, 3_000_000_000]])),
        ("ResizeBilinear", ([0], [100_000, 100_000])),
        ("RandomUniform", ([100_000, 100_000],)),
        ("ScatterNd", ([[0]], [0], [3_000_000_000])),
        ("UnsortedSegmentSum", ([0], [0], 3_000_000_000)),
        ("SegmentSum", ([0], [3_000_000_000])),
        ("MatrixDiagV3", ([0], [60_000, 0], -1, -1, 0)),
        ("MatrixDiagV3", ([0], 0, 100_000, 100_000, 0)),
        ("RaggedRange", ([0, 0], [4_000_000_000, 3_000_000_000], [1, 0])),
        ("TensorListReserve", (1, 3_000_000_000)),
        ("SparseFillEmptyRows", ([[0, 0]], [0], [3_000_000_000, 1], 0)),
    ],
)
def test_an_operation_that_is_asked_for_billions_is_refused(op, given):
    meta = tf.compat.v1.MetaGraphDef()
    node = meta.graph_def.node.add(name="huge", op=op)
    for position, value in enumerate(given):
        add_constant(meta, value, dtype=tf.int64, name=f"c{position}")
        node.input.append(f"c{position}")
    with pytest.raises(GraphError, match=r"'huge' makes .* bytes for one video"):
        check_limits(meta, path="m")
    # What is computed is left to the importer's shapes and to the limits of a run.
    node.input[:] = [f"x{position}" for position in range(len(given))]
    check_limits(meta, path="m")


SIZES = {
    "crop_size", "deltas", "dense_shape", "depth", "dims", "fft_length", "fixed_length",
    "input_sizes", "k", "limits", "max_output_size", "max_total_size", "multiples", "nbins",
    "nrows", "num", "num_cols", "num_elements", "num_rows", "num_samples", "num_segments",
    "output_shape", "paddings", "segment_ids", "shape", "size", "starts",
}  # fmt: skip
"""What TensorFlow calls the inputs whose value is the size of a result."""

SIZED_BY_NO_VALUE = {
    "ConcatOffset", "DynamicStitch", "InTopKV2", "MatrixDiagPartV2", "MatrixDiagPartV3",
    "MatrixSetDiagV2", "MatrixSetDiagV3", "NonMaxSuppression", "NonMaxSuppressionV2",
    "NonMaxSuppressionV3", "NonMaxSuppressionWithOverlaps", "QuantizedReshape", "RandomCrop",
    "Reshape", "Reverse", "Slice", "SparseCountSparseOutput", "SparseSlice", "SparseSplit",
    "TopKV2", "UnravelIndex",
}  # fmt: skip
"""Operations with such an input whose results are no larger than another input."""


def test_every_operation_whose_result_is_as_large_as_a_value_says_is_counted():
    policy = load_operation_policy()
    allowed = {name for name, family in policy.items() if family.verdict != "refused"}
    assert allowed >= set(SIZED_BY_VALUES)
    for name in allowed - SIZED_BY_NO_VALUE - {"Range"}:
        inputs = getattr(op_def_registry.get(name), "input_arg", [])
        sized = {place for place, value in enumerate(inputs) if value.name in SIZES}
        counted = {p for _, places in SIZED_BY_VALUES.get(name, ()) for p in places}
        assert counted <= sized, name
        assert bool(counted) == bool(sized), name


@pytest.mark.parametrize(
    ("op", "given"),
    [
        ("Range", (1, 1, 0)),
        ("Range", (0, 10, 2)),
        ("Pad", ([0], [[1, 2]])),
        ("Pad", ([0], 3_000_000_000)),
        ("SparseFillEmptyRows", ([[0]], [0], [], 0)),
        ("SegmentSum", ([0], [])),
    ],
)
def test_small_or_senseless_requests_pass(op, given):
    meta = tf.compat.v1.MetaGraphDef()
    node = meta.graph_def.node.add(name="r", op=op)
    for position, value in enumerate(given):
        add_constant(meta, value, dtype=tf.int64, name=f"c{position}")
        node.input.append(f"c{position}")
    check_limits(meta, path="m")


def test_an_imported_graph_is_held_to_its_shapes():
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 8))
        sizes = tf.cast(tf.constant([100_000, 8_000], tf.float32), tf.int32)
        tf.add(tf.fill(sizes, 1.0), 1.0, name="sum")
        check = x @ tf.compat.v1.get_variable("w", (8, 10**9), use_resource=False)
    assert check.shape[-1] == 10**9  # a variable is as large as its checkpoint says
    with pytest.raises(GraphError, match="'Fill' makes 3,200,000,000 bytes for one video"):
        check_shapes(graph, path="m")


def test_a_missing_attribute_is_named():
    meta = tf.compat.v1.MetaGraphDef()
    function = meta.graph_def.library.function.add()
    node = function.node_def.add(name="loop", op="While")
    with pytest.raises(GraphError, match="'m' is damaged: While 'loop' lacks the attribute 'T'"):
        check_attributes(meta, path="m")
    node.op = "Identity"
    node.attr["T"].type = 0
    with pytest.raises(GraphError, match="Identity 'loop' names no dtype in 'T'"):
        check_attributes(meta, path="m")


@pytest.mark.parametrize(
    ("dtype", "field", "values"),
    [
        (tf.float32, "float_val", [1.0] * 3),
        (tf.string, "string_val", [b"a"] * 3),
        (tf.float16, "half_val", [1] * 3),
        (tf.complex64, "scomplex_val", [1.0] * 6),
    ],
)
def test_a_constant_of_more_values_than_its_shape_has_is_refused(dtype, field, values):
    meta = with_constant()
    tensor, node = meta.graph_def.node[0].attr["value"].tensor, meta.graph_def.node[0]
    tensor.Clear()
    tensor.dtype = node.attr["dtype"].type = dtype.as_datatype_enum
    tensor.tensor_shape.dim.add().size = 2
    getattr(tensor, field).extend(values)
    with pytest.raises(GraphError, match="do not fit each other"):
        check_limits(meta, path="m")
    tensor.tensor_shape.dim[0].size = 3
    check_limits(meta, path="m")

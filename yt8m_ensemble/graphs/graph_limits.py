"""How large a stranger's graph may become: its nodes, functions in line, its constants and results.

A few bytes may ask for terabytes: a constant of one value and a huge shape, functions that each
call another twice, a fill of a billion. All are refused by the numbers in the file, before
TensorFlow sees it; what only the values of a run tell is left to limits of time and memory.
"""

from __future__ import annotations

import math
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf
from tensorflow.core.framework.types_pb2 import DataType
from tensorflow.python.framework import op_def_registry

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.asked_sizes import SIZED_BY_VALUES, asked_values
from yt8m_ensemble.graphs.model_graph import VARIABLE_OPS, called_functions, node_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.framework.tensor_pb2 import TensorProto

MAX_NODES: Final = 500_000
"""Nodes of a graph, each function's as often as it is called; the original ensembles have 2,100."""

MAX_DEPTH: Final = 64
"""Functions that call each other in a row."""

MAX_TENSOR_BYTES: Final = 2**31
"""Bytes of one result for one video."""

MIN_CONSTANT_BYTES: Final = 2**28
"""Bytes that a graph's constants may unfold to however small its file is."""

MAX_UNFOLDING: Final = 16
"""Bytes that a graph's constants may unfold to for each byte of its file."""

_STRING_BYTES: Final = 24
_SMALL: Final = 64
_UNSIZED: Final = frozenset({"DT_INVALID", "DT_STRING", "DT_RESOURCE", "DT_VARIANT"})
_ITEM_SIZES: Final = {
    number: int(tf.as_dtype(number).size)
    for name, number in DataType.items()
    if name.removesuffix("_REF") not in _UNSIZED
}
"""Bytes of a value by dtype number."""


def check_limits(meta: Any, *, path: str) -> None:
    """Refuse a graph whose nodes or constants unfold to more than a model needs.

    Args:
        meta: The `MetaGraphDef`.
        path: Where it is from, for messages.

    Raises:
        GraphError: If they do, or if a constant is damaged.
    """
    bodies = {f.signature.name: list(f.node_def) for f in meta.graph_def.library.function}
    _check_calls(meta.graph_def.node, bodies, path)
    limit = max(MIN_CONSTANT_BYTES, MAX_UNFOLDING * meta.ByteSize())
    total = 0
    for body in (meta.graph_def.node, *bodies.values()):
        constants = {}
        for node in body:
            for tensor in _tensors(node):
                nbytes = _unfolded_bytes(node, tensor, path)
                total += nbytes
                if total > limit:
                    msg = (
                        f"'{path}' is refused: its constants unfold to over {limit:,} bytes at "
                        f"'{node.name}', which takes {nbytes:,}. Keep weights in a checkpoint."
                    )
                    raise GraphError(msg, path=path, node=node.name, nbytes=nbytes, limit=limit)
                if node.op == "Const" and math.prod(_dims(tensor)) <= _SMALL:
                    constants[node.name] = tensor
        for node in body:
            _check_asked(node, constants, path)


def check_shapes(graph: tf.Graph, *, path: str) -> None:
    """Refuse an imported graph if one of its results is too large for one video.

    Args:
        graph: The graph; dimensions that it does not tell count as one.
        path: Where it is from, for messages.

    Raises:
        GraphError: If one is.
    """
    for operation in graph.get_operations():
        for output in () if operation.type in VARIABLE_OPS else operation.outputs:
            if output.shape.rank:
                size = math.prod(dim or 1 for dim in output.shape.as_list())
                _check_result(
                    operation.name,
                    size * _ITEM_SIZES.get(output.dtype.as_datatype_enum, _STRING_BYTES),
                    path,
                )


def check_attributes(meta: Any, *, path: str) -> None:
    """Refuse a graph in which a node lacks an attribute that its operation needs.

    Args:
        meta: The `MetaGraphDef`.
        path: Where it is from, for messages.

    Raises:
        GraphError: If one does; TensorFlow's importer would name neither file nor node.
    """
    functions = (node for f in meta.graph_def.library.function for node in f.node_def)
    for node in (*meta.graph_def.node, *functions):
        definition = op_def_registry.get(node.op)
        for attribute in definition.attr if definition is not None else ():
            value = node.attr.get(attribute.name)
            if value is None and not attribute.HasField("default_value"):
                fault = f"lacks the attribute '{attribute.name}'"
            elif value is not None and attribute.type == "type" and not value.type:
                fault = f"names no dtype in '{attribute.name}'"
            else:
                continue
            msg = f"'{path}' is damaged: {node.op} '{node.name}' {fault}. Export the model again."
            raise GraphError(msg, path=path, node=node.name, attribute=attribute.name)


def _check_calls(nodes: Any, bodies: Mapping[str, list[NodeDef]], path: str) -> None:
    """Refuse functions that call themselves, or unfold to too many nodes.

    Raises:
        GraphError: If they do.
    """
    calls = {
        name: [c for node in body for c in _called(node, bodies)] for name, body in bodies.items()
    }
    try:
        order = tuple(TopologicalSorter({name: set(c) for name, c in calls.items()}).static_order())
    except CycleError as error:
        msg = f"'{path}' is refused: its function '{error.args[1][0]}' calls itself."
        raise GraphError(msg, path=path, function=error.args[1][0]) from error
    sizes: dict[str, int] = {}
    depths: dict[str, int] = {}
    for name in order:
        sizes[name] = len(bodies[name]) + sum(sizes[called] for called in calls[name])
        depths[name] = 1 + max((depths[called] for called in calls[name]), default=0)
    total = len(nodes) + sum(sizes[c] for node in nodes for c in _called(node, bodies))
    if total > MAX_NODES or max(depths.values(), default=0) > MAX_DEPTH:
        msg = (
            f"'{path}' is refused: with its functions in line the graph has {total:,} nodes, "
            f"{max(depths.values(), default=0)} functions deep; at most {MAX_NODES:,} and "
            f"{MAX_DEPTH} are allowed."
        )
        raise GraphError(msg, path=path, nodes=total, limit=MAX_NODES)


def _called(node: NodeDef, bodies: Mapping[str, Any]) -> list[str]:
    return [name for name in (node.op, *called_functions(node)) if name in bodies]


def _tensors(node: NodeDef) -> Iterator[TensorProto]:
    for value in node.attr.values():
        if value.HasField("tensor"):
            yield value.tensor
        elif value.HasField("list"):
            yield from value.list.tensor


def _unfolded_bytes(node: NodeDef, tensor: TensorProto, path: str) -> int:
    """Return the bytes of a constant in memory.

    Raises:
        GraphError: If its parts do not fit each other; TensorFlow may die of such a one.
    """
    dtypes = [node.attr["dtype"]] if "dtype" in node.attr else []
    dims, itemsize = _dims(tensor), _ITEM_SIZES.get(tensor.dtype)
    nbytes = math.prod(dims) * (itemsize or _STRING_BYTES)
    if (
        min(dims, default=0) < 0
        or (node.op == "Const" and {tensor.dtype} != {value.type for value in dtypes})
        or (itemsize and tensor.tensor_content and len(tensor.tensor_content) != nbytes)
        or _count_values(tensor) > math.prod(dims)
    ):
        msg = (
            f"'{path}' is damaged: dtype, shape and value of the constant '{node.name}' do not fit "
            "each other. Export the model again."
        )
        raise GraphError(msg, path=path, node=node.name)
    return nbytes


def _check_asked(node: NodeDef, constants: Mapping[str, TensorProto], path: str) -> None:
    if node.op not in SIZED_BY_VALUES:
        return
    given = {
        position: tf.make_ndarray(constants[name])
        for position, name in enumerate(map(node_name, node.input))
        if name in constants
    }
    _check_result(node.name, asked_values(node.op, given), path)


def _check_result(name: str, nbytes: float, path: str) -> None:
    """Refuse a result that is too large.

    Raises:
        GraphError: If it is.
    """
    if nbytes > MAX_TENSOR_BYTES:
        msg = (
            f"'{path}' is refused: '{name}' makes {nbytes:,.0f} bytes for one video, at most "
            f"{MAX_TENSOR_BYTES:,} are allowed."
        )
        raise GraphError(msg, path=path, node=name, nbytes=nbytes, limit=MAX_TENSOR_BYTES)


def _count_values(tensor: TensorProto) -> int:
    """Return how many values are listed one by one; the last one stands for all that follow."""
    lists = {field.name: len(value) for field, value in tensor.ListFields() if field.is_repeated}
    return max((n // 2 if "complex" in name else n for name, n in lists.items()), default=0)


def _dims(tensor: TensorProto) -> list[int]:
    return [int(dim.size) for dim in tensor.tensor_shape.dim]

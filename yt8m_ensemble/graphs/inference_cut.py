"""Cut the inference part out of a stranger's meta graph, checked before anything imports it.

Takes any `MetaGraphDef` (of a `.meta`, a SavedModel, a frozen graph, a traced Keras model) and the
names of its input and output; reads no file and no weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.graph_ends import adapt_ends
from yt8m_ensemble.graphs.graph_limits import check_attributes, check_shapes
from yt8m_ensemble.graphs.lowering import lower
from yt8m_ensemble.graphs.model_graph import ModelGraph, from_tf_graph, needed_nodes, node_name
from yt8m_ensemble.graphs.operation_check import Root, check_graph

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from tensorflow.core.framework.node_def_pb2 import NodeDef

    from yt8m_ensemble.graphs.operation_check import GraphReport

_SHOWN = 3
_RESTORE_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def cut_inference(
    meta: Any,
    named: Mapping[str, str],
    *,
    path: str,
    members: Mapping[str, str] | None = None,
    allow_operations: Collection[str] = (),
    has_logits: bool = False,
) -> ModelGraph:
    """Check what a graph would run, and cut it to its inference part.

    The caller has checked the graph's size with `check_limits`.

    Args:
        meta: The `MetaGraphDef`; one without frame counts is given a placeholder for them.
        named: Tensor names by collection of the contract; `num_frames` may be left out.
        path: Where the graph is from, for messages.
        members: By member name, the tensor name of its own scores.
        allow_operations: Operations to run though they are not on the list of allowed ones.
        has_logits: Whether its output is logits, which a sigmoid makes scores of.

    Returns:
        The graph from `input_batch_raw` and `num_frames` to `predictions`.

    Raises:
        GraphError: If it holds an operation that may not run, needs a placeholder that nobody
            feeds, or cannot be imported.
    """
    named, members = dict(named), members or {}
    if "num_frames" not in named:
        named["num_frames"] = _add_frame_counts(meta.graph_def)
    graph = tf.Graph()
    try:
        report = _check_inference(meta, named, members, path=path, allow=allow_operations)
        check_attributes(meta, path=path)
        flat, moved = lower(_without_training(meta.graph_def, [*named.values(), *members.values()]))
        parts = list(_stored_parts(_restoring(meta)))
        for node in flat.node:
            node.device = ""
        with graph.as_default():
            tf.import_graph_def(flat, name="")
        check_shapes(graph, path=path)
        predictions = named["predictions"]
        while predictions in moved:
            predictions = moved[predictions]
        cut = from_tf_graph(
            graph,
            inputs=named["input_batch_raw"],
            num_frames=named["num_frames"],
            predictions=predictions,
            keys={node: key for node, key, _ in parts},
            slices={node: part for node, _, part in parts if part},
            members=members,
        )
        given = graph.get_tensor_by_name(predictions).dtype.base_dtype
        adapted = adapt_ends(cut, given=given, has_logits=has_logits, path=path)
        return replace(adapted, unreached=report.unreached)
    except GraphError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, tf.errors.OpError) as error:
        # Whatever part of a damaged graph TensorFlow's Python stumbles over.
        msg = f"The graph in '{path}' cannot be loaded: {error}"
        raise GraphError(msg, path=path) from error


def _add_frame_counts(graph_def: GraphDef) -> str:
    """Add a placeholder that feeds nothing, for a graph that takes no frame counts.

    Returns:
        Its tensor.
    """
    taken = {node.name for node in graph_def.node}
    name = "num_frames"
    while name in taken:
        name += "_"
    node = graph_def.node.add(name=name, op="Placeholder")
    node.attr["dtype"].type = tf.int32.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape([None]).as_proto())
    return f"{name}:0"


def _restoring(meta: Any) -> GraphDef:
    """Return a graph in which restore operations lie open: of TensorFlow 2 they are in a function.

    It is read, never run.
    """
    name = node_name(meta.saver_def.restore_op_name)
    call = next((node for node in meta.graph_def.node if node.name == name), None)
    if call is None or call.op not in _RESTORE_CALLS:
        return meta.graph_def
    return lower(_without_training(meta.graph_def, [name]))[0]


def _check_inference(
    meta: Any,
    named: Mapping[str, str],
    members: Mapping[str, str],
    *,
    path: str,
    allow: Collection[str],
) -> GraphReport:
    """Refuse a graph whose predictions need what may not run, or what nobody feeds.

    Returns:
        What the check found.

    Raises:
        GraphError: If they do.
    """
    fed = frozenset({named["input_batch_raw"], named["num_frames"]})
    report = check_graph(
        meta,
        roots=[
            Root("predictions", (named["predictions"], *members.values()), fed),
            # What made the inputs is imported for their shapes, then dropped.
            Root("inputs", tuple(fed)),
        ],
        path=path,
        allow=allow,
        is_lowered=True,
    )
    if report.unfed:
        listed = ", ".join(f"'{name}'" for name in report.unfed[:_SHOWN])
        msg = (
            f"The predictions in '{path}' depend on {listed}, which nobody feeds. Give a value, as "
            f"with `yt8m-ens predict --set {report.unfed[0]}=false`."
        )
        raise GraphError(msg, path=path, placeholders=report.unfed)
    return report


def _without_training(graph_def: GraphDef, tensors: Iterable[str]) -> GraphDef:
    """Return the graph without initialisers, savers and optimizers, which assign variables."""
    kept = GraphDef()
    kept.versions.CopyFrom(graph_def.versions)
    kept.library.CopyFrom(graph_def.library)
    kept.node.extend(needed_nodes(graph_def, [node_name(tensor) for tensor in tensors], ()))
    return kept


def _stored_parts(graph_def: GraphDef) -> Iterator[tuple[str, str, tuple[slice, ...]]]:
    """Return the checkpoint tensor that the graph's own saver restores into each variable.

    Yields:
        The variable's node name, the checkpoint's tensor, and the part of it; no slices are all.
    """
    nodes = {node.name: node for node in graph_def.node}

    def source_of(value: str) -> tuple[NodeDef | None, int]:
        name, _, output = value.partition(":")
        node = nodes.get(name)
        while node is not None and node.op == "Identity":
            name, _, output = node.input[0].partition(":")
            node = nodes.get(name)
        return node, int(output or 0)

    def strings(value: str) -> list[str]:
        node, _ = source_of(value)
        if node is None or node.op != "Const":
            return []
        return [text.decode() for text in tf.make_ndarray(node.attr["value"].tensor).ravel()]

    for node in graph_def.node:
        if node.op in {"Assign", "AssignVariableOp"}:
            restore, output = source_of(node.input[1])
            if restore is None or restore.op != "RestoreV2":
                continue
            keys, parts = strings(restore.input[1]), strings(restore.input[2])
            if output < min(len(keys), len(parts)):
                yield node_name(node.input[0]), keys[output], _parse_part(parts[output])


def _parse_part(text: str) -> tuple[slice, ...]:
    """Return the slices of a saver's partition, e.g. `10 8 0,5:-` (whole shape, start and length).

    Examples:
        >>> _parse_part("10 8 0,5:-")
        (slice(0, 5, None), slice(None, None, None))
    """
    if not text:
        return ()
    starts = [part.split(",") for part in text.rpartition(" ")[2].split(":")]
    return tuple(
        slice(None) if part == ["-"] else slice(int(part[0]), int(part[0]) + int(part[1]))
        for part in starts
    )

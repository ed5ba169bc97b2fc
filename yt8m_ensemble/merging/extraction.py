"""Write one member of an ensemble as an inference model of its own; the reverse of a merge.

Streams the weights as they are stored, or decodes them. Chooses no members.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.checkpoints import CheckpointWriter
from yt8m_ensemble.graphs import ModelGraph, cut_member, find_decoders, node_name, write_meta_graph
from yt8m_ensemble.threads import call_interruptibly
from yt8m_ensemble.values import DictSource, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource


def write_inference_model(graph: ModelGraph, source: TensorSource, directory: str) -> int:
    """Write `inference_model.{meta,index,data}`, each variable under the name of its node.

    Args:
        graph: The graph.
        source: Its weights.
        directory: Where to, there already.

    Returns:
        Bytes of the weights.
    """
    prefix = f"{directory}/inference_model"
    nbytes = write_weights(graph, source, prefix)
    own = {node: replace(spec, name=node) for node, spec in graph.variables.items()}
    write_meta_graph(replace(graph, variables=own, slices={}), f"{prefix}.meta")
    return nbytes


def write_weights(graph: ModelGraph, source: TensorSource, prefix: str) -> int:
    """Write a checkpoint of a graph's variables, each under the name of its node.

    Args:
        graph: The graph.
        source: Its weights.
        prefix: Where to.

    Returns:
        Their bytes.
    """
    nbytes = 0
    with CheckpointWriter(prefix) as writer:
        for node in sorted(graph.variables):
            values = graph.read(node, source)
            writer.add(node, values)
            nbytes += values.nbytes
    return nbytes


def decode_weights(graph: ModelGraph, source: TensorSource) -> tuple[ModelGraph, TensorSource]:
    """Store weights of 16 or fewer bits as the float32 that the graph makes of them.

    Args:
        graph: A graph.
        source: Its weights.

    Returns:
        The graph with float32 variables in the place of what decodes, and all its weights.
    """
    decoders = find_decoders(graph)
    decoded = {name: _run(graph, source, name, used) for name, used in decoders.items()}
    wide = GraphDef()
    wide.CopyFrom(graph.graph_def)
    variables = dict(graph.variables)
    for node in wide.node:
        if node.name not in decoded:
            continue
        values = decoded[node.name]
        del node.input[:]
        node.op = "VariableV2"
        node.attr.clear()
        node.attr["dtype"].type = tf.float32.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(values.shape).as_proto())
        variables[node.name] = TensorSpec(node.name, values.shape, "float32")
    changed = cut_member(replace(graph, graph_def=wide, variables=variables), graph.predictions)
    arrays = {
        node: decoded[node] if node in decoded else graph.read(node, source)
        for node in changed.variables
    }
    own = {node: replace(spec, name=node) for node, spec in changed.variables.items()}
    named = _weight_names(own, decoders)
    return _rename(replace(changed, variables=own, slices={}), named), DictSource(
        {named[node]: values for node, values in arrays.items()}
    )


def _weight_names(
    variables: Mapping[str, TensorSpec], decoders: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """Return a name for each variable: a decoded weight takes that of its codes, if it is free."""
    named: dict[str, str] = {}
    for node in sorted(variables):
        weight = decoders[node][0] if node in decoders else node
        is_free = weight == node or (weight not in variables and weight not in named.values())
        named[node] = weight if is_free else node
    return named


def _rename(graph: ModelGraph, names: Mapping[str, str]) -> ModelGraph:
    renamed = GraphDef()
    renamed.CopyFrom(graph.graph_def)
    for node in renamed.node:
        node.name = names.get(node.name, node.name)
        for position, value in enumerate(node.input):
            name = node_name(value)
            if name in names:
                node.input[position] = value.replace(name, names[name], 1)
    variables = {
        names[node]: replace(spec, name=names[node]) for node, spec in graph.variables.items()
    }
    return replace(graph, graph_def=renamed, variables=variables)


def _run(graph: ModelGraph, source: TensorSource, name: str, used: tuple[str, ...]) -> NDArray[Any]:
    """Return what a node makes of its variables."""
    part = cut_member(graph, f"{name}:0")
    with tf.Graph().as_default() as imported, tf.compat.v1.Session() as session:
        tf.import_graph_def(part.graph_def, name="")
        for node in used:
            value = tf.raw_ops.Placeholder(dtype=graph.variables[node].dtype)
            variable = imported.get_tensor_by_name(f"{node}:0")
            assign = tf.raw_ops.Assign(ref=variable, value=value)
            session.run(assign.op, {value: graph.read(node, source)})
        values: NDArray[Any] = call_interruptibly(session.run, f"{name}:0")
    return values

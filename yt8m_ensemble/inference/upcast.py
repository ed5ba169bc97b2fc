"""Cast half-precision weights when they are loaded rather than in every run of the graph."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.graphs import node_name

if TYPE_CHECKING:
    from yt8m_ensemble.graphs import ModelGraph

_HALF: Final = {tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}
_FLOAT: Final = tf.float32.as_datatype_enum


def upcast_variables(model: ModelGraph) -> ModelGraph:
    """Make float32 variables of those that the graph only ever casts to float32.

    A graph in float16 storage casts all its weights in every run: for a small batch that takes
    longer than the rest. The scores stay the same bit for bit, since every float16 and bfloat16 is
    a float32. The variables take twice the memory, but no results of casts lie beside them.

    Args:
        model: Any graph.

    Returns:
        The graph with wider variables; whoever fills them casts the values.
    """
    graph_def = GraphDef()
    graph_def.CopyFrom(model.graph_def)
    nodes = {node.name: node for node in graph_def.node}
    consumers: dict[str, list[Any]] = defaultdict(list)
    for node in graph_def.node:
        for value in node.input:
            consumers[node_name(value)].append(node)
    fetched = set(map(node_name, (model.predictions, *model.members.values())))
    variables = dict(model.variables)
    for name, spec in model.variables.items():
        readers = _only_cast(name, nodes, consumers, fetched)
        if readers is None:
            continue
        nodes[name].attr["dtype"].type = _FLOAT
        for reader in readers:
            if reader.op == "Cast":
                reader.op = "Identity"
                reader.attr.clear()
            reader.attr["T"].type = _FLOAT
        variables[name] = replace(spec, dtype="float32")
    return replace(model, graph_def=graph_def, variables=variables)


def _only_cast(
    name: str, nodes: dict[str, Any], consumers: dict[str, list[Any]], fetched: set[str]
) -> list[Any] | None:
    """Return the nodes between a half-precision variable and its values in float32.

    `None` if the variable is of another precision, or something uses it as it is stored.
    """
    if nodes[name].attr["dtype"].type not in _HALF:
        return None
    found, waiting = [], [name]
    while waiting:
        for reader in consumers[waiting.pop()]:
            is_cast = reader.op == "Cast" and reader.attr["DstT"].type == _FLOAT
            if reader.name in fetched or not (is_cast or reader.op == "Identity"):
                return None
            found.append(reader)
            if not is_cast:
                waiting.append(reader.name)
    return found

"""Bind placeholders that nobody feeds, such as `is_training`, to constants.

Changes a graph definition in place; reads no file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from yt8m_ensemble.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef

PLACEHOLDER_OPS: Final = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_MAX_SIZE: Final = 1024  # what is bound is a switch or a rate, perhaps one a feature
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def bind_placeholders(graph_def: GraphDef, values: Mapping[str, str], *, path: str) -> None:
    """Put constants in the place of placeholders.

    Args:
        graph_def: The graph, changed in place.
        values: By placeholder, a number or `true` or `false`.
        path: Where the graph is from, for messages.

    Raises:
        GraphError: If a name is no placeholder's, or a value does not fit its dtype.
    """
    nodes = {node.name: node for node in graph_def.node if node.op in PLACEHOLDER_OPS}
    for name, text in values.items():
        if name not in nodes:
            listed = ", ".join(f"'{found}'" for found in nodes) or "none"
            msg = f"'{path}' has no placeholder '{name}' that could be bound. It has {listed}."
            raise GraphError(msg, path=path, placeholder=name, placeholders=tuple(nodes))
        node = nodes[name]
        value = _parse(text, node)
        if value is None:
            dtype = tf.as_dtype(node.attr["dtype"].type).name
            msg = f"'{text}' is no {dtype}, which the placeholder '{name}' in '{path}' takes."
            raise GraphError(msg, path=path, placeholder=name, value=text)
        _make_constant(node, value)


def _parse(text: str, node: NodeDef) -> Any | None:
    """Return a value of a placeholder's dtype and shape; `None` if the text is none."""
    dtype = tf.as_dtype(node.attr["dtype"].type)
    shape = [max(1, dim.size) for dim in node.attr["shape"].shape.dim]
    if math.prod(shape) > _MAX_SIZE:
        return None
    try:
        if dtype.is_bool:
            value: Any = _BOOLEANS[text.lower()]
        else:
            value = int(text) if dtype.is_integer else float(text)
        return tf.make_tensor_proto(np.full(shape, value), dtype)
    except (LookupError, ValueError, OverflowError, TypeError):
        return None


def _make_constant(node: NodeDef, value: Any) -> None:
    node.op = "Const"
    waits = [source for source in node.input if source.startswith("^")]
    del node.input[:]
    node.input.extend(waits)
    node.attr.clear()
    node.attr["dtype"].type = value.dtype
    node.attr["value"].tensor.CopyFrom(value)

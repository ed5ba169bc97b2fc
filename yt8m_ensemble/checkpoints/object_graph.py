"""The object graph inside TensorFlow 2's checkpoints, which says what object each tensor is of.

Source: `core/protobuf/trackable_object_graph.proto`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.checkpoints.wire import read_fields, write_bytes, write_number

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""Name of the string tensor that holds it."""

_NODE, _ATTRIBUTE, _CHECKPOINT_KEY = 1, 2, 3


def prune_object_graph(graph: bytes, names: AbstractSet[str]) -> bytes:
    """Return an object graph without some tensors, so that a restore does not look for them.

    Args:
        graph: A serialized `TrackableObjectGraph`.
        names: Tensors that the checkpoint no longer holds.

    Returns:
        The graph with the same objects.
    """
    return b"".join(
        _format(field, _prune_node(value, names))
        if field == _NODE and isinstance(value, bytes)
        else _format(field, value)
        for field, value in read_fields(graph)
    )


def _prune_node(node: bytes, names: AbstractSet[str]) -> bytes:
    return b"".join(
        _format(field, value)
        for field, value in read_fields(node)
        if field != _ATTRIBUTE or not isinstance(value, bytes) or _key(value) not in names
    )


def _key(attribute: bytes) -> str:
    return next(
        (
            value.decode()
            for field, value in read_fields(attribute)
            if field == _CHECKPOINT_KEY and isinstance(value, bytes)
        ),
        "",
    )


def _format(field: int, value: int | bytes) -> bytes:
    return write_bytes(field, value) if isinstance(value, bytes) else write_number(field, value)

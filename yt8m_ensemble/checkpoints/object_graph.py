"""The object graph inside TensorFlow 2's checkpoints, which says what object each tensor is of.

Source: `core/protobuf/trackable_object_graph.proto`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.checkpoints.wire import read_fields, write_bytes, write_number

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    return rename_in_object_graph(graph, dict.fromkeys(names))


def rename_in_object_graph(graph: bytes, names: Mapping[str, str | None]) -> bytes:
    """Return an object graph whose tensors have other names.

    Args:
        graph: A serialized `TrackableObjectGraph`.
        names: New names by old ones; `None` for tensors that are gone.

    Returns:
        The graph with the same objects.
    """
    return b"".join(
        _format(field, _rename_in_node(value, names))
        if field == _NODE and isinstance(value, bytes)
        else _format(field, value)
        for field, value in read_fields(graph)
    )


def _rename_in_node(node: bytes, names: Mapping[str, str | None]) -> bytes:
    parts = []
    for field, value in read_fields(node):
        if field == _ATTRIBUTE and isinstance(value, bytes):
            key = _key(value)
            new = names.get(key, key)
            if new is not None:
                parts.append(_format(field, value if new == key else _rename_key(value, new)))
        else:
            parts.append(_format(field, value))
    return b"".join(parts)


def _rename_key(attribute: bytes, name: str) -> bytes:
    return b"".join(
        _format(field, name.encode() if field == _CHECKPOINT_KEY else value)
        for field, value in read_fields(attribute)
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

"""What a `.meta` file says of its graph: in- and outputs and operations, without TensorFlow.

Source: `core/protobuf/meta_graph.proto` and `core/framework/{graph,node_def}.proto`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.checkpoints.wire import read_fields
from yt8m_ensemble.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_META_GRAPH, _META_COLLECTION = 2, 4
_GRAPH_NODE = 1
_NODE_OPERATION = 2
_KEY, _VALUE = 1, 2  # of an entry of a map
_NODE_LIST = 1


@dataclass(frozen=True)
class GraphSummary:
    """Summary of a meta graph.

    Args:
        num_nodes: Nodes of its graph.
        operations: How often each operation occurs, most frequent first.
        collections: Tensor or node names of each collection that lists such.
    """

    num_nodes: int
    operations: Mapping[str, int]
    collections: Mapping[str, tuple[str, ...]]


def summarize_meta_graph(data: bytes, *, path: str) -> GraphSummary:
    """Summarize a meta graph.

    Args:
        data: Content of the `.meta` file.
        path: Its path, for the message.

    Returns:
        The summary.

    Raises:
        CheckpointError: If it is no meta graph.
    """
    operations: Counter[str] = Counter()
    collections: dict[str, tuple[str, ...]] = {}
    try:
        for graph in _messages(data, _META_GRAPH):
            for node in _messages(graph, _GRAPH_NODE):
                operations.update(text.decode() for text in _messages(node, _NODE_OPERATION))
        for entry in _messages(data, _META_COLLECTION):
            key = b"".join(_messages(entry, _KEY)).decode()
            names = [
                name.decode()
                for value in _messages(entry, _VALUE)
                for node_list in _messages(value, _NODE_LIST)
                for name in _messages(node_list, 1)
            ]
            if names:
                collections[key] = tuple(names)
    except (CheckpointError, UnicodeDecodeError) as error:
        msg = f"'{path}' is no meta graph, or a damaged one: {error}. Export the model again."
        raise CheckpointError(msg, path=path) from error
    return GraphSummary(
        operations.total(), dict(operations.most_common()), dict(sorted(collections.items()))
    )


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    for field, value in read_fields(data):
        if field == wanted and isinstance(value, bytes):
            yield value

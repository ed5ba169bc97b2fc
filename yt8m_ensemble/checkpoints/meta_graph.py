"""What a `.meta` file says of its graph: in- and outputs and operations, without TensorFlow.

Source: `core/protobuf/meta_graph.proto` and `core/framework/{graph,node_def,function}.proto`. This
is a first look; what stands before every session is `graphs.operation_check`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yt8m_ensemble.checkpoints.wire import read_fields
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.operation_policy import is_random, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_META_GRAPH, _META_COLLECTION = 2, 4
_GRAPH_NODE, _GRAPH_LIBRARY = 1, 2
_LIBRARY_FUNCTION = 1
_FUNCTION_SIGNATURE, _FUNCTION_NODE = 1, 3
_NODE_NAME, _NODE_OPERATION, _NODE_INPUT, _NODE_ATTRIBUTE = 1, 2, 3, 5
_ATTRIBUTE_LIST, _ATTRIBUTE_FUNCTION, _LIST_FUNCTION = 1, 10, 9
_KEY, _VALUE = 1, 2  # of an entry of a map
_NAME = 1  # of a function's signature, and of a reference to one
_NODE_LIST = 1
_FED = ("input_batch_raw", "num_frames")
_PLACEHOLDERS = {"Placeholder", "PlaceholderV2"}


@dataclass(frozen=True)
class GraphSummary:
    """Summary of a meta graph.

    Args:
        num_nodes: Nodes of its graph.
        operations: How often each operation occurs, most frequent first.
        collections: Tensor or node names of each collection that lists such.
        findings: Of the nodes that the collection `predictions` depends on, those that `merge`,
            `predict` and the like refuse or ask about: lists of `Operation 'node'` under `refused`,
            `random`, `defaults` (placeholders with one) and `unfed` (placeholders without).
    """

    num_nodes: int
    operations: Mapping[str, int]
    collections: Mapping[str, tuple[str, ...]]
    findings: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Node:
    """A node of a graph or of a function; `called` are the functions that attributes name."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    called: tuple[str, ...]


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
    collections: dict[str, tuple[str, ...]] = {}
    nodes: list[_Node] = []
    functions: dict[str, list[_Node]] = {}
    try:
        for graph in _messages(data, _META_GRAPH):
            nodes += map(_parse_node, _messages(graph, _GRAPH_NODE))
            for library in _messages(graph, _GRAPH_LIBRARY):
                for function in _messages(library, _LIBRARY_FUNCTION):
                    name = _text(b"".join(_messages(function, _FUNCTION_SIGNATURE)), _NAME)
                    body = map(_parse_node, _messages(function, _FUNCTION_NODE))
                    # All of a body counts, and its inputs are names of its own.
                    functions[name] = [replace(node, inputs=()) for node in body]
        for entry in _messages(data, _META_COLLECTION):
            names = [
                name.decode()
                for value in _messages(entry, _VALUE)
                for node_list in _messages(value, _NODE_LIST)
                for name in _messages(node_list, 1)
            ]
            if names:
                collections[_text(entry, _KEY)] = tuple(names)
    except (CheckpointError, UnicodeDecodeError) as error:
        msg = f"'{path}' is no meta graph, or a damaged one: {error}. Export the model again."
        raise CheckpointError(msg, path=path) from error
    operations = Counter(node.operation for node in nodes)
    return GraphSummary(
        len(nodes),
        dict(operations.most_common()),
        dict(sorted(collections.items())),
        _find(nodes, functions, collections),
    )


def _find(
    nodes: Iterable[_Node],
    functions: Mapping[str, list[_Node]],
    collections: Mapping[str, tuple[str, ...]],
) -> dict[str, tuple[str, ...]]:
    """Return what the predictions depend on that a command refuses or asks about."""
    by_name = {node.name: node for node in nodes}
    fed = {_full(tensor) for key in _FED for tensor in collections.get(key, ())[:1]}

    def sources(tensors: Iterable[str]) -> Iterator[_Node]:
        for tensor in tensors:
            name = _node_name(tensor)
            node = by_name.get(name)
            # A fed placeholder is replaced for what waits for it too.
            is_replaced = node and node.operation in _PLACEHOLDERS and f"{name}:0" in fed
            is_fed = is_replaced if tensor.startswith("^") else _full(tensor) in fed
            if node and not is_fed and name not in seen:
                seen.add(name)
                yield node

    seen: set[str] = set()
    called: set[str] = set()
    found: defaultdict[str, list[str]] = defaultdict(list)
    waiting = list(sources(collections.get("predictions", ())[:1]))
    while waiting:
        node = waiting.pop()
        if kind := _finding(node, functions):
            found[kind].append(f"{node.operation} '{node.name}'")
        for function in {node.operation, *node.called} & functions.keys() - called:
            called.add(function)
            waiting += functions[function]
        waiting += sources(node.inputs)
    return {kind: tuple(sorted(names)) for kind, names in sorted(found.items())}


def _finding(node: _Node, functions: Mapping[str, list[_Node]]) -> str | None:
    if node.operation in functions:
        return None
    if refusal(node.operation):
        return "refused"
    if is_random(node.operation):
        return "random"
    if node.operation == "PlaceholderWithDefault":
        return "defaults"
    return "unfed" if node.operation in _PLACEHOLDERS else None


def _parse_node(data: bytes) -> _Node:
    texts: dict[int, list[str]] = {_NODE_NAME: [""], _NODE_OPERATION: [""], _NODE_INPUT: []}
    called: list[str] = []
    for field, value in read_fields(data):
        if isinstance(value, bytes) and field in texts:
            texts[field].append(value.decode())
        elif isinstance(value, bytes) and field == _NODE_ATTRIBUTE:
            called += _called_functions(value)
    return _Node(
        texts[_NODE_NAME][-1], texts[_NODE_OPERATION][-1], tuple(texts[_NODE_INPUT]), tuple(called)
    )


def _called_functions(attribute: bytes) -> Iterator[str]:
    for value in _messages(attribute, _VALUE):
        for field, part in read_fields(value):
            if field == _ATTRIBUTE_FUNCTION and isinstance(part, bytes):
                yield _text(part, _NAME)
            elif field == _ATTRIBUTE_LIST and isinstance(part, bytes):
                yield from (_text(each, _NAME) for each in _messages(part, _LIST_FUNCTION))


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _full(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"


def _text(data: bytes, wanted: int) -> str:
    return b"".join(_messages(data, wanted)).decode()


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    for field, value in read_fields(data):
        if field == wanted and isinstance(value, bytes):
            yield value

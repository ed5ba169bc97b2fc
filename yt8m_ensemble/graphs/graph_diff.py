"""Which operations of two graphs differ, matched by structure: names count for nothing.

Both graphs are walked from their scores upwards in step. Operations of one kind in the same place
are the same, and changed where their attributes differ; an operation that stands between two such
was added or removed. Reads no weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.graphs.model_graph import VARIABLE_OPS, node_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorflow.core.framework.node_def_pb2 import NodeDef

    from yt8m_ensemble.graphs.model_graph import ModelGraph

_VARIABLE = "variable"
_UNCOUNTED = frozenset({"_output_shapes", "_class", "container", "shared_name", "frame_name"})
"""Attributes that say nothing of what an operation computes."""


@dataclass(frozen=True)
class Operation:
    """An operation of one graph.

    Args:
        name: Its node.
        op: Its kind.
    """

    name: str
    op: str


@dataclass(frozen=True)
class ChangedOperation:
    """An operation of both graphs whose attributes differ.

    Args:
        op: Its kind.
        first: Its node in the first graph.
        second: Its node in the second.
        attributes: Names of the attributes that differ.
    """

    op: str
    first: str
    second: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class GraphDiff:
    """Result of `diff_graphs`.

    Args:
        added: Operations of the second graph alone.
        removed: Operations of the first alone.
        changed: Operations of both whose attributes differ.
        same: Operations of both that do not differ.
    """

    added: tuple[Operation, ...]
    removed: tuple[Operation, ...]
    changed: tuple[ChangedOperation, ...]
    same: int


def diff_graphs(first: ModelGraph, second: ModelGraph) -> tuple[GraphDiff, dict[str, str]]:
    """Compare what two models compute.

    Args:
        first: A graph.
        second: Another.

    Returns:
        The differences, and the variables of the second graph by those of the first in their place.
    """
    sides = _Side(first), _Side(second)
    pairs = _pair(*sides)
    taken = set(pairs.values())
    changed = []
    for one, other in pairs.items():
        attributes = sides[0].attributes[one], sides[1].attributes[other]
        differing = {
            key
            for key in attributes[0].keys() | attributes[1].keys()
            if attributes[0].get(key) != attributes[1].get(key)
        }
        if differing:
            kind = sides[1].nodes[other].op
            changed.append(ChangedOperation(kind, one, other, tuple(sorted(differing))))
    diff = GraphDiff(
        added=tuple(
            Operation(name, node.op) for name, node in sides[1].nodes.items() if name not in taken
        ),
        removed=tuple(
            Operation(name, node.op) for name, node in sides[0].nodes.items() if name not in pairs
        ),
        changed=tuple(changed),
        same=len(pairs) - len(changed),
    )
    variables = {
        one: other
        for one, other in pairs.items()
        if one in first.variables and other in second.variables
    }
    return diff, variables


class _Side:
    """One graph: nodes, what each reads, and a digest of all that each depends on."""

    def __init__(self, graph: ModelGraph) -> None:
        self.nodes: dict[str, NodeDef] = {node.name: node for node in graph.graph_def.node}
        self.root = node_name(graph.predictions)
        self.inputs = {
            name: [node_name(value) for value in node.input if not value.startswith("^")]
            for name, node in self.nodes.items()
        }
        self.attributes = {
            name: {
                key: value.SerializeToString(deterministic=True)
                for key, value in node.attr.items()
                if key not in _UNCOUNTED
            }
            for name, node in self.nodes.items()
        }
        self.digests: dict[str, bytes] = {}
        for name in self._inputs_first():
            # A loop's way back is not known yet when it is needed: its place alone counts.
            parts = [self.digests.get(value, b"loop") for value in self.inputs[name]]
            ports = [value.partition(":")[2] for value in self.nodes[name].input]
            text = repr((self.kind(name), sorted(self.attributes[name].items()), parts, ports))
            self.digests[name] = hashlib.sha256(text.encode()).digest()

    def kind(self, name: str) -> str:
        op: str = self.nodes[name].op
        return _VARIABLE if op in VARIABLE_OPS else op

    def _inputs_first(self) -> Iterator[str]:
        seen: set[str] = set()
        for start in self.nodes:
            stack = [(start, False)]
            while stack:
                name, is_left = stack.pop()
                if is_left:
                    yield name
                elif name not in seen:
                    seen.add(name)
                    stack.append((name, True))
                    stack += [(value, False) for value in self.inputs[name]]


def _pair(first: _Side, second: _Side) -> dict[str, str]:
    """Return the nodes of the second graph by those of the first that stand in their place."""
    pairs: dict[str, str] = {}
    taken: set[str] = set()
    waiting = [(first.root, second.root)]
    visited = set(waiting)
    while waiting:
        one, other = waiting.pop()
        if one in pairs or other in taken:
            continue
        if first.kind(one) == second.kind(other):
            pairs[one] = other
            taken.add(other)
            found = _match(first, first.inputs[one], second, second.inputs[other])
        else:
            found = _step_over(first, one, second, other)
        for pair in reversed(found):
            if pair not in visited:
                visited.add(pair)
                waiting.append(pair)
    # Below an operation that was replaced, whole parts may still be the same.
    left: dict[bytes, list[str]] = {}
    for name, digest in second.digests.items():
        if name not in taken:
            left.setdefault(digest, []).append(name)
    for name, digest in first.digests.items():
        if name not in pairs and left.get(digest):
            pairs[name] = left[digest].pop(0)
    return pairs


def _step_over(first: _Side, one: str, second: _Side, other: str) -> list[tuple[str, str]]:
    """Return the pairs to go on with where one graph has an operation more."""
    for value in second.inputs[other]:
        if second.digests[value] == first.digests[one]:
            return [(one, value)]
    for value in first.inputs[one]:
        if first.digests[value] == second.digests[other]:
            return [(value, other)]
    added = [value for value in second.inputs[other] if _are_alike(first, one, second, value)]
    removed = [value for value in first.inputs[one] if _are_alike(first, value, second, other)]
    if added and not removed:
        return [(one, added[0])]
    if removed and not added:
        return [(removed[0], other)]
    return _match(first, first.inputs[one], second, second.inputs[other])


def _are_alike(first: _Side, one: str, second: _Side, other: str) -> bool:
    """Return whether two nodes are of one kind and, if variables, of one shape."""
    shapes = first.attributes[one].get("shape"), second.attributes[other].get("shape")
    kind = first.kind(one)
    return kind == second.kind(other) and (kind != _VARIABLE or shapes[0] == shapes[1])


def _match(
    first: _Side, ones: Sequence[str], second: _Side, others: Sequence[str]
) -> list[tuple[str, str]]:
    """Return pairs of inputs: of one digest in one place, then anywhere, then those left over."""
    left, right = list(ones), list(others)
    pairs = []
    for one, other in zip(ones, others, strict=False):
        if first.digests[one] == second.digests[other]:
            pairs.append((one, other))
            left.remove(one)
            right.remove(other)
    for one in list(left):
        same = [other for other in right if second.digests[other] == first.digests[one]]
        if same:
            pairs.append((one, same[0]))
            left.remove(one)
            right.remove(same[0])
    return [*pairs, *zip(left, right, strict=False)]

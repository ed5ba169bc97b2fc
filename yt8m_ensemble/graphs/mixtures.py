"""Find the members of an ensemble in its graph, and cut one of them out.

An ensemble of ours lists its members; of others the operations before the predictions tell: sums of
what depends on the input, each perhaps times a constant. Reads no weights.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.model_graph import ModelGraph, needed_nodes, node_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorflow.core.framework.node_def_pb2 import NodeDef

_SUMS: Final = frozenset({"Add", "AddV2", "AddN"})
_SCALINGS: Final = {"Mul": (0, 1), "RealDiv": (0,)}
"""By operation, which of its inputs may be the member; the other is a constant."""

_REDUCTIONS: Final = frozenset({"Sum", "Mean"})


def find_members(graph: ModelGraph, *, path: str) -> dict[str, str]:
    """Return the tensors of the members' scores by name.

    Args:
        graph: An ensemble.
        path: Where it is from, for messages.

    Returns:
        The members that it lists; else `model0`, `model1`, … in the order of their sum.

    Raises:
        GraphError: If it mixes no members that have weights of their own.
    """
    if graph.members:
        return dict(graph.members)
    nodes = {node.name: node for node in graph.graph_def.node}
    found = list(_terms(graph.predictions, nodes, node_name(graph.inputs)))
    owned = [_variables(graph, tensor) for tensor in found]
    is_apart = all(one and not one & other for one, other in _pairs(owned))
    if len(found) < 2 or not is_apart:  # noqa: PLR2004 - a mixture has two members or more
        msg = (
            f"'{path}' is no ensemble: its last operations mix no members that have weights of "
            "their own. Give a merged model, as `yt8m-ens merge` writes."
        )
        raise GraphError(msg, path=path, terms=tuple(found))
    return {f"model{position}": tensor for position, tensor in enumerate(found)}


def cut_member(
    graph: ModelGraph, tensor: str, *, scope: tuple[str, str] | None = None
) -> ModelGraph:
    """Return the graph of one member, its operations as they are.

    Args:
        graph: The ensemble.
        tensor: The member's scores.
        scope: How the ensemble's names of its variables start, and how its own do; where names
            would meet others, all stay.

    Returns:
        Its graph; a variable's name in the checkpoint is as in the ensemble's.
    """
    ends = {node_name(graph.inputs), node_name(graph.num_frames)}
    kept = needed_nodes(graph.graph_def, [node_name(tensor)], ends)
    own = GraphDef()
    own.versions.CopyFrom(graph.graph_def.versions)
    own.node.extend(node for node in graph.graph_def.node if node.name in ends)
    own.node.extend(kept)
    names = {node.name for node in own.node}
    theirs, its = scope or ("", "")
    renamed = {
        name: its + name.removeprefix(theirs)
        for name in graph.variables
        if name in names and theirs and name.startswith(theirs)
    }
    if len({*renamed.values()}) < len(renamed) or names & {*renamed.values()}:
        renamed = {}
    for node in own.node:
        node.name = renamed.get(node.name, node.name)
        for position, value in enumerate(node.input):
            name = node_name(value)
            if name in renamed:
                node.input[position] = value.replace(name, renamed[name], 1)
    keep = {name: renamed.get(name, name) for name in graph.variables if name in names}
    return replace(
        graph,
        graph_def=own,
        predictions=tensor,
        variables={new: graph.variables[old] for old, new in keep.items()},
        slices={new: graph.slices[old] for old, new in keep.items() if old in graph.slices},
        members={},
    )


def find_decoders(graph: ModelGraph) -> dict[str, tuple[str, ...]]:
    """Find what decodes weights to float32.

    Args:
        graph: A graph with weights in 16 or fewer bits.

    Returns:
        By node its variables, the weight's own first: the last nodes that depend on those of one
        weight and on constants only, and are of a wider dtype.
    """
    nodes = {node.name: node for node in graph.graph_def.node}
    imported = tf.Graph()
    with imported.as_default():
        tf.import_graph_def(graph.graph_def, name="")
    behind: dict[str, frozenset[str] | None] = {}

    def variables_of(name: str) -> frozenset[str] | None:
        """Return the variables behind a node; `None` if anything else is."""
        if name not in behind:
            behind[name] = None  # also of loops, while they are walked
            node = nodes[name]
            if name in graph.variables:
                behind[name] = frozenset({name})
            elif node.op == "Const":
                behind[name] = frozenset()
            elif node.op in _DECODING:
                parts = [variables_of(node_name(value)) for value in node.input]
                known = [part for part in parts if part is not None]
                joined = frozenset[str]().union(*known)
                if len(known) == len(parts) and _is_of_one_weight(joined):
                    behind[name] = joined
        return behind[name]

    found: dict[str, tuple[str, ...]] = {}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in graph.graph_def.node:
        for value in node.input:
            readers[node_name(value)].append(node.name)
    for name in nodes:
        own = variables_of(name)
        if not own or name in graph.variables:
            continue
        is_last = not readers[name] or any(variables_of(reader) is None for reader in readers[name])
        is_wide = imported.get_tensor_by_name(f"{name}:0").dtype.base_dtype == tf.float32
        is_narrow = any(graph.variables[v].dtype in _NARROW for v in own)
        if is_last and is_wide and is_narrow:
            found[name] = tuple(sorted(own))
    return found


def _is_of_one_weight(variables: frozenset[str]) -> bool:
    """Return whether all lie below the first, as tables do below the codes of a weight."""
    first, *rest = sorted(variables) or [""]
    return all(name.startswith(f"{first}/") for name in rest)


_NARROW: Final = frozenset({"float16", "bfloat16", "uint8", "int8"})
_DECODING: Final = frozenset(
    {"Identity", "Cast", "Mul", "Add", "AddV2", "Sub", "Reshape", "Gather", "GatherV2", "ConcatV2",
     "Slice", "FloorMod", "FloorDiv", "Mod", "Div", "RealDiv", "Transpose"}
)  # fmt: skip


def _terms(tensor: str, nodes: Mapping[str, NodeDef], source: str) -> Iterator[str]:
    """Yield the tensors that a weighted sum is of."""
    node = nodes[node_name(tensor)]
    inputs = [value for value in node.input if not value.startswith("^")]
    if node.op in _SUMS:
        if all(_is_member(v, nodes, source) or _is_zero(v, nodes) for v in inputs):
            for value in inputs:
                if not _is_zero(value, nodes):
                    yield from _terms(value, nodes, source)
            return
    elif node.op in _SCALINGS:
        for place in _SCALINGS[node.op]:
            other = inputs[1 - place]
            if _constant(other, nodes) is not None and _is_member(inputs[place], nodes, source):
                yield from _terms(inputs[place], nodes, source)
                return
    elif node.op == "Identity":
        yield from _terms(inputs[0], nodes, source)
        return
    elif node.op in _REDUCTIONS and nodes[node_name(inputs[0])].op == "Pack":
        pack = nodes[node_name(inputs[0])]
        axes = _constant(inputs[1], nodes)
        if axes is not None and tf.make_ndarray(axes).ravel().tolist() == [pack.attr["axis"].i]:
            for value in pack.input:
                yield from _terms(value, nodes, source)
            return
    yield tensor if ":" in tensor else f"{tensor}:0"


def _constant(value: str, nodes: Mapping[str, NodeDef]) -> tf.compat.v1.TensorProto | None:
    node = nodes[node_name(value)]
    while node.op == "Identity":
        node = nodes[node_name(node.input[0])]
    return node.attr["value"].tensor if node.op == "Const" else None


def _is_zero(value: str, nodes: Mapping[str, NodeDef]) -> bool:
    constant = _constant(value, nodes)
    return constant is not None and not tf.make_ndarray(constant).any()


def _is_member(value: str, nodes: Mapping[str, NodeDef], source: str) -> bool:
    """Return whether a tensor depends on the input."""
    waiting, seen = [node_name(value)], set[str]()
    while waiting:
        name = waiting.pop()
        if name == source:
            return True
        if name not in seen:
            seen.add(name)
            waiting += map(node_name, nodes[name].input)
    return False


def _variables(graph: ModelGraph, tensor: str) -> set[str]:
    ends = {node_name(graph.inputs), node_name(graph.num_frames)}
    kept = needed_nodes(graph.graph_def, [node_name(tensor)], ends)
    return {node.name for node in kept} & graph.variables.keys()


def _pairs(owned: list[set[str]]) -> Iterator[tuple[set[str], set[str]]]:
    for position, one in enumerate(owned):
        others: set[str] = set().union(*owned[:position], *owned[position + 1 :])
        yield one, others

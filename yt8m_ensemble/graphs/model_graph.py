"""`ModelGraph`: the graph contract of an inference model as a value, and how to cut one out.

Holds graph definitions and tensor names only; reads no files and starts no session.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.operation_policy import is_random
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource

VARIABLE_OPS = frozenset({"VariableV2", "Variable"})
PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
# Colocation names nodes that a cut may drop; shapes are inferred anew by every importer.
_DROPPED_ATTRIBUTES = ("_class", "_output_shapes")


@dataclass(frozen=True)
class ModelGraph:
    """The part of a graph that leads from the inputs to the predictions.

    Args:
        graph_def: The nodes; the inputs are placeholders, nothing is placed on a device.
        inputs: Tensor name of the batch, `(B, F)` or `(B, T, F)` float32.
        num_frames: Tensor name of the true frame counts, `(B,)`.
        predictions: Tensor name of the scores, `(B, C)` float32.
        variables: By variable node name, the tensor of the checkpoint that fills it; its shape is
            the variable's.
        slices: By variable node name, the part of that tensor that it holds, if it is partitioned.
        members: By member name, the tensor name of its own scores; empty for a single model.
        num_classes: C if the graph tells it.
        unreached: Operations of the file that may not run and that nothing reaches; they are left
            out, as `Operation 'node'`.
    """

    graph_def: GraphDef
    inputs: str
    num_frames: str
    predictions: str
    variables: Mapping[str, TensorSpec]
    members: Mapping[str, str] = field(default_factory=dict)
    num_classes: int | None = None
    slices: Mapping[str, tuple[slice, ...]] = field(default_factory=dict)
    unreached: tuple[str, ...] = ()

    @property
    def random_operations(self) -> tuple[str, ...]:
        """Names of the nodes that draw numbers at random."""
        return tuple(node.name for node in self.graph_def.node if is_random(node.op))

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """Dimensions of the batch, `None` where they are free; `None` if not even their number."""
        name = node_name(self.inputs)
        (place,) = (node for node in self.graph_def.node if node.name == name)
        shape = tf.TensorShape(place.attr["shape"].shape)
        return None if shape.rank is None else tuple(shape.as_list())

    @property
    def takes_frame_counts(self) -> bool:
        """Whether its scores depend on `num_frames`, so that padding can be told from frames."""
        name = node_name(self.num_frames)
        return any(node_name(value) == name for n in self.graph_def.node for value in n.input)

    @property
    def unfed_defaults(self) -> dict[str, Any]:
        """By name, the values of placeholders that nobody feeds; `None` if computed."""
        nodes = {node.name: node for node in self.graph_def.node}
        found: dict[str, Any] = {}
        for node in nodes.values():
            if node.op == "PlaceholderWithDefault":
                value = nodes[node_name(node.input[0])]
                is_known = value.op == "Const"
                found[node.name] = (
                    tf.make_ndarray(value.attr["value"].tensor).tolist() if is_known else None
                )
        return found

    def read(self, node: str, source: TensorSource) -> NDArray[Any]:
        """Return the value of a variable from its checkpoint."""
        values = source.read(self.variables[node].name)
        return values[self.slices[node]] if node in self.slices else values


def node_name(tensor: str) -> str:
    """Return the node of a tensor name or input: `a/b:1`, `^a/b` and `a/b` all give `a/b`."""
    return tensor.removeprefix("^").partition(":")[0]


def free_scope(graph_def: GraphDef, wanted: str) -> str:
    """Return a name, the wanted one or that with `_` behind it, that no node has or is below."""
    taken = {node.name.partition("/")[0] for node in graph_def.node}
    while wanted in taken:
        wanted += "_"
    return wanted


def called_functions(node: NodeDef) -> list[str]:
    """Return the functions that a node's attributes name."""
    called = []
    for value in node.attr.values():
        if value.HasField("func"):
            called.append(value.func.name)
        elif value.HasField("list"):
            called += [function.name for function in value.list.func]
    return called


def needed_nodes(
    graph_def: GraphDef, outputs: Collection[str], stops: Collection[str]
) -> list[NodeDef]:
    """List the nodes that the outputs depend on, inputs first.

    Args:
        graph_def: The graph.
        outputs: Node names to compute.
        stops: Node names not to go beyond; they are left out of the list.

    Returns:
        The nodes in the order of the graph definition, which for loops is no topological order.

    Raises:
        GraphError: If a node that is needed is not in the graph.
    """
    nodes = {node.name: node for node in graph_def.node}
    seen = set(stops)
    queue = deque(outputs)
    while queue:
        name = queue.popleft()
        if name in seen:
            continue
        if name not in nodes:
            msg = f"Node '{name}' is needed for the predictions but is not in the graph."
            raise GraphError(msg, node=name)
        seen.add(name)
        queue.extend(map(node_name, nodes[name].input))
    return [node for node in graph_def.node if node.name in seen and node.name not in stops]


def from_tf_graph(
    graph: tf.Graph,
    *,
    inputs: str,
    num_frames: str,
    predictions: str,
    keys: Mapping[str, str] | None = None,
    slices: Mapping[str, tuple[slice, ...]] | None = None,
    members: Mapping[str, str] | None = None,
) -> ModelGraph:
    """Cut the inference part out of a graph.

    The two inputs become placeholders of the same names, dtypes and shapes whatever made them
    before (queues, readers, parsers): everything upstream of them is dropped.

    Args:
        graph: A graph that holds the three tensors.
        inputs: Tensor name of the batch.
        num_frames: Tensor name of the frame counts; it may feed nothing.
        predictions: Tensor name of the scores.
        keys: By variable node name, its tensor in the checkpoint where the two names differ.
        slices: By variable node name, the part of that tensor that it holds.
        members: By member name, the tensor name of its own scores.

    Returns:
        The cut graph.

    Raises:
        GraphError: If a needed node is missing or a variable is of a kind that cannot be stored.
    """
    tensors = {name: graph.get_tensor_by_name(name) for name in (inputs, num_frames)}
    placeholders, renamed = {}, {}
    for wanted, tensor in zip(("input_batch_raw", "num_frames"), tensors.values(), strict=True):
        placeholders[wanted] = _placeholder(wanted, tensor)
        renamed[tensor.name] = f"{wanted}:0"
    graph_def = graph.as_graph_def()
    # Another node may already bear a placeholder's name; it steps aside.
    taken = {
        name: f"{name}_1"
        for name in placeholders
        if any(n.name == name and f"{name}:0" not in tensors for n in graph_def.node)
    }
    members = dict(members or {})
    outputs = [node_name(name) for name in (predictions, *members.values())]
    # Cut at the input tensors, not their nodes: one queue may deliver both inputs and more.
    cut = GraphDef()
    cut.versions.CopyFrom(graph_def.versions)
    for node in graph_def.node:
        copy = cut.node.add()
        copy.CopyFrom(node)
        copy.name = taken.get(node.name, node.name)
        copy.device = ""
        for attribute in _DROPPED_ATTRIBUTES:
            copy.attr.pop(attribute, None)
        for position, value in enumerate(node.input):
            copy.input[position] = _rename_input(value, renamed, taken)
    kept = needed_nodes(cut, [taken.get(name, name) for name in outputs], set(placeholders))
    _refuse_unportable(kept)
    del cut.node[:]
    cut.node.extend([*placeholders.values(), *kept])
    specs = [_variable_spec(node) for node in kept if node.op in VARIABLE_OPS]
    slices = slices or {}
    return ModelGraph(
        graph_def=cut,
        inputs="input_batch_raw:0",
        num_frames="num_frames:0",
        predictions=_rename_input(predictions, renamed, taken),
        variables={
            spec.name: replace(spec, name=(keys or {}).get(spec.name, spec.name)) for spec in specs
        },
        slices={spec.name: slices[spec.name] for spec in specs if spec.name in slices},
        members={name: _rename_input(tensor, renamed, taken) for name, tensor in members.items()},
        num_classes=_last_dimension(graph.get_tensor_by_name(predictions).shape),
    )


def _last_dimension(shape: tf.TensorShape) -> int | None:
    return None if shape.rank is None else shape.as_list()[-1]


def _rename_input(value: str, renamed: Mapping[str, str], taken: Mapping[str, str]) -> str:
    if value.startswith("^"):
        return "^" + taken.get(value[1:], value[1:])
    full = value if ":" in value else f"{value}:0"
    if full in renamed:
        return renamed[full]
    name = node_name(value)
    return taken.get(name, name) + value[len(name) :]


def _placeholder(name: str, tensor: tf.Tensor) -> NodeDef:
    node = NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = tensor.dtype.base_dtype.as_datatype_enum
    shape = tensor.shape
    if shape.rank is not None:
        # The batch size is free whatever the original graph's queue promised.
        shape = tf.TensorShape([None, *shape.as_list()[1:]])
    node.attr["shape"].shape.CopyFrom(shape.as_proto())
    return node


def _variable_spec(node: NodeDef) -> TensorSpec:
    shape = tuple(int(dim.size) for dim in node.attr["shape"].shape.dim)
    return TensorSpec(node.name, shape, tf.as_dtype(node.attr["dtype"].type).base_dtype.name)


def _refuse_unportable(nodes: Iterable[NodeDef]) -> None:
    """Refuse what only the process that made the graph could run.

    Raises:
        GraphError: At a Python function, or a function that is not an operation.
    """
    for node in nodes:
        if node.op in PYTHON_OPS:
            msg = (
                f"'{node.name}' calls a Python function ({node.op}), which no other process has. "
                "Export the model without it."
            )
            raise GraphError(msg, node=node.name, operation=node.op)

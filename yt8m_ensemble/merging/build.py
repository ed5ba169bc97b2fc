"""Join members' graphs into one: one input, shared work once, mixed predictions.

Graph surgery on node definitions: rename, redirect inputs, store weights as planned, share equal
nodes. Never reads a weight.
"""

from __future__ import annotations

import hashlib
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry

from yt8m_ensemble.constants import BIAS_VARIABLE, MIXTURE_VARIABLE, TEMPERATURE_VARIABLE
from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.graphs import ModelGraph, node_name
from yt8m_ensemble.merging.plan import rename
from yt8m_ensemble.merging.storage import decoder
from yt8m_ensemble.mixing import EPSILON
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.merging.plan import Member, MergePlan, PlannedTensor
    from yt8m_ensemble.options.choices import Space

GLOBAL_STEP = TensorSpec("global_step", (), "int32")  # as the original declares it

_FRAME_OPS = frozenset(
    {"Enter", "RefEnter", "Exit", "NextIteration", "Merge", "Switch", "LoopCond"}
)
"""Operations of version-1 loops and conditions; equal ones in two loops are not the same one."""


def build_merged_graph(members: Sequence[Member], plan: MergePlan) -> ModelGraph:
    """Build the graph that a plan describes.

    Nodes that compute the same from the same inputs (the normalisation of the input above all)
    appear once. Weights in fewer bits are decoded to float32 where they are used. Scores are mixed
    as `mixing.mix` does, in float32:

        probability: sum of w_m * p_m
        logit:       sigmoid(sum of w_m * (log q_m - log1p(-q_m))),  q = clip(p, eps, 1 - eps)
        geometric:   exp(sum of w_m * log q_m)

    Args:
        members: The members, in the order of the plan's weights.
        plan: What `plan_merge` made of them.

    Returns:
        The merged graph, its variables, and each member's own scores.

    Raises:
        ModelError: If the members' graphs take inputs of different shapes.
    """
    assembler = _Assembler()
    inputs, num_frames = _joint_inputs(members)
    assembler.add(inputs, sharable=False)
    assembler.add(num_frames, sharable=False)
    scores: dict[str, str] = {}
    for position, member in enumerate(members):
        names = {
            node.name: rename(node.name, naming=plan.naming, member=member.name, position=position)
            for node in member.graph.graph_def.node
        }
        wanted_frames = _find(member.graph, member.graph.num_frames)
        narrow = {t.node: t for t in plan.of_member(member.name) if t.storage != "same"}
        tensor_of = assembler.graft(
            member.graph.graph_def,
            scope=member.name,
            names=names,
            bound={
                member.graph.inputs: "input_batch_raw:0",
                member.graph.num_frames: assembler.cast("num_frames", num_frames, wanted_frames),
            },
            narrow=narrow,
        )
        scores[member.name] = tensor_of(member.graph.predictions)
    variables = {part.name: part for t in plan.tensors for part in t.parts.values()}
    held = plan.weights.graph_values(members[0].num_classes)
    mixture = _mixture_graph(held, plan.weights.space, is_variable=plan.naming == "scoped")
    bound = {f"member_{i}:0": tensor for i, tensor in enumerate(scores.values())}
    tensor_of = assembler.graft(mixture, names={n.name: n.name for n in mixture.node}, bound=bound)
    if plan.naming == "scoped":
        variables |= {k: TensorSpec(k, v.shape, "float32") for k, v in held.items()}
    else:
        variables[GLOBAL_STEP.name] = GLOBAL_STEP
        assembler.add(_variable(GLOBAL_STEP), sharable=False)
    return ModelGraph(
        graph_def=assembler.graph_def,
        inputs="input_batch_raw:0",
        num_frames="num_frames:0",
        predictions=tensor_of("predictions:0"),
        variables=dict(sorted(variables.items())),
        members=scores,
        num_classes=members[0].num_classes,
    )


class _Assembler:
    """Collect nodes into one graph definition, each equal computation once."""

    def __init__(self) -> None:
        self.graph_def = GraphDef()
        self.graph_def.versions.producer = tf.version.GRAPH_DEF_VERSION
        self._known: dict[bytes, str] = {}
        self._names: set[str] = set()

    def add(self, node: NodeDef, *, sharable: bool) -> str:
        """Return the name of a node: the new one, or the equal one that is there already.

        Raises:
            ModelError: If a different node has that name.
        """
        name: str = node.name
        if sharable:
            node.name = ""
            key = hashlib.sha256(node.SerializeToString(deterministic=True)).digest()
            node.name = name
            if key in self._known:
                return self._known[key]
            self._known[key] = name
        if name in self._names:
            msg = f"Two different operations would both be called '{name}' in the merged graph."
            raise ModelError(msg, node=name)
        self._names.add(name)
        self.graph_def.node.add().CopyFrom(node)
        return name

    def cast(self, name: str, have: NodeDef, want: NodeDef) -> str:
        """Return the tensor of a placeholder in the dtype that another one has."""
        source, target = have.attr["dtype"].type, want.attr["dtype"].type
        if source == target:
            return f"{name}:0"
        cast = _cast(f"{name}_{tf.as_dtype(target).name}", name, source, target)
        return f"{self.add(cast, sharable=True)}:0"

    def graft(
        self,
        graph_def: GraphDef,
        *,
        scope: str = "",
        names: Mapping[str, str],
        bound: Mapping[str, str],
        narrow: Mapping[str, PlannedTensor] | None = None,
    ) -> Callable[[str], str]:
        """Copy a graph in.

        Args:
            graph_def: The nodes; those of `bound` are left out.
            scope: Put before the names of loop frames.
            names: New name of every node.
            bound: By tensor name, the tensor already here that takes its place.
            narrow: By variable node, how to store it in fewer bits.

        Returns:
            A function from old tensor names to new ones.
        """
        replaced: dict[str, str] = {}
        bound = {node_name(old): new for old, new in bound.items()}
        narrow = narrow or {}
        unsharable = _unsharable(graph_def)

        def tensor_of(value: str) -> str:
            if value.startswith("^"):
                inner = node_name(value)
                return f"^{node_name(bound.get(inner) or replaced.get(inner) or names[inner])}"
            inner, _, output = value.partition(":")
            if inner in bound:
                return bound[inner]
            new = replaced.get(inner, names[inner])
            return f"{new}:{output}" if output else f"{new}:0"

        for node in _inputs_first(graph_def):
            if node.name in bound:
                continue
            copy = NodeDef()
            copy.CopyFrom(node)
            copy.name = names[node.name]
            copy.input[:] = [tensor_of(value).removesuffix(":0") for value in node.input]
            if "frame_name" in copy.attr:
                # Loops of two members must not meet in one frame.
                copy.attr["frame_name"].s = f"{scope}/".encode() + copy.attr["frame_name"].s
            if node.name in narrow:
                replaced[node.name] = self._store(narrow[node.name])
                continue
            replaced[node.name] = self.add(copy, sharable=node.name not in unsharable)
        return tensor_of

    def _store(self, tensor: PlannedTensor) -> str:
        """Return the node that gives a weight which is stored in fewer bits."""
        nodes, weight = decoder(tensor.target, tensor.storage)
        for node in nodes.node:
            self.add(node, sharable=False)
        return weight


def _inputs_first(graph_def: GraphDef) -> list[NodeDef]:
    """Return nodes after what feeds them; back edges of loops do not count.

    Raises:
        ModelError: If there is a cycle outside a loop.
    """
    nodes = {node.name: node for node in graph_def.node}
    sorter = TopologicalSorter(
        {
            node.name: [
                name
                for name in map(node_name, node.input)
                if name in nodes and nodes[name].op != "NextIteration"
            ]
            for node in graph_def.node
        }
    )
    try:
        return [nodes[name] for name in sorter.static_order()]
    except CycleError as error:
        msg = f"The graph has a cycle outside a loop: {' → '.join(error.args[1])}."
        raise ModelError(msg, cycle=error.args[1]) from error


def _unsharable(graph_def: GraphDef) -> set[str]:
    """Return the names of nodes that are not a pure function of their inputs."""
    functions = {function.signature.name: function for function in graph_def.library.function}

    def is_stateful(operation: str) -> bool:
        if operation in functions:
            return bool(functions[operation].signature.is_stateful)
        definition = op_def_registry.get(operation)
        return definition is None or bool(definition.is_stateful)

    return {
        node.name
        for node in graph_def.node
        if node.op in _FRAME_OPS or node.op == "Placeholder" or is_stateful(node.op)
    }


def _variable(spec: TensorSpec) -> NodeDef:
    node = NodeDef(name=spec.name, op="VariableV2")
    node.attr["dtype"].type = tf.as_dtype(spec.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(spec.shape).as_proto())
    return node


def _cast(name: str, source: str, source_dtype: int, dtype: int) -> NodeDef:
    node = NodeDef(name=name, op="Cast", input=[source])
    node.attr["SrcT"].type = source_dtype
    node.attr["DstT"].type = dtype
    node.attr["Truncate"].b = False
    return node


def _find(graph: ModelGraph, tensor: str) -> NodeDef:
    return next(node for node in graph.graph_def.node if node.name == node_name(tensor))


def _joint_inputs(members: Sequence[Member]) -> tuple[NodeDef, NodeDef]:
    """Return the two placeholders: the members' common input shape, int32 frame counts.

    Raises:
        ModelError: If the members' inputs differ in shape.
    """
    joint = tf.TensorShape(None)
    for member in members:
        shape = tf.TensorShape(_find(member.graph, member.graph.inputs).attr["shape"].shape)
        try:
            joint = joint.merge_with(shape)
        except ValueError as error:
            msg = (
                f"'{member.name}' takes batches of shape {shape}, the members before it {joint}. "
                "Merge members that read the same features at the same level."
            )
            raise ModelError(msg, member=member.name) from error
    inputs = NodeDef(name="input_batch_raw", op="Placeholder")
    inputs.attr["dtype"].type = tf.float32.as_datatype_enum
    inputs.attr["shape"].shape.CopyFrom(joint.as_proto())
    num_frames = NodeDef(name="num_frames", op="Placeholder")
    num_frames.attr["dtype"].type = tf.int32.as_datatype_enum
    num_frames.attr["shape"].shape.CopyFrom(tf.TensorShape([None]).as_proto())
    return inputs, num_frames


def _mixture_graph(
    held: Mapping[str, NDArray[np.float32]], space: Space, *, is_variable: bool
) -> GraphDef:
    """Return `member_0 … member_{M-1}` → `predictions`, in operations that TensorFlow 1.8 knows."""
    raw = tf.raw_ops
    graph = tf.Graph()
    with graph.as_default():
        count = len(held[MIXTURE_VARIABLE])
        terms = [raw.Placeholder(dtype=tf.float32, name=f"member_{i}") for i in range(count)]
        stored = {
            name: raw.VariableV2(shape=values.shape, dtype=tf.float32, name=name)
            if is_variable
            else tf.constant(values, name=name)
            for name, values in held.items()
        }
        with tf.name_scope("mixture/"):
            # A factor a member (a scalar, or a row of classes): a vector times a stack would hold
            # all members' scores twice.
            factors = raw.Unpack(value=stored[MIXTURE_VARIABLE], num=count, axis=0, name="weights")
            if space != "probability":
                terms = [_log_or_logit(scores, space) for scores in terms]
            total = raw.Mul(x=terms[0], y=factors[0])
            for term, factor in zip(terms[1:], factors[1:], strict=True):
                total = raw.Add(x=total, y=raw.Mul(x=term, y=factor))
            if space == "logit":
                total = raw.Add(x=total, y=stored[BIAS_VARIABLE])
                total = raw.RealDiv(x=total, y=stored[TEMPERATURE_VARIABLE])
        finish = {"probability": tf.identity, "logit": tf.sigmoid, "geometric": tf.exp}
        finish[space](total, name="predictions")
    return graph.as_graph_def()


def _log_or_logit(scores: tf.Tensor, space: str) -> tf.Tensor:
    raw = tf.raw_ops
    low, high = np.float32(EPSILON), np.float32(1) - np.float32(EPSILON)
    clipped = raw.Maximum(x=raw.Minimum(x=scores, y=high), y=low)
    log = raw.Log(x=clipped)
    return log if space == "geometric" else raw.Sub(x=log, y=raw.Log1p(x=raw.Neg(x=clipped)))

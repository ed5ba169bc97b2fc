"""Rewrite a graph of any age into what TensorFlow 1.14 runs: no functions, no resource variables.

Calls of library functions are put in line, version-2 loops and conditions become version-1 control
flow (Switch, Merge, Enter, Exit, NextIteration), and resource variables become reference variables.
Reads no weights and no files.

Inside a function a variable is passed as a handle; here the variable's value takes its place, so
that reading the handle becomes an identity. Inference never assigns, so both are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry

from yt8m_ensemble.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.framework.op_def_pb2 import OpDef

_CALLS = {"PartitionedCall": "f", "StatefulPartitionedCall": "f"}
_LOOPS = {"While", "StatelessWhile"}
_CONDITIONS = {"If", "StatelessIf"}
_PARALLEL_ITERATIONS = 10


def lower(graph_def: GraphDef) -> tuple[GraphDef, dict[str, str]]:
    """Lower functions, functional control flow and resource variables.

    Args:
        graph_def: The graph with its function library.

    Returns:
        The flat graph, and for each output of a node that is gone the tensor that took its place.

    Raises:
        GraphError: If a function is missing or an operation on a variable cannot be lowered.
    """
    lowering = _Lowering(graph_def)
    for node in graph_def.node:
        lowering.place(node, node.name, list(node.input), pivot=None)
    return lowering.finish(), lowering.moved


class _Lowering:
    """Place nodes one after the other; references are put right at the end."""

    def __init__(self, graph_def: GraphDef) -> None:
        self._functions = {f.signature.name: f for f in graph_def.library.function}
        self._graph_def = graph_def
        self._nodes: list[NodeDef] = []
        self._variable_dtypes: dict[str, int] = {
            node.name: node.attr["dtype"].type
            for node in graph_def.node
            if node.op == "VarHandleOp"
        }
        self.moved: dict[str, str] = {}

    def place(self, node: NodeDef, name: str, inputs: Sequence[str], pivot: str | None) -> None:
        """Add a node under a name, lowering what must be.

        Args:
            node: The node as it stands in its graph or function.
            name: Its name here.
            inputs: Its inputs here.
            pivot: A node of the loop or branch that it runs in; what has no inputs waits for it.

        Raises:
            GraphError: If it cannot be lowered.
        """
        data = [value for value in inputs if not value.startswith("^")]
        if node.op in _CALLS or node.op in self._functions:
            function = node.attr[_CALLS[node.op]].func.name if node.op in _CALLS else node.op
            outputs = self._inline(function, name, data, pivot)
        elif node.op in _LOOPS:
            outputs = self._loop(node, name, data)
        elif node.op in _CONDITIONS:
            outputs = self._condition(node, name, data)
        else:
            value = _on_values(node)
            if node.op == "Identity" and node.attr["T"].type == tf.resource.as_datatype_enum:
                value = NodeDef(op="Identity")
                value.attr["T"].type = self._value_dtype(data[0], name)
                self._variable_dtypes[name] = value.attr["T"].type
            self._add(value, name, inputs, pivot)
            return
        for position, output in enumerate(outputs):
            self.moved[f"{name}:{position}"] = output
        # What waited for the call waits for its first result.
        self.moved[f"^{name}"] = f"^{_node(outputs[0])}" if outputs else ""

    def finish(self) -> GraphDef:
        """Return the flat graph, every reference to what is gone replaced."""
        flat = GraphDef()
        flat.versions.CopyFrom(self._graph_def.versions)
        # Input pipelines, which a cut will drop, still name their functions.
        flat.library.CopyFrom(self._graph_def.library)
        for node in self._nodes:
            inputs = [self._resolve(value) for value in node.input]
            data = [value.removesuffix(":0") for value in inputs if value[:1] not in {"^", ""}]
            waits = dict.fromkeys(value for value in inputs if value.startswith("^"))
            node.input[:] = [*data, *waits]
            flat.node.add().CopyFrom(node)
        return flat

    def _resolve(self, value: str) -> str:
        full = value if value.startswith("^") or ":" in value else f"{value}:0"
        while full in self.moved:
            full = self.moved[full]
        return full

    def _add(
        self, node: NodeDef, name: str, inputs: Sequence[str], pivot: str | None = None
    ) -> str:
        added = NodeDef()
        added.CopyFrom(node)
        added.name = name
        del added.input[:]
        added.input.extend(inputs if inputs or pivot is None else [f"^{pivot}"])
        self._nodes.append(added)
        return f"{name}:0"

    def _op(self, op: str, name: str, inputs: Sequence[str], dtype: int | None = None) -> str:
        node = NodeDef(op=op)
        if dtype is not None:
            node.attr["T"].type = dtype
        if op == "Merge":
            node.attr["N"].i = len(inputs)
        return self._add(node, name, inputs)

    def _inline(
        self, function: str, scope: str, inputs: Sequence[str], pivot: str | None
    ) -> list[str]:
        """Return the tensors that are a function's results, its body put in line.

        Raises:
            GraphError: If the library lacks the function.
        """
        if function not in self._functions:
            msg = f"'{scope}' calls the function '{function}', which the graph does not hold."
            raise GraphError(msg, node=scope, function=function)
        definition = self._functions[function]
        flat = self._flat_names(definition)
        arguments = [str(argument.name) for argument in definition.signature.input_arg]
        bound: dict[str, str] = dict(zip(arguments, inputs, strict=True))

        def here(value: str) -> str:
            if value.startswith("^"):
                inner = value[1:]
                return (
                    f"^{_node(self._resolve(bound[inner]))}"
                    if inner in bound
                    else f"^{scope}/{inner}"
                )
            inner = _node(value)
            return bound.get(inner, f"{scope}/{value}")

        for node in definition.node_def:
            inputs = [here(flat.get(value, value)) for value in node.input]
            self.place(node, f"{scope}/{node.name}", inputs, pivot)
        return [
            here(flat.get(value, value))
            for value in (definition.ret[out.name] for out in definition.signature.output_arg)
        ]

    def _flat_names(self, definition: FunctionDef) -> dict[str, str]:
        """Return the names that outputs have in a graph by those in a function, `node:output:0`.

        Raises:
            GraphError: If a node is of an operation that nobody knows.
        """
        flat: dict[str, str] = {}
        for node in definition.node_def:
            function = self._functions.get(node.op)
            known = function.signature if function is not None else op_def_registry.get(node.op)
            if known is None:
                msg = f"'{node.name}' is of the operation '{node.op}', which TensorFlow lacks."
                raise GraphError(msg, node=node.name, operation=node.op)
            place = 0
            for output in known.output_arg:
                for position in range(_count(output, node, known)):
                    flat[f"{node.name}:{output.name}:{position}"] = f"{node.name}:{place}"
                    place += 1
        return flat

    def _loop(self, node: NodeDef, name: str, inputs: Sequence[str]) -> list[str]:
        dtypes = list(node.attr["T"].list.type)
        resource = tf.resource.as_datatype_enum
        current: list[str] = []
        outside: list[str] = []
        for position, (value, dtype) in enumerate(zip(inputs, dtypes, strict=True)):
            enter = NodeDef(op="Enter")
            enter.attr["T"].type = self._value_dtype(value, name) if dtype == resource else dtype
            enter.attr["frame_name"].s = name.encode()
            enter.attr["is_constant"].b = dtype == resource
            enter.attr["parallel_iterations"].i = _PARALLEL_ITERATIONS
            entered = self._add(enter, f"{name}/enter_{position}", [value])
            if dtype == resource:
                # A variable's value is the same in every round.
                self._variable_dtypes[_node(entered)] = enter.attr["T"].type
                current.append(entered)
                outside.append(value)
                continue
            again = f"{name}/next_{position}:0"
            current.append(self._op("Merge", f"{name}/merge_{position}", [entered, again], dtype))
            outside.append(f"{name}/exit_{position}:0")
        moving = [position for position, dtype in enumerate(dtypes) if dtype != resource]
        pivot = _node(current[moving[0]])
        (going,) = self._inline(node.attr["cond"].func.name, f"{name}/cond", current, pivot)
        again = self._op("LoopCond", f"{name}/loop", [going])
        stayed = list(current)
        for position in moving:
            dtype = dtypes[position]
            switch = f"{name}/switch_{position}"
            self._op("Switch", switch, [current[position], again], dtype)
            stayed[position] = self._op(
                "Identity", f"{name}/stay_{position}", [f"{switch}:1"], dtype
            )
            self._op("Exit", f"{name}/exit_{position}", [f"{switch}:0"], dtype)
        pivot = _node(stayed[moving[0]])
        results = self._inline(node.attr["body"].func.name, f"{name}/body", stayed, pivot)
        for position in moving:
            self._op(
                "NextIteration", f"{name}/next_{position}", [results[position]], dtypes[position]
            )
        return outside

    def _condition(self, node: NodeDef, name: str, inputs: Sequence[str]) -> list[str]:
        predicate, *values = inputs
        self._op("Switch", f"{name}/switch", [predicate, predicate], tf.bool.as_datatype_enum)
        dtypes = list(node.attr["Tin"].list.type)
        resource = tf.resource.as_datatype_enum
        branches = []
        for side, branch in enumerate(("else_branch", "then_branch")):
            pivot = self._op(
                "Identity",
                f"{name}/{branch}/pivot",
                [f"{name}/switch:{side}"],
                tf.bool.as_datatype_enum,
            )
            given = []
            for position, (value, dtype) in enumerate(zip(values, dtypes, strict=True)):
                own = self._value_dtype(value, name) if dtype == resource else dtype
                gate = f"{name}/{branch}/gate_{position}"
                self._op("Switch", gate, [value, predicate], own)
                given.append(f"{gate}:{side}")
                if dtype == resource:
                    self._variable_dtypes[gate] = own
            function = node.attr[branch].func.name
            branches.append(self._inline(function, f"{name}/{branch}", given, _node(pivot)))
        return [
            self._op("Merge", f"{name}/merge_{position}", list(pair), dtype)
            for position, (pair, dtype) in enumerate(
                zip(zip(*branches, strict=True), node.attr["Tout"].list.type, strict=True)
            )
        ]

    def _value_dtype(self, handle: str, name: str) -> int:
        """Return the dtype of the variable behind a handle.

        Raises:
            GraphError: If it is no variable, but a table or a queue.
        """
        node = _node(self._resolve(handle))
        if node not in self._variable_dtypes:
            msg = f"'{name}' is handed '{node}', a resource that is no variable of the graph."
            raise GraphError(msg, node=name)
        return self._variable_dtypes[node]


def _count(output: OpDef.ArgDef, node: NodeDef, known: OpDef) -> int:
    """Return how many tensors an output is, which an attribute may tell."""
    name = output.number_attr or output.type_list_attr
    if not name:
        return 1
    defaults = {attribute.name: attribute.default_value for attribute in known.attr}
    value = node.attr[name] if name in node.attr else defaults[name]
    return int(value.i) if output.number_attr else len(value.list.type)


def _on_values(node: NodeDef) -> NodeDef:
    """Return what stands for an operation on a handle when the value takes the handle's place."""
    # `Gather`, as the operation on handles, picks along the first axis.
    ops = {"VarHandleOp": "VariableV2", "ReadVariableOp": "Identity", "ResourceGather": "Gather"}
    if node.op not in ops:
        return node
    value = NodeDef(op=ops[node.op])
    if node.op == "VarHandleOp":
        for attribute in ("dtype", "shape"):
            value.attr[attribute].CopyFrom(node.attr[attribute])
        return value
    value.attr["T" if node.op == "ReadVariableOp" else "Tparams"].type = node.attr["dtype"].type
    if node.op == "ResourceGather":
        value.attr["Tindices"].type = node.attr["Tindices"].type
    return value


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]

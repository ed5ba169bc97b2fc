"""The check that stands before every session: nothing runs that is not allowed to.

Walks definitions; it imports no graph, because importing one evaluates what its shapes depend on,
files that it reads included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError
from tensorflow.core.framework.variable_pb2 import VariableDef
from tensorflow.core.protobuf.queue_runner_pb2 import QueueRunnerDef
from tensorflow.python.framework import op_def_registry

from yt8m_ensemble.errors import GraphError, UsageError
from yt8m_ensemble.graphs.model_graph import called_functions, node_name
from yt8m_ensemble.operation_policy import (
    ROLES,
    Role,
    is_random,
    load_operation_policy,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef

_INITIALIZERS: Final = ("table_initializer", "saved_model_main_op", "legacy_init_op")
# What the names of files come through on their way from the caller to an operation.
_NAME_OPS: Final = frozenset({"Identity", "Pack", "StringJoin", "ShardedFilename"})
_NAMED_FILES: Final = {"RestoreV2": 1, "SaveV2": 1, "MergeV2Checkpoints": 2}
"""How many of an operation's first inputs name files; they must lead to what the caller feeds."""

_PLACEHOLDERS: Final = frozenset({"Placeholder", "PlaceholderV2"})


@dataclass(frozen=True)
class Root:
    """Where a run of a graph starts.

    Args:
        role: What it is run for.
        names: Nodes or tensors.
        fed: Tensors such as `a:0` whose values the caller gives.
    """

    role: Role
    names: tuple[str, ...]
    fed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GraphReport:
    """What a graph that passed the check holds besides arithmetic.

    Args:
        random: Nodes that the predictions depend on and that draw numbers at random.
        unfed: Placeholders that the predictions depend on and that nobody feeds.
        defaults: Placeholders that the predictions depend on and that have a default.
        unreached: Refused operations that no root reaches, as `Operation 'node'`.
    """

    random: tuple[str, ...]
    unfed: tuple[str, ...]
    defaults: tuple[str, ...]
    unreached: tuple[str, ...]


def reader_roots(meta: Any, *, path: str) -> list[Root]:
    """List what the official readers run of a meta graph, and what one that saves would.

    Args:
        meta: The `MetaGraphDef`.
        path: Where it is from, for messages.

    Returns:
        The predictions, signatures, restore and save operations, initializers and queue runners
        that it names.
    """
    collections = meta.collection_def
    first = {
        name: tuple(collections[name].node_list.value[:1]) if name in collections else ()
        for name in ("input_batch_raw", "num_frames", "predictions")
    }
    saver = meta.saver_def
    file_name = frozenset({saver.filename_tensor_name})
    variables = _parsed(meta, "variables", VariableDef, path)
    local = _parsed(meta, "local_variables", VariableDef, path)
    runners = _parsed(meta, "queue_runners", QueueRunnerDef, path)
    return [
        Root(
            "predictions",
            first["predictions"],
            frozenset(map(_full, first["input_batch_raw"] + first["num_frames"])),
        ),
        Root("restore", (saver.restore_op_name,), file_name),
        # Without a saver of its own the reader makes one, over these.
        Root("restore", tuple(variable.variable_name for variable in variables)),
        Root("save", (saver.save_tensor_name,), file_name),
        Root("initializer", tuple(variable.initializer_name for variable in local)),
        *(
            Root("initializer", tuple(collections[name].node_list.value))
            for name in _INITIALIZERS
            if name in collections
        ),
        *(
            Root("signature", tuple(info.name for info in signature.outputs.values()))
            for _, signature in sorted(meta.signature_def.items())
        ),
        *(
            Root(
                "queue runner",
                (
                    runner.queue_name,
                    *runner.enqueue_op_name,
                    runner.close_op_name,
                    runner.cancel_op_name,
                ),
            )
            for runner in runners
        ),
    ]


def check_graph(
    meta: Any,
    *,
    roots: Sequence[Root],
    path: str,
    allow: Collection[str] = (),
    is_lowered: bool = False,
) -> GraphReport:
    """Refuse a graph if anything that will run of it is not on the list of allowed operations.

    Follows inputs, control inputs and the functions that nodes call, with all of their bodies. A
    fed tensor ends the walk, as it does in a session; what else its node delivers does not.

    Args:
        meta: The `MetaGraphDef`.
        roots: What will run.
        path: Where the graph is from, for messages.
        allow: Operations that the user allows besides.
        is_lowered: Whether functions will be put in line, so that TensorFlow cannot run another
            implementation of one in its place.

    Returns:
        What else the reader of a graph wants to know.

    Raises:
        GraphError: At the first operation that may not run.
        UsageError: If `allow` names no operation.
    """
    for name in allow:
        if name not in load_operation_policy():
            msg = f"TensorFlow 2.21 has no operation '{name}' that could be allowed."
            raise UsageError(msg, operation=name)
    walk = _Walk(meta, path, frozenset(allow), is_lowered=is_lowered)
    for root in roots:
        walk.follow(root)
    return walk.report()


def check_import(meta: Any, *, path: str, allow: Collection[str] = ()) -> None:
    """Refuse a graph that does harm as soon as TensorFlow imports it, whatever is run of it.

    An import evaluates stateless operations that shapes depend on; which, is its own affair.

    Args:
        meta: The `MetaGraphDef`.
        path: Where the graph is from, for messages.
        allow: Operations that the user allows besides.

    Raises:
        GraphError: At the first operation that may not be evaluated.
    """
    functions = (node for f in meta.graph_def.library.function for node in f.node_def)
    for node in (*meta.graph_def.node, *functions):
        family = load_operation_policy().get(node.op)
        if family is None or not family.harms_import or node.op in allow or _is_stateful(node.op):
            continue
        msg = (
            f"'{path}' is refused: {node.op} '{node.name}' {family.reason}, and an import alone "
            "may evaluate it. Export the model without it."
        )
        raise GraphError(msg, path=path, operation=node.op, node=node.name, role="import")


class _Walk:
    """Follow what runs from root to root; remembers what it has seen in each role."""

    def __init__(self, meta: Any, path: str, allow: frozenset[str], *, is_lowered: bool) -> None:
        self._path, self._allow, self._is_lowered = path, allow, is_lowered
        self._nodes: dict[str, NodeDef] = {node.name: node for node in meta.graph_def.node}
        self._functions = {f.signature.name: f for f in meta.graph_def.library.function}
        self._alike: dict[bytes, list[str]] = {}
        for name, function in self._functions.items():
            if name in load_operation_policy():
                msg = (
                    f"'{path}' is refused: its function '{name}' bears the name of an operation "
                    "and would run in its place. Export the model again."
                )
                raise GraphError(msg, path=path, function=name)
            self._alike.setdefault(_implemented(function), []).append(name)
        self._reached: set[tuple[str, str]] = set()
        self._random: dict[str, None] = {}
        self._unfed: dict[str, None] = {}
        self._defaults: dict[str, None] = {}

    def follow(self, root: Root) -> None:
        """Check all that a root reaches."""
        seen: set[tuple[str, str]] = set()
        waiting = [("", name) for name in self._sources(root.names, root)]
        while waiting:
            function, name = place = waiting.pop()
            if place in seen or (not function and name not in self._nodes):
                continue
            seen.add(place)
            if root.role != "inputs":
                self._reached.add(place)
            if not function:
                node = self._nodes[name]
                waiting += [("", source) for source in self._sources(node.input, root)]
                waiting += [(called, "") for called in self._check(node, root)]
                continue
            body = self._functions[function]
            for node in body.node_def:
                waiting += [(called, "") for called in self._check(node, root, function)]
            # TensorFlow may run one implementation of a function for another.
            if not self._is_lowered and (implemented := _implemented(body)):
                waiting += [(other, "") for other in self._alike[implemented]]

    def report(self) -> GraphReport:
        """Return what was found, and which refused operations were not reached."""
        bodies = [(name, node) for name, f in self._functions.items() for node in f.node_def]
        return GraphReport(
            random=tuple(self._random),
            unfed=tuple(self._unfed),
            defaults=tuple(self._defaults),
            unreached=tuple(
                f"{node.op} '{node.name}'" + (f" in function '{function}'" if function else "")
                for function, node in [*(("", node) for node in self._nodes.values()), *bodies]
                if (function, "" if function else node.name) not in self._reached
                and node.op not in self._functions
                and refusal(node.op, "restore")
                and refusal(node.op, "save")
            ),
        )

    def _sources(self, values: Iterable[str], root: Root) -> Iterator[str]:
        """Yield the nodes behind inputs, but for those that are fed."""
        for value in values:
            name = node_name(value)
            if value.startswith("^"):
                # In a session a fed placeholder is replaced for what waits for it too.
                node = self._nodes.get(name)
                is_fed = f"{name}:0" in root.fed and node is not None and node.op == "Placeholder"
            else:
                is_fed = _full(value) in root.fed
            if name and not is_fed:
                yield name

    def _check(self, node: NodeDef, root: Root, function: str = "") -> list[str]:
        """Check one node.

        Returns:
            The functions that it calls.

        Raises:
            GraphError: If it may not run.
        """
        called = called_functions(node)
        if node.op in self._functions:
            called.append(node.op)
        elif node.op not in self._allow:
            fault = refusal(node.op, root.role)
            if fault and root.role == "inputs" and _is_stateful(node.op):
                return []  # an import evaluates no stateful operation
            named = _NAMED_FILES.get(node.op, 0)
            if not fault and (function or not self._are_fed_names(node.input[:named], root)):
                fault = "opens files under a name that the graph holds" if named else None
            if fault:
                raise self._refused(node, root, function, fault)
        for name in called:
            if name not in self._functions:
                fault = f"calls the function '{name}', which is not in the graph"
                raise self._refused(node, root, function, fault)
        if root.role == "predictions":
            if is_random(node.op):
                self._random[node.name] = None
            elif node.op == "PlaceholderWithDefault":
                self._defaults[node.name] = None
            elif node.op in _PLACEHOLDERS and f"{node.name}:0" not in root.fed:
                self._unfed[node.name] = None
        return called

    def _are_fed_names(self, values: Iterable[str], root: Root) -> bool:
        """Return whether the names of files come from what the caller feeds."""
        waiting, seen = list(values), set[str]()
        while waiting:
            value = waiting.pop()
            if value in seen or value.startswith("^") or _full(value) in root.fed:
                continue
            seen.add(value)
            node = self._nodes.get(node_name(value))
            if node is None or node.op not in _NAME_OPS:
                return False
            waiting += node.input if node.op == "Pack" else node.input[:1]
        return True

    def _refused(self, node: NodeDef, root: Root, function: str, fault: str) -> GraphError:
        where = f" in function '{function}'" if function else ""
        advice = (
            f"Allow it, as with `yt8m-ens predict --allow-operation {node.op}`, only if you trust "
            "whoever made the file"
            if node.op in load_operation_policy()
            else "Export the model with TensorFlow's own operations only"
        )
        msg = (
            f"'{self._path}' is refused: {node.op} '{node.name}'{where} is reached from "
            f"{ROLES[root.role]} and {fault}. {advice}."
        )
        return GraphError(
            msg,
            path=self._path,
            operation=node.op,
            node=node.name,
            role=root.role,
            function=function or None,
        )


def _implemented(function: FunctionDef) -> bytes:
    """Return what a function says that it is an implementation of."""
    return function.attr["api_implements"].s if "api_implements" in function.attr else b""


def _full(value: str) -> str:
    return value if ":" in value else f"{value}:0"


def _parsed(meta: Any, collection: str, message: Any, path: str) -> Iterator[Any]:
    """Yield the messages that a collection holds as bytes.

    Raises:
        GraphError: If one is no such message.
    """
    if collection not in meta.collection_def:
        return
    for content in meta.collection_def[collection].bytes_list.value:
        try:
            yield message.FromString(content)
        except DecodeError as error:
            msg = f"'{path}' holds what is no {message.__name__} in '{collection}': {error}."
            raise GraphError(msg, path=path, collection=collection) from error


def _is_stateful(operation: str) -> bool:
    definition = op_def_registry.get(operation)
    return definition is not None and bool(definition.is_stateful)

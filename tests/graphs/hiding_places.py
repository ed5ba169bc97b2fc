"""A small meta graph, and the places in it where an operation can hide; definitions only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework.variable_pb2 import VariableDef
from tensorflow.core.protobuf.queue_runner_pb2 import QueueRunnerDef

if TYPE_CHECKING:
    from collections.abc import Callable


def sound_meta() -> Any:
    """Return a graph as an exporter writes it: inputs, a variable, predictions, a saver."""
    meta = tf.compat.v1.MetaGraphDef()
    for name, op, inputs in (
        ("x", "Placeholder", ()),
        ("n", "Placeholder", ()),
        ("w", "VariableV2", ()),
        ("read", "Identity", ("w",)),
        ("logits", "MatMul", ("x", "read")),
        ("predictions", "Sigmoid", ("logits",)),
        ("save/Const", "Const", ()),
        ("save/names", "Const", ()),
        ("save/slices", "Const", ()),
        ("save/SaveV2", "SaveV2", ("save/Const", "save/names", "save/slices", "w")),
        ("save/control", "Identity", ("save/Const", "^save/SaveV2")),
        ("save/RestoreV2", "RestoreV2", ("save/Const", "save/names", "save/slices")),
        ("save/Assign", "Assign", ("w", "save/RestoreV2")),
        ("save/restore_all", "NoOp", ("^save/Assign",)),
        ("local", "VariableV2", ()),
        ("zero", "Const", ()),
        ("local/Assign", "Assign", ("local", "zero")),
    ):
        meta.graph_def.node.add(name=name, op=op, input=inputs)
    for name, tensor in (("input_batch_raw", "x"), ("num_frames", "n"), ("predictions",) * 2):
        meta.collection_def[name].node_list.value.append(f"{tensor}:0")
    meta.saver_def.filename_tensor_name = "save/Const:0"
    meta.saver_def.save_tensor_name = "save/control:0"
    meta.saver_def.restore_op_name = "save/restore_all"
    local = VariableDef(variable_name="local:0", initializer_name="local/Assign")
    meta.collection_def["local_variables"].bytes_list.value.append(local.SerializeToString())
    return meta


def node_of(meta: Any, name: str) -> Any:
    """Return a node by its name."""
    return next(node for node in meta.graph_def.node if node.name == name)


def _evil(meta: Any, op: str, *inputs: str) -> str:
    meta.graph_def.node.add(name="evil", op=op, input=inputs)
    return "evil"


def _awaited_by(*, user: str) -> Callable[[Any, str], None]:
    def hide(meta: Any, op: str) -> None:
        node_of(meta, user).input.append(f"^{_evil(meta, op)}")

    return hide


def _read_by(*, user: str, position: int) -> Callable[[Any, str], None]:
    def hide(meta: Any, op: str) -> None:
        node_of(meta, user).input[position] = _evil(meta, op)

    return hide


def _function(meta: Any, name: str, op: str, **attributes: str) -> Any:
    function = meta.graph_def.library.function.add()
    function.signature.name = name
    inner = function.node_def.add(name="evil", op=op)
    for attribute, value in attributes.items():
        inner.attr[attribute].func.name = value
    return function


def _called_by(op: str, **functions: str) -> Callable[[Any, str], None]:
    """Return a call of functions, of which `evil` holds the operation."""

    def hide(meta: Any, hidden: str) -> None:
        _function(meta, "evil", hidden)
        _function(meta, "good", "NoOp")
        call = meta.graph_def.node.add(name="call", op=op)
        for attribute, function in functions.items():
            call.attr[attribute].func.name = function
        node_of(meta, "predictions").input.append("^call")

    return hide


def _nested(meta: Any, op: str) -> None:
    _function(meta, "inner", op)
    _function(meta, "middle", "PartitionedCall", f="inner")
    _function(meta, "outer", "StatelessWhile", body="middle", cond="middle")
    node_of(meta, "read").op = "outer"


def _swapped(meta: Any, op: str) -> None:
    for name, inside in (("shown", "NoOp"), ("hidden", op)):
        _function(meta, name, inside).attr["api_implements"].s = b"layer"
    call = meta.graph_def.node.add(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = "shown"
    node_of(meta, "predictions").input.append("^call")


def _feeding(meta: Any, op: str) -> None:
    node_of(meta, "x").op = op
    node_of(meta, "logits").input[0] = "x:1"


def _awaited_though_fed(meta: Any, op: str) -> None:
    node_of(meta, "x").op = op
    node_of(meta, "read").input.append("^x")


def _restores(meta: Any, op: str) -> None:
    meta.saver_def.restore_op_name = _evil(meta, op)


def _initializes(meta: Any, op: str) -> None:
    local = VariableDef(variable_name="local:0", initializer_name=_evil(meta, op))
    meta.collection_def["local_variables"].bytes_list.value.append(local.SerializeToString())


def _restored_without_a_saver(meta: Any, op: str) -> None:
    meta.saver_def.Clear()
    meta.graph_def.node.add(name="v", op="VariableV2", input=[f"^{_evil(meta, op)}"])
    variable = VariableDef(variable_name="v:0").SerializeToString()
    meta.collection_def["variables"].bytes_list.value.append(variable)


def _listed(collection: str) -> Callable[[Any, str], None]:
    def hide(meta: Any, op: str) -> None:
        meta.collection_def[collection].node_list.value.append(_evil(meta, op))

    return hide


def _run_by_queue(**fields: Any) -> Callable[[Any, str], None]:
    def hide(meta: Any, op: str) -> None:
        _evil(meta, op)
        runner = QueueRunnerDef(queue_name="zero", **fields).SerializeToString()
        meta.collection_def["queue_runners"].bytes_list.value.append(runner)

    return hide


RUN_PLACES: dict[str, Callable[[Any, str], None]] = {
    "read by the predictions": _read_by(user="predictions", position=0),
    "awaited by the predictions": _awaited_by(user="predictions"),
    "far behind the predictions": _awaited_by(user="w"),
    "a second output of the fed node": _feeding,
    "a fed node that is awaited": _awaited_though_fed,
    "a function": _called_by("PartitionedCall", f="evil"),
    "a function that is an operation": _called_by("evil"),
    "a nested function": _nested,
    "another implementation of a function": _swapped,
    "a loop's body": _called_by("While", body="evil", cond="good"),
    "a loop's condition": _called_by("StatelessWhile", body="good", cond="evil"),
    "a branch": _called_by("If", then_branch="good", else_branch="evil"),
}
"""Where the predictions reach it."""

OTHER_PLACES: dict[str, Callable[[Any, str], None]] = {
    "the restore operation": _restores,
    "awaited by the restore operation": _awaited_by(user="save/restore_all"),
    "the value that restoring assigns": _read_by(user="save/Assign", position=1),
    "the tensor names that are restored": _read_by(user="save/RestoreV2", position=1),
    "awaited by a variable that only a saver restores": _restored_without_a_saver,
    "awaited by the save operation": _awaited_by(user="save/control"),
    "a local variable's initializer": _initializes,
    "a local variable's initial value": _read_by(user="local/Assign", position=1),
    "a table's initializer": _listed("table_initializer"),
    "the main operation": _listed("saved_model_main_op"),
    "what a queue runner enqueues": _run_by_queue(enqueue_op_name=["evil"]),
    "what a queue runner closes with": _run_by_queue(close_op_name="evil"),
    "what a queue runner cancels with": _run_by_queue(cancel_op_name="evil"),
}
"""Where only the official reader, or one that saves or serves, would run it."""

PLACES = {**RUN_PLACES, **OTHER_PLACES}

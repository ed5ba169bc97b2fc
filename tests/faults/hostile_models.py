"""Models whose graphs really do harm when they run: what they do, and where they hide it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.variable_pb2 import VariableDef
from tensorflow.core.protobuf.queue_runner_pb2 import QueueRunnerDef

from yt8m_ensemble.checkpoints import write_checkpoint
from yt8m_ensemble.graphs import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

v1, raw = tf.compat.v1, tf.raw_ops

FLAGS = {
    "feature_names": "mean_rgb",
    "feature_sizes": "8",
    "frame_features": False,
    "num_classes": 24,
}


def make_canary(folder: Path) -> Path:
    """Write files that no model has any business with; return their folder."""
    folder.mkdir(parents=True)
    (folder / "secret.txt").write_text("secret\n")
    write_checkpoint(str(folder / "other"), {"weights": np.arange(4, dtype=np.float32)})
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder with their contents."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _save(canary: Path) -> Any:
    return raw.SaveV2(
        prefix=f"{canary}/new",
        tensor_names=["t"],
        shape_and_slices=[""],
        tensors=[tf.constant(1.0)],
    )


def _write_summary(canary: Path) -> Any:
    writer = raw.SummaryWriter(shared_name="", container="")
    return raw.CreateSummaryFileWriter(
        writer=writer,
        logdir=f"{canary}/events",
        max_queue=1,
        flush_millis=1,
        filename_suffix="",
    )


def _load_table(canary: Path) -> Any:
    table = raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    return raw.InitializeTableFromTextFileV2(
        table_handle=table, filename=f"{canary}/secret.txt", key_index=-2, value_index=-1
    )


def _write_records(canary: Path) -> Any:
    data = raw.TensorSliceDataset(components=[tf.constant(["x"])], output_shapes=[[]])
    return raw.DatasetToTFRecord(
        input_dataset=data, filename=f"{canary}/records", compression_type=""
    )


def _call_python(canary: Path) -> Any:
    return v1.py_func(lambda: (canary / "python").write_text("x") or 1, [], tf.int64)


HARM: dict[str, Callable[[Path], Any]] = {
    "WriteFile": lambda canary: raw.WriteFile(filename=f"{canary}/secret.txt", contents="gone"),
    "SaveV2": _save,
    "Save": lambda canary: raw.Save(
        filename=f"{canary}/old", tensor_names=["t"], data=[tf.constant(1.0)]
    ),
    "MergeV2Checkpoints": lambda canary: raw.MergeV2Checkpoints(
        checkpoint_prefixes=[f"{canary}/other"],
        destination_prefix=f"{canary}/moved",
        delete_old_dirs=True,
    ),
    "PrintV2": lambda canary: raw.PrintV2(input="x", output_stream=f"file://{canary}/printed"),
    "CreateSummaryFileWriter": _write_summary,
    "DatasetToTFRecord": _write_records,
    "PyFunc": _call_python,
    "ReadFile": lambda canary: raw.ReadFile(filename=f"{canary}/secret.txt"),
    "MatchingFiles": lambda canary: raw.MatchingFiles(pattern=f"{canary}/*"),
    "InitializeTableFromTextFileV2": _load_table,
    "RestoreV2": lambda canary: raw.RestoreV2(
        prefix=f"{canary}/other",
        tensor_names=["weights"],
        shape_and_slices=[""],
        dtypes=[tf.float32],
    ),
}
"""By the operation that does it."""

WRITES = tuple(HARM)[:7]
"""Those that leave a trace in the folder in any process; the others read, or need this one."""

HELPERS = frozenset({"HashTableV2", "SummaryWriter", "TensorSliceDataset"})
"""What some of them need, and what may not run either."""


def _named(operation: Any) -> tf.Operation:
    made = operation[0] if isinstance(operation, list) else operation
    return made if isinstance(made, tf.Operation) else made.op


def _after(x: tf.Tensor, harm: Callable[[], Any]) -> tf.Tensor:
    made = harm()
    with tf.control_dependencies([_named(made)]):
        # A function drops what it need not wait for, unless its value is used.
        is_value = isinstance(made, tf.Tensor) and made.dtype != tf.resource
        return x + 0.0 * tf.cast(tf.size(made), tf.float32) if is_value else tf.identity(x)


def _in_function(x: tf.Tensor, harm: Callable[[], Any]) -> tf.Tensor:
    return tf.function(lambda value: _after(value, harm))(x)


def _in_nested_function(x: tf.Tensor, harm: Callable[[], Any]) -> tf.Tensor:
    inner = tf.function(lambda value: _after(value, harm))
    return tf.function(lambda value: inner(value) + 1.0)(x)


def _in_loop(x: tf.Tensor, harm: Callable[[], Any]) -> tf.Tensor:
    def step(number: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number + 1, _after(value, harm)

    loop = tf.function(lambda value: tf.while_loop(lambda n, _: n < 2, step, (0, value))[1])
    return loop(x)


def _in_branch(x: tf.Tensor, harm: Callable[[], Any]) -> tf.Tensor:
    return tf.function(
        lambda value: tf.cond(
            tf.reduce_sum(value) > -1e9, lambda: _after(value, harm), lambda: value
        )
    )(x)


SCORED: dict[str, Callable[[tf.Tensor, Callable[[], Any]], tf.Tensor]] = {
    "predictions": _after,
    "function": _in_function,
    "nested function": _in_nested_function,
    "loop": _in_loop,
    "branch": _in_branch,
}
"""Where whoever scores a batch runs it."""


def _wait_for(meta: Any, evil: str, user: str) -> None:
    next(node for node in meta.graph_def.node if node.name == user).input.append(f"^{evil}")


def _initialize_with(meta: Any, evil: str) -> None:
    local = VariableDef(variable_name="w:0", initializer_name=evil, snapshot_name="w/read:0")
    meta.collection_def["local_variables"].bytes_list.value.append(local.SerializeToString())


def _enqueue_with(meta: Any, evil: str) -> None:
    meta.graph_def.node.add(name="queue", op="FIFOQueueV2")
    types = meta.graph_def.node[-1].attr["component_types"].list
    types.type.append(tf.float32.as_datatype_enum)
    runner = QueueRunnerDef(
        queue_name="queue", enqueue_op_name=[evil], close_op_name=evil, cancel_op_name=evil
    )
    meta.collection_def["queue_runners"].bytes_list.value.append(runner.SerializeToString())


LOADED: dict[str, Callable[[Any, str], None]] = {
    "restore operation": lambda meta, evil: setattr(meta.saver_def, "restore_op_name", evil),
    "behind restoring": lambda meta, evil: _wait_for(meta, evil, "save/restore_all"),
    "behind saving": lambda meta, evil: _wait_for(meta, evil, "save/control_dependency"),
    "local variable": _initialize_with,
    "table initializer": lambda meta, evil: meta.collection_def[
        "table_initializer"
    ].node_list.value.append(evil),
    "queue runner": _enqueue_with,
}
"""Where whoever loads, saves or serves the model with TensorFlow's own means runs it."""


def write_model(
    directory: Path, *, harm: Callable[[], Any] | None = None, place: str = "predictions"
) -> Path:
    """Write the four files of a logistic model; return their directory.

    Args:
        directory: Where they go.
        harm: Adds the operation that does harm; `None` for a sound model.
        place: A key of `SCORED` or `LOADED`.
    """
    directory.mkdir(parents=True)
    graph = tf.Graph()
    evil = ""
    with graph.as_default():
        x = v1.placeholder(tf.float32, (None, 8), "x")
        n = v1.placeholder(tf.float32, (None,), "n")
        with v1.variable_scope("", use_resource=False):
            w = v1.get_variable("w", (8, 24), initializer=v1.zeros_initializer())
        hidden = x
        if harm is not None and place in SCORED:
            hidden = SCORED[place](x, harm)
        elif harm is not None:
            with tf.name_scope("evil"):
                evil = _named(harm()).name
        y = tf.sigmoid(hidden @ tf.identity(w), name="y")
        for name, tensor in zip(CONTRACT, (x, n, y), strict=True):
            v1.add_to_collection(name, tensor)
        saver = v1.train.Saver([w])
        meta = v1.train.export_meta_graph(
            graph=graph, saver_def=saver.as_saver_def(), strip_default_attrs=True
        )
    if evil:
        LOADED[place](meta, evil)
    (directory / "inference_model.meta").write_bytes(meta.SerializeToString())
    (directory / "model_flags.json").write_text(json.dumps(FLAGS))
    weights = np.random.default_rng(0).normal(size=(8, 24)).astype(np.float32)
    write_checkpoint(str(directory / "inference_model"), {"w": weights})
    return directory

"""Write an inference model as a SavedModel, for TensorFlow Serving and `tf.saved_model.load`.

The same graph and weights as in an archive, behind two signatures. Runs nothing: weights are copied
variable by variable.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from yt8m_ensemble.constants import FLAGS_FILE, SAVED_MODEL_FILE, TOP_K
from yt8m_ensemble.data.parsing import parse_records
from yt8m_ensemble.graphs import ModelGraph, free_scope, node_name, to_meta_graph
from yt8m_ensemble.merging.extraction import write_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.values import FeatureSpec, TensorSource

_METHOD: Final = "tensorflow/serving/predict"
_VERSION: Final = 1


def write_saved_model(
    graph: ModelGraph,
    source: TensorSource,
    *,
    flags: bytes,
    features: FeatureSpec,
    num_classes: int,
    directory: str,
) -> None:
    """Write a SavedModel.

    The signature `serving_default`, which is the starter code's, takes `example_bytes` `(B,)`
    string, serialized records, and gives `video_id` `(B,)` string, `class_indexes` `(B, 20)` int32
    and `predictions` `(B, 20)` float32, falling. The signature `features` takes `input_batch_raw`
    `(B, F)` or `(B, T, F)` float32 and `num_frames` `(B,)`, and gives all `predictions` `(B, C)`.

    Args:
        graph: The inference graph.
        source: Its weights.
        flags: `model_flags.json`, which is put beside the graph.
        features: What the records hold.
        num_classes: C.
        directory: Where to, there already and empty.
    """
    served, tensors = _add_parser(graph, features, num_classes)
    own = {node: replace(spec, name=node) for node, spec in graph.variables.items()}
    meta = to_meta_graph(replace(served, variables=own, slices={}))
    meta.meta_info_def.tags.append("serve")
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(meta.graph_def, name="")
        for name, (inputs, outputs) in _signatures(served, tensors).items():
            signature = meta.signature_def[name]
            signature.method_name = _METHOD
            for infos, named in ((signature.inputs, inputs), (signature.outputs, outputs)):
                for key, tensor in named.items():
                    _describe(infos[key], imported.get_tensor_by_name(tensor))
    saved = SavedModel(saved_model_schema_version=_VERSION, meta_graphs=[meta])
    Path(directory, SAVED_MODEL_FILE).write_bytes(saved.SerializeToString(deterministic=True))
    Path(directory, FLAGS_FILE).write_bytes(flags)
    Path(directory, "variables").mkdir()
    write_weights(graph, source, f"{directory}/variables/variables")


def _add_parser(
    graph: ModelGraph, features: FeatureSpec, num_classes: int
) -> tuple[ModelGraph, dict[str, str]]:
    """Put a parser of records before a graph and the choice of the top classes behind it.

    Its own inputs may still be fed.

    Returns:
        The graph, and the tensors of the signature by key.
    """
    inputs, counts = node_name(graph.inputs), node_name(graph.num_frames)
    nodes = {node.name: node for node in graph.graph_def.node}
    scope = free_scope(graph.graph_def, "serving")
    with tf.Graph().as_default() as parser, tf.name_scope(f"{scope}/"):
        records = tf.compat.v1.placeholder(tf.string, [None], "example_bytes")
        batch = parse_records(records, features=features, num_classes=num_classes)
        found = tf.cast(batch["num_frames"], nodes[counts].attr["dtype"].type)
        scores = tf.compat.v1.placeholder(tf.float32, [None, num_classes], "scores")
        best, classes = tf.math.top_k(scores, min(TOP_K, num_classes))
        video_ids = tf.identity(batch["video_ids"], "video_id")
    joined = GraphDef()
    joined.CopyFrom(graph.graph_def)
    for node in joined.node:
        default = {inputs: batch["features"].op.name, counts: found.op.name}.get(node.name)
        if default:
            node.op = "PlaceholderWithDefault"
            node.input.append(default)
    parts = parser.as_graph_def()
    joined.library.MergeFrom(parts.library)
    for node in parts.node:
        if node.name != scores.op.name:
            copy = joined.node.add()
            copy.CopyFrom(node)
            for position, value in enumerate(node.input):
                if node_name(value) == scores.op.name:
                    copy.input[position] = graph.predictions
    tensors = {
        "example_bytes": records.name,
        "video_id": video_ids.name,
        "class_indexes": classes.name,
        "predictions": best.name,
    }
    return replace(graph, graph_def=joined), tensors


def _signatures(
    graph: ModelGraph, tensors: Mapping[str, str]
) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Return inputs and outputs of each signature, by key the name of a tensor."""
    served = {key: tensors[key] for key in ("video_id", "class_indexes", "predictions")}
    dense = {"input_batch_raw": graph.inputs, "num_frames": graph.num_frames}
    return {
        "serving_default": ({"example_bytes": tensors["example_bytes"]}, served),
        "features": (dense, {"predictions": graph.predictions}),
    }


def _describe(info: Any, tensor: tf.Tensor) -> None:
    info.name = tensor.name
    info.dtype = tensor.dtype.base_dtype.as_datatype_enum
    info.tensor_shape.CopyFrom(tensor.shape.as_proto())

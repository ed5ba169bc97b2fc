"""An architecture as an inference graph that TensorFlow 1 loads, and as a list of its variables."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.graphs import ModelGraph, from_tf_graph
from yt8m_ensemble.models.registry import make_model
from yt8m_ensemble.models.tower import Declaration, GraphTower

if TYPE_CHECKING:
    from yt8m_ensemble.models.architecture import Architecture
    from yt8m_ensemble.values import FeatureSpec, ModelFlags


def model_of_flags(flags: ModelFlags) -> Architecture:
    """Return the architecture that complete flags describe.

    Raises:
        ModelError: If the name or an option is unknown, or the level does not fit.
    """
    return make_model(flags.model, flags.options, frame_level=flags.features.frame_level)


def declare_variables(
    model: Architecture, features: FeatureSpec, num_classes: int
) -> dict[str, Declaration]:
    """Return the variables that a model consists of, by checkpoint name, in order of use.

    Raises:
        ModelError: If the model cannot pool these features.
    """
    return _build(model, features, num_classes)[1]


def build_graph(flags: ModelFlags) -> ModelGraph:
    """Build the inference graph of a model.

    Placeholders `input_batch_raw` (dequantised features, `(B, F)` or `(B, T, F)` float32) and
    `num_frames` (`(B,)` int32) lead through the L2 normalisation and the model to `predictions`.

    Args:
        flags: What to build.

    Returns:
        The graph; its variables are named as in checkpoints, `tower/...`.

    Raises:
        ModelError: If the flags name no model or options that it does not have.
    """
    graph, _ = _build(model_of_flags(flags), flags.features, flags.num_classes)
    return from_tf_graph(
        graph, inputs="input_batch_raw:0", num_frames="num_frames:0", predictions="predictions:0"
    )


@lru_cache(maxsize=1)  # what recognizes a model has built its graph
def _build(
    model: Architecture, features: FeatureSpec, num_classes: int
) -> tuple[tf.Graph, dict[str, Declaration]]:
    shape = (
        [None, None, features.total_size] if features.frame_level else [None, features.total_size]
    )
    with tf.Graph().as_default() as graph:
        inputs = tf.compat.v1.placeholder(tf.float32, shape, "input_batch_raw")
        num_frames = tf.compat.v1.placeholder(tf.int32, [None], "num_frames")
        tower = GraphTower()
        with tf.name_scope("model"):
            predictions = model(
                inputs, num_frames, tower, features=features, num_classes=num_classes
            )
        tf.identity(predictions, name="predictions")
    return graph, tower.declarations

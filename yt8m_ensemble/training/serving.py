"""A SavedModel with the starter code's signature: serialized records in, top classes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.data.parsing import parse_records

if TYPE_CHECKING:
    from yt8m_ensemble.training.trainer import Trainer
    from yt8m_ensemble.values import ModelFlags


def export_saved_model(trainer: Trainer, flags: ModelFlags, directory: str) -> None:
    """Write the current weights as a SavedModel.

    The signature `serving_default` takes `example_bytes` (B,) string and gives `video_id` (B,)
    string, `class_indexes` (B, 20) int32 and `predictions` (B, 20) float32, falling.

    Args:
        trainer: The weights.
        flags: What the records hold.
        directory: Where to write; must not exist.
    """

    def serve(example_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = parse_records(example_bytes, features=flags.features, num_classes=flags.num_classes)
        scores = trainer.predict(batch["features"], batch["num_frames"])
        predictions, class_indexes = tf.math.top_k(scores, min(TOP_K, flags.num_classes))
        return {
            "video_id": batch["video_ids"],
            "class_indexes": class_indexes,
            "predictions": predictions,
        }

    module = tf.Module()
    module.weights = list(trainer.model_variables.values())
    signature = [tf.TensorSpec([None], tf.string, "example_bytes")]
    module.serve = tf.function(serve, input_signature=signature)
    tf.saved_model.save(module, directory, signatures={"serving_default": module.serve})

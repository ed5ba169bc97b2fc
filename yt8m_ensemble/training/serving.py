"""A SavedModel with the starter code's signature: serialized records in, top classes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble import files
from yt8m_ensemble.constants import FLAGS_FILE, TOP_K
from yt8m_ensemble.data.parsing import parse_records

if TYPE_CHECKING:
    from yt8m_ensemble.training.trainer import Trainer
    from yt8m_ensemble.values import ModelFlags


def export_saved_model(trainer: Trainer, flags: ModelFlags, directory: str) -> None:
    """Write the current weights as a SavedModel.

    The signature `serving_default` takes `example_bytes` (B,) string and gives `video_id` (B,)
    string, `class_indexes` (B, 20) int32 and `predictions` (B, 20) float32, falling. The signature
    `features` takes `input_batch_raw` (B, F) or (B, T, F) float32 and `num_frames` (B,) int32, and
    gives all `predictions` (B, C): with it the export is a model that other commands open.

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

    def score(input_batch_raw: tf.Tensor, num_frames: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predictions": trainer.predict(input_batch_raw, num_frames)}

    spec = flags.features
    shape = (
        [None, spec.max_frames, spec.total_size] if spec.frame_level else [None, spec.total_size]
    )
    dense = [
        tf.TensorSpec(shape, tf.float32, "input_batch_raw"),
        tf.TensorSpec([None], tf.int32, "num_frames"),
    ]
    module.score = tf.function(score, input_signature=dense)
    signatures = {"serving_default": module.serve, "features": module.score}
    tf.saved_model.save(module, directory, signatures=signatures)
    files.write_text(f"{directory}/{FLAGS_FILE}", flags.to_json())

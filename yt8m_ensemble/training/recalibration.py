"""Batch-norm statistics of given weights, by one pass in training mode. Changes no weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from yt8m_ensemble.models import declare_variables, model_of_flags
from yt8m_ensemble.training.tower import TrainingTower

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from yt8m_ensemble.values import ModelFlags, TensorSource


def estimate_batch_norm(
    flags: ModelFlags,
    source: TensorSource,
    batches: Iterable[tuple[NDArray[np.float32], NDArray[np.int32]]],
    *,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Average the batch statistics of every batch-norm layer over batches, each counting by videos.

    After weights have been averaged, moving averages that were averaged with them may not be those
    of the new weights (Izmailov et al. 2018, arXiv 1803.05407, section 3.2).

    Args:
        flags: The model.
        source: Its weights.
        batches: Features and frame counts, as models take them.
        seed: Seed of the frames that a model draws while training.

    Returns:
        New values of the moving means and variances, by checkpoint name; none if the model has no
        batch norm or there was no batch. Sums are made in float64.
    """
    model = model_of_flags(flags)
    declared = declare_variables(model, flags.features, flags.num_classes)
    variables = {name: tf.Variable(source.read(name)) for name in declared}

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def statistics(features: tf.Tensor, num_frames: tf.Tensor, step: tf.Tensor) -> Any:
        tower = TrainingTower(variables, seed=tf.constant(seed, tf.int32), step=step)
        model(features, num_frames, tower, features=flags.features, num_classes=flags.num_classes)
        return tower.averages

    sums: dict[str, NDArray[np.float64]] = {}
    count = 0
    for step, (features, num_frames) in enumerate(batches):
        found = statistics(tf.constant(features), tf.constant(num_frames), tf.constant(step))
        count += len(features)
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + np.float64(len(features)) * value.numpy()
    return {name: (total / count).astype(np.float32) for name, total in sums.items()}

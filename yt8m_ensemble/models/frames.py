"""Frames of padded videos: which of them count, the random draws of training, bytes to values.

Never decides what becomes of the frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.constants import DEQUANTIZE_BIAS, DEQUANTIZE_SCALE

if TYPE_CHECKING:
    from yt8m_ensemble.models.tower import Tower


def frame_mask(frames: tf.Tensor, num_frames: tf.Tensor) -> tf.Tensor:
    """Mark the true frames.

    Args:
        frames: Shape `(B, T, F)`.
        num_frames: Shape `(B,)`, int32; may exceed T.

    Returns:
        Shape `(B, T)`, float32: 1 for a frame of the video, 0 for padding.
    """
    places = tf.expand_dims(tf.range(tf.shape(frames)[1]), 0)
    return tf.cast(places < tf.expand_dims(num_frames, 1), tf.float32)


def dequantize_frames(frames: tf.Tensor, num_frames: tf.Tensor) -> tf.Tensor:
    """Turn bytes into features, q * 4/255 + 4/512 - 2; padding becomes 0.

    The values are bit for bit those of `data.read_batches`. Only operations that every device has.

    Args:
        frames: Shape `(B, T, F)`, uint8; frames past `num_frames` hold zero bytes.
        num_frames: Shape `(B,)`, int32.

    Returns:
        The same shape, float32.
    """
    bias = DEQUANTIZE_BIAS * tf.expand_dims(frame_mask(frames, num_frames), 2)
    return tf.cast(frames, tf.float32) * DEQUANTIZE_SCALE + bias


def sample_frames(frames: tf.Tensor, num_frames: tf.Tensor, count: int, tower: Tower) -> tf.Tensor:
    """Draw frames of each video with replacement, as the starter code does while training.

    Args:
        frames: Shape `(B, T, F)`, float32 or uint8.
        num_frames: Shape `(B,)`, int32.
        count: Frames to draw.
        tower: The source of randomness.

    Returns:
        Shape `(B, count, F)`, dtype as `frames`.
    """
    available = tf.cast(tf.expand_dims(_true_frames(frames, num_frames), 1), tf.float32)
    draws = tower.uniform((tf.shape(frames)[0], count))
    return tf.gather(frames, tf.cast(draws * available, tf.int32), batch_dims=1)


def sample_sequence(
    frames: tf.Tensor, num_frames: tf.Tensor, count: int, tower: Tower
) -> tf.Tensor:
    """Draw a run of consecutive frames of each video; a short video repeats its last frame.

    Args:
        frames: Shape `(B, T, F)`, float32 or uint8.
        num_frames: Shape `(B,)`, int32.
        count: Length of the run.
        tower: The source of randomness.

    Returns:
        Shape `(B, count, F)`, dtype as `frames`.
    """
    available = tf.expand_dims(_true_frames(frames, num_frames), 1)
    starts = tf.cast(tf.maximum(available - count, 0) + 1, tf.float32)
    start = tf.cast(tower.uniform((tf.shape(frames)[0], 1)) * starts, tf.int32)
    places = tf.minimum(start + tf.expand_dims(tf.range(count), 0), available - 1)
    return tf.gather(frames, places, batch_dims=1)


def average_frames(frames: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the means `(B, F)` of the true frames of `(B, T, F)`; 0 if there is none."""
    total = tf.reduce_sum(frames * tf.expand_dims(mask, 2), 1)
    return total / tf.maximum(tf.reduce_sum(mask, 1, keepdims=True), 1)


def max_frames(frames: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the maxima `(B, F)` over the true frames of `(B, T, F)`; -1e9 if there is none."""
    true = tf.expand_dims(mask, 2)
    return tf.reduce_max(frames * true - (1 - true) * 1e9, 1)


def _true_frames(frames: tf.Tensor, num_frames: tf.Tensor) -> tf.Tensor:
    """Return at least 1, so that an empty video reads its padding and nothing out of range."""
    return tf.clip_by_value(num_frames, 1, tf.shape(frames)[1])

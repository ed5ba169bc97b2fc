"""Invented videos whose labels can be learned from their features, but not trivially. Plain numpy.

A *world* is drawn once from its own seed: what each class looks and sounds like. Videos are then
drawn from it with another seed, so that splits of different seeds belong together.

- Class frequencies fall as in a long-tailed vocabulary; class 0 is the most frequent.
- A class appears in one of several modes, so that a linear model has to average what a mixture of
  experts can tell apart; rarer classes imply a frequent parent; some classes mean "a class of this
  group, in this style" and so need interactions.
- A video is a row of segments, each showing one of its classes or a background. A class that is
  seen for a few seconds is faint in the mean of all frames but plain in its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import DEQUANTIZE_BIAS, DEQUANTIZE_SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BYTE_RANGE = (np.float32(DEQUANTIZE_BIAS), np.float32(255 * DEQUANTIZE_SCALE + DEQUANTIZE_BIAS))
"""Least and greatest value that a byte can stand for."""

_MODES, _STYLES, _BACKGROUNDS, _GROUPS = 3, 4, 12, 6
_TAIL_EXPONENT, _TAIL_OFFSET = 1.1, 4
_STYLED_EVERY = 16  # every sixteenth class is "a class of this group, in this style"
_FIRST_CHILD = 3  # a class's parent is among the most frequent third of those before it
_PARENT_SHARE, _PARENT_LABELLED, _LABEL_KEPT = 0.6, 0.8, 0.95
_ODD_MODE = 0.3  # segments whose mode is not the one that goes with the video's style
_BACKGROUND_SHARE = 0.3
_MAX_SEGMENTS = 8
_SHOWN_CLASSES = (0.25, 0.45, 0.3)  # chances that a video shows one, two or three classes
_STYLE_STRENGTH, _VIDEO_NOISE, _SEGMENT_NOISE, _FRAME_NOISE = 0.6, 0.7, 0.6, 0.5
_LATENT = 6  # latent dimensions of a feature of F values: this times the root of F
_COMMON_LOOK = 0.88  # what the modes of a class have in common
_AMPLITUDE = 0.42  # feature values spread about as the real mean_rgb do, 0.46
_WANDER_DIRECTIONS, _WANDER_AMPLITUDE = 16, 0.35
_JITTER_MEMORY = 0.9  # of one frame in the next


@dataclass(frozen=True)
class World:
    """Distribution that videos are drawn from; D is the number of latent dimensions.

    Args:
        class_weights: Shape `(C,)`, float64, sum 1: how often a class is shown.
        parents: Shape `(C,)`, int64: the class implied by each; -1 for none.
        groups: Shape `(C,)`, int64: the group that each class belongs to.
        styled: Pairs (group, style) by class id, for classes that are never shown themselves.
        modes: Shape `(C, modes, D)`, float32: appearances of a class.
        styles: Shape `(styles, D)`, float32: what a style adds to all frames.
        backgrounds: Shape `(backgrounds, D)`, float32: segments that show no class.
        projection: Shape `(D, F)`, float32: from latent values to features.
    """

    class_weights: NDArray[np.float64]
    parents: NDArray[np.int64]
    groups: NDArray[np.int64]
    styled: dict[int, tuple[int, int]]
    modes: Floats
    styles: Floats
    backgrounds: Floats
    projection: Floats

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_weights)


@dataclass(frozen=True)
class Video:
    """One invented video before it becomes a record.

    Args:
        labels: Its classes, rising.
        segments: Shape `(S, D)`, float32: latent value of each segment.
        lengths: Shape `(S,)`, int64: frames of each segment.
    """

    labels: tuple[int, ...]
    segments: Floats
    lengths: NDArray[np.int64]

    @property
    def num_frames(self) -> int:
        """T."""
        return int(self.lengths.sum())


def make_world(*, num_classes: int, feature_sizes: Sequence[int], seed: int) -> World:
    """Draw a world; the same arguments give the same world.

    Args:
        num_classes: C.
        feature_sizes: Values of each feature; features are seen and heard independently.
        seed: The world's own seed.

    Returns:
        The world.
    """
    rng = np.random.default_rng([seed, num_classes, *feature_sizes])
    latent_sizes = [min(size, int(_LATENT * size**0.5)) for size in feature_sizes]
    ids = np.arange(num_classes)
    weights = (ids + _TAIL_OFFSET) ** -_TAIL_EXPONENT
    styled = {
        int(c): (int(c) // _STYLED_EVERY % _GROUPS, int(rng.integers(_STYLES)))
        for c in ids[_STYLED_EVERY // 2 :: _STYLED_EVERY]
    }
    weights[list(styled)] = 0
    has_parent = rng.random(num_classes) < _PARENT_SHARE
    parents = np.where(
        has_parent & (ids >= _FIRST_CHILD), rng.integers(0, np.maximum(ids // _FIRST_CHILD, 1)), -1
    )
    projection = np.zeros((sum(latent_sizes), sum(feature_sizes)), np.float32)
    # How plainly each class shows in each feature: some are heard rather than seen.
    strengths = rng.uniform(0.3, 1.2, (num_classes, 1, len(feature_sizes)))
    row = column = 0
    for latent, size in zip(latent_sizes, feature_sizes, strict=True):
        # Orthogonal rows, as after the PCA of the real features.
        block = np.linalg.qr(rng.standard_normal((size, latent)))[0].T * (size / latent) ** 0.5
        projection[row : row + latent, column : column + size] = block
        row, column = row + latent, column + size
    shape = (num_classes, _MODES, sum(latent_sizes))
    modes = rng.standard_normal((num_classes, 1, shape[2])) * _COMMON_LOOK
    modes = modes + rng.standard_normal(shape) * (1 - _COMMON_LOOK**2) ** 0.5
    modes *= np.repeat(strengths, latent_sizes, axis=2)
    return World(
        weights / weights.sum(),
        parents,
        rng.integers(0, _GROUPS, num_classes),
        styled,
        modes.astype(np.float32),
        rng.standard_normal((_STYLES, shape[2])).astype(np.float32) * np.float32(_STYLE_STRENGTH),
        rng.standard_normal((_BACKGROUNDS, shape[2])).astype(np.float32),
        projection * np.float32(_AMPLITUDE),
    )


def draw_video(world: World, rng: Generator, *, frames: tuple[int, int]) -> Video:
    """Draw one video.

    Args:
        world: What it is drawn from.
        rng: Source of chance.
        frames: Least and greatest number of frames.

    Returns:
        The video; it has at least one label.
    """
    style = int(rng.integers(_STYLES))
    num_frames = int(rng.integers(frames[0], frames[1] + 1))
    count = 1 + int(rng.choice(len(_SHOWN_CLASSES), p=_SHOWN_CLASSES))
    count = min(count, int(np.count_nonzero(world.class_weights)), num_frames)
    shown = rng.choice(world.num_classes, count, replace=False, p=world.class_weights)
    num_segments = int(rng.integers(count, max(count, min(_MAX_SEGMENTS, num_frames)) + 1))
    # Every shown class gets a segment; the rest repeat one of them or show a background.
    topics = np.concatenate([shown, rng.choice(shown, num_segments - count)])
    odd = rng.random(num_segments) < _ODD_MODE
    segments = world.modes[topics, (topics + style + odd) % _MODES]
    is_background = rng.random(num_segments) < _BACKGROUND_SHARE
    is_background[:count] = False
    backgrounds = world.backgrounds[rng.integers(0, _BACKGROUNDS, num_segments)]
    segments = np.where(is_background[:, np.newaxis], backgrounds, segments)
    segments = segments + world.styles[style] + _normal(rng, segments.shape, _SEGMENT_NOISE)
    segments += _normal(rng, segments.shape[1:], _VIDEO_NOISE)
    shares = rng.dirichlet(np.full(num_segments, 1.5))
    lengths = 1 + rng.multinomial(num_frames - num_segments, shares)
    order = rng.permutation(num_segments)
    return Video(_labels(world, rng, shown, style), segments[order], lengths[order])


def mean_features(world: World, video: Video) -> Floats:
    """Return the mean of a video's features over its frames: `(F,)`, within a byte's range."""
    latent = video.lengths.astype(np.float32) @ video.segments / np.float32(video.num_frames)
    features: Floats = np.clip(latent @ world.projection, *BYTE_RANGE)
    return features


def draw_frames(world: World, rng: Generator, video: Video) -> NDArray[np.uint8]:
    """Draw a video's frames: its segments in turn, with a jitter that drifts from frame to frame.

    Args:
        world: What the video was drawn from.
        rng: Source of chance.
        video: The video.

    Returns:
        Shape `(T, F)`, uint8; they average to `mean_features` as `frames_around` says.
    """
    latent = _drift(rng, video.num_frames, video.segments.shape[1])
    latent += np.repeat(video.segments, video.lengths, axis=0)
    return frames_around(mean_features(world, video), latent @ world.projection)


def draw_basis(num_features: int, rng: Generator) -> Floats:
    """Draw the directions that frames wander in around a known mean.

    Args:
        num_features: F.
        rng: Source of chance.

    Returns:
        Shape `(D, F)`, float32.
    """
    shape = (_WANDER_DIRECTIONS, num_features)
    return _normal(rng, shape, _WANDER_AMPLITUDE * _WANDER_DIRECTIONS**-0.5)


def wander_around(
    mean: Floats, rng: Generator, *, num_frames: int, basis: Floats
) -> NDArray[np.uint8]:
    """Draw frames of a video of which only the mean is known.

    Args:
        mean: Shape `(F,)`, float32, within a byte's range.
        rng: Source of chance.
        num_frames: T, at least 1.
        basis: Shape `(D, F)`, float32: directions that frames wander in.

    Returns:
        Shape `(T, F)`, uint8: segments that differ, each with a drifting jitter.
    """
    num_segments = min(int(rng.integers(2, _MAX_SEGMENTS + 1)), num_frames)
    lengths = 1 + rng.multinomial(
        num_frames - num_segments, rng.dirichlet(np.full(num_segments, 1.5))
    )
    segments = _normal(rng, (num_segments, len(basis)), 1.0)
    latent = _drift(rng, num_frames, len(basis))
    latent += np.repeat(segments, lengths, axis=0)
    return frames_around(mean, latent @ basis)


def frames_around(mean: Floats, path: Floats) -> NDArray[np.uint8]:
    """Quantise frames that follow a path, shifted so that they average to a given mean.

    The path's deviations from its own mean are added to `mean`, shrunk per feature where they would
    leave a byte's range, so nothing is clipped. Rounding is of the running sum, which keeps each
    byte within one step of its value and the sum over all frames within half a step.

    Args:
        mean: Shape `(F,)`, float32, within a byte's range.
        path: Shape `(T, F)`, float32.

    Returns:
        Shape `(T, F)`, uint8; the mean of the dequantised frames is within 1/T step of `mean`.

    Examples:
        >>> frames_around(np.zeros(1, np.float32), np.array([[0.0], [1.0]], np.float32)).ravel()
        array([ 95, 159], dtype=uint8)
    """
    center = (mean - np.float32(DEQUANTIZE_BIAS)) / np.float32(DEQUANTIZE_SCALE)
    deviation = (path - path.mean(axis=0)) / np.float32(DEQUANTIZE_SCALE)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.fmin((255 - center) / deviation.max(axis=0), center / -deviation.min(axis=0))
    deviation *= np.clip(np.nan_to_num(room, nan=0.0), 0, 1)
    deviation += center
    # Row by row: numpy's cumsum along the first axis takes ten times as long.
    sums = np.zeros((len(path) + 1, len(mean)))
    for frame, steps in enumerate(deviation):
        np.add(sums[frame], steps, out=sums[frame + 1])
    quantized: NDArray[np.uint8] = np.diff(np.rint(sums), axis=0).clip(0, 255).astype(np.uint8)
    return quantized


def _labels(world: World, rng: Generator, shown: NDArray[np.int64], style: int) -> tuple[int, ...]:
    parents = world.parents[shown]
    implied = parents[(parents >= 0) & (rng.random(len(shown)) < _PARENT_LABELLED)]
    groups = set(world.groups[shown].tolist())
    styled = [c for c, (group, kind) in world.styled.items() if kind == style and group in groups]
    labels = sorted({*shown.tolist(), *implied.tolist(), *styled})
    # Annotators overlook some of what there is.
    kept = (rng.random(len(labels)) < _LABEL_KEPT) | (np.array(labels) == shown[0])
    return tuple(label for label, keep in zip(labels, kept, strict=True) if keep)


def _drift(rng: Generator, num_frames: int, size: int) -> Floats:
    # A first-order autoregressive walk, shape (num_frames, size).
    from scipy.signal import lfilter

    innovations = _normal(rng, (num_frames, size), _FRAME_NOISE * (1 - _JITTER_MEMORY**2) ** 0.5)
    drift: Floats = lfilter([1.0], [1.0, -_JITTER_MEMORY], innovations, axis=0).astype(np.float32)
    return drift


def _normal(rng: Generator, shape: tuple[int, ...], scale: float) -> Floats:
    return rng.standard_normal(shape, np.float32) * np.float32(scale)

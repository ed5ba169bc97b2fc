"""Score a few videos in several batches, to prove what a model's scores depend on: the video alone.

Holds no graph and starts no process: it is handed a reader that scores batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.values import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yt8m_ensemble.values import FeatureSpec

NUM_VIDEOS: Final = 6
"""Videos that are scored in several batches."""

SAME_SCORE: Final = 1e-4
"""Largest difference between two scores of one video: sums over other batches round otherwise."""

_ROUNDING: Final = 1e-6


class Scorer(Protocol):
    """What scores batches, e.g. a `FreshReader`."""

    def predict(
        self, features: NDArray[np.float32], num_frames: NDArray[Any]
    ) -> NDArray[np.floating]:
        """Return scores `(B, C)` of features `(B, F)` or `(B, T, F)` and frame counts `(B,)`."""
        ...


@dataclass(frozen=True)
class Chance:
    """What a graph draws at random.

    Args:
        frames: Nodes that draw frames, as the original NetVLAD and DBoF models do.
        others: Nodes that draw anything else, e.g. for dropout.
        is_ours: Whether this toolkit made the archive, and so promised that nothing is drawn.
    """

    frames: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    is_ours: bool = False


def made_up_videos(
    features: FeatureSpec, *, size: int = NUM_VIDEOS
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return features and frame counts of videos that do not exist.

    Args:
        features: What the model reads.
        size: How many videos.

    Returns:
        Normal draws, shape `(size, F)` or `(size, T, F)`, float32, zero past each video's frames;
        and their frame counts `(size,)`, int32.
    """
    rng = np.random.default_rng(0)
    if not features.frame_level:
        batch = rng.standard_normal((size, features.total_size), np.float32)
        # The official reader feeds ones where there are no frames.
        return batch, np.ones(size, np.int32)
    num_frames = rng.integers(1, features.max_frames, size, np.int32, endpoint=True)
    batch = rng.standard_normal((size, features.max_frames, features.total_size), np.float32)
    batch[np.arange(features.max_frames) >= num_frames[:, None]] = 0
    return batch, num_frames


def probe(
    reader: Scorer,
    videos: tuple[NDArray[np.float32], NDArray[Any]],
    *,
    where: str,
    chance: Chance,
) -> list[Check]:
    """Score videos together, again, alone and among others, and compare.

    Args:
        reader: Scores batches.
        videos: Features and frame counts of at least two videos.
        where: What runs the model, for the names of the checks.
        chance: What the graph draws at random.

    Returns:
        Checks of the scores' shape and range, and that a video's scores are always the same.
    """
    batch, num_frames = videos
    together = reader.predict(batch, num_frames)
    alone = np.concatenate(
        [reader.predict(batch[n : n + 1], num_frames[n : n + 1]) for n in range(len(batch))]
    )
    checks = [
        _check_range(scores, size, where)
        for scores, size in ((alone[:1], 1), (together, len(batch)))
    ]
    classes = together.shape[-1]
    enough = Check(f"{TOP_K} classes or more in {where}", classes >= TOP_K, f"{classes}")
    checks.append(enough)
    again = reader.predict(batch, num_frames)
    allowed = max(SAME_SCORE, 4 * float(np.finfo(together.dtype).eps))
    varied = _difference(together, again)
    if chance.frames or chance.others:
        return [*checks, _check_chance(chance, max(varied, _difference(together, alone)), where)]
    half = len(batch) // 2
    others = np.concatenate([batch[:half][::-1], 3 * batch[half:]])
    among = reader.predict(others, np.concatenate([num_frames[:half][::-1], num_frames[half:]]))
    moved = max(_difference(together, alone), _difference(together[:half], among[:half][::-1]))
    return [
        *checks,
        Check(
            f"scores are the same again in {where}",
            varied <= allowed,
            f"differ by {varied:.3g} of {allowed:g} allowed",
        ),
        Check(
            f"scores are the same in any batch in {where}",
            moved <= allowed,
            f"differ by {moved:.3g} of {allowed:g} allowed",
        ),
    ]


def _check_range(scores: NDArray[np.floating], size: int, where: str) -> Check:
    fits = scores.shape == (size, scores.shape[-1]) and bool(
        np.all((scores >= 0) & (scores <= 1 + _ROUNDING))
    )
    detail = f"{scores.dtype} {scores.shape}, {scores.min():.3g} to {scores.max():.3g}"
    return Check(f"scores a batch of {size} in {where}", fits, detail)


def _check_chance(chance: Chance, varied: float, where: str) -> Check:
    """Return whether the draws are such as the originals make, who were read with them."""
    name = f"scores are the same again in {where}"
    if chance.others:
        detail = (
            f"'{chance.others[0]}' draws at random; bind the placeholder that turns it off, or "
            f"export the model for inference. They vary by up to {varied:.3g}"
        )
        return Check(name, is_ok=False, detail=detail)
    detail = (
        f"official readers load it; scores vary from run to run, here by up to {varied:.3g}: "
        f"'{chance.frames[0]}' draws frames; `yt8m-ens merge --fix-frames` takes even ones"
    )
    return Check(name, is_ok=not chance.is_ours, detail=detail)


def _difference(left: NDArray[np.floating], right: NDArray[np.floating]) -> float:
    """Return the largest difference; infinity if a score is no number or a shape differs."""
    if left.shape != right.shape:
        return float("inf")
    largest = float(np.abs(left.astype(np.float64) - right).max(initial=0))
    return largest if np.isfinite(largest) else float("inf")

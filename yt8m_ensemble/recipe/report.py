"""What an ensemble achieved on videos that its weights were not tuned on. Reads caches only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.steps.aligned import open_aligned
from yt8m_ensemble.tuning import Scorer, split_videos
from yt8m_ensemble.tuning.scoring import paired_differences
from yt8m_ensemble.values import MixtureWeights, Space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from yt8m_ensemble.recipe.document import EnsembleTable
    from yt8m_ensemble.recipe.plan import Layout
    from yt8m_ensemble.tuning import Candidates

_NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class ReportRow:
    """Hold GAP@20 of one member or mixture.

    Args:
        name: The member or mixture.
        gaps: A value for each column of the report.
        note: Its weights, if it is a mixture.
    """

    name: str
    gaps: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True)
class EnsembleReport:
    """Hold what an ensemble achieved.

    Args:
        name: The ensemble.
        columns: What the scores of each column come from.
        rows: Members, then mixtures.
        num_videos: Videos that the numbers are of; none was tuned on.
        gap_error: Bootstrap standard error of the tuned mixture's GAP.
        gains: By rival, the tuned mixture's gain over it and the paired 95 % interval.
        sizes: Bytes of the members in float32, of the merged weights, of the archive.
        bundle: The archive, verified.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[ReportRow, ...]
    num_videos: int
    gap_error: float
    gains: Mapping[str, tuple[float, float, float]]
    sizes: Mapping[str, int]
    bundle: str


def report_ensemble(table: EnsembleTable, layout: Layout) -> EnsembleReport:
    """Compute the report of an ensemble whose steps are done.

    Args:
        table: The ensemble of the recipe.
        layout: Where its files are.

    Returns:
        GAP of every member and mixture from every set of scores.
    """
    weights = MixtureWeights.parse(files.read_text(layout.weights), path=layout.weights)
    caches = {"float32": layout.averaged, "in the bundle": layout.stored}
    if table.average is not None:
        caches = {
            "last checkpoint": layout.last,
            "averaged, float32": layout.averaged,
            "in the bundle": layout.stored,
        }
    candidates = {name: _held_out(path, weights) for name, path in caches.items()}
    mixtures = _mixtures(weights)
    gaps = {
        column: [Scorer(found, space).gap(values) for space, values, _ in mixtures.values()]
        for column, found in candidates.items()
    }
    rows = tuple(
        ReportRow(name, tuple(gaps[column][position] for column in gaps), mixtures[name][2])
        for position, name in enumerate(mixtures)
    )
    full = candidates[list(caches)[-2]]
    gap_error, gains = _gains(full, weights, seed=int(table.tune.get("seed", 0)))
    return EnsembleReport(
        name=table.name,
        columns=tuple(caches),
        rows=rows,
        num_videos=full.num_videos,
        gap_error=gap_error,
        gains=gains,
        sizes=_sizes(layout),
        bundle=layout.bundle,
    )


def _mixtures(weights: MixtureWeights) -> dict[str, tuple[Space, NDArray[np.float64], str]]:
    """Return the space and weights to score, and a note, by row name."""
    count = len(weights.names)
    uniform = np.full(count, 1 / count)
    mixtures: dict[str, tuple[Space, NDArray[np.float64], str]] = {
        name: ("probability", row, "")
        for name, row in zip(weights.names, np.eye(count), strict=True)
    }
    mixtures["uniform, probability"] = ("probability", uniform, "")
    mixtures["uniform, logit"] = ("logit", uniform, "")
    note = " ".join(
        f"{name} {value:.3g}" for name, value in zip(weights.names, weights.values, strict=True)
    )
    mixtures[f"tuned, {weights.space}"] = (weights.space, weights.array, note)
    return mixtures


def _held_out(path: str, weights: MixtureWeights) -> Candidates:
    """Return the candidates of the videos that were not tuned on, members as in the weights."""
    with open_aligned([path]) as opened:
        candidates, _ = opened.candidates()
        _, held_out = split_videos(
            opened.video_ids,
            fraction=float(weights.details["holdout"]),
            seed=int(weights.details["seed"]),
        )
        order = [opened.members.index(name) for name in weights.names]
    return candidates.select(held_out).select_members(order)


def _gains(
    candidates: Candidates, weights: MixtureWeights, *, seed: int
) -> tuple[float, dict[str, tuple[float, float, float]]]:
    """Return the tuned mixture's bootstrap error and its paired gains."""
    scorers = {
        space: Scorer(candidates, space) for space in ("probability", "logit", weights.space)
    }
    count = len(weights.names)
    singles = [scorers["probability"].gap(row) for row in np.eye(count)]
    best = int(np.argmax(singles))
    rivals: dict[str, tuple[Space, ArrayLike]] = {
        f"best single ({weights.names[best]})": ("probability", np.eye(count)[best]),
        "uniform, probability": ("probability", np.full(count, 1 / count)),
        "uniform, logit": ("logit", np.full(count, 1 / count)),
    }
    resampled = paired_differences(
        [
            (scorers[weights.space], weights.array),
            *((scorers[space], values) for space, values in rivals.values()),
        ],
        num_resamples=_NUM_RESAMPLES,
        seed=seed,
    )
    tuned = scorers[weights.space].gap(weights.array)
    gains = {}
    for position, (name, (space, values)) in enumerate(rivals.items(), start=1):
        low, high = np.quantile(resampled[0] - resampled[position], [0.025, 0.975])
        gains[name] = (tuned - scorers[space].gap(values), float(low), float(high))
    return float(resampled[0].std(ddof=1)), gains


def _sizes(layout: Layout) -> dict[str, int]:
    with open_checkpoint(f"{layout.merged}/inference_model") as merged:
        specs = merged.specs().values()
        wide = sum(spec.size * 4 for spec in specs)
        stored = sum(spec.nbytes for spec in specs)
    return {
        "members in float32": wide,
        "merged": stored,
        "archive": files.size(layout.bundle),
    }

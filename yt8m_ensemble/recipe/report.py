"""What an ensemble achieved on videos that its weights were not tuned on. Reads caches only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning import Scorer, judge, split_videos
from yt8m_ensemble.tuning.baselines import apply_mixture
from yt8m_ensemble.values import MixtureWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.recipe.document import EnsembleTable
    from yt8m_ensemble.recipe.plan import Layout
    from yt8m_ensemble.tuning import Candidates

UNIFORM = ("uniform, probability", "uniform, logit")


@dataclass(frozen=True)
class ReportRow:
    """GAP@20 of one member or mixture.

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
    """GAP, gains and sizes of one ensemble of a recipe.

    Args:
        name: The ensemble.
        columns: What the scores of each column come from.
        rows: Members, then mixtures.
        num_videos: Videos that the numbers are of; none was tuned on.
        gap_error: Bootstrap standard error of the tuned mixture's GAP.
        gains: By rival, the tuned mixture's gain over it and the paired 95 % interval.
        sizes: Bytes of the members in float32, of the merged weights, of the archive.
        bundle: The archive, verified.
        num_trained_on: Validation videos among the records that members were trained on; `None` if
            that was not counted.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[ReportRow, ...]
    num_videos: int
    gap_error: float
    gains: Mapping[str, tuple[float, float, float]]
    sizes: Mapping[str, int]
    bundle: str
    num_trained_on: int | None = None


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
    scores = {
        column: {name: apply_mixture(mixture)(found) for name, mixture in mixtures.items()}
        for column, found in candidates.items()
    }
    gaps = {
        column: {
            name: Scorer(found, "probability").gap_of(scores[column][name]) for name in mixtures
        }
        for column, found in candidates.items()
    }
    tuned = list(mixtures)[-1]
    notes = {
        tuned: " ".join(
            f"{name} {value:.3g}" for name, value in zip(weights.names, weights.values, strict=True)
        )
    }
    rows = tuple(
        ReportRow(name, tuple(gaps[column][name] for column in gaps), notes.get(name, ""))
        for name in mixtures
    )
    column = list(caches)[-2]
    best = max(weights.names, key=lambda name: gaps[column][name])
    rivals = {f"best single ({best})": best, UNIFORM[0]: UNIFORM[0], UNIFORM[1]: UNIFORM[1]}
    judged = judge(
        "held out",
        {
            name: Scorer(candidates[column], "probability").ranking_of(scores[column][of])
            for name, of in {tuned: tuned, **rivals}.items()
        },
        seed=int(table.tune.get("seed", 0)),
    )
    return EnsembleReport(
        name=table.name,
        columns=tuple(caches),
        rows=rows,
        num_videos=judged.num_videos,
        gap_error=judged.standard_error,
        gains={gain.over: (gain.difference, *gain.interval) for gain in judged.gains},
        sizes=_sizes(layout),
        bundle=layout.bundle,
        num_trained_on=weights.details.get("num_trained_on"),
    )


def _mixtures(weights: MixtureWeights) -> dict[str, MixtureWeights]:
    """Return what is reported by row name: members, uniform mixtures, at last the tuned one."""
    names = weights.names
    mixtures = {
        name: MixtureWeights(names, tuple(row.tolist()))
        for name, row in zip(names, np.eye(len(names)), strict=True)
    }
    mixtures[UNIFORM[0]] = MixtureWeights.uniform(names)
    mixtures[UNIFORM[1]] = MixtureWeights.uniform(names, space="logit")
    by_class = ", by class" if weights.class_values else ""
    by_class += ", class bias" if weights.class_bias else ""
    uniform = "uniform" if weights.details.get("shrinkage") == 0 else "tuned"
    mixtures[f"{uniform}, {weights.space}{by_class}, as packaged"] = weights
    return mixtures


def _held_out(path: str, weights: MixtureWeights) -> Candidates:
    """Return the candidates of the videos that were not tuned on, members as in the weights."""
    with open_prediction_set([path]) as opened:
        candidates = opened.candidates(
            per_class=bool(weights.class_values), bias=weights.class_bias
        )
        _, held_out = split_videos(
            opened.video_ids,
            fraction=float(weights.details["holdout"]),
            seed=int(weights.details["seed"]),
        )
        order = [opened.members.index(name) for name in weights.names]
    return candidates.select(held_out).select_members(order)


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

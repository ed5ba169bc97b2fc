"""`compare`: how members differ, and what their mixture fixes and breaks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.plotting import draw_comparison
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning.diversity import Comparison, compare_members
from yt8m_ensemble.values import MixtureWeights, Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class CompareResult:
    """Say what was compared.

    Args:
        weights: The mixture compared with.
        comparison: The comparison.
        plot: The picture, if one was drawn.
        gap_interval: Bounds that hold for the mixture's GAP with all scores, if the predictions
            are truncated and every number here an estimate; else `None`.
    """

    weights: MixtureWeights
    comparison: Comparison
    plot: str | None
    gap_interval: tuple[float, float] | None


def compare_predictions(
    *,
    predictions: Sequence[str],
    weights: str | None = None,
    space: Space = "probability",
    intersect: bool = False,
    plot: str | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> CompareResult:
    """Compare the members of prediction files with each other and with their mixture.

    Args:
        predictions: Prediction files of the same videos.
        weights: Mixture-weights file; without one members count alike.
        space: Mixing space without `weights`.
        intersect: Keep the videos that all files hold, instead of refusing files that differ.
        plot: PNG to draw.
        force: Replace a picture that exists.
        progress: Told the videos read.

    Returns:
        The comparison.

    Raises:
        MixtureWeightsError: If the weights name other members.
    """
    if plot:
        files.check_absent(plot, force=force)
    with open_prediction_set(predictions, intersect=intersect) as opened:
        mixture = MixtureWeights.uniform(opened.members, space=space)
        if weights:
            mixture = opened.read_weights(weights)
        candidates, truncated = opened.candidates(
            per_class=bool(mixture.class_values), progress=progress
        )
        labels = replace(opened.labels, video_ids=opened.video_ids)
        members = [opened.members.index(name) for name in mixture.names]
        comparison = compare_members(candidates.select_members(members), labels, mixture)
        interval = None
        if truncated is not None:
            interval = truncated.gap_interval(mixture)
    if plot:
        draw_comparison(plot, comparison, force=force)
    return CompareResult(mixture, comparison, plot, interval)

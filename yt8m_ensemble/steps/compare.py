"""`compare`: how members differ, and what their mixture fixes and breaks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.options import CompareOptions, command
from yt8m_ensemble.plotting import draw_comparison
from yt8m_ensemble.storage.mixtures import choose_mixture
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.storage.vocabulary import read_vocabulary
from yt8m_ensemble.tuning.diversity import Comparison, compare_members

if TYPE_CHECKING:
    from yt8m_ensemble.values import MixtureWeights


@dataclass(frozen=True)
class CompareResult:
    """Result of `compare_predictions`.

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


@command(CompareOptions)
def compare_predictions(options: CompareOptions) -> CompareResult:
    """Compare the members of prediction files with each other and with their mixture.

    Returns:
        The comparison.

    Raises:
        MixtureWeightsError: If the weights name other members.
    """
    if options.plot:
        files.check_absent(options.plot, force=options.force)
    names = read_vocabulary(options.vocabulary)
    with open_prediction_set(options.predictions, intersect=options.intersect) as opened:
        mixture = choose_mixture(
            opened.members,
            options,
            space=options.space,
            may_leave_out=True,
            advice="Cache predictions of all of the mixture's members.",
        )
        candidates, truncated = opened.candidates(
            per_class=bool(mixture.class_values),
            bias=mixture.class_bias,
            progress=options.progress,
        )
        labels = replace(opened.labels, video_ids=opened.video_ids)
        members = [opened.members.index(name) for name in mixture.names]
        comparison = compare_members(candidates.select_members(members), labels, mixture)
        named = (replace(one, name=names.get(one.class_id, "")) for one in comparison.classes)
        comparison = replace(comparison, classes=tuple(named))
        interval = None
        if truncated is not None:
            interval = truncated.gap_interval(mixture)
    if options.plot:
        draw_comparison(options.plot, comparison, force=options.force)
    return CompareResult(mixture, comparison, options.plot, interval)

"""`compare`: how members differ, and what their mixture fixes and breaks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.options import CompareOptions, command
from yt8m_ensemble.plotting import draw_comparison
from yt8m_ensemble.storage.mixtures import choose_mixture
from yt8m_ensemble.storage.prediction_set import (
    PredictionSet,
    open_prediction_pair,
    open_prediction_set,
)
from yt8m_ensemble.storage.vocabulary import read_vocabulary
from yt8m_ensemble.tuning.candidates import BestPairs
from yt8m_ensemble.tuning.diversity import MIXTURE, Comparison, compare_members
from yt8m_ensemble.tuning.equivalence import Equivalence, assess_equivalence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yt8m_ensemble.values import MixtureWeights, Progress


@dataclass(frozen=True)
class CompareResult:
    """Result of `compare_predictions`.

    Args:
        weights: The mixture compared with; `None` where two caches were tested without weights.
        comparison: The comparison; `None` where two caches were tested.
        plot: The picture, if one was drawn.
        gap_interval: Bounds that hold for the mixture's GAP with all scores, if the predictions
            are truncated and every number here an estimate; else `None`.
        equivalence: By pair, whether the second cache scores like the first: members of one name,
            `A -> B` where each cache has one member of another name, and the mixture of `weights`.
    """

    weights: MixtureWeights | None
    comparison: Comparison | None
    plot: str | None
    gap_interval: tuple[float, float] | None
    equivalence: Mapping[str, Equivalence] = field(default_factory=dict)


@command(CompareOptions)
def compare_predictions(options: CompareOptions) -> CompareResult:
    """Compare the members of prediction files with each other and with their mixture.

    Of two files `before_and_after`, pair members of one name and test them for equivalence instead.

    Returns:
        The comparison.

    Raises:
        MixtureWeightsError: If the weights name other members.
        PredictionsError: If two files share no member's name and hold several.
    """
    if options.before_and_after:
        return _test_pairs(options)
    if options.plot:
        files.check_absent(options.plot, force=options.force)
    names = read_vocabulary(options.vocabulary)
    with open_prediction_set(options.predictions, intersect=options.intersect) as opened:
        mixture = _mixture(opened, options)
        candidates = opened.candidates(
            per_class=bool(mixture.class_values),
            bias=mixture.class_bias,
            progress=options.progress,
        )
        labels = replace(opened.labels, video_ids=opened.video_ids)
        members = [opened.members.index(name) for name in mixture.names]
        options.progress("compare members", 0, None)
        comparison = compare_members(candidates.select_members(members), labels, mixture)
        named = (replace(one, name=names.get(one.class_id, "")) for one in comparison.classes)
        comparison = replace(comparison, classes=tuple(named))
        interval = opened.gap_interval(mixture, progress=options.progress)
    if options.plot:
        draw_comparison(options.plot, comparison, force=options.force)
    return CompareResult(mixture, comparison, options.plot, interval)


def _test_pairs(options: CompareOptions) -> CompareResult:
    """Return the equivalence of two files' members, pair by pair."""
    before, after = options.before_and_after
    with open_prediction_pair(before, after, intersect=options.intersect) as sets:
        pairs = _pair_members(*sets)
        mixture = _mixture(sets[0], options) if options.weights is not None else None
        best = [
            _best_pairs(opened, [pair[side] for pair in pairs], mixture, options.progress)
            for side, opened in enumerate(sets)
        ]
    labels = [one if one == other else f"{one} -> {other}" for one, other in pairs]
    options.progress("test for equivalence", 0, None)
    found = {
        label: assess_equivalence(
            first.candidates(), second.candidates(), margin=options.margin, seed=options.seed
        )
        for label, first, second in zip(
            [*labels, *([MIXTURE] if mixture else [])], *best, strict=True
        )
    }
    return CompareResult(mixture, None, None, None, found)


def _mixture(opened: PredictionSet, options: CompareOptions) -> MixtureWeights:
    return choose_mixture(
        opened.members,
        options,
        space=options.space,
        may_leave_out=True,
        advice="Cache predictions of all of the mixture's members.",
    )


def _pair_members(first: PredictionSet, second: PredictionSet) -> list[tuple[str, str]]:
    """Return the members to compare with each other.

    Raises:
        PredictionsError: If no name is in both, and there are several to choose from.
    """
    shared = [(name, name) for name in first.members if name in second.members]
    if shared:
        return shared
    if len(first.members) == len(second.members) == 1:
        return [(first.members[0], second.members[0])]
    paths = (first.opened[0].path, second.opened[0].path)
    msg = (
        f"'{paths[0]}' holds {', '.join(first.members)}, '{paths[1]}' holds "
        f"{', '.join(second.members)}, and no member of one name is in both. Name models "
        "to compare alike with `yt8m-ens predict --model NAME=PATH`."
    )
    raise PredictionsError(msg, paths=paths)


def _best_pairs(
    opened: PredictionSet,
    members: Sequence[str],
    mixture: MixtureWeights | None,
    progress: Progress,
) -> list[BestPairs]:
    """Return the best pairs of members, and of the mixture if there is one."""
    best = [BestPairs() for _ in range(len(members) + bool(mixture))]
    places = [opened.members.index(name) for name in members]
    mixed = [opened.members.index(name) for name in mixture.names] if mixture else []
    for scores, labels in opened.blocks(progress):
        for gathered, place in zip(best, places, strict=False):
            gathered.update(scores[place], labels)
        if mixture:
            best[-1].update(mix([scores[place] for place in mixed], mixture), labels)
    return best

"""`eval --predictions`: the challenge's metrics of cached scores. Runs no model."""

from __future__ import annotations

from dataclasses import dataclass

from yt8m_ensemble.metrics import Report, evaluate
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.options import EvalPredictionsOptions, command
from yt8m_ensemble.storage.mixtures import choose_mixture
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning import check_kept
from yt8m_ensemble.values import MixtureWeights

MIXTURE = "mixture"
ADVICE = "Cache predictions of all of the mixture's members."


@dataclass(frozen=True)
class CachedEvaluation:
    """Metrics of a member's cached scores, or of their mixture.

    Args:
        name: The member, or `mixture`.
        report: Metrics and loss. Of truncated predictions the metrics of a mixture are estimates,
            in which scores that were not kept count as `Kept` says, and the loss is nan: it is made
            of all scores.
        gap_interval: Bounds that hold for GAP with all scores: both the GAP itself if nothing that
            matters is missing.
    """

    name: str
    report: Report
    gap_interval: tuple[float, float]

    @property
    def is_certified(self) -> bool:
        """Whether GAP is the same whatever the missing scores are."""
        return self.gap_interval[0] == self.gap_interval[1]


@dataclass(frozen=True)
class CachedEvaluations:
    """Result of `evaluate_predictions`.

    Args:
        evaluations: Of every member, then of the mixture if one is given.
        weights: That mixture.
        top_k: The most scores that a truncated file keeps; `None` if every file is dense.
    """

    evaluations: tuple[CachedEvaluation, ...]
    weights: MixtureWeights | None
    top_k: int | None


@command(EvalPredictionsOptions)
def evaluate_predictions(options: EvalPredictionsOptions) -> CachedEvaluations:
    """Compare cached scores with the labels cached beside them.

    Returns:
        The metrics.

    Raises:
        AlignmentError: If the files hold different videos.
        MixtureWeightsError: If the weights name other members.
        PredictionsError: If a file is unfinished, lacks labels, differs in classes, or keeps fewer
            scores than GAP needs.
    """
    top_k, progress = options.top_k, options.progress
    with open_prediction_set(options.predictions, intersect=options.intersect) as opened:
        mixture = (
            choose_mixture(opened.members, options, may_leave_out=True, advice=ADVICE)
            if options.weights
            else None
        )
        # A mixture of one member is that member bit for bit.
        wanted = [(name, MixtureWeights.uniform([name])) for name in opened.members]
        wanted += [(MIXTURE, mixture)] if mixture else []
        num_classes = opened.labels.num_classes
        is_truncated = set()
        for file in opened.opened:
            for name in file.members if file.top_k else ():
                check_kept(name, file.top_k or 0, num_classes=num_classes, top_k=top_k)
                is_truncated.add(name)
        found = []
        for name, mixed in wanted:
            # One after the other, so that the pairs of one ranking are in memory at a time.
            report = evaluate(
                (
                    (mix(list(scores), mixed), labels)
                    for scores, labels in opened.blocks(progress, names=mixed.names)
                ),
                num_classes=num_classes,
                top_k=top_k,
                has_loss=not is_truncated & set(mixed.names),
            )
            gap = report.metrics.gap
            # A member's best are among those kept; of a mixture any class may be.
            interval = None
            if mixed is mixture:
                interval = opened.gap_interval(mixed, top_k=top_k, progress=progress)
            found.append(CachedEvaluation(name, report, interval or (gap, gap)))
        return CachedEvaluations(tuple(found), mixture, opened.top_k)

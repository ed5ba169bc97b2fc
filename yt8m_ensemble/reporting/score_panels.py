"""Panels that cached scores make: how alike members are, classes, calibration, videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.plotting import charts
from yt8m_ensemble.reporting.parts import Figure, Panel, Table, figure, unscored
from yt8m_ensemble.storage.vocabulary import describe_class
from yt8m_ensemble.tuning.diversity import MIXTURE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.reporting.content import Content
    from yt8m_ensemble.tuning.diversity import Comparison

_MOST_PAIRS = 28
_MOST_LABELS = 6


def alike(content: Content, key: str) -> Panel:
    """Show how alike members are.

    Args:
        content: The numbers.
        key: Prefix of its anchor.

    Returns:
        The panel.
    """
    title, anchor = "How alike members are", f"{key}-alike"
    judged = content.judged
    if judged is None:
        return Panel(anchor, title, (unscored(content),))
    comparison = judged.comparison
    if not comparison.pairs:
        return Panel(anchor, title, ("There is one member, so nothing to compare.",))
    names = judged.weights.names
    side = min(9.0, max(4.2, 2.2 + 0.28 * len(names)))
    figures = (
        _matrix(
            comparison, names, "correlation", key=f"{key}-r", side=side,
            title="Correlation of logits",
            caption="Correlation of members' logits; lower is less alike, and mixes better.",
        ),
        _matrix(
            comparison, names, "disagreement", key=f"{key}-d", side=side,
            title="Share of videos whose best class differs",
            caption="Share of videos whose best class differs between two members.",
        ),
        _matrix(
            comparison, names, "q", key=f"{key}-q", side=side, title="Yule's Q of being right",
            caption="Yule's Q: 1 where two members are right on the same videos, 0 where "
            "independently, below 0 where each is right where the other is not.",
        ),
    )  # fmt: skip
    most = sorted(comparison.pairs, key=lambda pair: -pair.disagreement)[:_MOST_PAIRS]
    rows = tuple(
        (
            " / ".join(pair.members), f"{pair.correlation:.3f}", f"{pair.q:.3f}",
            f"{pair.disagreement:.1%}", f"{pair.only_first:.1%}", f"{pair.only_second:.1%}",
        )
        for pair in most
    )  # fmt: skip
    shown = "Pairs of members"
    if len(most) < len(comparison.pairs):
        shown = f"The {len(most)} pairs that differ most, of {len(comparison.pairs)}"
    columns = ("pair", "correlation", "Q", "best class differs", "first right", "second right")
    return Panel(anchor, title, (), (Table(shown, columns, rows),), figures)


def _matrix(
    comparison: Comparison,
    names: tuple[str, ...],
    field: str,
    *,
    key: str,
    side: float,
    title: str,
    caption: str,
) -> Figure:
    values = np.full((len(names), len(names)), np.nan)
    for pair in comparison.pairs:
        i, j = (names.index(name) for name in pair.members)
        values[i, j] = values[j, i] = getattr(pair, field)
    found = values[np.isfinite(values)]
    low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
    spread = max(high - low, 0.02)
    ends = max(low - spread / 4, -1.0), min(high + spread / 4, 1.0)
    draw = charts.matrix(names, values, low=ends[0], high=ends[1])
    return figure(draw, key=key, title=title, caption=caption, size=(side, side * 0.85))


def classes(content: Content, key: str, vocabulary: Mapping[int, str]) -> Panel:
    """Show which classes mixing helped and hurt.

    Args:
        content: The numbers.
        key: Prefix of its anchor.
        vocabulary: Names of classes.

    Returns:
        The panel.
    """
    title, anchor = "Classes helped and hurt", f"{key}-classes"
    judged = content.judged
    if judged is None:
        return Panel(anchor, title, (unscored(content),))
    comparison = judged.comparison
    if not comparison.pairs:
        return Panel(anchor, title, ("There is one member, so nothing was mixed.",))
    text: tuple[str, ...] = (
        f"Average precision of a class under {comparison.best_single} and under the mixture.",
    )
    if not vocabulary:
        text += ("Classes have names with `yt8m-ens report --vocabulary vocabulary.csv`.",)
    bands = comparison.bands
    draw = charts.frequency_bands(
        [f"{b.low} to {b.high} ({b.num_classes})" for b in bands],
        [band.gaps[comparison.best_single] for band in bands],
        [band.gaps[MIXTURE] for band in bands],
    )
    caption = (
        "GAP over the classes of each frequency band (in brackets: classes in it), rare to "
        "frequent; the line is what mixing changed."
    )
    tables = []
    for is_gain in (True, False):
        found = [c for c in comparison.classes if (c.mixture > c.best_single) == is_gain]
        rows = tuple(
            (
                describe_class(c.class_id, vocabulary), str(c.num_positives),
                f"{c.best_single:.4f}", f"{c.mixture:.4f}", f"{c.mixture - c.best_single:+.4f}",
            )
            for c in sorted(found, key=lambda c: c.num_positives)
        )  # fmt: skip
        if rows:
            what = "gained" if is_gain else "lost"
            shown = f"Classes that {what} most, by their positives, rare to frequent"
            columns = ("class", "positives", "best single model", "mixture", "change")
            tables.append(Table(shown, columns, rows))
    drawn = figure(draw, key=f"{key}-k", title="Gain by frequency", caption=caption)
    return Panel(anchor, title, text, tuple(tables), (drawn,))


def calibration(content: Content, key: str) -> Panel:
    """Show how far scores mean what they say, before and after mixing.

    Args:
        content: The numbers.
        key: Prefix of its anchor.

    Returns:
        The panel.
    """
    title, anchor = "Calibration", f"{key}-calibration"
    judged = content.judged
    if judged is None:
        return Panel(anchor, title, (unscored(content),))
    found = judged.reliability
    if not found:
        text = (
            "The scores keep a top K only, and calibration needs all. `yt8m-ens predict --cache` "
            "keeps all unless told otherwise."
        )
        return Panel(anchor, title, (text,))
    rows = tuple((name, f"{one.log_loss:.4f}", f"{one.brier:.5f}") for name, one in found.items())
    table = Table(
        "Before and after mixing; lower is better",
        ("scores", "log loss, nats a video", "Brier score a video"),
        rows,
    )
    caption = (
        "Scores in groups: their mean against the share that is true. Below the line a score "
        "promises too much. `yt8m-ens tune-weights --calibrated` fits a temperature."
    )
    drawn = figure(charts.reliability(found), key=f"{key}-p", title="Reliability", caption=caption)
    return Panel(anchor, title, (), (table,), (drawn,))


def flipped(content: Content, key: str, vocabulary: Mapping[int, str]) -> Panel:
    """Show which videos mixing turned right or wrong.

    Args:
        content: The numbers.
        key: Prefix of its anchor.
        vocabulary: Names of classes.

    Returns:
        The panel.
    """
    title, anchor = "Videos that flipped", f"{key}-videos"
    judged = content.judged
    if judged is None:
        return Panel(anchor, title, (unscored(content),))
    comparison = judged.comparison
    text = (
        f"Mixing put a true class on top in {len(comparison.fixed):,} of {judged.num_videos:,} "
        f"videos where {comparison.best_single} does not, and took it from "
        f"{len(comparison.broken):,}. The JSON beside this page lists all of them.",
    )
    tables = []
    for is_better in (True, False):
        rows = tuple(
            (
                flip.video_id,
                describe_class(flip.before, vocabulary),
                describe_class(flip.after, vocabulary),
                _list_labels(flip.labels, vocabulary),
            )
            for flip in judged.flips
            if flip.is_better == is_better
        )
        if rows:
            shown = f"Some videos that turned {'right' if is_better else 'wrong'}"
            columns = ("video", "best class before", "after mixing", "true classes")
            tables.append(Table(shown, columns, rows))
    return Panel(anchor, title, text, tuple(tables))


def _list_labels(labels: tuple[int, ...], vocabulary: Mapping[int, str]) -> str:
    named = [describe_class(class_id, vocabulary) for class_id in labels[:_MOST_LABELS]]
    more = [f"{len(labels) - _MOST_LABELS} more"] if len(labels) > _MOST_LABELS else []
    return ", ".join([*named, *more])

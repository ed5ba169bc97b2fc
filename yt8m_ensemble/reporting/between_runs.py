"""Compare two runs: what changed between them, and whether the second is not worse."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import AlignmentError
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.packaging.layouts import size_text
from yt8m_ensemble.reporting.judging import has_labels, open_judged
from yt8m_ensemble.reporting.parts import Panel, Table
from yt8m_ensemble.tuning.candidates import BestPairs
from yt8m_ensemble.tuning.equivalence import Equivalence, assess_equivalence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.reporting.content import Content
    from yt8m_ensemble.reporting.sources import Sources
    from yt8m_ensemble.tuning import Candidates


@dataclass(frozen=True)
class RunComparison:
    """Two ensembles of one name, of two runs.

    Args:
        name: Their name.
        passes: Whether the second is not worse than the first by the margin or more: the 90 %
            interval of its gain lies above minus the margin.
        equivalence: Their mixtures on videos that neither was tuned on; `None` if a run has no
            labeled scores.
        changes: What differs, as pairs of before and after by item.
        recipe_diff: Lines of the recipe that differ.
    """

    name: str
    passes: bool
    equivalence: Equivalence | None
    changes: dict[str, tuple[str, str]]
    recipe_diff: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.equivalence is None:
            return f"{self.name} fails: a run has no labeled scores, so nothing was compared."
        word = "passes" if self.passes else "fails"
        return f"{self.name} {word}: {self.equivalence.sentence}."


def compare_runs(
    sources: tuple[Sources, Sources],
    contents: tuple[Content, Content],
    *,
    margin: float,
    seed: int,
) -> RunComparison:
    """Compare an ensemble of one run with that of another.

    Args:
        sources: Files of both.
        contents: What is reported of both.
        margin: Difference of GAP that counts as none.
        seed: Seed of the bootstrap.

    Returns:
        The comparison.

    Raises:
        AlignmentError: If no video was held out by both.
    """
    equivalence = None
    if all(side.scores and has_labels(side.scores) for side in sources):
        first, second = _shared_candidates(*sources)
        equivalence = assess_equivalence(first, second, margin=margin, seed=seed)
    before, after = (content.recipe.text.splitlines() for content in contents)
    lines = difflib.unified_diff(before, after, "before", "after", n=0, lineterm="")
    return RunComparison(
        contents[0].name,
        equivalence is not None and equivalence.interval90[0] > -margin,
        equivalence,
        _changes(*contents),
        tuple(lines),
    )


def comparison_panel(found: RunComparison, key: str) -> Panel:
    """Put a comparison into a panel.

    Args:
        found: The comparison.
        key: Prefix of its anchor.

    Returns:
        The panel.
    """
    rows = tuple((name, *ends) for name, ends in found.changes.items())
    tables = (Table("What changed", ("item", "before", "after"), rows),) if rows else ()
    text = (found.sentence,) if rows else (found.sentence, "Nothing else changed.")
    return Panel(
        f"{key}-compared", f"{found.name}: after against before", text, tables, (),
        "\n".join(found.recipe_diff),
    )  # fmt: skip


def _shared_candidates(*sides: Sources) -> tuple[Candidates, Candidates]:
    """Return the mixtures' pairs on the videos that both runs have held out, in one order.

    Raises:
        AlignmentError: If there are none.
    """
    ids = []
    for side in sides:
        with open_judged(side, bundle=True) as (opened, _, rows):
            ids.append(opened.video_ids[rows])
    shared = np.intersect1d(*ids)
    if not len(shared):
        msg = (
            "No video was held out by both runs, so they cannot be compared. Tune both with one "
            "`seed` and `holdout`, on the same validation records."
        )
        raise AlignmentError(msg, videos=[len(found) for found in ids])
    first, second = (_mixture_candidates(side, shared) for side in sides)
    return first, second


def _mixture_candidates(side: Sources, shared: Sequence[bytes]) -> Candidates:
    best = BestPairs()
    with open_judged(side, bundle=True) as (opened, weights, _):
        places = [opened.members.index(name) for name in weights.names]
        for scores, labels in opened.blocks():
            best.update(mix([scores[place] for place in places], weights), labels)
        order = np.argsort(opened.video_ids, kind="stable")
        rows = order[np.searchsorted(opened.video_ids, shared, sorter=order)]
    return best.candidates().select(rows)


def _changes(before: Content, after: Content) -> dict[str, tuple[str, str]]:
    first, second = (_items(content) for content in (before, after))
    return {
        name: (first.get(name, "none"), second.get(name, "none"))
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    }


def _items(content: Content) -> dict[str, str]:
    items = {}
    if content.judged:
        items["GAP of the last step"] = f"{content.judged.steps[-1].gap:.5f}"
        items["videos judged on"] = f"{content.judged.num_videos:,} {content.judged.videos}"
        items["mixing space"] = content.judged.weights.space
    for member in content.members:
        weight = "" if member.weight is None else f"weight {member.weight:.3f}, "
        gap = list(member.gaps.values())[-1] if member.gaps else None
        scored = "" if gap is None else f"GAP {gap:.5f}, "
        size = "" if member.size_bytes is None else f"{size_text(member.size_bytes)}, "
        averaged = f"mean of {len(member.averaged)}" if member.averaged else "one checkpoint"
        items[f"member {member.name}"] = f"{weight}{scored}{size}{averaged}"
    if content.sizes and content.sizes.archive_bytes is not None:
        items["archive"] = size_text(content.sizes.archive_bytes)
    if content.checks is not None:
        failed = sum(not check.is_ok for check in content.checks)
        items["checks"] = f"{len(content.checks) - failed} of {len(content.checks)} hold"
    return items

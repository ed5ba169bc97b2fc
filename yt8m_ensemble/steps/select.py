"""`select`: which members, in which precision, to ship within a byte budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.casting import is_narrowable, plan_quantized
from yt8m_ensemble.constants import MAX_BUNDLE_BYTES
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.loading.model import open_models
from yt8m_ensemble.plotting import draw_selection
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning import Scorer
from yt8m_ensemble.tuning.selection import Selection, Variant, list_variants, select_members
from yt8m_ensemble.values import SPACES, Progress, Space, TensorSpec, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yt8m_ensemble.tuning import Candidates

PRECISIONS = ("float32", "float16", "uint8", "uint4")
_BITS = {"float32": 32, "float16": 16, "uint8": 8, "uint4": 4}


@dataclass(frozen=True)
class SelectResult:
    """Say what was chosen.

    Args:
        path: The mixture-weights file of the choice, if one was written.
        variants: What there was to choose from.
        selection: The choice and the frontier; `None` after a dry run.
    """

    path: str | None
    variants: tuple[Variant, ...]
    selection: Selection | None


def select_ensemble(
    *,
    predictions: Sequence[str],
    models: Sequence[str] = (),
    sizes: Mapping[str, int] | None = None,
    precisions: Sequence[str] = ("float16",),
    max_size: int = MAX_BUNDLE_BYTES,
    space: Space | Literal["auto"] = "auto",
    holdout: float = 0.5,
    seed: int = 0,
    out: str | None = None,
    plot: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> SelectResult:
    """Choose members under a byte budget by exact GAP on cached predictions.

    Args:
        predictions: Prediction files of the same videos. A member `NAME@PRECISION` tells how
            `NAME` scores in that precision; without one a precision is taken to lose nothing.
        models: Models as `NAME=PATH`, for their sizes.
        sizes: float32 bytes by member, for members without a model.
        precisions: Precisions to consider.
        max_size: The budget in bytes.
        space: Mixing space; `auto` takes the one in which all members together score highest.
        holdout: Share of videos that only judges the result.
        seed: Seed of split and folds.
        out: Mixture-weights file of the choice to write.
        plot: PNG of the frontier to write.
        force: Replace outputs that exist.
        dry_run: Show the sizes, choose nothing.
        progress: Told the sets scored.

    Returns:
        The choice and the frontier.

    Raises:
        UsageError: If a precision is unknown, a size is missing, or nothing fits.
    """
    unknown = [precision for precision in precisions if precision not in PRECISIONS]
    if unknown:
        msg = f"There is no precision '{unknown[0]}'; one of {', '.join(PRECISIONS)}."
        raise UsageError(msg, precision=unknown[0])
    for path in filter(None, (out, plot)):
        files.check_absent(path, force=force)
    measured = {name: _scale(size) for name, size in (sizes or {}).items()}
    with open_models(models) as opened_models:
        for model in opened_models:
            measured[model.name] = member_sizes(model.graph.variables.values())
    with open_prediction_set(predictions) as opened:
        variants = list_variants(opened.members, measured, precisions)
        if dry_run:
            return SelectResult(None, tuple(variants), None)
        candidates, _ = opened.candidates(progress=progress)
        selection = select_members(
            candidates,
            opened.video_ids,
            variants,
            max_bytes=max_size,
            space=_best_space(candidates) if space == "auto" else space,
            holdout=holdout,
            seed=seed,
            progress=progress,
        )
        digests = opened.digests()
    if out:
        chosen = selection.chosen
        details = {
            "method": "select",
            "precisions": {v.member: v.precision for v in chosen.variants},
            "size_bytes": chosen.size_bytes,
            "gap_in_sample": chosen.gap_in_sample,
            "gap_out_of_fold": chosen.gap_out_of_fold,
            "gap_held_out": chosen.gap_held_out,
            "seed": seed,
            "holdout": holdout,
            "predictions": digests,
        }
        # Members go by their own names: their precision is the merge's business.
        names = tuple(variant.member for variant in chosen.variants)
        weights = replace(chosen.weights, names=names, details=details)
        files.write_text(out, weights.to_json(), force=force)
    if plot:
        draw_selection(plot, selection, max_bytes=max_size, force=force)
    return SelectResult(out, tuple(variants), selection)


def member_sizes(specs: Iterable[TensorSpec]) -> dict[str, int]:
    """Return the bytes of a member's weights in each precision.

    Tensors that `merge` keeps in float32 count in full, quantized ones with their tables.

    Args:
        specs: The tensors that inference needs.

    Returns:
        Bytes by precision.

    Examples:
        >>> shapes = {"w": (1024, 10), "b": (10,)}
        >>> member_sizes(TensorSpec(name, shape, "float32") for name, shape in shapes.items())
        {'float32': 41000, 'float16': 20520, 'uint8': 10360, 'uint4': 5240}
    """
    totals = dict.fromkeys(PRECISIONS, 0)
    for spec in specs:
        wide = spec.size * 4
        narrow = is_narrowable(spec)
        totals["float32"] += wide
        totals["float16"] += wide // 2 if narrow else wide
        for scheme in ("uint8", "uint4"):
            parts = plan_quantized(spec, scheme).values() if narrow else ()
            totals[scheme] += sum(part.nbytes for part in parts) if narrow else wide
    return totals


def _scale(size_bytes: int) -> dict[str, int]:
    return {precision: size_bytes * bits // 32 for precision, bits in _BITS.items()}


def _best_space(candidates: Candidates) -> Space:
    uniform = np.ones(len(candidates.names))
    return max(SPACES, key=lambda space: Scorer(candidates, space).gap(uniform / uniform.sum()))

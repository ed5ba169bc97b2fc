"""`select`: which members, in which precision, to ship within a byte budget."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.casting import is_narrowable, plan_quantized
from yt8m_ensemble.loading.model import open_models
from yt8m_ensemble.options import SelectOptions, command
from yt8m_ensemble.options.choices import Storage
from yt8m_ensemble.plotting import draw_selection
from yt8m_ensemble.storage.prediction_set import PredictionSet, open_prediction_set
from yt8m_ensemble.tuning import Scorer
from yt8m_ensemble.tuning.selection import Selection, select_members
from yt8m_ensemble.tuning.subset_search import Limits
from yt8m_ensemble.tuning.variants import Variant, list_variants
from yt8m_ensemble.values import SPACES, Space, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from yt8m_ensemble.tuning import Candidates

PRECISIONS = get_args(Storage)
_BITS = {"float32": 32, "float16": 16, "uint8": 8, "uint4": 4}


@dataclass(frozen=True)
class PlannedSelection:
    """Result of `plan_select_ensemble`.

    Args:
        variants: Members in each precision, with their bytes.
    """

    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class SelectResult(PlannedSelection):
    """Result of `select_ensemble`.

    Args:
        path: The mixture-weights file of the choice, if one was written.
        selection: The choice and the frontier of GAP against bytes.
    """

    path: str | None
    selection: Selection


@command(SelectOptions)
def select_ensemble(options: SelectOptions) -> SelectResult:
    """Choose members under a byte budget by exact GAP of their uniform mean on cached predictions.

    A member called `NAME@PRECISION` holds the scores of `NAME` in that precision; where there is
    none, a precision is taken to lose nothing.

    Returns:
        The choice and the frontier.

    Raises:
        UsageError: If a size is missing, or nothing fits.
    """
    with _opened(options) as (opened, variants):
        candidates = opened.candidates(progress=options.progress)
        space = _best_space(candidates) if options.space == "auto" else options.space
        selection = select_members(
            candidates,
            opened.video_ids,
            variants,
            limits=Limits(options.max_size, options.max_per_family, options.seconds),
            space=space,
            holdout=options.holdout,
            seed=options.seed,
            progress=options.progress,
        )
        digests = opened.digests()
    if options.out:
        chosen, tuned = selection.chosen, selection.tuned
        details = {
            "method": "select",
            "precisions": {v.member: v.precision for v in chosen.variants},
            "size_bytes": chosen.size_bytes,
            "gap_in_sample": tuned.gap_in_sample,
            "gap_out_of_fold": tuned.gap_out_of_fold,
            "gap_held_out": tuned.gap_held_out,
            "chosen_by": tuned.chosen_by,
            "proof": asdict(selection.proof),
            "frontier": [
                {
                    "members": [variant.name for variant in choice.variants],
                    "size_bytes": choice.size_bytes,
                    "gap_in_sample": choice.gap_in_sample,
                    "gap_held_out": choice.gap_held_out,
                }
                for choice in selection.frontier
            ],
            "seed": options.seed,
            "holdout": options.holdout,
            "predictions": digests,
        }
        # Members go by their own names: their precision is the merge's business.
        names = tuple(variant.member for variant in chosen.variants)
        weights = replace(tuned.weights, names=names, details=details)
        files.write_text(options.out, weights.to_json(), force=options.force)
    if options.plot:
        draw_selection(options.plot, selection, max_bytes=options.max_size, force=options.force)
    return SelectResult(variants, options.out, selection)


@command(SelectOptions)
def plan_select_ensemble(options: SelectOptions) -> PlannedSelection:
    """Show what `select_ensemble` would choose from; choose nothing.

    Returns:
        Members in each precision, with their bytes.
    """
    with _opened(options) as (_, variants):
        return PlannedSelection(variants)


@contextmanager
def _opened(options: SelectOptions) -> Iterator[tuple[PredictionSet, tuple[Variant, ...]]]:
    for path in filter(None, (options.out, options.plot)):
        files.check_absent(path, force=options.force)
    measured = {name: _scale(size) for name, size in (options.sizes or {}).items()}
    with open_models(options.models, options) as models:
        for model in models:
            measured[model.name] = member_sizes(model.graph.variables.values())
    with open_prediction_set(options.predictions) as opened:
        yield opened, tuple(list_variants(opened.members, measured, options.precisions))


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

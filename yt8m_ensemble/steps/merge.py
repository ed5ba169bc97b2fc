"""`merge`: several models → one inference graph with the mixture weights inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.errors import MixtureWeightsError, UsageError
from yt8m_ensemble.merging import (
    Member,
    build_merged_graph,
    export_inference_model,
    plan_merge,
)
from yt8m_ensemble.steps.open_model import open_models
from yt8m_ensemble.steps.provenance import write_provenance
from yt8m_ensemble.values import MixtureWeights, Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.casting import CastReport
    from yt8m_ensemble.merging import Fp16Policy, MergePlan, Naming


@dataclass(frozen=True)
class MergeResult:
    """Say what a merge made.

    Args:
        directory: Where the inference model is.
        weights: The mixture inside it.
        nbytes: Bytes of its weights.
        member_nbytes: Bytes of each member's own weights, before casting.
        plan: Which tensor went where.
        casts: What casting did to each tensor that was cast; empty on a dry run.
    """

    directory: str
    weights: MixtureWeights
    nbytes: int
    member_nbytes: dict[str, int]
    plan: MergePlan
    casts: tuple[CastReport, ...]


def merge_models(
    *,
    members: Sequence[str],
    out: str,
    weights: MixtureWeights | str | Sequence[float] | None = None,
    mix: Space | None = None,
    fp16: Fp16Policy = "none",
    keep_float32: Sequence[str] = (),
    naming: Naming = "scoped",
    normalize: bool = False,
    num_classes: int | None = None,
    architecture: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> MergeResult:
    """Merge models into one inference model.

    Args:
        members: Paths to models (see `steps.open_model`); `NAME=PATH` names one.
        out: Directory of the inference model.
        weights: A mixture, the path of its file, or numbers in the order of `members`; `None`
            weighs all alike. A file's members are matched by name.
        mix: Mixing space; the mixture's own if it has one, else `probability`.
        fp16: Which weights to store as float16: `none`, `auto`, or `seed`.
        keep_float32: Names of tensors to leave alone.
        naming: How variables are named.
        normalize: Rescale numbers that do not sum to one.
        num_classes: Where a member's files do not tell.
        architecture: Overrides what the members' files say.
        force: Replace an existing directory.
        dry_run: Plan only; write nothing.
        progress: Told the bytes written.

    Returns:
        What was made.

    Raises:
        UsageError: If no member is given.
        OutputExistsError: If `out` exists and `force` is not set.
    """
    if not members:
        msg = "No member is given. Pass `--member PATH` for each model."
        raise UsageError(msg)
    files.check_absent(out, force=force)
    with open_models(members, architecture=architecture, num_classes=num_classes) as opened:
        names = [model.name for model in opened]
        mixture = _mixture(names, weights, mix=mix, normalize=normalize)
        parts = [
            Member(model.name, model.graph, model.source, model.features, model.num_classes)
            for model in opened
        ]
        plan = plan_merge(
            parts, weights=mixture, fp16=fp16, keep_float32=keep_float32, naming=naming
        )
        graph = build_merged_graph(parts, plan)
        casts: tuple[CastReport, ...] = ()
        if not dry_run:
            casts = export_inference_model(out, parts, plan, graph, force=force, progress=progress)
            write_provenance(
                out,
                command="merge",
                inputs={model.path: model.digest for model in opened},
                options={
                    "members": names,
                    "weights": mixture.values,
                    "mix": mixture.space,
                    "fp16": fp16,
                    "naming": naming,
                },
            )
        return MergeResult(
            directory=out,
            weights=mixture,
            nbytes=plan.nbytes,
            member_nbytes={model.name: model.nbytes for model in opened},
            plan=plan,
            casts=casts,
        )


def _mixture(
    names: Sequence[str],
    weights: MixtureWeights | str | Sequence[float] | None,
    *,
    mix: Space | None,
    normalize: bool,
) -> MixtureWeights:
    """Return the mixture over the members in their order, from any form it may come in.

    Raises:
        MixtureWeightsError: If it is over other members, or no mixture.
    """
    if weights is None:
        return MixtureWeights.uniform(names, space=mix or "probability")
    if isinstance(weights, str):
        weights = MixtureWeights.parse(files.read_text(weights), path=weights)
    if isinstance(weights, MixtureWeights):
        if set(weights.names) != set(names):
            msg = (
                f"The mixture is over {', '.join(weights.names)}, the members are "
                f"{', '.join(names)}. Name members as the mixture does: `--member NAME=PATH`."
            )
            raise MixtureWeightsError(msg, mixture=weights.names, members=tuple(names))
        by_name = dict(zip(weights.names, weights.values, strict=True))
        values = tuple(by_name[name] for name in names)
        return MixtureWeights(tuple(names), values, mix or weights.space)
    make = MixtureWeights.normalized if normalize else MixtureWeights
    return make(tuple(names), tuple(map(float, weights)), space=mix or "probability")

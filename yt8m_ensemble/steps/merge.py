"""`merge`: several models → one inference graph with the mixture weights inside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from yt8m_ensemble import files
from yt8m_ensemble.errors import GraphError, MixtureWeightsError, UsageError
from yt8m_ensemble.graphs import fix_frames, to_meta_graph
from yt8m_ensemble.loading.model import open_models
from yt8m_ensemble.merging import (
    Member,
    build_merged_graph,
    export_inference_model,
    plan_merge,
)
from yt8m_ensemble.packaging import check_operations, member_of
from yt8m_ensemble.provenance import write_provenance
from yt8m_ensemble.values import MixtureWeights, Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yt8m_ensemble.casting import CastReport, Scheme
    from yt8m_ensemble.graphs import ModelGraph
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
    quantize: Scheme | None = None,
    keep_float32: Sequence[str] = (),
    naming: Naming = "scoped",
    normalize: bool = False,
    with_fixed_frames: bool = False,
    tensors: Mapping[str, str] | None = None,
    target: Literal["tf1.14", "any"] = "tf1.14",
    num_classes: int | None = None,
    architecture: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> MergeResult:
    """Merge models into one inference model.

    Args:
        members: Paths to models (see `loading.model`); `NAME=PATH` names one.
        out: Directory of the inference model.
        weights: A mixture, the path of its file, or numbers in the order of `members`; `None`
            weighs all alike. A file's members are matched by name.
        mix: Mixing space; the mixture's own if it has one, else `probability`.
        fp16: Which weights to store as float16: `none`, `auto`, or `seed`.
        quantize: How to code weight matrices in fewer bits still; `fp16` is for the rest.
        keep_float32: Names of tensors to leave alone.
        naming: How variables are named.
        normalize: Rescale numbers that do not sum to one.
        with_fixed_frames: Replace random draws of frames by evenly spaced true frames.
        tensors: Names of input and output tensors of graphs that lack the collections.
        target: What must load the result: TensorFlow 1.14, or `any` that this one can.
        num_classes: Where a member's files do not tell.
        architecture: Overrides what the members' files say.
        force: Replace an existing directory.
        dry_run: Plan only; write nothing.
        progress: Told the bytes written.

    Returns:
        What was made.

    Raises:
        UsageError: If no member is given.
        GraphError: If a member uses what the target does not know.
        OutputExistsError: If `out` exists and `force` is not set.
    """
    if not members:
        msg = "No member is given. Pass `--member PATH` for each model."
        raise UsageError(msg)
    files.check_absent(out, force=force)
    with open_models(
        members, architecture=architecture, num_classes=num_classes, tensors=tensors
    ) as opened:
        names = [model.name for model in opened]
        mixture = _mixture(names, weights, mix=mix, normalize=normalize)
        _check_classes(mixture, opened[0].num_classes)
        parts = [
            Member(
                model.name,
                fix_frames(model.graph) if with_fixed_frames else model.graph,
                model.source,
                model.features,
                model.num_classes,
            )
            for model in opened
        ]
        plan = plan_merge(
            parts,
            weights=mixture,
            fp16=fp16,
            quantize=quantize,
            keep_float32=keep_float32,
            naming=naming,
        )
        graph = build_merged_graph(parts, plan)
        if target == "tf1.14":
            _check_loadable(graph, plan)
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
                    "quantize": quantize,
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


def _check_loadable(graph: ModelGraph, plan: MergePlan) -> None:
    """Refuse a graph that the official readers' TensorFlow could not load.

    Raises:
        GraphError: If it holds operations or attributes that TensorFlow 1.14 does not know.
    """
    checks = check_operations(
        to_meta_graph(graph),
        member_of=lambda name: member_of(name, plan.weights.names, naming=plan.naming),
    )
    for check in checks:
        if not check.is_ok:
            msg = (
                f"TensorFlow 1.14 would refuse the merged graph ({check.name}): {check.detail}. "
                "Leave that member out, or pass `--target any` if newer readers load it."
            )
            raise GraphError(msg, check=check.name, detail=check.detail)


def _check_classes(mixture: MixtureWeights, num_classes: int) -> None:
    """Refuse weights by class that are of another vocabulary.

    Raises:
        MixtureWeightsError: If they are.
    """
    if mixture.class_values and len(mixture.class_values[0]) != num_classes:
        msg = (
            f"The mixture holds weights of {len(mixture.class_values[0])} classes, the members "
            f"predict {num_classes}. Tune weights on predictions of these members."
        )
        raise MixtureWeightsError(msg, mixture=len(mixture.class_values[0]), members=num_classes)


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
        return replace(weights.reordered(names), space=mix or weights.space)
    make = MixtureWeights.normalized if normalize else MixtureWeights
    return make(tuple(names), tuple(map(float, weights)), space=mix or "probability")

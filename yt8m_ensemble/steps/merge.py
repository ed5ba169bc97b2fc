"""`merge`: several models → one inference graph with the mixture weights inside."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.errors import GraphError, MixtureWeightsError
from yt8m_ensemble.graphs import fix_frames, to_meta_graph
from yt8m_ensemble.loading.joint_features import describe_means, share_features
from yt8m_ensemble.loading.model import open_models
from yt8m_ensemble.merging import (
    Member,
    build_merged_graph,
    export_inference_model,
    plan_merge,
)
from yt8m_ensemble.options import MergeOptions, command
from yt8m_ensemble.packaging import check_operations, member_of
from yt8m_ensemble.provenance import write_provenance
from yt8m_ensemble.storage.mixtures import choose_mixture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yt8m_ensemble.casting import CastReport
    from yt8m_ensemble.graphs import ModelGraph
    from yt8m_ensemble.loading.model import OpenedFile, OpenModel
    from yt8m_ensemble.merging import MergePlan
    from yt8m_ensemble.values import MixtureWeights


@dataclass(frozen=True)
class PlannedMerge:
    """Result of `plan_merge_models`.

    Args:
        directory: Where the inference model is, or would be.
        weights: The mixture inside it.
        nbytes: Bytes of its weights.
        member_nbytes: Bytes of each member's own weights, before casting.
        plan: Where each tensor goes.
        depends_on_chance: Whether the merged model's scores vary from run to run.
        notes: What members' scores depend on besides the video.
        opened: The file that each member turned out to be, and its step.
    """

    directory: str
    weights: MixtureWeights
    nbytes: int
    member_nbytes: dict[str, int]
    plan: MergePlan
    depends_on_chance: bool
    notes: tuple[str, ...]
    opened: tuple[OpenedFile, ...]


@dataclass(frozen=True)
class MergeResult(PlannedMerge):
    """Result of `merge_models`.

    Args:
        casts: The change of each tensor that is stored in fewer bits.
    """

    casts: tuple[CastReport, ...]


@command(MergeOptions)
def merge_models(options: MergeOptions) -> MergeResult:
    """Merge models into one inference model.

    A mixture file's members are matched by name. The merged model reads the union of what the
    members read; see `values.join_features`.

    Returns:
        What was written.

    Raises:
        GraphError: If a member uses what the target does not know.
        MixtureWeightsError: If the mixture is of other members.
        OutputExistsError: If `out` exists and `force` is not set.
    """
    with _planned(options) as (planned, opened, parts, graph):
        describe = partial(
            write_provenance,
            command="merge",
            inputs={model.path: model.digest for model in opened},
            options=options,
            mixture=planned.weights.to_dict(),
        )
        casts = export_inference_model(
            options.out,
            parts,
            planned.plan,
            graph,
            force=options.force,
            describe=describe,
            progress=options.progress,
        )
        return MergeResult(**vars(planned), casts=casts)


@command(MergeOptions)
def plan_merge_models(options: MergeOptions) -> PlannedMerge:
    """Check what `merge_models` would write; write nothing.

    Returns:
        Where each tensor would go, and the bytes.
    """
    with _planned(options) as (planned, *_):
        return planned


@contextmanager
def _planned(
    options: MergeOptions,
) -> Iterator[tuple[PlannedMerge, list[OpenModel], list[Member], ModelGraph]]:
    files.check_absent(options.out, force=options.force)
    with open_models(options.members, options) as separate:
        opened = share_features(separate)
        names = [model.name for model in opened]
        mixture = choose_mixture(
            names,
            options,
            space=options.mix,
            advice="Name members as the mixture does: `--member NAME=PATH`.",
        )
        _check_classes(mixture, opened[0].num_classes)
        parts = [
            Member(
                model.name,
                fix_frames(model.graph) if options.with_fixed_frames else model.graph,
                model.source,
                model.features,
                model.num_classes,
            )
            for model in opened
        ]
        plan = plan_merge(
            parts,
            weights=mixture,
            fp16=options.fp16,
            quantize=options.quantize,
            keep_float32=options.keep_float32,
            naming=options.naming,
        )
        graph = build_merged_graph(parts, plan)
        if options.target == "tf1.14":
            _check_loadable(graph, plan)
        sizes = {model.name: model.nbytes for model in opened}
        notes = (
            *describe_means(separate, opened),
            *(note for model in separate for note in model.notes),
        )
        is_random = bool(graph.random_operations)
        planned = PlannedMerge(
            options.out,
            mixture,
            plan.nbytes,
            sizes,
            plan,
            depends_on_chance=is_random,
            notes=notes,
            opened=tuple(model.opened for model in opened),
        )
        yield planned, opened, parts, graph


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
    """Refuse weights or biases by class that are of another vocabulary.

    Raises:
        MixtureWeightsError: If they are.
    """
    if mixture.num_classes not in {None, num_classes}:
        msg = (
            f"The mixture is of {mixture.num_classes} classes, the members predict {num_classes}. "
            "Tune weights on predictions of these members."
        )
        raise MixtureWeightsError(msg, mixture=mixture.num_classes, members=num_classes)

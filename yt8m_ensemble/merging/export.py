"""Write a merged model: `inference_model.{meta,index,data-00000-of-00001}` and `model_flags.json`.

Streams weights from the members' checkpoints, casting block by block. Chooses nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.averaging import BlockSource
from yt8m_ensemble.casting import CastReport, Float16Cast, quantize
from yt8m_ensemble.checkpoints import CheckpointWriter, finite_blocks
from yt8m_ensemble.graphs import ModelGraph, write_meta_graph
from yt8m_ensemble.merging.build import GLOBAL_STEP
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.merging.plan import Member, MergePlan, PlannedTensor

_BLOCK_VALUES = 1 << 18


def export_inference_model(
    directory: str,
    members: Sequence[Member],
    plan: MergePlan,
    graph: ModelGraph,
    *,
    force: bool = False,
    describe: Callable[[str], None] | None = None,
    progress: Progress = no_progress,
) -> tuple[CastReport, ...]:
    """Write the merged model whole or not at all.

    Args:
        directory: Where to; made, or replaced with `force`.
        members: The members of the plan.
        plan: Which tensor goes where, in which dtype.
        graph: What `build_merged_graph` made of them.
        force: Replace an existing directory.
        describe: Called with the directory's temporary name, to write what appears with it.
        progress: Called with the number of megabytes written.

    Returns:
        What casting did to each tensor that was cast.

    Raises:
        OutputExistsError: If the directory exists and `force` is not set.
        CastOverflowError: If a value does not fit float16; nothing is written.
        CheckpointError: If a value is NaN or infinite; nothing is written.
    """
    by_name = {member.name: member for member in members}
    planned = {
        part.name: (tensor, kind) for tensor in plan.tensors for kind, part in tensor.parts.items()
    }
    own: dict[str, NDArray[Any]] = {
        **plan.weights.graph_values(members[0].num_classes),
        GLOBAL_STEP.name: np.array(plan.global_step, np.int32),
    }
    casts: list[CastReport] = []
    tables: dict[str, NDArray[np.float32]] = {}
    done = 0
    with files.atomic_directory(directory, force=force) as part:
        prefix = f"{part}/inference_model"
        with CheckpointWriter(prefix) as writer:
            # In rising order: a weight's own name comes before those of its tables.
            for name in sorted(graph.variables):
                if name not in planned:
                    writer.add(name, own[name])
                    continue
                tensor, kind = planned[name]
                if kind:
                    writer.add(name, tables.pop(name))
                    continue
                blocks = _blocks(by_name[tensor.member], tensor)
                if tensor.storage == "same":
                    checked = finite_blocks(blocks, name=tensor.source, place=tensor.member)
                    writer.add_blocks(tensor.target, checked)
                elif tensor.storage == "float16":
                    cast = Float16Cast(name)
                    writer.add_blocks(tensor.parts[""], cast.blocks(blocks))
                    casts.append(cast.report())
                else:
                    values = np.concatenate(list(blocks)).reshape(tensor.target.shape)
                    coded, report = quantize(name, values, scheme=tensor.storage)
                    writer.add(name, coded.codes)
                    tables |= {f"{name}/{kind}": table for kind, table in coded.tables.items()}
                    casts.append(report)
                done += tensor.nbytes
                progress("merge", done / 1e6, plan.nbytes / 1e6, unit="MB")
        write_meta_graph(graph, f"{prefix}.meta")
        Path(part, "model_flags.json").write_text(_flags(members, plan), encoding="utf-8")
        if describe:
            describe(part)
    return tuple(casts)


def _blocks(member: Member, tensor: PlannedTensor) -> Iterator[NDArray[Any]]:
    """Yield a weight in blocks; without mapping all of it into memory where the source can."""
    source, size = member.source, tensor.target.size
    is_part = tensor.node in member.graph.slices
    if isinstance(source, BlockSource) and not is_part and tensor.target.dtype == "float32":
        for start in range(0, size, _BLOCK_VALUES):
            block = np.empty(min(_BLOCK_VALUES, size - start), np.float32)
            source.read_block(tensor.source, start, block)
            yield block
        return
    flat = member.graph.read(tensor.node, source).reshape(-1)
    yield from (flat[start : start + _BLOCK_VALUES] for start in range(0, size, _BLOCK_VALUES))


def _flags(members: Sequence[Member], plan: MergePlan) -> str:
    return json.dumps(
        {
            "model": "Ensemble",
            **members[0].features.to_flags(),
            "label_loss": "CrossEntropyLoss",
            "num_classes": members[0].num_classes,
            "members": list(plan.weights.names),
            "mix": plan.weights.space,
            "naming": plan.naming,
        },
        indent=2,
    )

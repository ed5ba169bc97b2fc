"""Write a merged model: `inference_model.{meta,index,data-00000-of-00001}` and `model_flags.json`.

Streams weights from the members' checkpoints, casting block by block. Chooses nothing.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.averaging import BlockSource
from yt8m_ensemble.casting import CastReport, Float16Cast, cast_block, quantize
from yt8m_ensemble.checkpoints import CheckpointWriter, finite_blocks
from yt8m_ensemble.graphs import ModelGraph, write_meta_graph
from yt8m_ensemble.merging.build import GLOBAL_STEP
from yt8m_ensemble.threads import BlockMemory, map_in_order
from yt8m_ensemble.values import Progress, no_progress
from yt8m_ensemble.values.dtypes import NUMPY_DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.casting.report import BlockErrors
    from yt8m_ensemble.merging.plan import Member, MergePlan, PlannedTensor

_BLOCK_VALUES = 1 << 18
_MAX_ITEM_SIZE = 16
_AHEAD = 2 * (os.cpu_count() or 1)

_Result = TypeVar("_Result")


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
    done, total = 0, plan.nbytes
    with (
        files.atomic_directory(directory, force=force) as part,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        prefix = f"{part}/inference_model"
        encoder = _Encoder(pool)
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
                member = by_name[tensor.member]
                if tensor.storage == "same":
                    blocks = encoder.same(member, tensor)
                    checked = finite_blocks(blocks, name=tensor.source, place=tensor.member)
                    writer.add_blocks(tensor.target, checked)
                elif tensor.storage == "float16":
                    cast = Float16Cast(name)
                    writer.add_blocks(tensor.parts[""], encoder.float16(member, tensor, cast))
                    casts.append(cast.report())
                else:
                    values = encoder.whole(member, tensor).reshape(tensor.target.shape)
                    coded, report = quantize(name, values, scheme=tensor.storage, run=pool.map)
                    writer.add(name, coded.codes)
                    tables |= {f"{name}/{kind}": table for kind, table in coded.tables.items()}
                    casts.append(report)
                done += tensor.nbytes
                progress("merge", done / 1e6, total / 1e6, unit="MB")
        write_meta_graph(graph, f"{prefix}.meta")
        Path(part, "model_flags.json").write_text(_flags(members, plan), encoding="utf-8")
        if describe:
            describe(part)
    return tuple(casts)


class _Encoder:
    """Read weights, and cast them, in blocks and in threads.

    Args:
        pool: The threads.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._memory = BlockMemory(_BLOCK_VALUES * _MAX_ITEM_SIZE)
        self._whole = np.empty(0, np.float32)

    def same(self, member: Member, tensor: PlannedTensor) -> Iterator[NDArray[Any]]:
        """Yield a weight's values; each block is valid until the next is taken."""
        for block in self._map(self._reader(member, tensor), tensor):
            yield block
            self._memory.give_back(block)

    def float16(
        self, member: Member, tensor: PlannedTensor, cast: Float16Cast
    ) -> Iterator[NDArray[np.float16]]:
        """Yield a weight as float16; each block is valid until the next is taken."""
        read = self._reader(member, tensor)

        def narrow(start: int) -> tuple[NDArray[np.float16], BlockErrors]:
            block = read(start)
            result = cast_block(block, self._memory.take(len(block), np.dtype(np.float16)))
            self._memory.give_back(block)
            return result

        for half in cast.collect(self._map(narrow, tensor)):
            yield half
            self._memory.give_back(half)

    def whole(self, member: Member, tensor: PlannedTensor) -> NDArray[np.float32]:
        """Return a weight's values, flat; valid until the next weight is read whole."""
        read, size = self._reader(member, tensor), tensor.target.size
        if len(self._whole) < size:
            self._whole = np.empty(size, np.float32)

        def fill(start: int) -> None:
            block = read(start)
            self._whole[start : start + len(block)] = block
            self._memory.give_back(block)

        for _ in self._map(fill, tensor):
            pass
        return self._whole[:size]

    def _map(self, function: Callable[[int], _Result], tensor: PlannedTensor) -> Iterator[_Result]:
        starts = range(0, tensor.target.size, _BLOCK_VALUES)
        if len(starts) <= 1:  # not worth the way to another thread
            return map(function, starts)
        return map_in_order(self._pool, function, starts, ahead=_AHEAD)

    def _reader(self, member: Member, tensor: PlannedTensor) -> Callable[[int], NDArray[Any]]:
        """Return what reads a block, without mapping all of a weight where the source can."""
        source, is_part = member.source, tensor.node in member.graph.slices
        is_plain = tensor.target.dtype == "float32" and not is_part
        in_blocks = source if isinstance(source, BlockSource) and is_plain else None
        flat = member.graph.read(tensor.node, source).reshape(-1) if in_blocks is None else None

        def read(start: int) -> NDArray[Any]:
            size = min(_BLOCK_VALUES, tensor.target.size - start)
            block = self._memory.take(size, NUMPY_DTYPES[tensor.target.dtype])
            if in_blocks is not None:
                in_blocks.read_block(tensor.source, start, block)
            elif flat is not None:
                block[:] = flat[start : start + size]
            return block

        return read


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

"""`inspect`: what a file of weights holds, and how two of them differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    TfCheckpoint,
    compare,
    measure,
    summarize_meta_graph,
)
from yt8m_ensemble.loading.weights import open_weights
from yt8m_ensemble.options import DiffOptions, InspectOptions, command

if TYPE_CHECKING:
    from yt8m_ensemble.checkpoints import Difference, GraphSummary, TensorStatistics
    from yt8m_ensemble.values import TensorSpec


@dataclass(frozen=True)
class InspectedTensor:
    """One tensor of a file.

    Args:
        spec: Name, shape and dtype.
        nbytes: Its bytes.
        statistics: Its values; `None` if not asked for, or if it holds no numbers.
    """

    spec: TensorSpec
    nbytes: int
    statistics: TensorStatistics | None


@dataclass(frozen=True)
class Inspection:
    """Result of `inspect_checkpoint`.

    Args:
        path: The path given.
        place: Where the weights were found.
        global_step: The training step; `None` if it holds none.
        nbytes: Bytes of all numeric tensors.
        tensors: Its tensors, by name.
        graph: Its meta graph; `None` if there is none beside the weights.
    """

    path: str
    place: str
    global_step: int | None
    nbytes: int
    tensors: tuple[InspectedTensor, ...]
    graph: GraphSummary | None


@dataclass(frozen=True)
class Comparison:
    """Result of `compare_checkpoints`.

    Args:
        first: One path.
        second: The other.
        differences: One for every tensor in either, by name.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]

    @property
    def num_different(self) -> int:
        """Number of tensors that are not equal."""
        return sum(difference.kind != "equal" for difference in self.differences)


@command(InspectOptions)
def inspect_checkpoint(options: InspectOptions) -> Inspection:
    """Describe the tensors of a checkpoint, model directory, bundle, safetensors or HDF5 file.

    Returns:
        Its tensors and its graph.

    Raises:
        CheckpointError: If it cannot be read or is damaged.
    """
    with open_weights(options.path, verify=options.verify) as (source, place):
        statistics = measure(source, progress=options.progress) if options.stats else {}
        meta = f"{place}.meta"
        graph = None
        if isinstance(source, TfCheckpoint) and files.exists(meta):
            files.check_regular(meta)
            graph = summarize_meta_graph(files.read_bytes(meta), path=meta)
        specs = source.specs()
        return Inspection(
            path=options.path,
            place=place,
            global_step=source.global_step if isinstance(source, TfCheckpoint) else None,
            nbytes=sum(spec.nbytes for spec in specs.values()),
            tensors=tuple(
                InspectedTensor(spec, spec.nbytes, statistics.get(name))
                for name, spec in specs.items()
            ),
            graph=graph,
        )


@command(DiffOptions)
def compare_checkpoints(options: DiffOptions) -> Comparison:
    """Compare two files of weights, perhaps of different formats, tensor by tensor.

    Returns:
        Their differences.

    Raises:
        CheckpointError: If one cannot be read or is damaged.
    """
    with (
        open_weights(options.first, verify=options.verify) as (one, _),
        open_weights(options.second, verify=options.verify) as (other, _),
    ):
        found = compare(one, other, progress=options.progress)
        return Comparison(options.first, options.second, tuple(found))

"""`inspect`: what a file of weights holds, and how two of them differ."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    TfCheckpoint,
    compare,
    measure,
    open_checkpoint,
    open_keras_weights,
    open_safetensors,
    summarize_meta_graph,
)
from yt8m_ensemble.loading.paths import find_prefix
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yt8m_ensemble.checkpoints import Difference, GraphSummary, TensorStatistics
    from yt8m_ensemble.values import TensorSource, TensorSpec


@dataclass(frozen=True)
class InspectedTensor:
    """Describe one tensor.

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
    """Hold what a file of weights holds.

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
    """Hold how two files of weights differ.

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


def inspect_checkpoint(
    path: str, *, stats: bool = True, verify: bool = True, progress: Progress = no_progress
) -> Inspection:
    """Describe the tensors of a checkpoint, model directory, bundle, safetensors or HDF5 file.

    Args:
        path: Any path to a model, or a `.safetensors` or `.h5` file.
        stats: Read the values as well.
        verify: Compare what is read with its checksums.
        progress: Told the megabytes read.

    Returns:
        What it holds.

    Raises:
        CheckpointError: If it cannot be read or is damaged.
    """
    with _open(path, verify=verify) as (source, place):
        statistics = measure(source, progress=progress) if stats else {}
        meta = f"{place}.meta"
        graph = None
        if isinstance(source, TfCheckpoint) and files.exists(meta):
            graph = summarize_meta_graph(files.read_bytes(meta), path=meta)
        specs = source.specs()
        return Inspection(
            path=path,
            place=place,
            global_step=source.global_step if isinstance(source, TfCheckpoint) else None,
            nbytes=sum(spec.nbytes for spec in specs.values()),
            tensors=tuple(
                InspectedTensor(spec, spec.nbytes, statistics.get(name))
                for name, spec in specs.items()
            ),
            graph=graph,
        )


def compare_checkpoints(
    first: str, second: str, *, verify: bool = True, progress: Progress = no_progress
) -> Comparison:
    """Compare two files of weights tensor by tensor.

    Args:
        first: As for `inspect_checkpoint`.
        second: As for `inspect_checkpoint`, perhaps of another kind.
        verify: Compare what is read with its checksums.
        progress: Told the megabytes read of each.

    Returns:
        Their differences.

    Raises:
        CheckpointError: If one cannot be read or is damaged.
    """
    with _open(first, verify=verify) as (one, _), _open(second, verify=verify) as (other, _):
        return Comparison(first, second, tuple(compare(one, other, progress=progress)))


@contextmanager
def _open(path: str, *, verify: bool) -> Iterator[tuple[TensorSource, str]]:
    """Open any file of weights.

    Yields:
        Its tensors, and the prefix or file that holds them.
    """
    with ExitStack() as stack:
        if path.endswith(".safetensors"):
            yield open_safetensors(path), path
        elif path.endswith((".h5", ".hdf5")):
            yield stack.enter_context(open_keras_weights(path)), path
        else:
            place = path
            if path.endswith((".tgz", ".tar.gz")):
                from yt8m_ensemble.packaging import extract_bundle

                place = stack.enter_context(tempfile.TemporaryDirectory(prefix="yt8m-ens-"))
                extract_bundle(path, place)
            # A prefix may itself be the name of a directory.
            prefix = place if files.exists(f"{place}.index") else find_prefix(place)
            yield stack.enter_context(open_checkpoint(prefix, verify=verify)), prefix

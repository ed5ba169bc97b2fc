"""`convert checkpoint`: TensorFlow checkpoint ↔ safetensors ↔ Keras `.weights.h5`, bit for bit."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    CheckpointWriter,
    open_checkpoint,
    open_keras_weights,
    open_safetensors,
    write_keras_weights,
    write_safetensors,
)
from yt8m_ensemble.errors import CheckpointError, EnsembleError, UsageError
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource, TensorSpec


@dataclass(frozen=True)
class Conversion:
    """Say what was converted.

    Args:
        source: What was read.
        out: What was written, or would be.
        kind: `checkpoint`, `safetensors` or `keras`.
        num_tensors: How many tensors.
        nbytes: Bytes of the numeric ones.
    """

    source: str
    out: str
    kind: str
    num_tensors: int
    nbytes: int


def convert_checkpoint(
    source: str,
    out: str,
    *,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Conversion:
    """Convert weights between formats, which the names' endings tell.

    Args:
        source: A checkpoint prefix, a `.safetensors` file, or a `.h5` file.
        out: Likewise.
        force: Replace an existing output.
        dry_run: Check only; write nothing.
        progress: Told the tensors written.

    Returns:
        What was converted.

    Raises:
        CheckpointError: If the source cannot be read, or the target has no place for a dtype.
        OutputExistsError: If `out` exists and `force` is not set.
        UsageError: If `out` is the source.
    """
    if Path(source).resolve() == Path(out).resolve():
        msg = f"'{out}' is the source itself. Choose another name."
        raise UsageError(msg, source=source)
    kind = _kind(out)
    files.check_absent(f"{out}.index" if kind == "checkpoint" else out, force=force)
    with ExitStack() as stack:
        opened = _open(source, stack)
        watched = _Watched(opened, progress)
        if dry_run:
            pass
        elif kind == "checkpoint":
            with CheckpointWriter(out, force=force) as writer:
                for name, spec in opened.specs().items():
                    values = watched.read(name)
                    if spec.dtype == "string":
                        writer.add(name, values)
                    else:
                        writer.add_blocks(spec, [values])
        else:
            _write_file(out, kind, watched, force=force)
        specs = opened.specs().values()
        return Conversion(source, out, kind, len(specs), sum(spec.nbytes for spec in specs))


def _write_file(out: str, kind: str, source: TensorSource, *, force: bool) -> None:
    """Write a safetensors or Keras file whole or not at all.

    Raises:
        CheckpointError: If the file system refuses.
        EnsembleError: Whatever reading the source raises, as it came.
    """
    try:
        with files.atomic_file(out, force=force) as part:
            if kind == "keras":
                write_keras_weights(part, source)
            else:
                with Path(part).open("wb") as file:
                    write_safetensors(file, source)
    except EnsembleError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"Cannot write '{out}': {reason}. Make room or choose a place that can be written to."
        raise CheckpointError(msg, out=out, reason=reason) from error


class _Watched:
    """Tell of each tensor that is read."""

    def __init__(self, source: TensorSource, progress: Progress) -> None:
        self._source = source
        self._progress = progress
        self._done = 0

    def specs(self) -> Mapping[str, TensorSpec]:
        return self._source.specs()

    def read(self, name: str) -> NDArray[Any]:
        self._done += 1
        self._progress("convert", self._done, len(self.specs()), unit="tensors")
        return self._source.read(name)


def _kind(path: str) -> str:
    endings = {".safetensors": "safetensors", ".h5": "keras"}
    return endings.get(Path(path).suffix, "checkpoint")


def _open(path: str, stack: ExitStack) -> TensorSource:
    kind = _kind(path)
    if kind == "safetensors":
        return open_safetensors(path)
    if kind == "keras":
        return stack.enter_context(open_keras_weights(path))
    return stack.enter_context(open_checkpoint(path))

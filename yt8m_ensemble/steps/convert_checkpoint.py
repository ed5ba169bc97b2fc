"""`convert checkpoint`: TensorFlow checkpoint ↔ safetensors ↔ Keras `.weights.h5`, bit for bit."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble.checkpoints import (
    open_checkpoint,
    open_keras_weights,
    open_safetensors,
)
from yt8m_ensemble.checkpoints.weight_files import (
    check_weights_absent,
    weights_kind,
    write_weights,
)
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options import ConvertOptions, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import Progress, TensorSource, TensorSpec


@dataclass(frozen=True)
class Conversion:
    """Result of `convert_checkpoint`.

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


@command(ConvertOptions)
def convert_checkpoint(options: ConvertOptions) -> Conversion:
    """Convert weights between formats, which the names' endings tell.

    Either end is a checkpoint prefix, a `.safetensors` file, or a `.h5` file.

    Returns:
        What was converted.

    Raises:
        CheckpointError: If the source cannot be read, or the target has no place for a dtype.
        OutputExistsError: If `out` exists and `force` is not set.
        UsageError: If `out` is the source.
    """
    with ExitStack() as stack:
        planned, opened = _planned(options, stack)
        watched = _Watched(opened, options.progress)
        write_weights(options.out, watched, force=options.force)
        return planned


@command(ConvertOptions)
def plan_convert_checkpoint(options: ConvertOptions) -> Conversion:
    """Check what `convert_checkpoint` would convert; write nothing.

    Returns:
        What would be converted.
    """
    with ExitStack() as stack:
        return _planned(options, stack)[0]


def _planned(options: ConvertOptions, stack: ExitStack) -> tuple[Conversion, TensorSource]:
    """Return what is to be converted, and the opened source.

    Raises:
        UsageError: If `out` is the source.
    """
    source, out = options.source, options.out
    if Path(source).resolve() == Path(out).resolve():
        msg = f"'{out}' is the source itself. Choose another name."
        raise UsageError(msg, source=source)
    kind = weights_kind(out)
    check_weights_absent(out, force=options.force)
    opened = _open(source, stack)
    specs = opened.specs().values()
    nbytes = sum(spec.nbytes for spec in specs)
    return Conversion(source, out, kind, len(specs), nbytes), opened


class _Watched:
    """A source that reports each tensor that is read."""

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


def _open(path: str, stack: ExitStack) -> TensorSource:
    kind = weights_kind(path)
    if kind == "safetensors":
        return open_safetensors(path)
    if kind == "keras":
        return stack.enter_context(open_keras_weights(path))
    return stack.enter_context(open_checkpoint(path))

"""Write the tensors of a source in the format that a name's ending tells, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints.keras_weights import write_keras_weights
from yt8m_ensemble.checkpoints.safetensors import write_safetensors
from yt8m_ensemble.checkpoints.writer import CheckpointWriter
from yt8m_ensemble.errors import CheckpointError, EnsembleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yt8m_ensemble.values import TensorSource

_ENDINGS = {".safetensors": "safetensors", ".h5": "keras"}


def weights_kind(path: str) -> str:
    """Return the format that a name's ending tells: `checkpoint`, `safetensors` or `keras`.

    Args:
        path: The output.

    Raises:
        UsageError: If it would be a whole Keras model.
    """
    if path.endswith(".keras"):
        msg = (
            f"'{path}' would be a whole model, but only weights are written. Name a `.weights.h5`."
        )
        raise UsageError(msg, path=path)
    return _ENDINGS.get(Path(path).suffix, "checkpoint")


def check_weights_absent(out: str, *, force: bool) -> None:
    """Refuse an output that is already there.

    Args:
        out: A checkpoint prefix or a file.
        force: Whether it may be replaced.
    """
    kind = weights_kind(out)
    files.check_absent(f"{out}.index" if kind == "checkpoint" else out, force=force)


def write_weights(
    out: str, source: TensorSource, *, force: bool, companions: Mapping[str, str] | None = None
) -> None:
    """Write tensors one by one.

    Args:
        out: A checkpoint prefix, a `.safetensors` or a `.h5` file.
        source: The tensors.
        force: Replace an output that exists.
        companions: Texts by the ending of their files, which appear beside it.

    Raises:
        CheckpointError: If the file system refuses.
        EnsembleError: Whatever reading the source raises, as it came.
    """
    companions, kind = companions or {}, weights_kind(out)
    if kind == "keras" and any(name.endswith(":0") for name in source.specs()):
        msg = (
            f"'{out}' would have the names of a Keras before 3 in the layout of Keras 3, where no "
            "Keras finds them. Name a checkpoint or a `.safetensors` file."
        )
        raise CheckpointError(msg, out=out)
    if kind == "checkpoint":
        with CheckpointWriter(out, force=force, own_graph=True) as writer:
            for name, spec in source.specs().items():
                values = source.read(name)
                if spec.dtype == "string":
                    writer.add(name, values)
                else:
                    writer.add_blocks(spec, [values])
            for ending, text in companions.items():
                Path(writer.companion(ending)).write_text(text, encoding="utf-8")
        return
    try:
        with files.atomic_file(out, force=force) as part:
            if kind == "keras":
                write_keras_weights(part, source)
            else:
                with Path(part).open("wb") as file:
                    write_safetensors(file, source)
            for ending, text in companions.items():
                files.write_part(f"{part}{ending}", text)
    except EnsembleError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"Cannot write '{out}': {reason}. Make room or choose a place that can be written to."
        raise CheckpointError(msg, out=out, reason=reason) from error

"""`edit`: the tensors of any file of weights, renamed, left out or cast by name."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import TfCheckpoint
from yt8m_ensemble.checkpoints.renaming import Change, EditedSource, plan_changes
from yt8m_ensemble.checkpoints.weight_files import check_weights_absent, write_weights
from yt8m_ensemble.companions import PROVENANCE_ENDING
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.loading.checkpoints import index_digest
from yt8m_ensemble.loading.paths import find_flags
from yt8m_ensemble.loading.weights import open_weights
from yt8m_ensemble.options import EditOptions, command
from yt8m_ensemble.provenance import format_provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import Progress, TensorSource, TensorSpec


@dataclass(frozen=True)
class EditedWeights:
    """Result of `edit_weights`.

    Args:
        source: What was read.
        out: What was written, or would be.
        changes: One for every tensor of the source.
        num_tensors: How many tensors are left.
        nbytes: Bytes of the numeric ones.
    """

    source: str
    out: str
    changes: tuple[Change, ...]
    num_tensors: int
    nbytes: int


@command(EditOptions)
def edit_weights(options: EditOptions) -> EditedWeights:
    """Rename, drop, keep and cast the tensors of a file of weights.

    Flags and provenance follow; a meta graph does not, whose saver would look for the old names.

    Returns:
        What was changed.

    Raises:
        CastOverflowError: If a value does not fit float16; nothing is written.
        OutputExistsError: If `out` exists and `force` is not set.
        TensorMismatchError: If two tensors would have one name.
        UsageError: If an expression matches nothing.
    """
    with ExitStack() as stack:
        planned, edited, place, opened = _planned(options, stack)
        is_checkpoint = isinstance(opened, TfCheckpoint)
        text = format_provenance(
            command="edit",
            inputs={
                options.source: index_digest(place)
                if is_checkpoint
                else files.sha256(options.source)
            },
            options=options,
            model_flags=find_flags(place) if is_checkpoint else None,
            changes=[vars(change) for change in planned.changes],
        )
        write_weights(
            options.out,
            _Watched(edited, options.progress),
            force=options.force,
            companions={PROVENANCE_ENDING: text},
        )
        return planned


@command(EditOptions)
def plan_edit_weights(options: EditOptions) -> EditedWeights:
    """Check what `edit_weights` would change; write nothing.

    Returns:
        What would be changed.
    """
    with ExitStack() as stack:
        return _planned(options, stack)[0]


def _planned(
    options: EditOptions, stack: ExitStack
) -> tuple[EditedWeights, EditedSource, str, TensorSource]:
    """Return the plan, the source as edited, where it was found, and the source itself.

    Raises:
        UsageError: If `out` is the source, or nothing is left.
    """
    opened, place = stack.enter_context(open_weights(options.source))
    if Path(place).resolve() == Path(options.out).resolve():
        msg = f"'{options.out}' is the source itself. Choose another name."
        raise UsageError(msg, source=options.source)
    check_weights_absent(options.out, force=options.force)
    changes = plan_changes(
        opened.specs(),
        rename=options.rename,
        drop=options.drop,
        keep=options.keep,
        cast=options.cast,
    )
    edited = EditedSource(opened, changes)
    specs = edited.specs()
    if not specs:
        msg = f"Nothing of '{options.source}' would be left. Drop less, or keep more."
        raise UsageError(msg, source=options.source)
    nbytes = sum(spec.nbytes for spec in specs.values())
    planned = EditedWeights(options.source, options.out, tuple(changes), len(specs), nbytes)
    return planned, edited, place, opened


class _Watched:
    """A source that reports each tensor that is read."""

    def __init__(self, source: TensorSource, progress: Progress) -> None:
        self._source, self._progress, self._done = source, progress, 0

    def specs(self) -> Mapping[str, TensorSpec]:
        return self._source.specs()

    def read(self, name: str) -> NDArray[Any]:
        self._done += 1
        self._progress("edit", self._done, len(self.specs()), unit="tensors")
        return self._source.read(name)

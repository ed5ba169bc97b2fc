"""Which files an archive or a SavedModel holds, and where the official readers look for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from yt8m_ensemble.constants import FLAGS_FILE, INFERENCE_MODEL, SAVED_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL_FILES: Final = (
    "inference_model.meta",
    "inference_model.index",
    "inference_model.data-00000-of-00001",
)
BUNDLE_FILES: Final = (FLAGS_FILE, *MODEL_FILES)
"""The files of an archive, in the order in which they are written."""

SAVED_MODEL_FILES: Final = (
    FLAGS_FILE,
    SAVED_MODEL_FILE,
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
)
"""The files of a SavedModel that `package` writes."""

IGNORED_FILE: Final = "checkpoint"
"""A state file that a saver leaves beside its checkpoint; no reader needs it."""


def readers_of(names: set[str]) -> tuple[str, ...]:
    """Return the official readers that find all they need in an archive.

    Args:
        names: The archive's file names, without a leading `./`.

    Returns:
        The years of those readers.

    Examples:
        >>> readers_of({*BUNDLE_FILES})
        ('2018',)
    """
    found = []
    if names.issuperset(BUNDLE_FILES):
        found.append("2018")
    if names.issuperset((FLAGS_FILE, *(f"{INFERENCE_MODEL}/{name}" for name in MODEL_FILES))):
        found.append("2019")
    return tuple(found)


def member_of(tensor: str, members: Sequence[str], *, naming: str | None) -> str | None:
    """Return the ensemble member that a tensor or operation of a merged model belongs to.

    Args:
        tensor: Its name.
        members: The members' names in order.
        naming: `scoped` (below each member's name) or `original` (below `tower`, then
            `tower/model1`, `tower/model2` and so on).

    Returns:
        The member's name; `None` for what members share.

    Examples:
        >>> member_of("a/gates/weights", ["a", "b"], naming="scoped")
        'a'
        >>> member_of("tower/model1/gates/weights", ["a", "b"], naming="original")
        'b'
    """
    if naming in {"original", "seed"}:  # `seed` is how version 0.1.0 wrote it
        position = re.match(r"(?:tower/)?model(\d+)/", tensor)
        index = int(position[1]) if position else 0
        return members[index] if tensor.startswith(("tower/", "model")) else None
    return next((name for name in members if tensor.startswith(f"{name}/")), None)


def size_text(nbytes: int) -> str:
    """Write a size the way the rules of the challenge do.

    Args:
        nbytes: A number of bytes.

    Returns:
        The size in the unit that suits it.

    Examples:
        >>> size_text(1_120_000_000), size_text(4_096), size_text(12)
        ('1.12 GB', '4.10 kB', '12 B')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= factor:
            return f"{nbytes / factor:.2f} {unit}"
    return f"{nbytes} B"

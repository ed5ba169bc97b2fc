"""Which files an archive holds, and where the official readers of 2018 and 2019 look for them."""

from __future__ import annotations

from typing import Final

FLAGS_FILE: Final = "model_flags.json"
MODEL_FILES: Final = (
    "inference_model.meta",
    "inference_model.index",
    "inference_model.data-00000-of-00001",
)
BUNDLE_FILES: Final = (FLAGS_FILE, *MODEL_FILES)
"""The files of an archive, in the order in which they are written."""

FOLDER: Final = "inference_model"
"""Where the reader of 2019 looks for the model files; the reader of 2018 looks at the root."""

IGNORED_FILE: Final = "checkpoint"
"""A state file that a saver leaves beside its checkpoint; no reader needs it."""


def readers_of(names: set[str]) -> tuple[str, ...]:
    """Tell which official readers find all they need in an archive.

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
    if names.issuperset((FLAGS_FILE, *(f"{FOLDER}/{name}" for name in MODEL_FILES))):
        found.append("2019")
    return tuple(found)


def size_text(nbytes: int) -> str:
    """Write a size the way the rules of the challenge do.

    Args:
        nbytes: A number of bytes.

    Returns:
        The size in GB, or in MB if it is small.

    Examples:
        >>> size_text(1_120_000_000), size_text(4_096)
        ('1.12 GB', '0.0041 MB')
    """
    giga, mega = 1_000_000_000, 1_000_000
    return f"{nbytes / giga:.2f} GB" if nbytes >= giga / 100 else f"{nbytes / mega:.3g} MB"

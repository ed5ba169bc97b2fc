"""Where a model lies on disk, and its flags. Loads no TensorFlow, unlike `loading.model`."""

from __future__ import annotations

import re
from typing import Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    find_steps,
    latest_prefix,
    recover_checkpoint,
    refuse_first_format,
    step_prefix,
)
from yt8m_ensemble.constants import FLAGS_FILE, INFERENCE_MODEL, MAX_FLAGS_BYTES
from yt8m_ensemble.errors import CheckpointNotFoundError, ModelError
from yt8m_ensemble.provenance import read_provenance
from yt8m_ensemble.values import check_flags
from yt8m_ensemble.values.flags import parse_object

_AT_STEP = re.compile(r"(?P<directory>.+)@(?P<step>\d+)")


def find_prefix(path: str) -> str:
    """Return the checkpoint prefix that a path stands for; an archive must be unpacked first.

    Raises:
        CheckpointNotFoundError: If there is none.
    """
    if match := _AT_STEP.fullmatch(path):
        return step_prefix(match["directory"], int(match["step"]))
    files.recover_output(path.rstrip("/"))
    if files.is_dir(path):
        exported = f"{path.rstrip('/')}/{INFERENCE_MODEL}"
        # The starter code's evaluation leaves one in a train directory, of some older step.
        is_exported = any(files.exists(f"{exported}{suffix}") for suffix in (".index", ".meta"))
        return exported if is_exported and not find_steps(path) else latest_prefix(path)
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path)
    recover_checkpoint(prefix)
    if not files.exists(f"{prefix}.index") and not files.exists(f"{prefix}.meta"):
        refuse_first_format(path)
        msg = (
            f"There is no model at '{path}': neither a directory nor '{prefix}.index' exists. Give "
            "a train directory, DIR@STEP, a checkpoint prefix, an inference model, a `.tgz`, a "
            "SavedModel, a `.keras` or `.h5` model, or a frozen `.pb`."
        )
        raise CheckpointNotFoundError(msg, path=path)
    return prefix


def read_flags(prefix: str) -> dict[str, Any]:
    """Return the flags of a checkpoint: of its provenance, else of `model_flags.json` beside it.

    Raises:
        ModelError: If there are none, or the file that should hold them is damaged.
    """
    flags = optional_flags(prefix)
    if flags is None:
        path = flags_path(prefix)
        msg = (
            f"'{path}' is missing, which says what the model reads. Copy it from the train "
            "directory, or write one with feature_names, feature_sizes and frame_features."
        )
        raise ModelError(msg, path=path)
    return flags


def optional_flags(prefix: str) -> dict[str, Any] | None:
    """Return the flags of a model that may do without; `None` if there are none.

    Raises:
        ModelError: If the file that should hold them is damaged.
    """
    flags = find_flags(prefix)
    return None if flags is None else check_flags(flags, path=flags_path(prefix))


def find_flags(prefix: str) -> dict[str, Any] | None:
    """Return the flags of a checkpoint as they stand; `None` if there are none.

    Raises:
        ModelError: If the file that should hold them is no JSON object.
    """
    provenance = read_provenance(prefix)
    if provenance.model_flags:
        return provenance.model_flags
    path = flags_path(prefix)
    return (
        parse_object(files.read_limited(path, limit=MAX_FLAGS_BYTES), path=path)
        if files.exists(path)
        else None
    )


def flags_path(prefix: str) -> str:
    """Return the path of `model_flags.json` beside a checkpoint.

    The code of 2019 wrote inference models into a folder below it.

    Args:
        prefix: The checkpoint.
    """
    directory, _, _ = prefix.rpartition("/")
    beside = f"{directory}/{FLAGS_FILE}" if directory else FLAGS_FILE
    above, _, folder = directory.rpartition("/")
    if folder == INFERENCE_MODEL and not files.exists(beside):
        higher = f"{above}/{FLAGS_FILE}" if above else FLAGS_FILE
        return higher if files.exists(higher) else beside
    return beside

"""Where a model lies on disk, and its flags. Loads no TensorFlow, unlike `loading.model`."""

from __future__ import annotations

import json
import re
from typing import Any

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import latest_prefix, step_prefix
from yt8m_ensemble.constants import FLAGS_FILE, INFERENCE_MODEL
from yt8m_ensemble.errors import CheckpointNotFoundError, ModelError
from yt8m_ensemble.values import parse_flags

_AT_STEP = re.compile(r"(?P<directory>.+)@(?P<step>\d+)")


def find_prefix(path: str) -> str:
    """Return the checkpoint prefix that a path stands for; an archive must be unpacked first.

    Raises:
        CheckpointNotFoundError: If there is none.
    """
    if match := _AT_STEP.fullmatch(path):
        return step_prefix(match["directory"], int(match["step"]))
    if files.is_dir(path):
        exported = f"{path.rstrip('/')}/{INFERENCE_MODEL}"
        return exported if files.exists(f"{exported}.index") else latest_prefix(path)
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path)
    if not files.exists(f"{prefix}.index") and not files.exists(f"{prefix}.meta"):
        msg = (
            f"There is no model at '{path}': neither a directory nor '{prefix}.index' exists. Give "
            "a train directory, DIR@STEP, a checkpoint prefix, an inference model or a `.tgz`."
        )
        raise CheckpointNotFoundError(msg, path=path)
    return prefix


def read_flags(prefix: str) -> dict[str, Any]:
    """Return the flags of a checkpoint: of its provenance, else of `model_flags.json` beside it.

    Raises:
        ModelError: If there are none.
    """
    provenance = f"{prefix}.provenance.json"
    if files.exists(provenance):
        embedded = json.loads(files.read_text(provenance)).get("model_flags")
        if embedded:
            return parse_flags(json.dumps(embedded), path=provenance)
    directory = prefix.rpartition("/")[0]
    path = f"{directory}/{FLAGS_FILE}" if directory else FLAGS_FILE
    if not files.exists(path):
        msg = (
            f"'{path}' is missing, which says what the model reads. Copy it from the train "
            "directory, or write one with feature_names, feature_sizes and frame_features."
        )
        raise ModelError(msg, path=path)
    return parse_flags(files.read_text(path), path=path)

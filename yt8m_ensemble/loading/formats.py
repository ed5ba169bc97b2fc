"""Which format a path to a model is of. Looks at names only; loads no TensorFlow."""

from __future__ import annotations

from typing import Literal

from yt8m_ensemble import files
from yt8m_ensemble.constants import SAVED_MODEL_FILE
from yt8m_ensemble.errors import ModelError

Format = Literal["checkpoint", "saved model", "frozen graph", "keras"]
"""What opens a model; `checkpoint` is everything that has an index or a meta graph."""

_KERAS_FILES = (".keras", ".h5", ".hdf5")
_WITHOUT_GRAPH = (".safetensors", ".npz", ".npy", ".pt", ".pth", ".ckpt.pt")
_UNREAD = (".tflite", ".onnx", ".pbtxt", ".mlmodel")


def detect_format(path: str) -> Format:
    """Return the format of a model; an archive must be unpacked first.

    Raises:
        ModelError: If no model of that format is read.
    """
    path = path.rstrip("/")
    files.recover_output(path)
    if files.is_dir(path):
        if files.exists(f"{path}/{SAVED_MODEL_FILE}"):
            return "saved model"
        if files.exists(f"{path}/saved_model.pbtxt"):
            msg = f"'{path}' is a SavedModel as text. Save it in binary form."
            raise ModelError(msg, path=path)
        return "checkpoint"
    if path.endswith((*_WITHOUT_GRAPH, ".weights.h5")) and files.exists(path):
        msg = (
            f"'{path}' holds weights but no model. Give the model that they belong to; `yt8m-ens "
            "convert` turns `.safetensors` and `.weights.h5` into a checkpoint."
        )
        raise ModelError(msg, path=path)
    if path.endswith(_UNREAD) and files.exists(path):
        msg = f"'{path}' is of a format that is not read. Export the model as a SavedModel."
        raise ModelError(msg, path=path)
    if path.endswith(_KERAS_FILES) and files.exists(path):
        return "keras"
    if path.endswith(".pb") and files.exists(path):
        return "saved model" if path.endswith(f"/{SAVED_MODEL_FILE}") else "frozen graph"
    return "checkpoint"


def is_weights_file(path: str) -> bool:
    """Return whether a path is of one file of weights, which `open_weights` opens."""
    return path.endswith((".safetensors", *_KERAS_FILES)) and files.exists(path)


def identity_file(path: str) -> str | None:
    """Return the file that tells one model from another; `None` for checkpoints.

    Args:
        path: A path to a model.
    """
    path, kind = path.rstrip("/"), detect_format(path)
    if kind == "checkpoint":
        return None
    if kind != "saved model":
        return path
    directory = saved_model_dir(path)
    index = f"{directory}/variables/variables.index"
    # The index holds a checksum of every tensor; without one, weights are constants.
    return index if files.exists(index) else f"{directory}/{SAVED_MODEL_FILE}"


def saved_model_dir(path: str) -> str:
    """Return the directory of a SavedModel, which may be given by its file."""
    return path.rstrip("/").removesuffix(f"/{SAVED_MODEL_FILE}")

"""Keras model files (`.keras`, and `.h5` of any Keras) as inference graphs with their weights.

The configuration is checked before Keras is imported, and Keras makes the layers in its safe mode;
what comes out of it is a graph like any other. Compiles, trains and writes nothing.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yt8m_ensemble import files
from yt8m_ensemble.errors import EnsembleError, ModelError
from yt8m_ensemble.graphs import trace_model
from yt8m_ensemble.hdf5 import check_heaps
from yt8m_ensemble.loading.keras_config import check_config
from yt8m_ensemble.loading.keras_files import (
    CONFIG,
    WEIGHTS,
    check_entries,
    check_hdf5,
    check_links,
)
from yt8m_ensemble.scratch import scratch_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from yt8m_ensemble.graphs import ModelGraph
    from yt8m_ensemble.options import ModelOptions

_DAMAGED: Final = (
    OSError, KeyError, EOFError, TypeError, ValueError, AttributeError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What a damaged container makes its readers raise."""

_TRAINING_ONLY: Final = ("_initializer", "_regularizer", "_constraint")


def load_keras_model(
    path: str, options: ModelOptions
) -> tuple[ModelGraph, dict[str, NDArray[Any]]]:
    """Read a Keras model, check what it would make, and trace it.

    Args:
        path: A `.keras` file, or an `.h5` file of a whole model.
        options: What the file does not tell.

    Returns:
        Its graph, and the values of its variables by name.

    Raises:
        ModelError: If it is no Keras model, a damaged one, or one that may not be made.
    """
    files.check_regular(path)
    with ExitStack() as stack:
        local = path
        if files.is_remote(path):
            folder = stack.enter_context(scratch_directory())
            local = str(Path(folder, path.rpartition("/")[2]))
            files.copy(path, local)
        read = _read_archive if path.endswith(".keras") else _read_legacy
        model = read(local, path)
        with _explained(path):
            return trace_model(model, options, path=path)


def _read_archive(local: str, path: str) -> Any:
    """Return the model of a `.keras` file.

    Raises:
        ModelError: If it is none, or holds what no such file does.
    """
    try:
        # Keras stores what it packs as it is, so that heaps can be seen from outside.
        check_heaps(local)
        with zipfile.ZipFile(local) as archive:
            check_entries(archive, path=path)
            check_config(archive.read(CONFIG), path=path)
            with archive.open(WEIGHTS) as weights:
                check_hdf5(weights, archive.getinfo(WEIGHTS).file_size, path=path)
    except _DAMAGED as error:
        if isinstance(error, EnsembleError):
            raise
        msg = f"'{path}' is no Keras model, or a damaged one: {error}. Save the model again."
        raise ModelError(msg, path=path) from error
    return _load(local, path)


def _read_legacy(local: str, path: str) -> Any:
    """Return the model of an `.h5` file.

    Raises:
        ModelError: If it is none, or holds weights only.
    """
    import h5py

    try:
        check_heaps(local)
        with h5py.File(local, "r") as file:
            check_links(file, files.size(local), path=path)
            if "model_config" not in file.attrs:
                msg = (
                    f"'{path}' holds weights but no model. Save the whole model from Keras, with "
                    "`model.save`, or make a checkpoint of it with `yt8m-ens convert`."
                )
                raise ModelError(msg, path=path)
            config = check_config(_text(file.attrs["model_config"]), path=path)
            with scratch_directory() as folder:
                plain = f"{folder}/model.h5"
                with h5py.File(plain, "w") as copy:
                    copy.attrs["model_config"] = json.dumps(_modernized(config))
                    file.copy("model_weights", copy)
                return _load(plain, path)
    except _DAMAGED as error:
        if isinstance(error, EnsembleError):
            raise
        msg = f"'{path}' is no Keras model, or a damaged one: {error}. Save the model again."
        raise ModelError(msg, path=path) from error


def _modernized(value: Any) -> Any:
    """Return a configuration of any age as Keras 3 takes it.

    What sets or constrains weights is left out, since those of the file count and older releases
    gave it other arguments; the shape of a sequence's input becomes a layer of its own.
    """
    if isinstance(value, list):
        return [_modernized(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {k: _modernized(v) for k, v in value.items() if not k.endswith(_TRAINING_ONLY)}
    if found.get("class_name") == "Sequential":
        layers = found["config"]["layers"]
        shapes = [layer["config"].pop("batch_input_shape", None) for layer in layers]
        if layers and layers[0]["class_name"] == "InputLayer":
            layers[0]["config"].setdefault("batch_shape", shapes[0])
        elif shapes and shapes[0]:
            first = {"batch_shape": shapes[0], "name": "sequence_input"}
            layers.insert(0, {"class_name": "InputLayer", "config": first})
    return found


def _load(local: str, path: str) -> Any:
    """Return what Keras makes of a file whose configuration has been checked."""
    keras = _import_keras()
    with _explained(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older ways to write a configuration
        return keras.saving.load_model(local, compile=False, safe_mode=True)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn whatever Keras stumbles over into one message.

    Raises:
        EnsembleError: Our own, as it came.
        ModelError: For any other.
    """
    try:
        yield
    except EnsembleError:
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        msg = f"Keras cannot make the model in '{path}': {first} Save it with the Keras installed."
        raise ModelError(msg, path=path) from error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _import_keras() -> Any:
    """Return Keras on TensorFlow.

    Raises:
        ModelError: If this process uses Keras on another framework.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    if keras.backend.backend() != "tensorflow":
        msg = (
            f"Keras runs on {keras.backend.backend()} here, but its models are read through "
            "TensorFlow. Set the environment variable KERAS_BACKEND=tensorflow."
        )
        raise ModelError(msg, backend=keras.backend.backend())
    return keras

"""Open the tensors of any file of weights, whatever graph they belong to.

Checkpoints, model directories and archives, SavedModels, safetensors, HDF5 and Keras files, frozen
graphs. Runs no graph; loads TensorFlow only for frozen graphs.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import open_checkpoint, open_keras_weights, open_safetensors
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.loading.formats import detect_format, saved_model_dir
from yt8m_ensemble.loading.keras_files import WEIGHTS, check_entries
from yt8m_ensemble.loading.paths import find_prefix
from yt8m_ensemble.scratch import scratch_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yt8m_ensemble.values import TensorSource


@contextmanager
def open_weights(path: str, *, verify: bool = True) -> Iterator[tuple[TensorSource, str]]:
    """Open any file of weights.

    Args:
        path: A model, a checkpoint or a file of weights.
        verify: Whether to compare what is read with its checksums, where it has some.

    Yields:
        Its tensors, and the prefix or file that holds them.

    Raises:
        CheckpointError: If it cannot be read.
    """
    with ExitStack() as stack:
        if path.endswith(".safetensors"):
            yield open_safetensors(path), path
        elif path.endswith((".h5", ".hdf5")):
            yield stack.enter_context(open_keras_weights(path)), path
        elif path.endswith(".keras"):
            folder = stack.enter_context(scratch_directory())
            inner = _extract_weights(path, folder)
            yield stack.enter_context(open_keras_weights(inner)), path
        else:
            yield _open_graph_weights(path, stack, verify=verify)


def _open_graph_weights(path: str, stack: ExitStack, *, verify: bool) -> tuple[TensorSource, str]:
    """Return the tensors of a checkpoint, an archive, a SavedModel or a frozen graph."""
    place = path
    if path.endswith((".tgz", ".tar.gz")):
        from yt8m_ensemble.packaging import extract_bundle

        place = stack.enter_context(scratch_directory())
        extract_bundle(path, place)
    if files.exists(f"{place}.index"):  # a prefix may itself be the name of a directory
        prefix = place
    elif (kind := detect_format(place)) == "frozen graph":
        from yt8m_ensemble.graphs import read_constants
        from yt8m_ensemble.values import DictSource

        return DictSource(read_constants(place)), place
    elif kind == "saved model":
        prefix = f"{saved_model_dir(place)}/variables/variables"
    else:
        prefix = find_prefix(place)
    return stack.enter_context(open_checkpoint(prefix, verify=verify)), prefix


def _extract_weights(path: str, folder: str) -> str:
    """Return the weights of a `.keras` file, extracted.

    Raises:
        CheckpointError: If it holds none.
    """
    files.check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_entries(archive, path=path)
            return archive.extract(WEIGHTS, folder)
    except (OSError, KeyError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        msg = f"'{path}' is no Keras model, or a damaged one: {error}. Save the model again."
        raise CheckpointError(msg, path=path) from error

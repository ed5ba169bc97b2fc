"""What the containers of Keras models may hold: entries of a `.keras` archive, links of HDF5.

Looks before anything is unpacked; loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.loading.keras_config import MAX_CONFIG_BYTES

if TYPE_CHECKING:
    from zipfile import ZipFile

CONFIG, WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_MAX_UNFOLDING: Final = 64
"""Bytes that a file may unfold to for each byte that it has."""

_SPARE_BYTES: Final = 1 << 20


def check_entries(archive: ZipFile, *, path: str) -> None:
    """Refuse a `.keras` archive of other entries than three, or one that unfolds to far more.

    Args:
        archive: The archive.
        path: Its path, for messages.

    Raises:
        ModelError: If it is.
    """
    for entry in archive.infolist():
        if entry.filename not in {CONFIG, WEIGHTS, _METADATA}:
            msg = (
                f"'{path}' also holds '{entry.filename}'; read are models of {_METADATA}, "
                f"{CONFIG} and {WEIGHTS}. Save the model again."
            )
            raise ModelError(msg, path=path, entry=entry.filename)
        limit = entry.compress_size * _MAX_UNFOLDING + _SPARE_BYTES
        if entry.filename != WEIGHTS:
            limit = min(limit, MAX_CONFIG_BYTES)
        _check_unfolding(entry.filename, entry.file_size, limit, path)


def check_hdf5(stream: Any, size: int, *, path: str) -> None:
    """Refuse weights that are no HDF5 file, or one that `check_links` refuses.

    Args:
        stream: The weights.
        size: Their bytes.
        path: The file that holds them, for messages.

    Raises:
        ModelError: If they are.
    """
    import h5py

    try:
        with h5py.File(stream, "r") as file:
            check_links(file, size, path=path)
    except OSError as error:
        msg = f"'{path}' is damaged: its weights are no HDF5 file ({error}). Save the model again."
        raise ModelError(msg, path=path) from error


def check_links(group: Any, size: int, *, path: str) -> None:
    """Refuse an HDF5 file that reads other files, or unfolds to many times its size.

    Args:
        group: The file, or a group of it.
        size: Bytes of the file.
        path: Its path, for messages.

    Raises:
        ModelError: If it does.
    """
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            msg = f"'{path}' is refused: '{name}' in it is a link. Save the model again."
            raise ModelError(msg, path=path, entry=name)
        item = group[name]
        if isinstance(item, h5py.Group):
            check_links(item, size, path=path)
            continue
        if item.external or item.is_virtual:
            msg = f"'{path}' is refused: '{name}' in it lies in another file. Save the model again."
            raise ModelError(msg, path=path, entry=name)
        _check_unfolding(name, item.nbytes, size * _MAX_UNFOLDING + _SPARE_BYTES, path)


def _check_unfolding(name: str, nbytes: int, limit: int, path: str) -> None:
    """Refuse what unfolds to far more bytes than the file has.

    Raises:
        ModelError: If it does.
    """
    if nbytes > limit:
        msg = f"'{path}' is refused: '{name}' in it unfolds to {nbytes:,} bytes, over {limit:,}."
        raise ModelError(msg, path=path, entry=name, found=nbytes, limit=limit)

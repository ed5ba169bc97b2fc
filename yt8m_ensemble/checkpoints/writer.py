"""Write checkpoints tensor by tensor, in blocks; a checkpoint appears whole or not at all.

Bytes equal what TensorFlow writes for the same tensors in the same order. Never touches the
`checkpoint` state file of a train directory.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints.checksums import crc32c, mask
from yt8m_ensemble.checkpoints.entries import (
    Entry,
    format_entry,
    format_header,
    numpy_dtype,
    tf_dtype,
)
from yt8m_ensemble.checkpoints.publication import COMPANIONS, publish, recover_checkpoint
from yt8m_ensemble.checkpoints.strings import format_strings
from yt8m_ensemble.checkpoints.table import format_table
from yt8m_ensemble.companions import PROVENANCE_ENDING
from yt8m_ensemble.errors import CheckpointError, OutputExistsError
from yt8m_ensemble.parts import make_part
from yt8m_ensemble.scratch import scratch_directory
from yt8m_ensemble.values import TensorSpec

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

_INDEX, _DATA, _GRAPH = ".index", ".data-00000-of-00001", ".meta"


class CheckpointWriter:
    """Write one checkpoint; a context manager.

    Tensors go to a temporary data file as they come. When the block ends without error, index,
    data and companions appear together: see `publication`. On error the temporary files are removed
    and an older checkpoint at `prefix` stays as it was, with its companions.

    A remote prefix is written to a local directory first and copied when it is whole.

    Args:
        prefix: Path without `.index`; missing directories are made.
        force: Replace an existing checkpoint.
        own_graph: A `.meta` beside the replaced checkpoint goes unless a new one comes: its saver
            would look for other variables. Else it stays: nobody asked.
    """

    def __init__(self, prefix: str, *, force: bool = False, own_graph: bool = False) -> None:
        self.prefix = prefix
        self._force = force
        self._stale = (*((_GRAPH,) if own_graph else ()), PROVENANCE_ENDING)
        self._entries: dict[str, Entry] = {}
        self._offset = 0
        self._data: io.FileIO | None = None
        self._part = Path()
        self._scratch = ExitStack()  # holds the directory of a remote checkpoint's parts

    def __enter__(self) -> CheckpointWriter:
        recover_checkpoint(self.prefix)
        files.check_absent(f"{self.prefix}.index", force=self._force)
        with self._explained():
            if files.is_remote(self.prefix):
                self._part = Path(self._scratch.enter_context(scratch_directory()))
            else:
                self._part = make_part(self.prefix)
                self._part.mkdir()
            # Blocks are large, so a buffer would only copy them once more.
            self._data = Path(self.companion(_DATA)).open("wb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._data is not None:
                self._data.close()
            if kind is None:
                with self._explained():
                    self._publish()
        finally:
            self._remove_part()
            self._scratch.close()

    def _remove_part(self) -> None:
        # By name first: to list a directory takes a descriptor, and there may be none left.
        for ending in (_DATA, _INDEX, *COMPANIONS):
            Path(self.companion(ending)).unlink(missing_ok=True)
        try:
            self._part.rmdir()
        except OSError:
            shutil.rmtree(self._part, ignore_errors=True)

    def companion(self, ending: str) -> str:
        """Return where to write a file that appears with the checkpoint, as `<prefix><ending>`.

        Args:
            ending: One of `publication.COMPANIONS`.
        """
        return str(self._part / f"{Path(self.prefix).name}{ending}")

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Write one tensor.

        Args:
            name: Its name; one that came before is a `CheckpointError`.
            array: Its values, of any dtype that TensorFlow has; strings as `bytes` or `str`.
        """
        array = np.asarray(array)
        spec = TensorSpec(name, array.shape, tf_dtype(array.dtype))
        if spec.dtype == "string":
            content, crc = format_strings(array)
            self._begin(spec)
            self._write(content)
            self._end(spec, len(content), crc)
        else:
            self.add_blocks(spec, [array])

    def add_blocks(self, spec: TensorSpec, blocks: Iterable[NDArray[Any]]) -> None:
        """Write one numeric tensor block by block.

        Args:
            spec: Its name, shape and dtype.
            blocks: Runs of its values in row-major order, of `spec.dtype`.

        Raises:
            CheckpointError: If the name came before, or the blocks are of another dtype or number
                of values than `spec` says.
        """
        self._begin(spec)
        dtype, crc, size = numpy_dtype(spec.dtype), 0, 0
        for block in blocks:
            if block.dtype != dtype:
                msg = f"'{spec.name}' is {spec.dtype}, but a block of it is {block.dtype}."
                raise CheckpointError(msg, name=spec.name)
            content = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
            crc = crc32c(content, crc)
            size += self._write(content)
        expected = spec.size * dtype.itemsize
        if size != expected:
            msg = f"'{spec.name}' needs {expected:,} bytes, its blocks hold {size:,}."
            raise CheckpointError(msg, name=spec.name, found=size, expected=expected)
        self._end(spec, size, mask(crc))

    def _begin(self, spec: TensorSpec) -> None:
        if spec.name in self._entries or not spec.name:
            msg = f"The tensor name '{spec.name}' is empty or was written before."
            raise CheckpointError(msg, name=spec.name)

    def _write(self, content: bytes | memoryview) -> int:
        if self._data is None:
            msg = f"The writer of '{self.prefix}' is used outside its `with` block."
            raise CheckpointError(msg, prefix=self.prefix)
        view = memoryview(content)
        done = 0
        with self._explained():
            while done < len(view):
                done += self._data.write(view[done:])
        return done

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the file system refuses into an error that says what to do.

        Yields:
            Nothing.

        Raises:
            CheckpointError: If it refuses.
            OutputExistsError: As it came.
        """
        try:
            yield
        except OutputExistsError:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            msg = (
                f"Cannot write '{self.prefix}': {reason}. Nothing was left behind; make room or "
                "choose a place that can be written to."
            )
            raise CheckpointError(msg, prefix=self.prefix, reason=reason) from error

    def _end(self, spec: TensorSpec, size: int, crc: int) -> None:
        self._entries[spec.name] = Entry(
            spec.dtype, spec.shape, offset=self._offset, size=size, crc=crc
        )
        self._offset += size

    def _publish(self) -> None:
        entries = {name.encode(): entry for name, entry in self._entries.items()}
        rows = ((key, format_entry(entries[key])) for key in sorted(entries))
        index = Path(self.companion(_INDEX))
        index.write_bytes(format_table([(b"", format_header()), *rows]))
        if not files.is_remote(self.prefix):
            publish(self._part, self.prefix, force=self._force, stale=self._stale)
            return
        files.check_absent(f"{self.prefix}{_INDEX}", force=self._force)
        for ending in (_INDEX, *self._stale) if self._force else ():
            files.remove(f"{self.prefix}{ending}")
        for ending in (_DATA, *COMPANIONS, _INDEX):
            if Path(self.companion(ending)).exists():
                files.copy(self.companion(ending), f"{self.prefix}{ending}")


def write_checkpoint(
    prefix: str, arrays: Mapping[str, NDArray[Any]], *, force: bool = False
) -> None:
    """Write arrays as one checkpoint, in the order of their names as TensorFlow's Saver does.

    Args:
        prefix: Path without `.index`.
        arrays: Arrays by tensor name.
        force: Replace an existing checkpoint; without it, one is an `OutputExistsError`.
    """
    with CheckpointWriter(prefix, force=force) as writer:
        for name in sorted(arrays):
            writer.add(name, arrays[name])

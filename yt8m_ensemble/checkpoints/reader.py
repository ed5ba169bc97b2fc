"""Read checkpoints: the index once, tensors on demand as memory maps. Never writes.

Reads name-based (TensorFlow 1) and object-based (TensorFlow 2, Keras) checkpoints alike: both are
tensor bundles, an `.index` table and data shards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints.checksums import crc32c, mask
from yt8m_ensemble.checkpoints.entries import (
    FULL,
    OPAQUE,
    Entry,
    is_slice_key,
    numpy_dtype,
    parse_entry,
    parse_header,
    slice_key,
)
from yt8m_ensemble.checkpoints.publication import recover_checkpoint
from yt8m_ensemble.checkpoints.shards import ChecksumTracker, Shard
from yt8m_ensemble.checkpoints.strings import parse_strings, variant_checksum
from yt8m_ensemble.checkpoints.table import MAGIC, read_table
from yt8m_ensemble.errors import CheckpointError, CheckpointNotFoundError
from yt8m_ensemble.values import Checkpoint, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

GLOBAL_STEP_NAMES = ("global_step", "global_step/.ATTRIBUTES/VARIABLE_VALUE")
"""What the training step is called in name-based and object-based checkpoints."""


class TfCheckpoint:
    """A TensorFlow checkpoint's tensors as a `TensorSource`.

    Made by `open_checkpoint`; usable as a context manager. Arrays stay valid after it is closed.

    Args:
        prefix: Path without `.index`.
        verify: Compare each tensor read with its stored CRC.
    """

    def __init__(self, prefix: str, *, verify: bool) -> None:
        self.prefix = prefix
        self._verify = verify
        self._parts: dict[bytes, Entry] = {}
        self._entries: dict[str, Entry] = {}
        self._ledger = ChecksumTracker()
        self._num_shards = self._read_index()
        self._check_shards()
        self._shards = [Shard(self._shard_path(shard)) for shard in range(self._num_shards)]
        self._specs = {
            name: TensorSpec(name, entry.shape, entry.dtype)
            for name, entry in sorted(self._entries.items())
        }

    def __enter__(self) -> TfCheckpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files; arrays that were read keep what they need."""
        for shard in self._shards:
            shard.close()

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the description of every tensor, by name, in sorted order."""
        return self._specs

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor, its CRC compared; a difference is a `CheckpointError`.

        Args:
            name: A name in `specs()`.

        Returns:
            A read-only memory map; strings come as an object array of `bytes`, a partitioned
            variable as a new array, and an opaque tensor (`resource`, `variant`) as its stored
            bytes, uint8.
        """
        entry = self._entries[name]
        if entry.slices:
            return self._join_slices(name, entry)
        return self._read_entry(name, entry)

    def read_block(self, name: str, start: int, out: NDArray[Any]) -> None:
        """Fill a buffer with part of a tensor, without mapping it; threads may call this at once.

        Once all blocks of a tensor have been read, in any order, their joint checksum is compared
        with the stored one; a difference is a `CheckpointError`.

        Args:
            name: A name in `specs()`, of a numeric tensor.
            start: Position of the first value in row-major order.
            out: Contiguous array of the tensor's dtype to fill.

        Raises:
            IndexError: If the tensor ends before.
        """
        entry = self._entries[name]
        if not 0 <= start <= math.prod(entry.shape) - len(out):
            msg = f"'{name}' of shape {entry.shape} has no {len(out)} values from {start} on."
            raise IndexError(msg)
        if not entry.slices:
            self._read_part(name, entry, start, out)
            return
        parts = self._find_parts(name, entry)
        if any(
            axis != slice(0, n)
            for w, _ in parts
            for axis, n in zip(w[1:], entry.shape[1:], strict=True)
        ):
            out[:] = self.read(name).reshape(-1)[start : start + len(out)]
            return
        # Parts that split the first axis alone follow each other in row-major order.
        position = 0
        for _, part in parts:
            size = math.prod(part.shape)
            low, high = max(start, position), min(start + len(out), position + size)
            if low < high:
                self._read_part(name, part, low - position, out[low - start : high - start])
            position += size

    @property
    def global_step(self) -> int | None:
        """The training step it was saved at; `None` if it holds none."""
        for name in GLOBAL_STEP_NAMES:
            spec = self._specs.get(name)
            if spec and not spec.shape and "int" in spec.dtype:
                return int(self.read(name))
        return None

    @property
    def checkpoint(self) -> Checkpoint:
        """A description that carries no arrays."""
        return Checkpoint(self.prefix, self.global_step, self._specs)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file it consists of, the index first."""
        return (self._index_path, *map(self._shard_path, range(self._num_shards)))

    @property
    def _index_path(self) -> str:
        return f"{self.prefix}.index"

    def _shard_path(self, shard: int) -> str:
        return f"{self.prefix}.data-{shard:05d}-of-{self._num_shards:05d}"

    def _read_index(self) -> int:
        num_shards = None
        name = ""
        try:
            for key, value in read_table(files.read_bytes(self._index_path)):
                name = key.decode(errors="replace")
                if not key:
                    num_shards = parse_header(value).num_shards
                elif is_slice_key(key):
                    self._parts[key] = parse_entry(value)
                else:
                    self._entries[key.decode()] = parse_entry(value)
        except (CheckpointError, UnicodeDecodeError) as error:
            at = f" at '{name}'" if name else ""
            msg = (
                f"'{self._index_path}' is damaged{at}: {error}. "
                "Copy the checkpoint again or use an earlier one."
            )
            raise CheckpointError(msg, path=self._index_path, name=name) from error
        if num_shards is None:
            msg = f"'{self._index_path}' has no header, so it is no checkpoint index."
            raise CheckpointError(msg, path=self._index_path)
        return num_shards

    def _check_shards(self) -> None:
        """Compare the size of each data file with what the index says it holds.

        Raises:
            CheckpointNotFoundError: If a data file is missing.
            CheckpointError: If a data file is too short or the index points past the last one.
        """
        needed = [0] * self._num_shards
        for entry in (*self._entries.values(), *self._parts.values()):
            if entry.slices:
                continue
            if entry.shard >= self._num_shards:
                msg = f"'{self._index_path}' names data file {entry.shard} of {self._num_shards}."
                raise CheckpointError(msg, path=self._index_path, shard=entry.shard)
            needed[entry.shard] = max(needed[entry.shard], entry.offset + entry.size)
        for shard, expected in enumerate(needed):
            path = self._shard_path(shard)
            if not files.exists(path):
                msg = (
                    f"'{self.prefix}' is unfinished: its data file '{path}' is missing. "
                    "Copy the file to its place or use an earlier checkpoint."
                )
                raise CheckpointNotFoundError(msg, path=path, expected=expected)
            files.check_regular(path)
            found = files.size(path)
            if found < expected:
                msg = (
                    f"'{path}' has {found:,} bytes, its index expects {expected:,}. "
                    "Copy the checkpoint again or use an earlier one."
                )
                raise CheckpointError(msg, path=path, found=found, expected=expected)

    def _read_part(self, name: str, entry: Entry, start: int, out: NDArray[Any]) -> None:
        block = out.view(np.uint8)
        first = start * out.dtype.itemsize
        self._shards[entry.shard].read_into(entry.offset + first, block)
        if self._verify:
            tensor = (entry.shard, entry.offset)
            found = self._ledger.enter(tensor, entry.size, first, block)
            if found is not None:
                self._compare(name, entry, found)

    def _read_entry(self, name: str, entry: Entry) -> NDArray[Any]:
        data = self._shards[entry.shard].view()[entry.offset : entry.offset + entry.size]
        if entry.dtype == "string":
            try:
                return parse_strings(bytes(data), entry.shape, entry.crc if self._verify else None)
            except CheckpointError as error:
                raise self._damage(name, entry, str(error)) from error
        if self._verify:
            if entry.dtype == "variant":
                found = variant_checksum(bytes(data), math.prod(entry.shape))
            else:
                found = mask(crc32c(data))
            self._compare(name, entry, found)
        if entry.dtype in OPAQUE:
            return np.frombuffer(data, np.uint8)
        return np.frombuffer(data, numpy_dtype(entry.dtype)).reshape(entry.shape)

    def _join_slices(self, name: str, entry: Entry) -> NDArray[Any]:
        dtype = object if entry.dtype == "string" else numpy_dtype(entry.dtype)
        joined = np.empty(entry.shape, dtype)
        for window, part in self._find_parts(name, entry):
            joined[window] = self._read_entry(name, part)
        return joined

    def _find_parts(self, name: str, entry: Entry) -> list[tuple[tuple[slice, ...], Entry]]:
        """Return where each part of a partitioned variable belongs, in the order of their starts.

        Raises:
            CheckpointError: If a part is absent, of another shape, or the parts leave gaps.
        """
        parts = []
        for extents in entry.slices:
            part = self._parts.get(slice_key(name, extents))
            window = tuple(
                slice(0, size) if length == FULL else slice(start, start + length)
                for (start, length), size in zip(extents, entry.shape, strict=True)
            )
            shape = tuple(
                len(range(size)[axis]) for axis, size in zip(window, entry.shape, strict=True)
            )
            if part is None or part.shape != shape or part.dtype != entry.dtype:
                raise self._damage(name, entry, f"its part at {list(extents)} is absent or unlike")
            parts.append((window, part))
        if sum(math.prod(part.shape) for _, part in parts) != math.prod(entry.shape):
            raise self._damage(name, entry, f"its {len(parts)} parts do not cover {entry.shape}")
        return sorted(parts, key=lambda item: [axis.start for axis in item[0]])

    def _compare(self, name: str, entry: Entry, found: int) -> None:
        """Compare a checksum with the stored one.

        Raises:
            CheckpointError: If they differ.
        """
        if found != entry.crc:
            what = f"its checksum is {found:08x}, stored is {entry.crc:08x}"
            raise self._damage(name, entry, what)

    def _damage(self, name: str, entry: Entry, what: str) -> CheckpointError:
        path = self._shard_path(entry.shard)
        msg = (
            f"'{name}' in '{path}' is damaged: {what}. "
            "Copy the checkpoint again or use an earlier one."
        )
        return CheckpointError(msg, name=name, path=path)


class UnmappedTensors:
    """A checkpoint's tensors as arrays of their own: freed with them, which maps are not.

    Args:
        checkpoint: Open as long as this is used.
    """

    def __init__(self, checkpoint: TfCheckpoint) -> None:
        self._checkpoint = checkpoint

    def specs(self) -> Mapping[str, TensorSpec]:
        """Return the checkpoint's."""
        return self._checkpoint.specs()

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor, checked as `TfCheckpoint.read` does; a new array if it is numeric."""
        spec = self.specs()[name]
        if spec.dtype == "string" or spec.dtype in OPAQUE:
            return self._checkpoint.read(name)
        values = np.empty(spec.size, numpy_dtype(spec.dtype))
        self._checkpoint.read_block(name, 0, values)
        return values.reshape(spec.shape)


def open_checkpoint(prefix: str, *, verify: bool = True) -> TfCheckpoint:
    """Open a checkpoint and check all that its index tells, before any weight is read.

    Args:
        prefix: Path without `.index`, e.g. `runs/moe/model.ckpt-7000`.
        verify: Compare each tensor that is read with its stored CRC.

    Returns:
        The open checkpoint.

    Raises:
        CheckpointNotFoundError: If there is no index. A missing or short data file and a damaged
            index are errors as well, raised while `TfCheckpoint` reads the index.
    """
    prefix = prefix.removesuffix(".index")
    recover_checkpoint(prefix)
    if not files.exists(f"{prefix}.index"):
        refuse_first_format(prefix)
        directory, _, _ = prefix.rpartition("/")
        near = [
            name.removesuffix(".index")
            for name in files.list_dir(directory or ".")
            if name.endswith(".index")
        ]
        msg = f"There is no checkpoint '{prefix}'. " + (
            f"The directory holds {', '.join(near[:8])}{' …' if len(near) > 8 else ''}."  # noqa: PLR2004
            if near
            else f"'{prefix}.index' is missing and its directory holds no other checkpoint."
        )
        raise CheckpointNotFoundError(msg, prefix=prefix, found=near)
    files.check_regular(f"{prefix}.index")
    return TfCheckpoint(prefix, verify=verify)


def refuse_first_format(path: str) -> None:
    """Name a checkpoint of TensorFlow's first format, which is a single file without an index.

    Args:
        path: Anything that may be one.

    Raises:
        CheckpointError: If it is one.
    """
    if files.is_dir(path) or not files.exists(path):
        return
    files.check_regular(path)
    with files.open_binary(path) as file:
        file.seek(max(0, files.size(path) - len(MAGIC)))
        found = file.read(len(MAGIC))
    if found == MAGIC:
        msg = (
            f"'{path}' is a checkpoint of TensorFlow's first format, one file without an index, "
            "which is not read. Restore it in TensorFlow 1.x, and save it again with "
            "`tf.train.Saver(write_version=2)`."
        )
        raise CheckpointError(msg, path=path)

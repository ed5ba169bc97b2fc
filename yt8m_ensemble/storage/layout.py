"""Names and dtypes inside a predictions file. Reads nothing and writes nothing.

    /                      attributes: format, num_classes, members, digests, dtype,
                           top_k (0 = dense), command, has_labels, complete; where known,
                           features: of each member, the feature keys of `model_flags.json`
    /video_ids             (N,) bytes
    /scores/<member>       (N, C) dense, or (N, K): the K highest, beside
    /class_ids/<member>    (N, K) their classes, rising along a row; only if top_k > 0
    /bounds/<member>       (N,) what no score left out is above; only where kept scores are rounded
    /labels/indptr         (N,) end of each video's classes; row n starts where row n - 1 ends
    /labels/class_ids      (number of positives,)
    /shards/names, /ends   one entry a whole shard; rows past the last end do not count

<member> is the member's place, since its name may hold a slash. Every chunk carries HDF5's own
checksum (Fletcher-32); files of version 0.1 have none, and are read as they are.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.values import FeatureSpec, parse_feature_spec, parse_flags

if TYPE_CHECKING:
    import h5py

SCORES_DIGEST = "scores:"
"""What the digest of scores without a model begins with."""
FORMAT = "yt8m-ensemble predictions 1"
CHUNK_BYTES = 1 << 20
SHARD_NAME_BYTES = 256
CLASS_ID_DTYPE = np.dtype(np.int32)
BOUND_DTYPE = np.dtype(np.float32)
_CHUNK_ENTRY_BYTES = 64  # a chunk's checksum and its place in the index of chunks
_MAX_CLASSES = 10_000_000


@dataclass(frozen=True)
class Header:
    """Header of a predictions file.

    Args:
        members: Names, all different.
        digests: Content digest of each member's model.
        num_classes: Classes `C`.
        top_k: Scores kept a video and member; 0 keeps all.
        dtype: `float32` or `float16`.
        has_bounds: Whether kept scores were rounded, so that bounds of the rest stand beside them.
        features: What each member was fed with; empty if that is not known.
    """

    members: tuple[str, ...]
    digests: tuple[str, ...]
    num_classes: int
    top_k: int = 0
    dtype: str = "float32"
    # Not shown: the digests of files without bounds, which are of this text, stay what they were.
    has_bounds: bool = field(default=False, repr=False)
    features: tuple[FeatureSpec, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.members or len(self.members) != len(self.digests):
            msg = f"{len(self.members)} members but {len(self.digests)} digests; give one each."
            raise PredictionsError(msg, members=self.members, digests=self.digests)
        twice = sorted({name for name in self.members if self.members.count(name) > 1})
        if twice:
            msg = f"A member is listed twice: {', '.join(twice)}. Give each its own name."
            raise PredictionsError(msg, members=twice)
        if self.dtype not in {"float32", "float16"}:
            msg = f"Scores cannot be stored as '{self.dtype}'; use float32 or float16."
            raise PredictionsError(msg, dtype=self.dtype)
        if self.features and len(self.features) != len(self.members):
            msg = f"{len(self.members)} members but features of {len(self.features)}; give each's."
            raise PredictionsError(msg, members=self.members)
        if not 0 <= self.top_k <= self.num_classes:
            msg = (
                f"Cannot keep the top {self.top_k} of {self.num_classes} classes. "
                f"Set `yt8m-ens predict --cache-top-k` to 1 … {self.num_classes}, or leave it out."
            )
            raise PredictionsError(msg, top_k=self.top_k, num_classes=self.num_classes)

    def differences(self, other: Header) -> list[str]:
        """Return in words what this file holds that another, of the other header, would not.

        Args:
            other: What it is compared with.
        """
        found = []
        if self.members != other.members:
            mine, others = (", ".join(header.members) for header in (self, other))
            found.append(f"members {mine} instead of {others}")
        elif self.digests != other.digests:
            pairs = zip(self.members, self.digests, other.digests, strict=True)
            changed = [name for name, one, another in pairs if one != another]
            found.append(f"scores by other weights of {', '.join(changed)}")
        for one, another in zip(self._scores_in_words(), other._scores_in_words(), strict=True):
            if one != another:
                found.append(f"{one} instead of {another}")
        return found

    def _scores_in_words(self) -> tuple[str, ...]:
        return (
            f"{self.num_classes} classes",
            f"the top {self.top_k} scores" if self.top_k else "all scores",
            self.dtype,
            "rounded scores with bounds" if self.has_bounds else "exact scores",
        )

    @property
    def width(self) -> int:
        """Scores stored a video and member."""
        return self.top_k or self.num_classes

    def attributes(self, *, command: str) -> dict[str, Any]:
        """Return the attributes of a new, incomplete file, written by a command."""
        fed = [json.dumps(spec.to_flags()) for spec in self.features]
        return {
            "format": FORMAT,
            "members": list(self.members),
            "digests": list(self.digests),
            "num_classes": self.num_classes,
            "top_k": self.top_k,
            "dtype": self.dtype,
            **({"has_bounds": True} if self.has_bounds else {}),
            **({"features": fed} if fed else {}),
            "command": command,
            "complete": False,
        }

    @classmethod
    def read(cls, file: h5py.File, *, path: str) -> Header:
        """Read the attributes.

        Args:
            file: The open file.
            path: Its path, for messages.

        Returns:
            What they say.

        Raises:
            PredictionsError: If they are not those of a predictions file.
        """
        found = file.attrs.get("format")
        if found != FORMAT:
            msg = (
                f"'{path}' is no predictions file: its format is '{found}', expected '{FORMAT}'. "
                "Write one with `yt8m-ens predict --cache`."
            )
            raise PredictionsError(msg, path=path, format=found)
        attributes: dict[str, Any] = dict(file.attrs)
        num_classes = int(attributes["num_classes"])
        if not 1 <= num_classes <= _MAX_CLASSES:
            msg = f"'{path}' says that it holds {num_classes} classes. Predict it again."
            raise PredictionsError(msg, path=path)
        return cls(
            members=tuple(map(str, attributes["members"])),
            digests=tuple(map(str, attributes["digests"])),
            num_classes=num_classes,
            top_k=int(attributes["top_k"]),
            dtype=str(attributes["dtype"]),
            has_bounds=bool(attributes.get("has_bounds", False)),
            features=tuple(
                parse_feature_spec(parse_flags(str(text), path=path))
                for text in attributes.get("features", ())
            ),
        )


def plan_rows(
    header: Header, *, id_bytes: int, has_labels: bool
) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return the shape of a row and the dtype of every dataset, by name."""
    width, dtype = header.width, np.dtype(header.dtype)
    rows: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
        "video_ids": ((), np.dtype(f"S{id_bytes}")),
        "shards/names": ((), np.dtype(f"S{SHARD_NAME_BYTES}")),
        "shards/ends": ((), np.dtype(np.int64)),
    }
    for member in range(len(header.members)):
        rows[f"scores/{member}"] = ((width,), dtype)
        if header.top_k:
            rows[f"class_ids/{member}"] = ((width,), CLASS_ID_DTYPE)
        if header.has_bounds:
            rows[f"bounds/{member}"] = ((), BOUND_DTYPE)
    if has_labels:
        rows["labels/indptr"] = ((), np.dtype(np.int64))
        rows["labels/class_ids"] = ((), CLASS_ID_DTYPE)
    return rows


def create_rows(file: h5py.File, header: Header, *, id_bytes: int, has_labels: bool) -> None:
    """Make the empty datasets of a new file; all of them, since later none can be added."""
    file.attrs["has_labels"] = has_labels
    planned = plan_rows(header, id_bytes=id_bytes, has_labels=has_labels)
    for name, (shape, dtype) in planned.items():
        file.create_dataset(
            name,
            (0, *shape),
            dtype,
            maxshape=(None, *shape),
            chunks=(_chunk_rows(shape, dtype), *shape),
            fletcher32=True,
        )


def bytes_of(
    header: Header, *, num_videos: int, num_positives: int, id_bytes: int, num_shards: int
) -> int:
    """Return the most bytes that datasets of so many rows take, whole chunks counted."""
    lengths = {"labels/class_ids": num_positives}
    lengths |= dict.fromkeys(("shards/names", "shards/ends"), num_shards)
    planned = plan_rows(header, id_bytes=id_bytes, has_labels=True)
    total = 0
    for name, (shape, dtype) in planned.items():
        chunk = _chunk_rows(shape, dtype)
        num_chunks = lengths.get(name, num_videos) // chunk + 1
        total += num_chunks * (chunk * dtype.itemsize * math.prod(shape) + _CHUNK_ENTRY_BYTES)
    return total


def _chunk_rows(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return max(1, CHUNK_BYTES // (dtype.itemsize * max(math.prod(shape), 1)))

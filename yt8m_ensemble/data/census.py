"""What a pass over records met that its user may not expect, counted and said in words.

Nothing of it is an error: each is what some data look like. Reads nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import FeatureSpec

_FEW_CLASSES = 4  # a quarter of the classes, or fewer, …
_SETTLED = 10  # … in so many labels a class that more would show others


class Census:
    """Count videos, and those that are cut, unlabeled, of the segment kind or in no file.

    Args:
        paths: Record files.
        features: What is read of them.
        num_classes: Classes C.
    """

    def __init__(self, paths: Sequence[str], features: FeatureSpec, num_classes: int) -> None:
        self._paths, self._features, self._num_classes = paths, features, num_classes
        self._by_file = np.zeros(len(paths), np.int64)
        self._by_class = np.zeros(num_classes, np.int64)
        self._cut = self._segments = 0
        self._is_whole = False

    @property
    def num_videos(self) -> int:
        """Videos read."""
        return int(self._by_file.sum())

    @property
    def num_cut(self) -> int:
        """Videos of more frames than are kept."""
        return self._cut

    @property
    def num_labels(self) -> int:
        """Labels read."""
        return int(self._by_class.sum())

    def add(self, fields: Mapping[str, NDArray[Any]]) -> None:
        """Count a batch as the reader parses it."""
        np.add.at(self._by_file, fields["shards"], 1)
        self._by_class += np.count_nonzero(fields["labels"], axis=0)
        self._cut += int(np.count_nonzero(fields["is_cut"]))
        self._segments += int(np.count_nonzero(fields["has_segments"]))

    def finish(self) -> None:
        """Note that all files were read: those without a video hold none."""
        self._is_whole = True

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell the user, a sentence or two each."""
        empty = np.flatnonzero(self._by_file == 0) if self._is_whole else np.zeros(0, np.int64)
        found = describe_empty([self._paths[int(n)] for n in empty], len(self._paths))
        if self._cut:
            found.append(
                f"{self._cut:,} of {self.num_videos:,} videos are longer than "
                f"{self._features.max_frames} frames and were cut there."
            )
        if self._segments:
            found.append(
                f"{self._segments:,} of {self.num_videos:,} videos carry labels of segments, as "
                "the records of 2019 do; these are not read, only the labels of whole videos."
            )
        if (few := few_classes(self._by_class, self._num_classes)) is not None:
            found.append(few)
        return tuple(found)


def few_classes(by_class: NDArray[np.integer], num_classes: int) -> str | None:
    """Return a warning if labels keep to few of the classes, though there are many labels.

    Args:
        by_class: Labels of each class.
        num_classes: Classes C.

    Examples:
        >>> str(few_classes(np.array([50, 60, 0, 0, 0, 0, 0, 0]), 8))[:41]
        '110 labels are all below class 2, of 8 cl'
        >>> few_classes(np.array([1, 1, 0, 0, 0, 0, 0, 0]), 8)
    """
    used = int(np.max(np.flatnonzero(by_class), initial=-1)) + 1
    total = int(by_class.sum())
    if not used or used * _FEW_CLASSES > num_classes or total < used * _SETTLED:
        return None
    return (
        f"{total:,} labels are all below class {used:,}, of {num_classes:,} classes. Compare "
        "the number of classes with the vocabulary."
    )


def describe_empty(empty: Sequence[str], num_files: int) -> list[str]:
    """Return a warning that files hold no records; none if all do.

    Args:
        empty: Paths of these files.
        num_files: Files in all.

    Examples:
        >>> describe_empty(["b"], 2)
        ["1 of 2 files holds no records: 'b'."]
    """
    if not empty:
        return []
    holds = "holds" if len(empty) == 1 else "hold"
    more = " and others" if len(empty) > 1 else ""
    return [f"{len(empty)} of {num_files} files {holds} no records: '{empty[0]}'{more}."]

"""Which of many record files to read: a seeded sample, or one worker's share."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from yt8m_ensemble.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def sample_shards(paths: Sequence[str], count: int, *, seed: int) -> list[str]:
    """Draw files without replacement; the same for every checkpoint that is evaluated with it.

    Args:
        paths: All files.
        count: How many to keep; all are kept if there are no more.
        seed: Seed of the draw.

    Returns:
        The files drawn, in the order of `paths`.

    Raises:
        UsageError: If `count` is below 1.

    Examples:
        >>> sample_shards(["a", "b", "c", "d"], 2, seed=0)
        ['b', 'd']
    """
    if count < 1:
        msg = f"A sample needs at least 1 shard, not {count}. Set `--sample-shards`."
        raise UsageError(msg, count=count)
    drawn = random.Random(seed).sample(range(len(paths)), min(count, len(paths)))  # noqa: S311
    return [paths[position] for position in sorted(drawn)]


def shard_paths(paths: Sequence[str], index: int, count: int) -> list[str]:
    """Return the files of one of several workers: every `count`-th, starting at `index`.

    Over all workers every file comes exactly once, and shares differ by at most one file.

    Args:
        paths: All files, in an order that all workers agree on.
        index: The worker's number, from 0.
        count: Workers in all.

    Returns:
        Its files, in the order of `paths`; never none.

    Raises:
        UsageError: If there is no such worker, or it would have no file.

    Examples:
        >>> shard_paths(["a", "b", "c"], 0, 2)
        ['a', 'c']
    """
    if not 0 <= index < count:
        msg = f"Worker {index} of {count} does not exist; they count from 0 to {count - 1}."
        raise UsageError(msg, index=index, count=count)
    if index >= len(paths):
        msg = (
            f"Worker {index} of {count} has nothing to read: there are {len(paths)} record files. "
            f"Use at most {len(paths)} workers, or write the records in more files."
        )
        raise UsageError(msg, index=index, count=count, files=len(paths))
    return list(paths[index::count])

"""Video ids as fields of CSV files, and that each comes once. Opens nothing."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


def csv_field(video_id: str | bytes, *, path: str = "") -> str:
    r"""Return an id as a CSV field, quoted where it would not be read back otherwise.

    Args:
        video_id: The id.
        path: The record file that it came from, for the message.

    Raises:
        DataError: If it is not UTF-8.

    Examples:
        >>> csv_field("abcd"), csv_field(b'a,"b'), csv_field("a\nb")
        ('abcd', '"a,""b"', '"a\nb"')
    """
    try:
        text = video_id.decode() if isinstance(video_id, bytes) else video_id
        text.encode()
    except UnicodeError as error:
        place = f" in '{path}'" if path else ""
        msg = (
            f"The video id {video_id!r}{place} is not UTF-8 text, which a CSV file needs. Give "
            "that record another id, or write a cache instead."
        )
        raise DataError(msg, path=path, video_id=repr(video_id)) from error
    if any(mark in text for mark in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def csv_rows(text: str, *, path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with the numbers of their last lines.

    Args:
        text: Its content.
        path: The file, for the message.

    Yields:
        Line, from 1, and fields.

    Raises:
        DataError: If it is no CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        msg = f"Line {reader.line_num} of '{path}' is no CSV: {error}. Write the file again."
        raise DataError(msg, path=path, line=reader.line_num) from error


def check_distinct(
    video_ids: NDArray[np.bytes_], *, names: Sequence[str], ends: Sequence[int]
) -> None:
    """Refuse a video that comes twice.

    Args:
        video_ids: Shape `(N,)`, bytes.
        names: Record files that they came from.
        ends: The place after each file's last id; ids past the last end are of no file.

    Raises:
        DataError: If one does; names it and the files.
    """
    order = np.argsort(video_ids, kind="stable")
    ranked = video_ids[order]
    repeats = np.flatnonzero(ranked[1:] == ranked[:-1])
    if not len(repeats):
        return
    first, second = (int(order[repeats[0] + offset]) for offset in (0, 1))
    places = [
        f"'{names[file]}'" if (file := int(np.searchsorted(ends, at, side="right"))) < len(names)
        else "the rest"
        for at in (first, second)
    ]  # fmt: skip
    video_id = video_ids[first].decode(errors="replace")
    where = places[0] if places[0] == places[1] else " and ".join(places)
    msg = (
        f"Video '{video_id}' comes twice, in {where}; {len(repeats)} ids are repeated. Remove the "
        "second record, or score the files apart."
    )
    raise DataError(msg, video_id=video_id, num_repeated=len(repeats))

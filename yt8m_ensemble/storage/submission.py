"""The Kaggle submission file: rows to write, and files of others read back as lists of scores.

Read are any order of rows, any order of classes in a row, `%f`, `%g` and longer numbers, a byte
order mark, CRLF and quotes. A list says of its classes what is printed, and of the others that none
is above its lowest, plus half of what printing may have cut from that.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.values import Kept, Progress, csv_field, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SUBMISSION_HEADER = "VideoId,LabelConfidencePairs\n"

ROUNDING: Final = 1e-6
"""How far a confidence may be beyond 0 or 1; it is clipped then."""

_REPORT_ROWS = 4096
_SHOWN = 60
_NUDGE = 1e-6
_ADVICE = "Write it as `yt8m-ens predict --csv` does."


def format_submission(
    video_ids: NDArray[np.bytes_],
    scores: NDArray[np.float32],
    *,
    top_k: int = TOP_K,
    path: str = "",
) -> Iterator[str]:
    r"""Format a row a video: `id,class confidence class confidence …`, falling confidence.

    Args:
        video_ids: Shape `(N,)`, bytes.
        scores: Shape `(N, C)`.
        top_k: Pairs a row; C if there are fewer classes.
        path: The record file that the videos came from, for messages.

    Yields:
        Lines with their line end; equal scores in class order, confidences as `%g`.

    Examples:
        >>> ids, scores = np.array([b"abcd"]), np.array([[0.25, 0.5, 1e-7]], np.float32)
        >>> list(format_submission(ids, scores, top_k=2))
        ['abcd,1 0.5 0 0.25\n']
    """
    classes = top_k_classes(scores, top_k)
    confidences = np.take_along_axis(scores, classes, axis=1)
    # The classes rise along each row, so a stable sort leaves equal scores in class order.
    order = np.argsort(-confidences, axis=1, kind="stable")
    columns = (np.take_along_axis(array, order, axis=1) for array in (classes, confidences))
    for video_id, *pairs in zip(video_ids.tolist(), *(c.tolist() for c in columns), strict=True):
        text = " ".join(map("%d %g".__mod__, zip(*pairs, strict=True)))
        yield f"{csv_field(video_id, path=path)},{text}\n"


@dataclass(frozen=True)
class ScoreLists:
    """What a submission says of N videos: of each the listed classes, rising, and their scores.

    Args:
        path: The file.
        video_ids: Shape `(N,)`, bytes.
        indptr: Video n lists `class_ids[indptr[n]:indptr[n + 1]]`, shape `(N + 1,)`, int64.
        class_ids: Shape `(n,)`, int32, rising within a video.
        scores: Shape `(n,)`, float32, in `[0, 1]`.
        decimals: Most decimals of a printed score.
        digits: Most significant digits of a printed score.
    """

    path: str
    video_ids: NDArray[np.bytes_]
    indptr: NDArray[np.int64]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    decimals: int
    digits: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Classes that each video lists, shape `(N,)`."""
        return np.diff(self.indptr)

    @property
    def least_classes(self) -> int:
        """The fewest classes that there can be."""
        return int(self.class_ids.max()) + 1

    def bounds(self, lowest: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what no class left out is above, given the lowest score listed.

        Args:
            lowest: Shape `(B,)`, float32.

        Returns:
            It plus half a unit of the last digit that is printed of such a number: of `%f` the last
            decimal, of `%g` the last significant digit; of neither more than is sure.
        """
        values = lowest.astype(np.float64)
        tiny = np.maximum(values, np.finfo(np.float32).tiny)
        # The nudge keeps powers of ten, which float32 may store a little lower, what they are.
        exponents = np.floor(np.log10(tiny) + _NUDGE)
        units = np.maximum(10.0**-self.decimals, 10.0 ** (exponents - self.digits + 1))
        widened = np.nextafter((values + units / 2).astype(np.float32), np.float32(2))
        return np.minimum(widened, np.float32(1))

    def kept(self, rows: NDArray[np.int64], top_k: int) -> Kept:
        """Return the highest scores of some videos, each of which lists `top_k` at least.

        Args:
            rows: Their places.
            top_k: How many.
        """
        classes, scores = self._padded(rows)
        best = top_k_classes(scores, top_k)
        found = np.take_along_axis(scores, best, axis=1)
        return Kept(
            np.take_along_axis(classes, best, axis=1), found, self.bounds(found.min(axis=1))
        )

    def filled(self, rows: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
        """Return the scores of all classes of some videos, those left out as `Kept` counts them.

        Args:
            rows: Their places.
            num_classes: Classes C.

        Returns:
            Shape `(B, C)`, float32.
        """
        lengths = self.lengths[rows]
        dense = np.empty((len(rows), num_classes), np.float32)
        for length in np.unique(lengths).tolist():
            same = np.flatnonzero(lengths == length)
            dense[same] = self.kept(rows[same], length).filled(num_classes)
        return dense

    def listed(self, rows: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
        """Return which classes some videos list, shape `(B, C)`, bool."""
        found = np.zeros((len(rows), num_classes + 1), np.bool_)
        np.put_along_axis(found, self._padded(rows)[0], values=True, axis=1)
        return found[:, :-1]

    def _padded(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return lists in rows of one length: classes and scores, -1 where a list has ended."""
        lengths = self.lengths[rows]
        offsets = np.arange(lengths.max(initial=0))
        is_listed = offsets < lengths[:, None]
        places = np.minimum(self.indptr[rows][:, None] + offsets, len(self.scores) - 1)
        return (
            np.where(is_listed, self.class_ids[places], np.int32(-1)),
            np.where(is_listed, self.scores[places], np.float32(-1)),
        )


def read_submission(
    path: str, *, num_classes: int | None = None, progress: Progress = no_progress
) -> ScoreLists:
    """Read a submission.

    Args:
        path: The file, UTF-8.
        num_classes: Classes C; `None` takes classes of any id.
        progress: Called with the number of videos read.

    Returns:
        Its lists, in the order of its rows.

    Raises:
        DataError: If it is none: no header, no rows, a row without pairs or half a pair, a class
            twice or beyond `num_classes`, a confidence that is none, a video twice; carries `path`
            and `line`.
    """
    if not files.exists(path):
        msg = f"No submission at '{path}'. Check the path."
        raise DataError(msg, path=path)
    files.check_regular(path)
    ids: dict[str, int] = {}
    lines, ends = array("q"), array("q", [0])
    class_ids, scores = array("i"), array("d")
    decimals = digits = 0
    rows = ((line, fields) for line, fields in files.read_csv(path) if any(map(str.strip, fields)))
    _check_header(path, next(rows, None))
    for line, fields in rows:
        video_id, numbers = _split_row(path, line, fields)
        if video_id in ids:
            msg = (
                f"Line {line} of '{path}' repeats video '{video_id[:_SHOWN]}' of line "
                f"{ids[video_id]}. Keep one row a video."
            )
            raise DataError(msg, path=path, line=line, video_id=video_id)
        ids[video_id] = line
        try:
            class_ids.extend(map(int, numbers[::2]))
            found = [float(number) for number in numbers[1::2]]
            printed = _printed_digits(numbers[2 * found.index(min(found)) + 1])
        except (ValueError, OverflowError) as error:
            msg = (
                f"Line {line} of '{path}' pairs a class with a confidence that are no numbers: "
                f"'{' '.join(numbers)[:_SHOWN]}'. {_ADVICE}"
            )
            raise DataError(msg, path=path, line=line) from error
        decimals, digits = max(decimals, printed[0]), max(digits, printed[1])
        scores.extend(found)
        lines.append(line)
        ends.append(len(scores))
        if len(ids) % _REPORT_ROWS == 0:
            progress(f"read {path}", len(ids), None, unit="videos")
    if not ids:
        msg = f"'{path}' lists no video below its header. {_ADVICE}"
        raise DataError(msg, path=path)
    indptr = np.array(ends, np.int64)
    owners = np.repeat(np.arange(len(ids)), np.diff(indptr))
    classes, values = np.array(class_ids, np.int64), np.array(scores, np.float64)
    _check_pairs(path, classes, values, np.array(lines)[owners], num_classes)
    order = np.lexsort([classes, owners])
    classes = classes[order]
    twice = np.flatnonzero((np.diff(classes) == 0) & (np.diff(owners) == 0))
    if len(twice):
        line = lines[int(owners[twice[0]])]
        msg = f"Line {line} of '{path}' lists class {classes[twice[0]]} twice. {_ADVICE}"
        raise DataError(msg, path=path, line=line, class_id=int(classes[twice[0]]))
    return ScoreLists(
        path,
        np.array([video_id.encode() for video_id in ids], np.bytes_),
        indptr,
        classes.astype(np.int32),
        np.clip(values[order], 0, 1).astype(np.float32),
        decimals,
        digits,
    )


def _check_header(path: str, row: tuple[int, Sequence[str]] | None) -> None:
    """Refuse a file that does not begin with the header.

    Raises:
        DataError: If it is empty or begins otherwise.
    """
    header = SUBMISSION_HEADER.strip()
    if row is None:
        msg = f"'{path}' is empty, expected the header `{header}` and a row a video. {_ADVICE}"
        raise DataError(msg, path=path)
    line, fields = row
    if [field.strip().lower() for field in fields] != header.lower().split(","):
        msg = (
            f"Line {line} of '{path}' is '{','.join(fields)[:_SHOWN]}', expected the header "
            f"`{header}`. {_ADVICE}"
        )
        raise DataError(msg, path=path, line=line)


def _split_row(path: str, line: int, fields: Sequence[str]) -> tuple[str, list[str]]:
    """Return the id and the numbers of a row.

    Raises:
        DataError: If it is no `id,class confidence …`.
    """
    text = ",".join(fields)[:_SHOWN]
    fault = ""
    video_id, numbers = fields[0].strip(), fields[1].split() if len(fields) > 1 else []
    if len(fields) != len(SUBMISSION_HEADER.split(",")):
        fault = f"has {len(fields)} fields, expected 2"
    elif not video_id:
        fault = "names no video"
    elif not numbers:
        fault = "lists no class"
    elif len(numbers) % 2:
        fault = f"lists {len(numbers)} numbers, expected pairs of a class and a confidence"
    elif "_" in fields[1]:  # which Python would take for a separator of thousands
        fault = "holds a `_` among its numbers"
    if fault:
        msg = f"Line {line} of '{path}' {fault}: '{text}'. {_ADVICE}"
        raise DataError(msg, path=path, line=line)
    return video_id, numbers


def _printed_digits(text: str) -> tuple[int, int]:
    """Return the decimals and the significant digits of a printed number.

    Examples:
        >>> _printed_digits("0.0420"), _printed_digits("1.25e-07")
        ((4, 3), (9, 3))
    """
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    return len(fraction) - int(exponent or 0), len((whole + fraction).lstrip("+-0"))


def _check_pairs(
    path: str,
    classes: NDArray[np.int64],
    values: NDArray[np.float64],
    lines: NDArray[np.int64],
    num_classes: int | None,
) -> None:
    """Refuse classes beyond the vocabulary, and confidences outside 0 to 1.

    Raises:
        DataError: If there are any; names the first.
    """
    beyond = classes < 0
    if num_classes is not None:
        beyond |= classes >= num_classes
    if beyond.any():
        place = int(np.argmax(beyond))
        limit = "at least 0" if num_classes is None else f"0 to {num_classes - 1}"
        msg = (
            f"Line {lines[place]} of '{path}' lists class {classes[place]}, expected {limit}; "
            f"{np.count_nonzero(beyond)} of {len(classes)} pairs do so. Give scores of the same "
            "vocabulary."
        )
        raise DataError(msg, path=path, line=int(lines[place]), class_id=int(classes[place]))
    wrong = ~((values >= -ROUNDING) & (values <= 1 + ROUNDING))
    if wrong.any():
        place = int(np.argmax(wrong))
        msg = (
            f"Line {lines[place]} of '{path}' gives class {classes[place]} the confidence "
            f"{values[place]:g}, expected 0 to 1; {np.count_nonzero(wrong)} of {len(values)} pairs "
            "are outside. Write probabilities, not logits."
        )
        raise DataError(msg, path=path, line=int(lines[place]), score=float(values[place]))

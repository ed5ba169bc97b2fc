"""Scores in memory, of models of any framework, as a prediction cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.errors import DataError, ShapeError
from yt8m_ensemble.storage.layout import SCORES_DIGEST
from yt8m_ensemble.storage.score_files import DenseScores
from yt8m_ensemble.storage.writer import PredictionsWriter
from yt8m_ensemble.values import Labels, check_aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_ROWS = 1024


def write_predictions(
    path: str,
    video_ids: Sequence[str] | Sequence[bytes] | NDArray[Any],
    scores: ArrayLike | Mapping[str, ArrayLike],
    labels: Labels | ArrayLike | None = None,
    *,
    member: str = "model",
    top_k: int | None = None,
    force: bool = False,
) -> None:
    """Write scores that another framework computed as a prediction cache.

    Args:
        path: The `.h5` file to write.
        video_ids: Shape `(N,)`, text or bytes, all different.
        scores: Shape `(N, C)`, floats in `[0, 1]`; or such an array for each member by name.
        labels: Shape `(N, C)`, bool, or `Labels` of the same videos; `None` if there are none.
        member: Name of the one member, where `scores` is an array.
        top_k: Scores kept of a video and member; `None` keeps all.
        force: Replace an existing file.

    Raises:
        AlignmentError: If `labels` are of other videos.
        DataError: If ids come twice, or a score is nan or outside 0 to 1.
        OutputExistsError: If `path` exists and `force` is not set.
        ShapeError: If members or labels differ in shape.

    Examples:
        >>> import tempfile
        >>> out = tempfile.mkdtemp() + "/own.h5"
        >>> write_predictions(out, ["a", "b"], np.array([[0.5, 0.25], [1.0, 0.0]]))
    """
    ids = np.asarray(video_ids)
    given = scores if isinstance(scores, Mapping) else {member: scores}
    held = {name: DenseScores(name, ids, np.asarray(array)) for name, array in given.items()}
    if not held:
        msg = "There are no scores to write. Give an array, or one for each member by name."
        raise DataError(msg, path=path)
    first = next(iter(held.values()))
    shapes = {name: one.scores.shape for name, one in held.items()}
    if len(set(shapes.values())) > 1:
        msg = f"Members score different videos or classes: {shapes}. Give arrays of one shape."
        raise ShapeError(msg, shapes=shapes)
    truth = _dense_labels(labels, first)
    with PredictionsWriter(
        path,
        members=tuple(held),
        digests=[
            f"{SCORES_DIGEST}{hashlib.sha256(one.scores).hexdigest()}" for one in held.values()
        ],
        num_classes=first.num_classes,
        top_k=top_k,
        command="write_predictions",
        force=force,
    ) as writer:
        for start in range(0, len(first.video_ids), _ROWS):
            rows = slice(start, start + _ROWS)
            writer.append(
                first.video_ids[rows],
                np.stack([one.scores[rows] for one in held.values()]),
                None if truth is None else truth[rows],
            )


def _dense_labels(
    labels: Labels | ArrayLike | None, scores: DenseScores
) -> NDArray[np.bool_] | None:
    """Return labels as a matrix.

    Raises:
        ShapeError: If they have another shape than the scores, or are no truth values.
    """
    if labels is None:
        return None
    if isinstance(labels, Labels):
        check_aligned(labels.video_ids, scores.video_ids, names=("labels", "scores"))
        found = labels.to_dense()
    else:
        found = np.asarray(labels)
    if found.shape != scores.scores.shape or not np.isin(found, (0, 1)).all():
        msg = (
            f"Labels are {found.dtype} of shape {found.shape}, expected true or false in shape "
            f"{scores.scores.shape}. Give a row a video and a column a class."
        )
        raise ShapeError(msg, shape=found.shape, expected=scores.scores.shape)
    return found.astype(np.bool_)

"""`blend`: scores of any origin and mixture weights in, a submission out. Runs no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.options import BlendOptions, command
from yt8m_ensemble.storage.mixtures import choose_mixture
from yt8m_ensemble.storage.score_files import (
    align_videos,
    common_classes,
    name_members,
    open_score_files,
)
from yt8m_ensemble.storage.submission import SUBMISSION_HEADER, format_submission

if TYPE_CHECKING:
    from yt8m_ensemble.values import Space

_ROWS = 256


@dataclass(frozen=True)
class Blend:
    """Result of `blend_scores`.

    Args:
        csv: The submission.
        num_videos: Its videos.
        members: Member names.
        weights: Weight of each member in the same order.
        space: Where they were averaged.
    """

    csv: str
    num_videos: int
    members: tuple[str, ...]
    weights: tuple[float, ...]
    space: Space


@command(BlendOptions)
def blend_scores(options: BlendOptions) -> Blend:
    """Average scores of any origin into a submission.

    A class that a list leaves out counts as half of the lowest score listed of that video. Videos
    come in the order of the first file.

    Returns:
        What was written.

    Raises:
        AlignmentError: If the files hold different videos.
        DataError: If a file does not hold what its ending says.
        MixtureWeightsError: If the weights name other members.
        OutputExistsError: If `csv` exists and `force` is not set.
        PredictionsError: If the files score different classes.
    """
    return _blend(options, is_plan=False)


@command(BlendOptions)
def plan_blend_scores(options: BlendOptions) -> Blend:
    """Check the inputs of `blend_scores`; write nothing.

    Returns:
        What would be written.
    """
    return _blend(options, is_plan=True)


def _blend(options: BlendOptions, *, is_plan: bool) -> Blend:
    files.check_absent(options.csv, force=options.force)
    members = name_members(options.scores)
    mixture = choose_mixture(
        tuple(members),
        options,
        space=options.space,
        advice="Name members as the mixture does: `--scores NAME=FILE`.",
    )
    with open_score_files(members, progress=options.progress) as opened:
        others = [] if mixture.num_classes is None else [mixture.num_classes]
        num_classes = common_classes(opened, others=others)
        first = next(iter(opened.values()))
        places, rows = align_videos(
            opened, first.video_ids, source=first.path, intersect=options.intersect
        )
        video_ids = first.video_ids[places]
        result = Blend(options.csv, len(video_ids), mixture.names, mixture.values, mixture.space)
        if is_plan:
            return result
        with (
            files.atomic_file(options.csv, force=options.force) as part,
            files.open_binary(part, "wb") as file,
        ):
            file.write(SUBMISSION_HEADER.encode())
            for start in range(0, len(video_ids), _ROWS):
                span = slice(start, start + _ROWS)
                scores = [
                    opened[name].filled(rows[name][span], num_classes) for name in mixture.names
                ]
                mixed = np.clip(mix(scores, mixture), 0, 1)
                lines = format_submission(video_ids[span], mixed, top_k=options.top_k)
                file.write("".join(lines).encode())
                done = min(start + _ROWS, len(video_ids))
                options.progress("blend", done, len(video_ids), unit="videos")
    return result

"""The steps behind `yt8m-ens convert` that read or write records and predictions of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import data, files
from yt8m_ensemble.constants import NUM_CLASSES_2018, TOP_K
from yt8m_ensemble.data.conversion import (
    RecordEncoder,
    collect_arrays,
    labels_by_id,
    parse_cloud_prediction,
)
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.inference import SUBMISSION_HEADER
from yt8m_ensemble.values import FeatureSpec, Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VIDEOS_PER_SHARD = 500


@dataclass(frozen=True)
class Converted:
    """Say what a conversion wrote.

    Args:
        out: The file or directory.
        files: Record files in the directory; empty if `out` is a file.
        videos: Videos converted; 0 in a dry run.
        level: `video` or `frame`; empty for predictions.
        feature_sizes: Values of each feature by name; empty for predictions.
        clipped_values: Values that no byte stands for, moved to the end of the range.
        cut_frames: Frames cut because another feature of the video has fewer.
        dry_run: Whether nothing was written.
    """

    out: str
    files: tuple[str, ...] = ()
    videos: int = 0
    level: str = ""
    feature_sizes: Mapping[str, int] = field(default_factory=dict)
    clipped_values: int = 0
    cut_frames: int = 0
    dry_run: bool = False


def convert_predictions(
    *,
    predictions: str,
    out: str,
    top_k: int = TOP_K,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Turn the JSON lines of a Google Cloud batch prediction into a submission CSV.

    A line is `{"video_id": …, "class_indexes": […], "predictions": […]}`, each value possibly
    wrapped in a list of one, as the starter code's exported models answer.

    Args:
        predictions: Globs of the result files, comma-separated.
        out: The CSV to write.
        top_k: Pairs a row at most.
        force: Replace `out` if it exists.
        dry_run: Check that the files are there, write nothing.
        progress: Told the videos written.

    Returns:
        What was written: pairs by falling confidence, equal ones by class.

    Raises:
        DataError: If a line is no prediction or repeats a video; carries `path` and `line`.
    """
    paths = files.expand_globs(predictions, option="SOURCE")
    files.check_absent(out, force=force)
    if dry_run:
        return Converted(out, dry_run=True)
    seen: dict[str, str] = {}
    with files.atomic_file(out, force=force) as part, files.open_binary(part, "wb") as file:
        file.write(SUBMISSION_HEADER.encode())
        for path in paths:
            for number, line in enumerate(files.read_text(path).splitlines(), start=1):
                if line.strip():
                    video_id, row = parse_cloud_prediction(line, path, number, top_k)
                    if video_id in seen:
                        place = f"Line {number} of '{path}'"
                        msg = f"{place} repeats video '{video_id}' of {seen[video_id]}."
                        raise DataError(msg, path=path, line=number, video_id=video_id)
                    seen[video_id] = f"line {number} of '{path}'"
                    file.write(row.encode())
                    progress("convert", len(seen), None, unit="videos")
    return Converted(out, videos=len(seen))


def convert_features(
    *,
    features: str,
    out: str,
    labels: str | None = None,
    num_classes: int = NUM_CLASSES_2018,
    prefix: str = "own",
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Turn features of one's own into records that every command reads.

    Mean features become video-level records, frames become frame-level ones, quantised to bytes.
    `data.custom_features` says which files are understood.

    Args:
        features: Globs of `.npz`, `.parquet`, `.tfrecord` or `.pb` files, comma-separated.
        out: Directory of record files to make, 500 videos each.
        labels: Ground-truth CSV; its labels take the place of the files' own.
        num_classes: Classes in all.
        prefix: Start of the file names.
        force: Replace `out` if it exists.
        dry_run: Check that the files are there, write nothing.
        progress: Told the videos written.

    Returns:
        What was written, and how many values and frames had to be cut.

    Raises:
        DataError: If no file holds a video.
    """
    paths = files.expand_globs(features, option="SOURCE")
    files.check_absent(out, force=force)
    truth = labels_by_id(labels, num_classes) if labels else None
    if dry_run:
        return Converted(out, dry_run=True)
    encoder = RecordEncoder(num_classes, truth)
    records = (
        encoder.encode(path, video) for path in paths for video in data.read_custom_features(path)
    )
    names: list[str] = []
    with files.atomic_directory(out, force=force) as folder:
        for first in records:
            names.append(f"{prefix}{len(names):04d}.tfrecord")
            shard = chain([first], islice(records, VIDEOS_PER_SHARD - 1))
            data.write_records(f"{folder}/{names[-1]}", shard)
            progress("convert", encoder.videos, None, unit="videos")
        if not names:
            msg = f"'{features}' holds no video. Check the files given as `SOURCE`."
            raise DataError(msg, pattern=features)
    return Converted(
        out,
        tuple(names),
        encoder.videos,
        "frame" if encoder.frame_level else "video",
        encoder.sizes,
        encoder.clipped,
        encoder.cut,
    )


def convert_records(
    *,
    records: str,
    out: str,
    num_classes: int = NUM_CLASSES_2018,
    feature_names: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Turn records into one npz file, which `convert_features` turns back into the same records.

    Level and sizes are read from the first record. All videos are held in memory; frames past 300
    are cut, as everywhere.

    Args:
        records: Globs of record files, comma-separated.
        out: The npz to write; `data.custom_features` describes it.
        num_classes: Classes in all.
        feature_names: Features to keep (default: all).
        force: Replace `out` if it exists.
        dry_run: Check the first record, write nothing.
        progress: Told the videos read.

    Returns:
        What was written.
    """
    paths = files.expand_globs(records, option="SOURCE")
    files.check_absent(out, force=force)
    info = data.read_record_info(paths[0])
    names = tuple(feature_names) or tuple(info.sizes)
    # A feature that is not there gets a size all the same: the reader says what is wrong.
    sizes = {name: info.sizes.get(name, 1) for name in names}
    spec = FeatureSpec(names, tuple(sizes.values()), frame_level=info.frame_level)
    videos = 0
    if not dry_run:
        arrays = collect_arrays(paths, spec, num_classes, progress)
        videos = len(arrays["video_ids"])
        with files.atomic_file(out, force=force) as part, files.open_binary(part, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # names, not its options
    return Converted(out, videos=videos, level=info.level, feature_sizes=sizes, dry_run=dry_run)

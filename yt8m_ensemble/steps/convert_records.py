"""The steps behind `yt8m-ens convert` that read or write records and predictions of others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import data, files
from yt8m_ensemble.data.conversion import (
    RecordEncoder,
    collect_arrays,
    labels_by_id,
    parse_cloud_prediction,
)
from yt8m_ensemble.errors import DataError
from yt8m_ensemble.options import (
    ConvertFeaturesOptions,
    ConvertPredictionsOptions,
    ConvertRecordsOptions,
    command,
)
from yt8m_ensemble.storage.submission import SUBMISSION_HEADER
from yt8m_ensemble.values import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

VIDEOS_PER_SHARD = 500

_Converting = ConvertFeaturesOptions | ConvertPredictionsOptions | ConvertRecordsOptions


@dataclass(frozen=True)
class Converted:
    """Result of a conversion to or from records.

    Args:
        out: The file or directory.
        files: Record files in the directory; empty if `out` is a file.
        videos: Videos converted; 0 of a plan.
        level: `video` or `frame`; empty for predictions.
        feature_sizes: Values of each feature by name; empty for predictions.
        clipped_values: Values that no byte stands for, moved to the end of the range.
        cut_frames: Frames cut because another feature of the video has fewer.
        scale: What all values were multiplied by.
        long_videos: Videos of more frames than models read; `convert_records` cuts these.
        warnings: What the input holds that may not be expected.
    """

    out: str
    files: tuple[str, ...] = ()
    videos: int = 0
    level: str = ""
    feature_sizes: Mapping[str, int] = field(default_factory=dict)
    clipped_values: int = 0
    cut_frames: int = 0
    scale: float = 1.0
    long_videos: int = 0
    warnings: tuple[str, ...] = ()


@command(ConvertPredictionsOptions)
def convert_predictions(options: ConvertPredictionsOptions) -> Converted:
    """Turn the JSON lines of a Google Cloud batch prediction into a submission CSV.

    A line is `{"video_id": …, "class_indexes": […], "predictions": […]}`, each value possibly
    wrapped in a list of one, as the starter code's exported models answer.

    Returns:
        What was written; pairs stand by falling confidence, equal ones by class.

    Raises:
        DataError: If a line is no prediction or repeats a video; carries `path` and `line`.
    """
    paths, out = _checked(options.predictions, options), options.out
    seen: dict[str, str] = {}
    with (
        files.atomic_file(out, force=options.force) as part,
        files.open_binary(part, "wb") as file,
    ):
        file.write(SUBMISSION_HEADER.encode())
        for path in paths:
            for number, line in enumerate(files.read_text(path).splitlines(), start=1):
                if line.strip():
                    video_id, row = parse_cloud_prediction(line, path, number, options.top_k)
                    if video_id in seen:
                        place = f"Line {number} of '{path}'"
                        msg = f"{place} repeats video '{video_id}' of {seen[video_id]}."
                        raise DataError(msg, path=path, line=number, video_id=video_id)
                    seen[video_id] = f"line {number} of '{path}'"
                    file.write(row.encode())
                    options.progress("convert", len(seen), None, unit="videos")
    return Converted(out, videos=len(seen))


@command(ConvertPredictionsOptions)
def plan_convert_predictions(options: ConvertPredictionsOptions) -> Converted:
    """Check that the files of `convert_predictions` are there; write nothing.

    Returns:
        What would be written, without videos.
    """
    _checked(options.predictions, options)
    return Converted(options.out)


@command(ConvertFeaturesOptions)
def convert_features(options: ConvertFeaturesOptions) -> Converted:
    """Turn features of one's own into records that every command reads.

    Mean features become video-level records, frames become frame-level ones, quantized to bytes,
    500 videos a file. `data.custom_features` says which files are understood.

    Returns:
        What was written, and how many values and frames had to be cut.

    Raises:
        DataError: If no file holds a video.
    """
    paths, out = _checked(options.features, options), options.out
    truth = labels_by_id(options.labels, options.num_classes) if options.labels else None
    encoder = RecordEncoder(options.num_classes, truth, scale=options.scale)
    records = (
        encoder.encode(path, video) for path in paths for video in data.read_custom_features(path)
    )
    names: list[str] = []
    with files.atomic_directory(out, force=options.force) as folder:
        for first in records:
            names.append(f"{options.prefix}{len(names):04d}.tfrecord")
            shard = chain([first], islice(records, VIDEOS_PER_SHARD - 1))
            data.write_records(f"{folder}/{names[-1]}", shard)
            options.progress("convert", encoder.videos, None, unit="videos")
        if not names:
            msg = f"'{options.features}' holds no video. Check the files given as `SOURCE`."
            raise DataError(msg, pattern=options.features)
    return Converted(
        out,
        tuple(names),
        encoder.videos,
        "frame" if encoder.frame_level else "video",
        encoder.sizes,
        encoder.clipped,
        encoder.cut,
        options.scale,
        encoder.long,
        encoder.warnings,
    )


@command(ConvertFeaturesOptions)
def plan_convert_features(options: ConvertFeaturesOptions) -> Converted:
    """Check the files of `convert_features`; write nothing.

    Returns:
        What would be written, without videos.
    """
    _checked(options.features, options)
    if options.labels:
        labels_by_id(options.labels, options.num_classes)
    return Converted(options.out)


@command(ConvertRecordsOptions)
def convert_records(options: ConvertRecordsOptions) -> Converted:
    """Turn records into one npz file, which `convert_features` turns back into the same records.

    Level and sizes are read from the first record. All videos are held in memory; frames past 300
    are cut, as everywhere. `data.custom_features` describes the file.

    Returns:
        What was written.
    """
    paths, spec = _records(options)
    arrays, census = collect_arrays(paths, spec, options.num_classes, options.progress)
    with (
        files.atomic_file(options.out, force=options.force) as part,
        files.open_binary(part, "wb") as file,
    ):
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names, not its options
    described = _described(options, spec, videos=len(arrays["video_ids"]))
    return replace(described, long_videos=census.num_cut, warnings=census.warnings)


@command(ConvertRecordsOptions)
def plan_convert_records(options: ConvertRecordsOptions) -> Converted:
    """Check the first record of `convert_records`; write nothing.

    Returns:
        What would be written, without videos.
    """
    return _described(options, _records(options)[1], videos=0)


def _checked(source: str, options: _Converting) -> list[str]:
    paths = files.expand_globs(source, option="SOURCE")
    files.check_absent(options.out, force=options.force)
    return paths


def _records(options: ConvertRecordsOptions) -> tuple[list[str], FeatureSpec]:
    paths = _checked(options.records, options)
    info = data.read_record_info(paths[0])
    names = tuple(options.feature_names) or tuple(info.sizes)
    # A feature that is not there gets a size all the same: the reader says what is wrong.
    sizes = tuple(info.sizes.get(name, 1) for name in names)
    return paths, FeatureSpec(names, sizes, frame_level=info.frame_level)


def _described(options: ConvertRecordsOptions, spec: FeatureSpec, *, videos: int) -> Converted:
    sizes = dict(zip(spec.names, spec.sizes, strict=True))
    level = "frame" if spec.frame_level else "video"
    return Converted(options.out, videos=videos, level=level, feature_sizes=sizes)

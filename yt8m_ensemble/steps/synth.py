"""The step behind `yt8m-ens synth`: YouTube-8M-shaped records of invented or expanded videos."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from yt8m_ensemble import data
from yt8m_ensemble.constants import FEATURE_SIZES, MAX_FRAMES, NUM_CLASSES_2018
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.files import atomic_directory, check_absent, expand_globs
from yt8m_ensemble.values import FeatureSpec, Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

Level = Literal["video", "frame"]

VIDEOS_PER_SHARD = 500
_READ_BATCH = 64
_MEAN_PREFIX = "mean_"


@dataclass(frozen=True)
class SynthReport:
    """Say what was written.

    Args:
        out: The directory.
        files: Names of the record files in it; in a dry run, those that it may take.
        level: `video` or `frame`.
        videos: Records in all; 0 in a dry run.
        num_classes: Classes that labels are drawn from.
        feature_names: Names in the records.
        feature_sizes: Values of each.
        num_labels: Labels in all.
        clamped_values: Mean values of an expanded source that no frames of bytes can average to,
            moved to the end of the range.
        seed: Seed of the videos.
        world_seed: Seed of what the classes look like.
        dry_run: Whether nothing was written.
    """

    out: str
    files: tuple[str, ...]
    level: Level
    videos: int
    num_classes: int
    feature_names: tuple[str, ...]
    feature_sizes: tuple[int, ...]
    num_labels: int
    clamped_values: int
    seed: int
    world_seed: int
    dry_run: bool


@dataclass(frozen=True)
class _Shape:
    """What all records of a run have in common; `names` are those in the records."""

    level: Level
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    frames: tuple[int, int]
    seed: int

    def encode(self, video_id: bytes, labels: Sequence[int], values: NDArray[Any]) -> bytes:
        # Cut the last axis into the features.
        parts = np.split(values, np.cumsum(self.sizes)[:-1], axis=-1)
        encode = data.encode_frames if self.level == "frame" else data.encode_means
        return encode(video_id, labels, dict(zip(self.names, parts, strict=True)))


@dataclass(frozen=True)
class _Made:
    """A record and what the report counts of it."""

    record: bytes
    num_labels: int
    clamped: int = 0


def synthesize(
    *,
    out: str,
    level: Level = "video",
    videos: int | None = None,
    classes: int = NUM_CLASSES_2018,
    shards: int | None = None,
    seed: int = 0,
    world_seed: int = 0,
    from_video_level: str | None = None,
    feature_names: Sequence[str] = ("rgb", "audio"),
    feature_sizes: Sequence[int] = (),
    frames: tuple[int, int] = (60, MAX_FRAMES),
    prefix: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> SynthReport:
    """Write a directory of TFRecord files; the same arguments give the same bytes on one machine.

    Invented videos come from a world (see `data.synthesis`). Video i of a seed is the same whatever
    the number of shards, and its frames average to the means that are written at video level.

    Args:
        out: Directory to make.
        level: `video` writes `mean_<name>` vectors, `frame` quantised frames.
        videos: Videos to invent; of an expansion, the most to write (default: all).
        classes: Size of the vocabulary.
        shards: Files to write (default: one for every 500 videos); of an expansion, the number of
            source files to use (default: all).
        seed: Seed of the videos: give each split its own.
        world_seed: Seed of what classes look like: give all splits the same.
        from_video_level: Globs of video-level records to expand into frames, file by file.
        feature_names: Names at frame level; at video level they get the prefix `mean_`.
        feature_sizes: Values of each (default: those of YouTube-8M, or of the source).
        frames: Least and greatest number of frames of a video.
        prefix: Start of the file names (default: `train`, or the names of the source files).
        force: Replace `out` if it exists.
        dry_run: Check everything, write nothing.
        progress: Told of every video.

    Returns:
        What was written, or would be.
    """
    check_absent(out, force=force)
    _check_numbers(frames, seed=seed, world_seed=world_seed)
    if from_video_level is None:
        prefix = prefix or "train"
        means = tuple(_MEAN_PREFIX + name for name in feature_names)
        sizes = tuple(feature_sizes) or _usual_sizes(means)
        names = tuple(feature_names) if level == "frame" else means
        FeatureSpec(names, sizes, frame_level=level == "frame")  # refuses what does not pair up
        shape = _Shape(level, names, sizes, frames, seed)
        world = data.make_world(num_classes=classes, feature_sizes=sizes, seed=world_seed)
        bounds = _split_evenly(videos, shards)
        parts = [_invent(world, shape, range(*bound)) for bound in pairwise(bounds)]
        files = [f"{prefix}{shard:04d}.tfrecord" for shard in range(len(parts))]
    else:
        _check_frames_wanted(level)
        paths = expand_globs(from_video_level, option="--from-video-level")[:shards]
        sizes = tuple(feature_sizes) or _peek_sizes(paths[0], feature_names)
        shape = _Shape(level, tuple(feature_names), sizes, frames, seed)
        parts = [_expand(path, i, shape, classes) for i, path in enumerate(paths)]
        files = _name_files(paths, prefix)
    counts = _Counts(videos, progress)
    written = files if dry_run else []
    if not dry_run:
        with atomic_directory(out, force=force) as folder:
            for name, part in zip(files, parts, strict=True):
                if counts.left == 0:
                    break
                data.write_records(f"{folder}/{name}", counts.count(part))
                written.append(name)
    return SynthReport(
        out,
        tuple(written),
        level,
        counts.videos,
        classes,
        shape.names,
        shape.sizes,
        counts.labels,
        counts.clamped,
        seed,
        world_seed,
        dry_run,
    )


class _Counts:
    """Pass records on to the writer, up to a limit, and count them."""

    def __init__(self, limit: int | None, progress: Progress) -> None:
        self._limit, self._progress = limit, progress
        self.videos = self.labels = self.clamped = 0

    @property
    def left(self) -> int | None:
        return None if self._limit is None else self._limit - self.videos

    def count(self, part: Iterable[_Made]) -> Iterator[bytes]:
        for made in islice(part, self.left):
            self.videos += 1
            self.labels += made.num_labels
            self.clamped += made.clamped
            self._progress("synth", self.videos, self._limit, unit="videos")
            yield made.record


def _invent(world: data.World, shape: _Shape, numbers: range) -> Iterator[_Made]:
    for number in numbers:
        video = data.draw_video(
            world, np.random.default_rng([shape.seed, number]), frames=shape.frames
        )
        # Frames draw from a stream of their own, so that both levels show the same videos.
        values = (
            data.draw_frames(world, np.random.default_rng([shape.seed, number, 1]), video)
            if shape.level == "frame"
            else data.mean_features(world, video)
        )
        video_id = f"s{shape.seed}v{number:06d}".encode()
        yield _Made(shape.encode(video_id, video.labels, values), len(video.labels))


def _expand(path: str, shard: int, shape: _Shape, classes: int) -> Iterator[_Made]:
    spec = FeatureSpec(
        tuple(_MEAN_PREFIX + name for name in shape.names), shape.sizes, frame_level=False
    )
    rng = np.random.default_rng([shape.seed, shard])
    basis = data.draw_basis(spec.total_size, np.random.default_rng(shape.seed))
    for batch in data.read_batches(
        [path], features=spec, num_classes=classes, batch_size=_READ_BATCH
    ):
        means = np.clip(batch.features, *data.BYTE_RANGE)
        clamped = np.count_nonzero(means != batch.features, axis=1)
        for video_id, mean, labels, moved in zip(
            batch.video_ids, means, batch.labels, clamped, strict=True
        ):
            num_frames = int(rng.integers(shape.frames[0], shape.frames[1] + 1))
            frames = data.wander_around(mean, rng, num_frames=num_frames, basis=basis)
            classes_of = np.flatnonzero(labels).tolist()
            record = shape.encode(bytes(video_id), classes_of, frames)
            yield _Made(record, len(classes_of), int(moved))


def _check_numbers(frames: tuple[int, int], *, seed: int, world_seed: int) -> None:
    if not 1 <= frames[0] <= frames[1] or min(seed, world_seed) < 0:
        msg = (
            f"`--frames` must rise from at least 1 and seeds be at least 0; got frames "
            f"{frames[0]} to {frames[1]}, `--seed {seed}`, `--world-seed {world_seed}`."
        )
        raise UsageError(msg, frames=frames, seed=seed, world_seed=world_seed)


def _split_evenly(videos: int | None, shards: int | None) -> list[int]:
    if not videos:
        msg = "Nothing to write: pass `--videos`, or records to expand with `--from-video-level`."
        raise UsageError(msg)
    count = shards or -(-videos // VIDEOS_PER_SHARD)
    return [videos * shard // count for shard in range(count + 1)]


def _check_frames_wanted(level: Level) -> None:
    if level != "frame":
        msg = "`--from-video-level` makes frame-level records. Pass `--level frame` with it."
        raise UsageError(msg, level=level)


def _usual_sizes(names: Sequence[str]) -> tuple[int, ...]:
    unknown = [name for name in names if name not in FEATURE_SIZES]
    if unknown:
        msg = f"Feature '{unknown[0]}' has no usual size. Set `--feature-sizes`."
        raise UsageError(msg, features=tuple(unknown))
    return tuple(FEATURE_SIZES[name] for name in names)


def _peek_sizes(path: str, names: Sequence[str]) -> tuple[int, ...]:
    held = data.read_record_info(path).sizes
    # A feature that is not there gets a size all the same: the reader says what is wrong.
    return tuple(held.get(_MEAN_PREFIX + name, 1) for name in names)


def _name_files(paths: Sequence[str], prefix: str | None) -> list[str]:
    if prefix:
        return [f"{prefix}{shard:04d}.tfrecord" for shard in range(len(paths))]
    names = [PurePath(path).name for path in paths]
    if len(set(names)) < len(names):
        msg = "Two of the files to expand have the same name. Pass `--prefix` to name them anew."
        raise UsageError(msg, paths=tuple(paths))
    return names

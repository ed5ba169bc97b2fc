"""The step behind `yt8m-ens synth`: YouTube-8M-shaped records of invented or expanded videos."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import data
from yt8m_ensemble.constants import FEATURE_SIZES
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.files import atomic_directory, check_absent, expand_globs
from yt8m_ensemble.options import SynthOptions, command
from yt8m_ensemble.values import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.options.choices import Level
    from yt8m_ensemble.values import Progress

VIDEOS_PER_SHARD = 500
_READ_BATCH = 64
_MEAN_PREFIX = "mean_"


@dataclass(frozen=True)
class SynthReport:
    """Result of `synthesize`.

    Args:
        out: The directory.
        files: Names of the record files in it.
        level: `video` or `frame`.
        videos: Records in all; 0 of a plan.
        num_classes: Classes that labels are drawn from.
        feature_names: Names in the records.
        feature_sizes: Values of each.
        num_labels: Labels in all.
        clamped_values: Mean values of an expanded source that no frames of bytes can average to,
            moved to the end of the range.
        seed: Seed of the videos.
        world_seed: Seed of what the classes look like.
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


@command(SynthOptions)
def synthesize(options: SynthOptions) -> SynthReport:
    """Write a directory of TFRecord files; the same arguments give the same bytes on one machine.

    Invented videos come from a world (see `data.synthesis`). Video i of a seed is the same whatever
    the number of shards, and its frames average to the means that are written at video level.

    Returns:
        What was written.
    """
    return _run(options, is_plan=False)


@command(SynthOptions)
def plan_synthesize(options: SynthOptions) -> SynthReport:
    """Check what `synthesize` would write; write nothing.

    Returns:
        The files that it may take, without videos.
    """
    return _run(options, is_plan=True)


def _run(options: SynthOptions, *, is_plan: bool) -> SynthReport:
    check_absent(options.out, force=options.force)
    level, frames, seed = options.level, options.frames, options.seed
    if options.from_video_level is None:
        means = tuple(_MEAN_PREFIX + name for name in options.feature_names)
        sizes = tuple(options.feature_sizes) or _usual_sizes(means)
        names = tuple(options.feature_names) if level == "frame" else means
        FeatureSpec(names, sizes, frame_level=level == "frame")  # refuses what does not pair up
        shape = _Shape(level, names, sizes, frames, seed)
        world = data.make_world(
            num_classes=options.classes, feature_sizes=sizes, seed=options.world_seed
        )
        bounds = _split_evenly(options.videos or 0, options.shards)
        parts = [_invent(world, shape, range(*bound)) for bound in pairwise(bounds)]
        prefix = options.prefix or "train"
        files = [f"{prefix}{shard:04d}.tfrecord" for shard in range(len(parts))]
    else:
        paths = expand_globs(options.from_video_level, option="--from-video-level")
        paths = paths[: options.shards]
        names = tuple(options.feature_names)
        sizes = tuple(options.feature_sizes) or _peek_sizes(paths[0], names)
        shape = _Shape(level, names, sizes, frames, seed)
        parts = [_expand(path, i, shape, options.classes) for i, path in enumerate(paths)]
        files = _name_files(paths, options.prefix)
    counts = _Counts(options.videos, options.progress)
    written = files if is_plan else []
    if not is_plan:
        with atomic_directory(options.out, force=options.force) as folder:
            for name, part in zip(files, parts, strict=True):
                if counts.left == 0:
                    break
                data.write_records(f"{folder}/{name}", counts.count(part))
                written.append(name)
    return SynthReport(
        options.out,
        tuple(written),
        level,
        counts.videos,
        options.classes,
        shape.names,
        shape.sizes,
        counts.labels,
        counts.clamped,
        seed,
        options.world_seed,
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


def _split_evenly(videos: int, shards: int | None) -> list[int]:
    count = shards or -(-videos // VIDEOS_PER_SHARD)
    return [videos * shard // count for shard in range(count + 1)]


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

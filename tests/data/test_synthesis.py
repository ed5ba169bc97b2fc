"""Worlds, videos and frames: seeded, shaped as promised, and averaging to their means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_ensemble.data.quantization import dequantize
from yt8m_ensemble.data.synthesis import (
    BYTE_RANGE,
    draw_basis,
    draw_frames,
    draw_video,
    frames_around,
    make_world,
    mean_features,
    wander_around,
)

SIZES = (24, 8)
STEP = 4 / 255


@pytest.fixture(scope="module")
def world():
    return make_world(num_classes=60, feature_sizes=SIZES, seed=0)


@pytest.fixture(scope="module")
def videos(world):
    return [draw_video(world, np.random.default_rng(i), frames=(60, 300)) for i in range(2000)]


def test_the_seed_alone_makes_a_world(world):
    again = make_world(num_classes=60, feature_sizes=SIZES, seed=0)
    other = make_world(num_classes=60, feature_sizes=SIZES, seed=1)
    np.testing.assert_array_equal(world.modes, again.modes)
    np.testing.assert_array_equal(world.projection, again.projection)
    assert (world.modes != other.modes).all()


def test_labels_are_about_three_a_video_in_range_and_rising(videos):
    counts = [len(v.labels) for v in videos]
    assert 2.5 < np.mean(counts) < 3.5
    assert min(counts) >= 1
    for video in videos:
        assert list(video.labels) == sorted(set(video.labels))
        assert 0 <= video.labels[0] <= video.labels[-1] < 60


def test_class_frequencies_have_a_long_tail(videos):
    counts = np.sort(np.bincount([c for v in videos for c in v.labels], minlength=60))[::-1]
    assert counts[:6].sum() > 0.4 * counts.sum()
    assert counts[30:].sum() < 0.25 * counts.sum()
    assert counts.min() > 0


def test_frames_are_as_many_as_asked_for(videos):
    lengths = np.array([v.num_frames for v in videos])
    assert (lengths.min(), lengths.max()) == (60, 300)
    assert all(v.lengths.min() >= 1 and len(v.lengths) == len(v.segments) for v in videos)


@pytest.mark.parametrize("num_classes", [1, 2, 9, 300])
@pytest.mark.parametrize("frames", [(1, 1), (2, 3)])
def test_tiny_vocabularies_and_videos(num_classes, frames):
    world = make_world(num_classes=num_classes, feature_sizes=(1,), seed=0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        video = draw_video(world, rng, frames=frames)
        assert 0 <= min(video.labels) <= max(video.labels) < num_classes
        assert frames[0] <= video.num_frames <= frames[1]
        assert draw_frames(world, rng, video).shape == (video.num_frames, 1)


def assert_averages_to(frames, mean):
    assert frames.dtype == np.uint8
    error = np.abs(dequantize(frames).mean(axis=0, dtype=np.float64) - mean)
    assert error.max() <= STEP / len(frames) + 1e-6


def test_frames_average_to_the_video_level_features(world, videos):
    for seed, video in enumerate(videos[:20]):
        frames = draw_frames(world, np.random.default_rng(seed), video)
        assert_averages_to(frames, mean_features(world, video))


def test_frames_of_a_segment_are_alike_and_segments_differ(world, videos):
    video = next(v for v in videos if len(v.lengths) > 3 and v.lengths.min() > 5)
    frames = dequantize(draw_frames(world, np.random.default_rng(0), video))
    segment = np.repeat(np.arange(len(video.lengths)), video.lengths)
    centers = np.stack([frames[segment == s].mean(axis=0) for s in range(len(video.lengths))])
    within = np.square(frames - centers[segment]).mean()
    between = np.square(centers[segment] - frames.mean(axis=0)).mean()
    assert between > 2 * within > 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(*map(float, BYTE_RANGE), width=32), min_size=1, max_size=5),
    st.integers(1, 300),
    st.integers(0, 99),
)
def test_frames_wander_around_any_mean_and_average_to_it(mean, num_frames, seed):
    rng = np.random.default_rng(seed)
    mean = np.array(mean, np.float32)
    basis = draw_basis(len(mean), rng)
    frames = wander_around(mean, rng, num_frames=num_frames, basis=basis)
    assert frames.shape == (num_frames, len(mean))
    assert_averages_to(frames, mean)


def test_frames_wander_visibly():
    rng = np.random.default_rng(0)
    frames = wander_around(np.zeros(32, np.float32), rng, num_frames=200, basis=draw_basis(32, rng))
    assert 0.2 < dequantize(frames).std(axis=0).mean() < 0.8


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 99), st.floats(0.01, 100))
def test_each_byte_is_within_one_step_of_the_path_shifted_and_shrunk(num_frames, seed, spread):
    rng = np.random.default_rng(seed)
    path = rng.normal(scale=spread, size=(num_frames, 3)).astype(np.float32)
    mean = rng.uniform(*BYTE_RANGE, size=3).astype(np.float32)
    frames = frames_around(mean, path)
    assert_averages_to(frames, mean)
    # Per feature the frames are an increasing linear map of the path: equal order up to a step.
    for column in range(3):
        ordered = frames[np.argsort(path[:, column]), column].astype(int)
        assert (ordered >= np.maximum.accumulate(ordered) - 2).all()


def test_by_hand():
    # Mean 0 is 127.5 - 0.498 = 127.002 steps; ±0.5 is 31.875 steps: 95.127 and 158.877.
    # Running sums 95.127 → 95 and 254.004 → 254, so the bytes are 95 and 254 - 95 = 159.
    path = np.array([[0.0], [1.0]], np.float32)
    assert frames_around(np.zeros(1, np.float32), path).tolist() == [[95], [159]]

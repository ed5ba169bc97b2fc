"""Arrays in mapped files: what tuning finds does not depend on where arrays live."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble import mapped, mixing
from yt8m_ensemble.mapped import Growing
from yt8m_ensemble.metrics import EvaluationMetrics
from yt8m_ensemble.tuning import TuneSettings, collect_candidates, tune
from yt8m_ensemble.tuning.baselines import tempered
from yt8m_ensemble.tuning.class_bias import rank_exactly


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(mapped, "_LARGE", 1)
    monkeypatch.setattr(mapped, "_BLOCK", 101)
    monkeypatch.setattr(mixing, "_BLOCK", 101)


def tuned():
    scores, labels = make_predictions(num_videos=300)
    video_ids = np.array([b"video%03d" % n for n in range(300)])
    candidates = collect_candidates(blocks(scores, labels), names="abc", per_class=True)
    settings = TuneSettings(method="coordinate", step=0.1, folds=3, bootstrap=40)
    result = tune(
        candidates,
        video_ids,
        settings,
        rank=lambda *given: rank_exactly(blocks(scores, labels), *given),
    )
    by_class = tune(
        candidates, video_ids, replace(settings, per_class=True, space="auto", class_bias=False)
    )
    return candidates, tempered(candidates)(candidates), result, by_class


@pytest.mark.slow
def test_results_are_the_same_wherever_arrays_live(request):
    in_memory = tuned()
    request.getfixturevalue("small_limits")
    in_files = tuned()
    for name in ("class_ids", "scores", "hits", "positives", "indptr"):
        np.testing.assert_array_equal(getattr(in_files[0], name), getattr(in_memory[0], name))
    assert is_mapped(in_files[0].scores)
    assert not is_mapped(in_memory[0].scores)
    np.testing.assert_array_equal(in_files[1], in_memory[1])
    assert in_files[2:] == in_memory[2:]


@pytest.mark.usefixtures("small_limits")
def test_files_are_unnamed_and_end_with_the_array(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    array = mapped.empty((3, 1000), np.float32)
    array[:] = 7
    assert is_mapped(array)
    assert list(tmp_path.iterdir()) == []
    assert len(list(open_files.iterdir())) == before + 1  # the mapping's own
    assert array.sum() == 21_000
    del array
    assert len(list(open_files.iterdir())) == before


@pytest.mark.usefixtures("small_limits")
def test_without_room_arrays_are_kept_in_memory(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    growing = Growing()
    growing.append(np.arange(3))
    growing.append(np.arange(3, 5))
    np.testing.assert_array_equal(growing.join(), np.arange(5))
    array = mapped.empty((3, 1000), np.float32)
    assert not is_mapped(array)
    assert array.shape == (3, 1000)


@pytest.mark.usefixtures("small_limits")
def test_parts_are_joined_in_order():
    growing = Growing()
    for start in range(0, 30, 3):
        growing.append(np.arange(start, start + 3).reshape(1, 3).repeat(2, axis=0))
    np.testing.assert_array_equal(growing.join(), np.arange(30).reshape(1, 30).repeat(2, axis=0))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux")
def test_released_arrays_take_no_memory_and_keep_their_contents():
    def resident():
        text = Path("/proc/self/status").read_text()
        return int(text.split("RssFile:")[1].split()[0]) * 1024

    array = mapped.empty((4, 3_000_000), np.float32)
    array[:] = np.arange(4)[:, None]
    before = resident()
    mapped.release(array[1:, 5:], np.ones(3))
    assert resident() < before - array.nbytes // 2
    np.testing.assert_array_equal(array, np.repeat(np.arange(4), 3_000_000).reshape(4, -1))


def evaluated():
    scores, labels = make_predictions(num_videos=300)
    parts = EvaluationMetrics(labels.shape[1]), EvaluationMetrics(labels.shape[1])
    for start in range(0, 300, 30):
        own = slice(start, start + 30)
        dtype = np.float32 if start < 90 else np.float64
        parts[start >= 150].update(scores[0, own].astype(dtype), labels[own])
    parts[0].merge(parts[1])
    return parts[0].result(), parts[0].result(), parts[1].result()


def test_metrics_are_the_same_wherever_their_pairs_live(request):
    in_memory = evaluated()
    assert in_memory[0] == in_memory[1]
    assert in_memory[0].num_videos == 300
    request.getfixturevalue("small_limits")
    assert evaluated() == in_memory

"""Which checkpoints a train directory holds."""

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import (
    find_steps,
    last_prefixes,
    latest_prefix,
    range_prefixes,
    step_prefix,
    write_checkpoint,
    write_state_file,
)
from yt8m_ensemble.errors import CheckpointNotFoundError
from yt8m_ensemble.locks import lock


@pytest.fixture
def train_dir(tmp_path):
    for step in (5, 60, 110, 1000):
        write_checkpoint(f"{tmp_path}/model.ckpt-{step}", {"w": np.ones(1)})
    write_checkpoint(f"{tmp_path}/inference_model", {"w": np.ones(1)})
    (tmp_path / "model.ckpt-2000.data-00000-of-00001").write_bytes(b"unfinished")
    (tmp_path / "model.ckpt-3000.index").write_bytes(b"data was deleted")
    (tmp_path / "model.ckpt-60.meta").write_bytes(b"")
    return str(tmp_path)


def test_steps_come_in_numeric_order_and_finished(train_dir):
    assert find_steps(train_dir) == [5, 60, 110, 1000]
    assert find_steps(f"{train_dir}/nowhere") == []


def test_the_highest_step_is_the_latest_whatever_the_state_file_says(train_dir):
    write_state_file(train_dir, [f"{train_dir}/inference_model"])
    assert latest_prefix(train_dir) == f"{train_dir}/model.ckpt-1000"
    assert latest_prefix(f"{train_dir}/") == f"{train_dir}/model.ckpt-1000"


def test_last_counts_by_number_when_the_state_file_lists_fewer(train_dir):
    write_state_file(train_dir, [f"{train_dir}/model.ckpt-60"])
    assert last_prefixes(train_dir, 2) == [f"{train_dir}/model.ckpt-{s}" for s in (110, 1000)]


def test_last_follows_a_state_file_that_lists_all(train_dir):
    order = (1000, 60, 110, 5)
    write_state_file(train_dir, [f"{train_dir}/model.ckpt-{step}" for step in order])
    assert last_prefixes(train_dir, 2) == [f"{train_dir}/model.ckpt-{s}" for s in (110, 5)]


def test_range_includes_both_ends(train_dir):
    assert range_prefixes(train_dir, 60, 1000) == [
        f"{train_dir}/model.ckpt-{step}" for step in (60, 110, 1000)
    ]


def test_missing_steps_are_errors_that_list_what_is_there(train_dir, tmp_path):
    with pytest.raises(CheckpointNotFoundError) as error:
        step_prefix(train_dir, 61)
    assert str(error.value) == (
        f"No checkpoint at step 61 in '{train_dir}'. Steps found: 5, 60, 110, 1000."
    )
    assert error.value.steps == [5, 60, 110, 1000]
    with pytest.raises(CheckpointNotFoundError, match="from step 61 to 62") as error:
        range_prefixes(train_dir, 61, 62)
    assert (error.value.first, error.value.last) == (61, 62)
    with pytest.raises(CheckpointNotFoundError, match="holds 4 checkpoints, 5 are wanted") as error:
        last_prefixes(train_dir, 5)
    assert (error.value.found, error.value.expected) == (4, 5)
    with pytest.raises(CheckpointNotFoundError, match="holds no finished") as error:
        latest_prefix(str(tmp_path / "empty"))
    assert error.value.steps == []


def test_steps_of_the_original_runs(fixtures):
    assert find_steps(str(fixtures / "tiny/c2h8")) == [60, 110, 160, 210]


@pytest.mark.tf
def test_tensorflow_reads_the_state_file(train_dir):
    tf = pytest.importorskip("tensorflow")
    write_state_file(train_dir, [f"{train_dir}/model.ckpt-{step}" for step in (60, 110)])
    assert tf.train.latest_checkpoint(train_dir) == f"{train_dir}/model.ckpt-110"
    state = tf.train.get_checkpoint_state(train_dir)
    assert list(state.all_model_checkpoint_paths) == [
        f"{train_dir}/model.ckpt-{step}" for step in (60, 110)
    ]


@pytest.mark.parametrize("is_locked", [True, False])
def test_what_a_writer_left_that_was_killed_at_its_end_goes(tmp_path, is_locked):
    write_checkpoint(str(tmp_path / "model.ckpt-4"), {"w": np.ones(3)})
    whole = set(tmp_path.iterdir())
    (tmp_path / ".model.ckpt-4.new").mkdir()
    left = {*whole, tmp_path / ".model.ckpt-4.new", tmp_path / ".model.ckpt-4.lock"}
    if is_locked:
        with lock(str(tmp_path / "model.ckpt-4"), wait=False):
            assert find_steps(str(tmp_path)) == [4]
            assert set(tmp_path.iterdir()) == left
    else:
        (tmp_path / ".model.ckpt-4.lock").touch()
    assert find_steps(str(tmp_path)) == [4]
    assert set(tmp_path.iterdir()) == whole


def test_a_lock_alone_goes_and_what_is_not_ours_stays(tmp_path):
    write_checkpoint(str(tmp_path / "model.ckpt-4"), {"w": np.ones(3)})
    (tmp_path / ".model.ckpt-4.lock").touch()
    foreign = tmp_path / ".model.ckpt-3.new" / "notes.txt"
    foreign.parent.mkdir()
    foreign.touch()
    (tmp_path / ".tool.lock").touch()
    assert find_steps(str(tmp_path)) == [4]
    assert foreign.exists()
    assert (tmp_path / ".tool.lock").exists()
    assert not (tmp_path / ".model.ckpt-4.lock").exists()

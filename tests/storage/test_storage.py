"""Predictions files: what is written is read back, also after an interruption of any kind."""

import contextlib
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from yt8m_ensemble.errors import OutputExistsError, PredictionsError, ShapeError
from yt8m_ensemble.storage import PredictionsWriter, open_predictions

HEADER: dict[str, Any] = {"members": ["a/b", "c"], "digests": ["d1", "d2"], "num_classes": 30}


def batch(seed, *, size=5, id_bytes=4):
    rng = np.random.default_rng(seed)
    ids = np.array([f"{seed}{i}".rjust(id_bytes, "v").encode() for i in range(size)])
    scores = rng.random((2, size, 30), dtype=np.float32)
    return ids, scores, rng.random((size, 30)) < 0.1


@contextmanager
def interrupted(path, **options):
    """A writer whose block ends in an error."""
    with (
        contextlib.suppress(InterruptedError),
        PredictionsWriter(path, **HEADER, **options) as writer,
    ):
        yield writer
        raise InterruptedError


def write(path, seeds, **options):
    with PredictionsWriter(str(path), **(HEADER | options)) as writer:
        for seed in seeds:
            writer.append(*batch(seed))
            writer.end_shard(f"shard{seed}")


def check_rows(file, seeds):
    batches = [batch(seed) for seed in seeds]
    assert file.num_videos == 5 * len(seeds)
    np.testing.assert_array_equal(file.video_ids, np.concatenate([ids for ids, _, _ in batches]))
    for member, name in enumerate(HEADER["members"]):
        expected = np.concatenate([scores[member] for _, scores, _ in batches])
        np.testing.assert_array_equal(file.scores(member), expected)
        np.testing.assert_array_equal(file.scores(name, 2, 4), expected[2:4])
    dense = np.concatenate([labels for _, _, labels in batches])
    np.testing.assert_array_equal(file.labels.to_dense(), dense)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "new" / "p.h5"
    write(path, [1, 2])
    with open_predictions(str(path)) as file:
        assert file.is_complete
        assert (file.members, file.digests) == (("a/b", "c"), ("d1", "d2"))
        assert (file.num_classes, file.top_k, file.shards) == (30, None, ("shard1", "shard2"))
        check_rows(file, [1, 2])
        with pytest.raises(PredictionsError, match="keeps every score"):
            file.kept(0)


def test_records_without_labels(tmp_path):
    path = str(tmp_path / "p.h5")
    ids, scores, labels = batch(1)
    with PredictionsWriter(path, **HEADER) as writer:
        writer.append(ids, scores, None)
        with pytest.raises(PredictionsError, match="carry labels and some do not"):
            writer.append(ids, scores, labels)
    with open_predictions(path) as file:
        assert file.labels is None
        assert file.shards == ("rest",)


def test_top_k_keeps_the_highest_scores(tmp_path):
    path = str(tmp_path / "p.h5")
    write(path, [1, 2], top_k=7, dtype="float16")
    scores = np.concatenate([batch(1)[1], batch(2)[1]], axis=1)
    with open_predictions(path) as file:
        assert file.top_k == 7
        class_ids, values, bounds = file.kept("c", 1, 9)
        kept = np.take_along_axis(scores[1, 1:9], class_ids, axis=1)
        np.testing.assert_array_equal(values, kept.astype(np.float16))
        assert np.all(np.diff(class_ids, axis=1) > 0)
        np.testing.assert_array_equal(np.sort(kept), np.sort(scores[1, 1:9])[:, -7:])
        dense = file.scores(1, 1, 9)
        np.testing.assert_array_equal(np.take_along_axis(dense, class_ids, axis=1), values)
        np.testing.assert_array_equal(bounds, values.min(axis=1))
        np.put_along_axis(dense, class_ids, -1, axis=1)
        others = dense[dense >= 0].reshape(8, -1)  # each half of the lowest kept of its video
        np.testing.assert_array_equal(others, np.repeat(bounds[:, None] / 2, others.shape[1], 1))


def test_an_error_leaves_whole_shards_and_the_next_run_continues(tmp_path):
    path = str(tmp_path / "p.h5")
    with interrupted(path) as writer:
        writer.append(*batch(1))
        writer.end_shard("shard1")
        writer.append(*batch(9))
        with open_predictions(f"{path}.partial") as file:  # while it is being written
            check_rows(file, [1])
    with open_predictions(f"{path}.partial") as file:
        assert not file.is_complete
        check_rows(file, [1])
    with pytest.raises(PredictionsError, match=r"p.h5.partial' holds 1 record files, 5 videos so"):
        open_predictions(path)
    with PredictionsWriter(path, **HEADER) as writer:
        assert writer.finished_shards == ("shard1",)
        writer.append(*batch(2))
    with open_predictions(path) as file:
        assert file.is_complete
        assert file.shards == ("shard1", "rest")
        check_rows(file, [1, 2])


def test_an_error_before_the_first_shard(tmp_path):
    path = str(tmp_path / "p.h5")
    with interrupted(path):
        pass
    with open_predictions(f"{path}.partial") as file:
        assert (file.num_videos, file.shards, file.labels) == (0, (), None)
    write(path, [1])
    with open_predictions(path) as file:
        check_rows(file, [1])


def test_a_killed_writer_loses_one_shard(tmp_path):
    path = str(tmp_path / "p.h5")
    code = (
        "import os, signal\n"
        "from tests.storage.test_storage import HEADER, PredictionsWriter, batch\n"
        f"writer = PredictionsWriter({path!r}, **HEADER).__enter__()\n"
        "for seed in (1, 2):\n"
        "    writer.append(*batch(seed))\n"
        "    writer.end_shard(f'shard{seed}')\n"
        "writer.append(*batch(9))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )
    assert done.returncode == -signal.SIGKILL
    with open_predictions(f"{path}.partial") as file:
        check_rows(file, [1, 2])
    with PredictionsWriter(path, **HEADER) as writer:
        assert writer.finished_shards == ("shard1", "shard2")
        writer.append(*batch(3))
        writer.end_shard("shard3")
    with open_predictions(path) as file:
        assert file.shards == ("shard1", "shard2", "shard3")
        check_rows(file, [1, 2, 3])


def test_longer_video_ids_later_widen_the_column(tmp_path):
    path = str(tmp_path / "p.h5")
    with PredictionsWriter(path, **HEADER) as writer:
        writer.append(*batch(1))
        writer.end_shard("shard1")
        writer.append(*batch(2))
        writer.append(*batch(3, id_bytes=40))
    with open_predictions(path) as file:
        assert file.num_videos == 15
        assert file.video_ids[-1] == batch(3, id_bytes=40)[0][-1]
        np.testing.assert_array_equal(file.scores(1, 5, 10), batch(2)[1][1])
        assert file.labels is not None
        np.testing.assert_array_equal(file.labels.to_dense(10, 15), batch(3)[2])


def test_a_finished_file_is_not_overwritten_without_force(tmp_path):
    path = tmp_path / "p.h5"
    write(path, [1])
    with pytest.raises(OutputExistsError, match="exists already"):
        PredictionsWriter(str(path), **HEADER)
    write(path, [2], force=True)
    with open_predictions(str(path)) as file:
        check_rows(file, [2])


def test_a_second_writer_is_kept_out(tmp_path):
    path = str(tmp_path / "p.h5")
    with interrupted(path) as writer:
        writer.append(*batch(1))
        writer.end_shard("shard1")
        with pytest.raises(PredictionsError, match="Another process is writing") as busy:
            write(path, [2])
        assert busy.value.details == {"path": path}
    write(path, [2])
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.h5"]


def test_bad_input_is_named(tmp_path):
    path = str(tmp_path / "p.h5")
    with pytest.raises(PredictionsError, match="no predictions file") as missing:
        open_predictions(path)
    assert missing.value.details == {"path": path}
    (tmp_path / "p.h5").write_text("text")
    with pytest.raises(PredictionsError, match="not an HDF5 file"):
        open_predictions(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(PredictionsError, match="its format is 'None'"):
        open_predictions(path)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"members": ["a", "a"]}, "listed twice: a"),
        ({"digests": ["d"]}, "2 members but 1 digests"),
        ({"dtype": "int8"}, "stored as 'int8'"),
        ({"top_k": 31}, "top 31 of 30 classes"),
    ]
    for change, message in changes:
        with pytest.raises(PredictionsError, match=message):
            PredictionsWriter(str(tmp_path / "q.h5"), **(HEADER | change))
    ids, scores, labels = batch(1)
    with interrupted(str(tmp_path / "r.h5")) as writer:
        with pytest.raises(ShapeError, match=r"expected \(2, 5, 30\)"):
            writer.append(ids, scores[:, :4], labels)
        with pytest.raises(PredictionsError, match="longer than 256 bytes"):
            writer.end_shard("x" * 300)
    with pytest.raises(PredictionsError, match="unfinished work of another run"):
        PredictionsWriter(str(tmp_path / "r.h5"), **(HEADER | {"num_classes": 31}))


def test_the_old_file_lives_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "p.h5"
    write(path, [1])
    old = path.read_bytes()
    with interrupted(str(path), force=True) as writer:
        writer.append(*batch(2))
        writer.end_shard("shard2")
    assert path.read_bytes() == old
    with PredictionsWriter(str(path), **HEADER, force=True) as writer:  # the same command goes on
        assert writer.finished_shards == ("shard2",)
        writer.append(*batch(3))
        assert path.read_bytes() == old
    with open_predictions(str(path)) as file:
        check_rows(file, [2, 3])
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.h5"]


@pytest.mark.parametrize(
    "other",
    [{"members": ["a", "b"]}, {"command": "merge-predictions"}, {"shards": ["shard2"]}],
    ids=["members", "command", "shards"],
)
def test_unfinished_work_is_taken_up_by_the_same_command_only(tmp_path, other):
    path = str(tmp_path / "p.h5")
    with interrupted(path) as writer:
        writer.append(*batch(1))
        writer.end_shard("shard1")
    with pytest.raises(PredictionsError, match=r"unfinished work of another run \(of predict\)"):
        PredictionsWriter(path, **(HEADER | other))
    with PredictionsWriter(path, **(HEADER | other), force=True) as writer:
        assert not writer.finished_shards
        writer.append(*batch(2))
        writer.end_shard("shard2")
    with open_predictions(path) as file:
        assert file.shards == ("shard2",)


@pytest.mark.parametrize(
    ("other", "holds"),
    [
        ({"members": ["a", "b"]}, "members a/b, c instead of a, b"),
        ({"digests": ["d1", "d3"]}, "scores by other weights of c"),
        ({"num_classes": 31, "top_k": 5}, "30 classes instead of 31 classes; all scores instead"),
        ({"dtype": "float16"}, "float32 instead of float16"),
        ({"has_bounds": True}, "exact scores instead of rounded scores with bounds"),
        ({"command": "merge-predictions"}, "what predict writes"),
        ({"shards": ["shard2"]}, "scores of 'shard1'"),
    ],
)
def test_what_unfinished_work_holds_is_said_in_words(tmp_path, other, holds):
    path = str(tmp_path / "p.h5")
    with interrupted(path) as writer:
        writer.append(*batch(1))
        writer.end_shard("shard1")
    with pytest.raises(PredictionsError, match=f"it holds {holds}"):
        PredictionsWriter(path, **(HEADER | other))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no HDF5"])
def test_a_partial_file_that_holds_nothing_blocks_nobody(tmp_path, content):
    path = tmp_path / "p.h5"
    Path(f"{path}.partial").write_bytes(content)
    with pytest.raises(PredictionsError, match="holds nothing yet"):
        open_predictions(str(path))
    write(path, [1])
    with open_predictions(str(path)) as file:
        check_rows(file, [1])


def test_of_two_writers_one_wins(tmp_path):
    path = str(tmp_path / "p.h5")
    second = PredictionsWriter(path, **HEADER)  # checked before the first one ends
    write(path, [1])
    with pytest.raises(OutputExistsError, match="exists already"), second:
        pass
    with open_predictions(path) as file:
        check_rows(file, [1])


def test_an_interruption_says_what_is_kept(tmp_path):
    def stop():
        with PredictionsWriter(str(tmp_path / "p.h5"), **HEADER) as writer:
            writer.append(*batch(1))
            writer.end_shard("shard1")
            raise InterruptedError

    with pytest.raises(InterruptedError) as stopped:
        stop()
    assert stopped.value.__notes__ == [
        f"'{tmp_path}/p.h5.partial' keeps 1 finished record files; the same command goes on from "
        "there."
    ]


def test_flipped_bits_are_found(tmp_path):
    """Every chunk carries a checksum; what lies outside chunks is found, or changes nothing."""
    path = tmp_path / "p.h5"
    write(path, [1, 2])
    whole = path.read_bytes()
    place = whole.index(batch(1)[1][0].tobytes())
    damaged = bytearray(whole)
    damaged[place + 3] ^= 0x40  # an exponent bit: 9.7e37 and the like
    path.write_bytes(damaged)
    with (
        open_predictions(str(path)) as file,
        pytest.raises(PredictionsError, match=r"is damaged: .*Predict it again"),
    ):
        file.scores(0)


def write_without_checksums(path, scores):
    """What version 0.1 wrote, as far as reading goes."""
    write(path, [1])
    with h5py.File(path, "r+") as file:
        del file["scores/0"]
        file["scores/0"] = scores


def test_scores_outside_0_to_1_are_refused_unless_rounding_made_them(tmp_path):
    path = tmp_path / "p.h5"
    scores = batch(1)[1][0]
    for odd, clipped in ((1 + 9e-7, 1), (-9e-7, 0)):
        scores[2, 3] = odd
        write_without_checksums(path, scores)
        with open_predictions(str(path)) as file:
            assert file.scores(0)[2, 3] == clipped
            np.testing.assert_array_equal(file.scores(0)[:2], scores[:2])
        path.unlink()
    for odd in (1.1, -0.1, np.nan, np.inf, 9.7e37):
        scores[2, 3] = odd
        write_without_checksums(path, scores)
        with (
            open_predictions(str(path)) as file,
            pytest.raises(PredictionsError, match=r"of member 'a/b' .* expected 0 to 1") as found,
        ):
            file.scores(0)
        assert found.value.details["member"] == "a/b"
        path.unlink()


def test_scores_that_are_not_finite_name_their_member(tmp_path):
    ids, scores, labels = batch(1)
    scores[1, 2, 3] = np.nan
    with (
        interrupted(str(tmp_path / "p.h5")) as writer,
        pytest.raises(PredictionsError, match="Member 'c' scores video 'vv12' with values"),
    ):
        writer.append(ids, scores, labels)

"""A bad record is named: file, index, what was found, what to do. Nothing is skipped."""

import re
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.records import (
    FRAMES,
    MADE_CLASSES,
    MEANS,
    example,
    make_frames,
    make_means,
    sequence_example,
    write_shards,
)
from yt8m_ensemble.data import (
    check_records,
    explained_errors,
    read_batches,
    training_dataset,
    write_records,
)
from yt8m_ensemble.errors import DataError, EnsembleError

pytestmark = pytest.mark.tf

NAN = float("nan")
RGB = [[bytes(4)], [bytes(4)]]
AUDIO = [[bytes(2)], [bytes(2)]]
MEAN = {"mean_rgb": [0.0] * 4, "mean_audio": [0.0] * 2}
ID = {"id": [b"a"]}

BAD_RECORDS = {
    "video/size": (MEANS, make_means(0, rgb=3), "has 3 values in feature 'mean_rgb', expected 4"),
    "frame/size": (FRAMES, make_frames(0, rgb=3), "has 3 values in feature 'rgb', expected 4"),
    "video/label": (MEANS, make_means(0, labels=[1, 5]), "label 5, but there are 5 classes"),
    "frame/label": (FRAMES, make_frames(0, labels=[99]), "label 99, but there are 5 classes"),
    "video/negative": (MEANS, make_means(0, labels=[-1]), "label -1, but there are 5 classes"),
    "frame/negative": (FRAMES, make_frames(0, labels=[-1]), "label -1, but there are 5 classes"),
    "video/missing": (
        MEANS,
        example(**ID, mean_rgb=[0.0] * 4, mean_sound=[0.0] * 2),
        "has no feature 'mean_audio'; it holds mean_rgb (4), mean_sound (2). Read one of these",
    ),
    "frame/missing": (
        FRAMES,
        sequence_example(ID, rgb=RGB),
        "has no feature 'audio'; it holds rgb (4). Read one of these",
    ),
    "video/frames": (MEANS, make_frames(0), "is frame-level with features audio (2), rgb (4), but"),
    "frame/means": (
        FRAMES,
        make_means(0),
        "is video-level with features mean_audio (2), mean_rgb (4), but frame-level features rgb, "
        "audio are read. Give frame-level records, or train on these with",
    ),
    "video/no-id": (MEANS, example(**MEAN), "has neither an `id` nor a `video_id` of one string"),
    "frame/no-id": (
        FRAMES,
        sequence_example({}, rgb=RGB, audio=AUDIO),
        "has neither an `id` nor a `video_id` of one string",
    ),
    "video/nan": (
        MEANS,
        example(**ID, **{**MEAN, "mean_rgb": [0.0, NAN, 0.0, 0.0]}),
        "has a nan or infinite value in feature 'mean_rgb'",
    ),
    "video/bytes": (
        MEANS,
        example(**ID, **{**MEAN, "mean_rgb": [bytes(4)]}),
        "keeps feature 'mean_rgb' as bytes, expected floats",
    ),
    "video/words-as-labels": (
        MEANS,
        example(**ID, **MEAN, labels=[b"cat"]),
        "keeps its labels as bytes, expected whole numbers",
    ),
    "video/number-as-id": (
        MEANS,
        example(id=[7], **MEAN),
        "has neither an `id` nor a `video_id` of one string",
    ),
    "frame/floats": (
        FRAMES,
        sequence_example(ID, rgb=[[0.0] * 4] * 2, audio=AUDIO),
        "in frame 0 of feature 'rgb', expected one value of 4",
    ),
    "frame/second-frame-short": (
        FRAMES,
        sequence_example(ID, rgb=[[bytes(4)], [bytes(3)]], audio=AUDIO),
        "has [3] bytes in frame 1 of feature 'rgb', expected one value of 4",
    ),
    "frame/counts": (
        FRAMES,
        make_frames(0, num_frames=3, num_audio_frames=2),
        "as many frames in every feature, at least one; it has rgb 3, audio 2",
    ),
    "frame/none": (
        FRAMES,
        sequence_example(ID, rgb=[], audio=[]),
        "as many frames in every feature, at least one; it has rgb 0, audio 0",
    ),
    "frame/parser": (
        FRAMES,
        make_frames(3)[:27] + b"\0" + make_frames(3)[28:],
        "is refused by TensorFlow's parser",
    ),
    "video/noise": (MEANS, b"\xff" * 20, "is no `tf.train.Example` or `SequenceExample`"),
    "frame/noise": (FRAMES, b"\xff" * 20, "is no `tf.train.Example` or `SequenceExample`"),
}


def read(paths, features):
    return list(read_batches(paths, features=features, num_classes=MADE_CLASSES, batch_size=4))


@pytest.mark.parametrize(("features", "bad", "words"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_bad_record_is_named(tmp_path, features, bad, words):
    make = make_frames if features.frame_level else make_means
    paths = write_shards(tmp_path, make, counts=(5, 1))
    write_records(paths[1], [make(5), make(6), bad, make(7)])
    with pytest.raises(DataError) as caught:
        read(paths, features)
    message = str(caught.value)
    assert message.startswith(f"Record 2 of '{paths[1]}' ")
    assert words in message
    assert len(re.findall(r"\.(?: |$)", message)) <= 3
    assert (caught.value.path, caught.value.index) == (paths[1], 2)


def test_batches_before_the_bad_record_are_handed_out(tmp_path):
    paths = write_shards(tmp_path, make_means, counts=(5, 1))
    write_records(paths[1], [make_means(9, rgb=1)])
    batches = read_batches(paths, features=MEANS, num_classes=MADE_CLASSES, batch_size=4)
    assert next(batches).video_ids.tolist() == [b"v0", b"v1", b"v2", b"v3"]
    with pytest.raises(DataError, match=r"Record 0 of .*part1"):
        next(batches)


@pytest.mark.parametrize(
    ("spoil", "index", "words"),
    [
        (lambda content: content[:-1], 4, "is cut short, after 4 whole records"),
        (lambda content: content[: len(content) // 2], 2, "is cut short, after 2 whole records"),
        (lambda content: content + content[:5], 5, "is cut short, after 5 whole records"),
        (lambda content: content[:200] + b"!" + content[201:], 1, "is damaged, after 1 whole"),
        (lambda content: b"VideoId,Labels\n" + content, 0, "is damaged, after 0 whole records"),
    ],
    ids=["one-byte", "half", "in-header", "flipped", "other-file"],
)
def test_a_damaged_file_is_named(tmp_path, spoil, index, words):
    paths = write_shards(tmp_path, make_means, counts=(2, 5))
    content = Path(paths[1]).read_bytes()
    Path(paths[1]).write_bytes(spoil(content))
    with pytest.raises(DataError, match=words) as caught:
        read(paths, MEANS)
    assert (caught.value.path, caught.value.index) == (paths[1], index)


def test_an_absent_file_is_named(tmp_path):
    paths = [*write_shards(tmp_path, make_means, counts=(2,)), str(tmp_path / "gone")]
    with pytest.raises(DataError, match=r"No record file at .*gone") as caught:
        read(paths, MEANS)
    assert caught.value.path == paths[1]


def test_training_names_the_record_too(tmp_path):
    paths = write_shards(tmp_path, make_means, counts=(3, 3))
    write_records(paths[1], [make_means(3), make_means(4, labels=[5])])
    options: dict[str, Any] = {"features": MEANS, "num_classes": MADE_CLASSES}
    dataset = training_dataset(paths, **options, batch_size=2, num_epochs=1, seed=0)
    with pytest.raises(DataError, match="label 5") as caught, explained_errors(paths, **options):
        list(dataset.as_numpy_iterator())
    assert (caught.value.path, caught.value.index) == (paths[1], 1)


def test_an_error_that_no_record_explains_passes_through(tmp_path):
    paths = write_shards(tmp_path, make_means)
    with (
        pytest.raises(tf.errors.ResourceExhaustedError),
        explained_errors(paths, features=MEANS, num_classes=MADE_CLASSES),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")


@pytest.mark.parametrize(("features", "make"), [(MEANS, make_means), (FRAMES, make_frames)])
def test_good_records_pass_the_check(tmp_path, features, make):
    check_records(write_shards(tmp_path, make), features=features, num_classes=MADE_CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize(("features", "make"), [(MEANS, make_means), (FRAMES, make_frames)])
def test_mutated_records_give_batches_or_our_error(tmp_path, features, make):
    path = str(tmp_path / "mutated")
    good = make(3)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), max_size=6))
    def run(changes):
        record = bytearray(good)
        for position, value in changes:
            record[position] = value
        write_records(path, [make(0), bytes(record)])
        try:
            batches = read([path], features)
        except EnsembleError as error:
            assert error.details["path"] == path  # noqa: PT017 - both outcomes are fine
            assert error.details["index"] == 1  # noqa: PT017
        else:
            assert sum(len(batch.video_ids) for batch in batches) == 2

    run()

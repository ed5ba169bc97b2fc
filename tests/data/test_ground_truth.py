"""Ground-truth CSV: what is read, and what is refused by line."""

import numpy as np
import pytest

from yt8m_ensemble.data import read_ground_truth_csv
from yt8m_ensemble.errors import DataError


def write(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("header", ["", "VideoId,Labels\n", "video_id_is_no_header,0\n"])
def test_lines_with_and_without_a_header(tmp_path, header):
    path = write(tmp_path, header + "abc,3 1 3\nxy,\n\nq , 0 \n")
    labels = read_ground_truth_csv(path, num_classes=4)
    start = 1 if header.startswith("video_id") else 0
    assert labels.video_ids[start:].tolist() == [b"abc", b"xy", b"q"]
    expected = [[False, True, False, True], [False] * 4, [True, False, False, False]]
    np.testing.assert_array_equal(labels.to_dense()[start:], expected)


def test_the_originals_labels(fixtures):
    labels = read_ground_truth_csv(str(fixtures / "data_const" / "test_labels.csv"), num_classes=40)
    assert len(labels.video_ids) == 80
    assert labels.to_dense()[0].nonzero()[0].tolist() == [0, 1, 2, 12, 19, 24]


def test_an_empty_file_holds_no_video(tmp_path):
    labels = read_ground_truth_csv(write(tmp_path, ""), num_classes=4)
    assert len(labels.video_ids) == labels.num_positives == 0


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a,0\nb 1\n", 2, "expected 'VIDEO_ID,LABEL1 LABEL2'"),
        ("a,0\nb,x\n", 2, "expected 'VIDEO_ID,LABEL1 LABEL2'"),
        ("a,-1\n", 1, "expected 'VIDEO_ID,LABEL1 LABEL2'"),
        (",1\n", 1, "expected 'VIDEO_ID,LABEL1 LABEL2'"),
        ("a,0\nb,4\n", 2, "has label 4, but there are 4 classes. Set `--num-classes`"),
        ("a,0\na,1\n", 2, "repeats video 'a'"),
    ],
    ids=["no-comma", "word", "negative", "no-id", "label-too-large", "twice"],
)
def test_a_bad_line_is_named(tmp_path, text, line, words):
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=f"Line {line} of ") as caught:
        read_ground_truth_csv(path, num_classes=4)
    assert words in str(caught.value)
    assert (caught.value.path, caught.value.line) == (path, line)


def test_an_absent_file(tmp_path):
    with pytest.raises(DataError, match="No ground-truth file at") as caught:
        read_ground_truth_csv(str(tmp_path / "no.csv"), num_classes=4)
    assert caught.value.path == str(tmp_path / "no.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(tmp_path, end):
    path = tmp_path / "labels.csv"
    path.write_bytes(f"a,1 2{end}b,3{end}".encode())
    assert read_ground_truth_csv(str(path), num_classes=4).video_ids.tolist() == [b"a", b"b"]


def test_a_field_without_end_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text('a,1\n"' + "x" * 200_000)
    with pytest.raises(DataError, match=r"Line 2 of .* is no line of a CSV file"):
        read_ground_truth_csv(str(path), num_classes=4)

"""Scores of any origin: what is read, what a list bounds, and what is refused by name."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_ensemble.errors import AlignmentError, EnsembleError, PredictionsError
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.storage.score_files import (
    align_videos,
    common_classes,
    name_members,
    open_score_files,
)
from yt8m_ensemble.storage.submission import SUBMISSION_HEADER, format_submission, read_submission

HEADER = SUBMISSION_HEADER.encode()
IDS = np.array([b"a", b"bc", b"d"])
SCORES = np.array(
    [[0.5, 0.25, 1.0, 0.0], [0.0, 0.125, 0.75, 0.1], [0.3, 0.2, 0.1, 0.05]], np.float32
)


def csv(tmp_path, content, name="s.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def rows_of(path, **options):
    with open_score_files({"m": path}, **options) as opened:
        file = opened["m"]
        filled = file.filled(np.arange(len(file.video_ids)), file.least_classes)
        return file.video_ids.tolist(), filled


@pytest.mark.parametrize(
    "content",
    [
        HEADER + b"a,1 0.5 0 0.25\nbc,2 0.1\n",
        b"\xef\xbb\xbf" + HEADER + b"a,0 0.25 1 0.5\nbc,2 0.1\n",
        (HEADER + b'"a","1 0.500000 0 0.250000"\nbc,2 0.100000\n').replace(b"\n", b"\r\n"),
        b"videoid, LabelConfidencePairs\n\na,1 5e-1 0 2.5e-1\n bc ,2 .1",
    ],
    ids=["plain", "mark", "crlf", "loose"],
)
def test_submissions_of_any_hand_say_the_same(tmp_path, content):
    ids, scores = rows_of(csv(tmp_path, content))
    assert ids == [b"a", b"bc"]
    # Left out: half of the lowest listed of the video.
    np.testing.assert_array_equal(
        scores, np.array([[0.25, 0.5, 0.125], [0.05, 0.05, 0.1]], np.float32)
    )


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("ids", [IDS, IDS.astype(str)], ids=["bytes", "text"])
def test_arrays_are_read_as_they_are(tmp_path, suffix, dtype, ids):
    path = str(tmp_path / f"s{suffix}")
    scores = SCORES.astype(dtype)
    if suffix == ".npz":
        np.savez(path, video_ids=ids, scores=scores)
    else:
        columns = {"scores": pa.array(list(scores)), "video_ids": pa.array(ids.tolist())}
        pq.write_table(pa.table(columns), path)
    found, rows = rows_of(path, num_classes=4)
    assert found == IDS.tolist()
    np.testing.assert_array_equal(rows, scores.astype(np.float32))


@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6), min_size=1, max_size=5),
    st.integers(1, 6),
    st.integers(1, 5),
    st.sampled_from(["%g", "%f", "%.3f", "%.9g", "%r"]),
)
def test_no_score_that_a_list_leaves_out_is_above_its_bound(
    tmp_path_factory, scores, listed, kept, form
):
    rows = np.array(scores, np.float32)
    lines = []
    for n, row in enumerate(rows):
        classes = top_k_classes(row[None], listed)[0].tolist()
        text = " ".join(f"{c} {form % float(row[c])}" for c in reversed(classes))
        lines.append(f"v{n},{text}\n".encode())
    path = csv(tmp_path_factory.mktemp("s"), HEADER + b"".join(lines))
    lists = read_submission(path, num_classes=6)
    found = lists.kept(np.arange(len(rows)), min(kept, listed))
    left_out = rows.copy()
    np.put_along_axis(left_out, found.class_ids, 0, axis=1)
    assert np.all(left_out.max(axis=1) <= found.bounds)
    assert np.all(found.bounds >= found.scores.min(axis=1))
    assert np.all(np.diff(found.class_ids, axis=1) > 0)


def test_a_bound_is_half_a_printed_unit_wide(tmp_path):
    fixed = read_submission(csv(tmp_path, HEADER + b"a,1 0.500000 0 0.000012\n"))
    general = read_submission(csv(tmp_path, HEADER + b"a,1 0.5 0 0.000123456\n"))
    for lists, lowest, half in ((fixed, 0.000012, 5e-7), (general, 0.000123456, 5e-10)):
        (bound,) = lists.kept(np.array([0]), 2).bounds
        assert bound == pytest.approx(lowest + half, rel=1e-6)
    # Of the higher score `%g` prints fewer decimals.
    assert general.kept(np.array([0]), 1).bounds[0] == pytest.approx(0.5 + 5e-7, abs=1e-7)


def test_what_is_written_is_read_back(tmp_path):
    lines = "".join(format_submission(IDS, SCORES, top_k=4)).encode()
    ids, scores = rows_of(csv(tmp_path, HEADER + lines), num_classes=4)
    assert ids == IDS.tolist()
    np.testing.assert_allclose(scores, SCORES, rtol=1e-5)


BAD = {
    "empty": (b"", "is empty, expected the header `VideoId,LabelConfidencePairs`"),
    "no-rows": (HEADER, "lists no video below its header"),
    "no-header": (b"a,1 0.5\n", "Line 1 of .* is 'a,1 0.5', expected the header"),
    "twice": (HEADER + b"a,1 0.5\nb,1 0.5\na,2 0.5\n", "Line 4 of .* repeats video 'a' of line 2"),
    "class-twice": (HEADER + b"a,1 0.5 1 0.25\n", "Line 2 of .* lists class 1 twice"),
    "odd": (HEADER + b"a,1 0.5 2\n", "Line 2 of .* lists 3 numbers, expected pairs"),
    "no-pairs": (HEADER + b"a,\n", "Line 2 of .* lists no class"),
    "no-id": (HEADER + b",1 0.5\n", "Line 2 of .* names no video"),
    "fields": (HEADER + b"a,1 0.5,2 0.5\n", "Line 2 of .* has 3 fields, expected 2"),
    "class-high": (HEADER + b"a,1 0.5\nb,4 0.5\n", "Line 3 of .* lists class 4, expected 0 to 3"),
    "class-low": (HEADER + b"a,-1 0.5\n", "lists class -1, expected 0 to 3; 1 of 1 pairs"),
    "class-huge": (HEADER + b"a,99999999999 0.5\n", "Line 2 of .* that are no numbers"),
    "class-word": (HEADER + b"a,cat 0.5\n", "Line 2 of .* that are no numbers: 'cat 0.5'"),
    "underscore": (HEADER + b"a,1_0 0.5\n", "Line 2 of .* holds a `_`"),
    "nan": (HEADER + b"a,1 nan\n", "gives class 1 the confidence nan, expected 0 to 1"),
    "infinite": (HEADER + b"a,1 1e999\n", "the confidence inf, expected 0 to 1"),
    "negative": (HEADER + b"a,1 -2e-6\n", "the confidence -2e-06, expected 0 to 1"),
    "above": (HEADER + b"a,1 1.5\n", "the confidence 1.5, .* not logits"),
    "encoding": (HEADER + b"a\xff,1 0.5\n", "is not UTF-8 text"),
    "long-line": (HEADER + b"a," + b"1 0.5 " * 17_000_000, "field larger than field limit"),
    "nul": (HEADER + b"a,1 0.5\x00\n", "is no line of a CSV|no numbers"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_submissions_that_are_none(tmp_path, content, message):
    path = csv(tmp_path, content)
    with (
        pytest.raises(EnsembleError, match=message) as caught,
        open_score_files({"a": path}, num_classes=4),
    ):
        pass
    assert "s.csv" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_rounding_beyond_0_and_1_is_clipped(tmp_path):
    _, scores = rows_of(csv(tmp_path, HEADER + b"a,0 1.0000005 1 -0.0000005\n"))
    assert scores.tolist() == [[1.0, 0.0]]


BAD_ARRAYS = {
    "no-scores": ({"video_ids": IDS}, "must hold `video_ids` and `scores`; it holds video_ids"),
    "object": (
        {"video_ids": IDS, "scores": np.array([[{}]], object)},
        r"no whole \.npz file: Object arrays cannot be loaded",
    ),
    "object-ids": ({"video_ids": IDS.astype(object), "scores": SCORES}, "Object arrays cannot"),
    "numbers": ({"video_ids": np.arange(3), "scores": SCORES}, "`video_ids` .* expected one text"),
    "shape": ({"video_ids": IDS, "scores": SCORES[:2]}, r"expected floats of shape \(3, classes\)"),
    "integers": ({"video_ids": IDS, "scores": np.ones((3, 4), int)}, "are int64 .* expected float"),
    "nan": ({"video_ids": IDS, "scores": SCORES * np.nan}, "class 0 of video 'a' the score nan"),
    "logits": ({"video_ids": IDS, "scores": SCORES * 3}, "the score 1.5, expected .* not logits"),
    "twice": ({"video_ids": IDS[[0, 1, 0]], "scores": SCORES}, "'a' comes twice"),
    "classes": ({"video_ids": IDS, "scores": SCORES[:, :3]}, "scores 3 classes, expected 4"),
    "nothing": ({"video_ids": IDS[:0], "scores": SCORES[:0]}, "expected one text a video"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_are_no_scores(tmp_path, arrays, message):
    path = tmp_path / "s.npz"
    np.savez(path, **arrays)
    with (
        pytest.raises(EnsembleError, match=message) as caught,
        open_score_files({"a": str(path)}, num_classes=4),
    ):
        pass
    assert "s.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "scores": [[0.5]]}, "must hold `video_ids` and `scores`"),
        ({"video_ids": [1], "scores": [[0.5]]}, "Column `video_ids` .* holds 1, expected text"),
        ({"video_ids": ["a", "b"], "scores": [[0.5], [0.5, 1]]}, "must hold lists of one length"),
        ({"video_ids": ["a"], "scores": [None]}, "must hold lists of one length"),
        ({"video_ids": ["a"], "scores": [0.5]}, "must hold lists of one length"),
        ({"video_ids": ["a"], "scores": [[None]]}, "score nan|expected floats"),
    ],
)
def test_tables_that_are_no_scores(tmp_path, columns, message):
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(EnsembleError, match=message), open_score_files({"a": str(path)}):
        pass


@pytest.mark.parametrize("name", ["s.csv", "s.npz", "s.parquet", "s.h5"])
def test_a_file_that_is_not_there(tmp_path, name):
    with (
        pytest.raises(EnsembleError, match=f"{name}'"),
        open_score_files({"a": str(tmp_path / name)}),
    ):
        pass


def test_videos_are_joined_by_id(tmp_path):
    first = csv(tmp_path, HEADER + b"a,1 0.5\nb,1 0.25\nc,1 0.125\n", "1.csv")
    second = csv(tmp_path, HEADER + b"c,1 0.5\na,2 0.25\n", "2.csv")
    wanted = np.array([b"c", b"b", b"a"])
    with open_score_files({"m": first, "n": second}) as opened:
        assert common_classes(opened) == 3
        with pytest.raises(PredictionsError, match=r"different classes: the mixture 2; .*class 2"):
            common_classes(opened, others=[2])
        with pytest.raises(
            AlignmentError,
            match=r"2\.csv' lacks 1 of the 3 videos of 'L', the first is 'b'\. .*--i",
        ):
            align_videos(opened, wanted, source="L", intersect=False)
        with pytest.raises(AlignmentError, match=r"'L' lacks 2 of the 3 videos of '.*1\.csv'"):
            align_videos(opened, wanted[:1], source="L", intersect=False)
        places, rows = align_videos(opened, wanted, source="L", intersect=True)
        assert wanted[places].tolist() == [b"c", b"a"]
        assert {name: found.tolist() for name, found in rows.items()} == {"m": [2, 0], "n": [0, 1]}
        with pytest.raises(AlignmentError, match="no video in common"):
            align_videos(opened, np.array([b"x"]), source="L", intersect=True)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a.csv"], "'a.csv' names no member. Write NAME=FILE"),
        (["a=1.csv", "a=2.csv"], "'a' is given twice"),
        ([], "No scores are given"),
    ],
)
def test_members_are_named(texts, message):
    with pytest.raises(EnsembleError, match=message):
        name_members(texts)

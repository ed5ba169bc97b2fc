"""Parts written side by side join into the file that one writer would have written."""

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import OutputExistsError, PredictionsError
from yt8m_ensemble.steps.merge_predictions import merge_predictions
from yt8m_ensemble.storage import PredictionsWriter, open_predictions

SCORES, LABELS = make_predictions(num_videos=40)
VIDEO_IDS = np.array([b"v%02d" % n for n in range(40)])


def write(path, shards, *, members="abc", top_k=None):
    """A file of some of the eight shards of five videos."""
    with PredictionsWriter(
        str(path), members=list(members), digests=list(members), num_classes=60, top_k=top_k
    ) as writer:
        for shard in shards:
            rows = slice(5 * shard, 5 * shard + 5)
            writer.append(VIDEO_IDS[rows], SCORES[: len(members), rows], LABELS[rows])
            writer.end_shard(f"shard{shard}")
    return str(path)


@pytest.mark.parametrize("top_k", [None, 20])
def test_parts_join_into_what_one_writer_writes(tmp_path, top_k):
    parts = [write(tmp_path / f"{i}.h5", range(i, 8, 3), top_k=top_k) for i in (2, 0, 1)]
    result = merge_predictions(parts=parts, out=str(tmp_path / "all.h5"))
    assert (result.num_videos, result.num_shards) == (40, 8)
    whole = write(tmp_path / "whole.h5", range(8), top_k=top_k)
    with open_predictions(str(tmp_path / "all.h5")) as file, open_predictions(whole) as expected:
        assert file.header == expected.header
        assert file.shards == expected.shards
        np.testing.assert_array_equal(file.video_ids, VIDEO_IDS)
        for member in range(3):
            np.testing.assert_array_equal(file.scores(member), expected.scores(member))
        assert file.labels is not None
        np.testing.assert_array_equal(file.labels.to_dense(), LABELS)


def test_the_command_refuses_to_overwrite(tmp_path):
    arguments = ["merge-predictions", write(tmp_path / "a.h5", [0, 1]), "--out"]
    out = str(tmp_path / "all.h5")
    dry = CliRunner().invoke(cli, [*arguments, out, "--dry-run"])
    assert "10 videos of 3 members in 2 shards." in dry.output
    assert not (tmp_path / "all.h5").exists()
    assert CliRunner().invoke(cli, [*arguments, out]).exit_code == 0
    again = CliRunner().invoke(cli, [*arguments, out])
    assert isinstance(again.exception, OutputExistsError)


def test_bad_parts_are_named(tmp_path):
    first = write(tmp_path / "a.h5", [0, 1])
    out = str(tmp_path / "all.h5")
    with pytest.raises(PredictionsError, match=r"Shard 'shard1' is in .*a.h5' and in .*b.h5'") as e:
        merge_predictions(parts=[first, write(tmp_path / "b.h5", [1, 2])], out=out)
    assert e.value.details["shard"] == "shard1"
    with pytest.raises(PredictionsError, match="Only parts of one"):
        merge_predictions(parts=[first, write(tmp_path / "c.h5", [2], members="ab")], out=out)
    with PredictionsWriter(
        str(tmp_path / "d.h5"), members="abc", digests="abc", num_classes=60
    ) as writer:
        writer.append(VIDEO_IDS[:2], SCORES[:, :2], LABELS[:2])
        writer.end_shard("other")
    with pytest.raises(PredictionsError, match=r"2 videos are in more than one shard.* v00"):
        merge_predictions(parts=[first, str(tmp_path / "d.h5")], out=out)
    part = PredictionsWriter(str(tmp_path / "e.h5"), members="abc", digests="abc", num_classes=60)
    with pytest.raises(InterruptedError), part:
        raise InterruptedError
    with pytest.raises(PredictionsError, match=r"e\.h5' is not finished"):
        merge_predictions(parts=[first, str(tmp_path / "e.h5")], out=out)

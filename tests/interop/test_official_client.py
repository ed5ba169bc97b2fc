"""Our archives in TensorFlow 1.x: restored and run as the official readers of 2018 and 2019 do."""

import subprocess
from pathlib import Path

import pytest

from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores

pytestmark = [pytest.mark.tf, pytest.mark.slow]

CLIENT = Path(__file__).with_name("official_reader.py")
TINY = ("c2h8", "c4h6", "c2h12")
TINY_WEIGHTS = (0.5, 0.2, 0.3)
# Six digits a score, on both sides of a comparison.
DIGITS = 2e-6


def read_csv(path):
    """Return scores by (video, class)."""
    scores: dict[tuple[str, str], float] = {}
    for line in Path(path).read_text().splitlines()[1:]:
        video_id, _, listed = line.partition(",")
        numbers = listed.split()
        scores |= {
            (video_id, c): float(s) for c, s in zip(numbers[::2], numbers[1::2], strict=True)
        }
    return scores


def difference(left, right):
    """Return the largest difference over the pairs that both files hold, and how many those are."""
    left, right = read_csv(left), read_csv(right)
    assert {video_id for video_id, _ in left} == {video_id for video_id, _ in right}
    common = left.keys() & right.keys()
    assert len(common) > 0.99 * len(left)  # near ties may swap the last of a video's 20 pairs
    return max(abs(left[pair] - right[pair]) for pair in common)


def run_client(python, *, archive, year, records, out):
    """Run the client in TensorFlow 1.x."""
    arguments = [python, "-I", str(CLIENT), str(archive), year, str(records), str(out), "32"]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def video_bundle(fixtures, tmp_path_factory):
    """Two video-level models of the starter code, mixed by logit, in float32."""
    folder = tmp_path_factory.mktemp("video")
    members = [f"{n}={fixtures}/google2018/{n}Model/model.tgz" for n in ("Logistic", "Moe")]
    merge_models(members=members, out=str(folder / "m"), weights=(0.3, 0.7), mix="logit")
    package_model(model=str(folder / "m"), out=str(folder / "m.tgz"))
    records = f"{fixtures}/data_const/video/test*.tfrecord"
    predict_scores(models=[str(folder / "m.tgz")], data=records, csv=str(folder / "ours.csv"))
    return folder / "m.tgz", records


@pytest.fixture(scope="module")
def frame_bundle(fixtures, tmp_path_factory):
    """The fixtures' three averaged NetVLAD models, stored as the original's float16 ensemble."""
    folder = tmp_path_factory.mktemp("frame")
    members = [f"{n}={fixtures}/tiny/{n}/avg_{n}_60_210.ckpt-0" for n in TINY]
    merge_models(
        members=members,
        out=str(folder / "m"),
        weights=TINY_WEIGHTS,
        fp16="original",
        naming="original",
    )
    package_model(model=str(folder / "m"), out=str(folder / "m.tgz"))
    records = f"{fixtures}/data_const/frame/test*.tfrecord"
    predict_scores(models=[str(folder / "m.tgz")], data=records, csv=str(folder / "ours.csv"))
    return folder / "m.tgz", records


@pytest.fixture(scope="module")
def mixed_bundle(fixtures, tmp_path_factory):
    """A frame-level model and a video-level one, which is fed with means of frames."""
    folder = tmp_path_factory.mktemp("mixed")
    members = [
        f"frames={fixtures}/tiny/c2h8/avg_c2h8_60_210.ckpt-0",
        f"means={fixtures}/google2018/MoeModel/model.tgz",
    ]
    merge_models(members=members, out=str(folder / "m"), weights=(0.6, 0.4), mix="logit")
    package_model(model=str(folder / "m"), out=str(folder / "m.tgz"))
    records = f"{fixtures}/data_const/frame/test*.tfrecord"
    predict_scores(models=[str(folder / "m.tgz")], data=records, csv=str(folder / "ours.csv"))
    return folder / "m.tgz", records


@pytest.mark.parametrize("year", ["2018", "2019"])
@pytest.mark.parametrize("version", ["1.15.5", "1.14.0", "1.8.0"])
@pytest.mark.parametrize("level", ["video", "frame", "mixed"])
def test_the_archive_runs_to_a_csv(*, request, tmp_path, tf1_python, level, version, year):
    archive, records = request.getfixturevalue(f"{level}_bundle")
    theirs = run_client(
        tf1_python(version),
        archive=archive,
        year=year,
        records=records,
        out=tmp_path / "theirs.csv",
    )
    assert difference(archive.with_name("ours.csv"), theirs) < DIGITS


def test_our_ensemble_scores_as_the_originals_did(fixtures, tmp_path, tf1_python, frame_bundle):
    archive, records = frame_bundle
    ours = run_client(
        tf1_python("1.15.5"), archive=archive, year="2018", records=records, out=tmp_path / "o.csv"
    )
    assert difference(ours, fixtures / "tiny/ens/predictions_const_google2018.csv") < DIGITS

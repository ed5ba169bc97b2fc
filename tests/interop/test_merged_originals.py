"""The originals' own inference models, through `merge`, in TensorFlow 2.21, 1.15, 1.14 and 1.8."""

import functools
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from yt8m_ensemble.casting import SCHEMES, dequantize, is_narrowable, quantize
from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.packaging import (
    extract_bundle,
    official_client,
    stored_scores,
    write_bundle,
)
from yt8m_ensemble.packaging.loading import CLIENT_PATH
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.verify import TOLERANCES, verify_bundle
from yt8m_ensemble.values import FeatureSpec, MixtureWeights

pytestmark = [pytest.mark.tf, pytest.mark.slow]

CLASSES = 40
VIDEO = FeatureSpec(("mean_rgb", "mean_audio"), (1024, 128), frame_level=False)
FRAME = FeatureSpec(("rgb", "audio"), (1024, 128), frame_level=True)
SERVER = str(Path(__file__).with_name("official_server.py"))
RUNTIMES = {"2.21": None, "1.15": "1.15.5", "1.14": "1.14.0", "1.8": "1.8.0"}


@dataclass(frozen=True)
class Original:
    """One inference model of the original code: its files, what it reads, its stored scores."""

    features: FeatureSpec
    model: str
    stored: str


def _tiny(name, which):
    files = {"210": "inference_model_210", "avg": f"inference_model_avg_{name}_60_210.ckpt-0"}
    scores = {"210": "210", "avg": f"avg_{name}_60_210"}[which]
    return Original(
        FRAME, f"tiny/{name}/{files[which]}", f"tiny/{name}/predictions_const_{scores}.csv"
    )


ORIGINALS = {
    **{
        name: Original(
            VIDEO if name in ("Logistic", "Moe") else FRAME,
            f"google2018/{name}Model/model.tgz",
            f"google2018/{name}Model/predictions_const.csv",
        )
        for name in ("Logistic", "Moe", "FrameLevelLogistic", "Dbof", "Lstm")
    },
    **{f"{name}_{which}": _tiny(name, which) for name in ("c2h8", "c4h6", "c2h12")
       for which in ("210", "avg")},
}  # fmt: skip
CHECKPOINTS = {"c2h8_checkpoint": "tiny/c2h8/avg_c2h8_60_210.ckpt-0"}
LEVELS = {
    "video": tuple(name for name, original in ORIGINALS.items() if original.features is VIDEO),
    "frame": tuple(name for name, original in ORIGINALS.items() if original.features is FRAME),
}
# The frame-level originals were written by TensorFlow 1.15, with `FusedBatchNormV3`.
PLACES = [
    (level, runtime)
    for level in LEVELS
    for runtime in RUNTIMES
    if (level, runtime) != ("frame", "1.8")
]


def weights_of(names, space="probability"):
    return MixtureWeights.normalized(names, range(1, len(names) + 1), space=space)


@pytest.fixture(scope="module")
def batches(fixtures):
    """Return a function from features to the test records in one batch."""

    @functools.cache
    def read(features):
        level = "frame" if features.frame_level else "video"
        paths = sorted(map(str, fixtures.glob(f"data_const/{level}/test*.tfrecord")))
        (batch,) = read_batches(paths, features=features, num_classes=CLASSES, batch_size=100)
        return batch

    return read


@pytest.fixture(scope="module")
def archive_of(fixtures, tmp_path_factory):
    """Return a function from an original's name to its archive, files untouched."""

    @functools.cache
    def find(name):
        model = fixtures / ORIGINALS[name].model
        if model.suffix == ".tgz":
            return str(model)
        folder = tmp_path_factory.mktemp(name)
        for suffix in ("meta", "index", "data-00000-of-00001"):
            shutil.copy(f"{model}.{suffix}", folder / f"inference_model.{suffix}")
        shutil.copy(model.parent / "model_flags.json", folder)
        write_bundle(str(folder), str(folder / "x.tgz"), max_size=10**9)
        return str(folder / "x.tgz")

    return find


@pytest.fixture(scope="module")
def scores_in(tf1_python, batches):
    """Return a function that runs an archive on the test records, in one process a runtime."""
    with ExitStack() as stack:

        @functools.cache
        def serve(runtime):
            version = RUNTIMES[runtime]
            python = tf1_python(version) if version else sys.executable
            log = stack.enter_context(tempfile.TemporaryFile())
            process = stack.enter_context(
                subprocess.Popen(
                    [python, "-I", SERVER, CLIENT_PATH],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
            )
            stack.callback(process.kill)  # queues of the originals' graphs may never end
            assert process.stdout
            assert process.stdout.readline().decode().startswith(runtime)
            return process, log

        @functools.cache
        def run(archive, features, runtime):
            (process, log), batch = serve(runtime), batches(features)
            process.stdin.write(f"{archive}\n".encode())
            official_client.write_array(process.stdin, batch.features)
            official_client.write_array(process.stdin, batch.num_frames)
            process.stdin.flush()
            scores = official_client.read_array(process.stdout)
            if scores is None:
                log.seek(0)
                pytest.fail(log.read().decode()[-2000:])
            return scores

        yield run


@pytest.fixture(scope="module")
def merged(fixtures, tmp_path_factory):
    """Return a function that merges originals and packs the result."""

    @functools.cache
    def make(names, **options):
        folder = tmp_path_factory.mktemp("merged")
        paths = {name: CHECKPOINTS.get(name) or ORIGINALS[name].model for name in names}
        members = [f"{name}={fixtures / path}" for name, path in paths.items()]
        space = options.pop("space", "probability")
        merge_models(
            members=members, out=str(folder / "m"), weights=weights_of(names, space), **options
        )
        package_model(model=str(folder / "m"), out=str(folder / "m.tgz"))
        return str(folder / "m.tgz")

    return make


@pytest.mark.parametrize("name", ORIGINALS)
def test_one_original_alone_scores_as_before(
    *, fixtures, batches, scores_in, archive_of, merged, name
):
    original = ORIGINALS[name]
    before = scores_in(archive_of(name), original.features, "2.21")
    after = scores_in(merged((name,)), original.features, "2.21")
    np.testing.assert_array_equal(after, before)  # in one runtime: bit for bit
    path = str(fixtures / original.stored)
    with stored_scores(path, num_classes=CLASSES, mixture=None) as expected:
        stored = expected(batches(original.features).video_ids)
    assert not stored.left_out.any()
    np.testing.assert_allclose(after, stored.scores, atol=1e-5)


@pytest.mark.parametrize(("level", "runtime"), PLACES)
@pytest.mark.parametrize("space", ["probability", "logit"])
def test_all_originals_of_one_level_mix_in_every_runtime(
    *, scores_in, archive_of, merged, level, runtime, space
):
    names = LEVELS[level]
    features = ORIGINALS[names[0]].features
    members = [scores_in(archive_of(name), features, runtime) for name in names]
    expected = mix(members, weights_of(names, space))
    found = scores_in(merged(names, space=space), features, runtime)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("level", "runtime"), PLACES)
def test_float16_stays_within_its_bound_in_every_runtime(
    *, scores_in, archive_of, merged, level, runtime
):
    names = LEVELS[level]
    features = ORIGINALS[names[0]].features
    members = [scores_in(archive_of(name), features, runtime) for name in names]
    found = scores_in(merged(names, fp16="auto"), features, runtime)
    assert np.abs(found - mix(members, weights_of(names))).max() < TOLERANCES["float16"]


@pytest.fixture(scope="module")
def decoded(merged, tmp_path_factory):
    """Return a function that merges with codes, and again from what the codes stand for."""

    @functools.cache
    def make(names, scheme):
        folder = tmp_path_factory.mktemp(scheme)
        extract_bundle(merged(names), str(folder / "m"))
        with open_checkpoint(str(folder / "m/inference_model")) as source:
            arrays = {name: np.array(source.read(name)) for name in source.specs()}
        for name, array in arrays.items():
            if is_narrowable(source.specs()[name]) and array.ndim > 1:
                arrays[name] = dequantize(quantize(name, array, scheme=scheme)[0])
        write_checkpoint(str(folder / "m/inference_model"), arrays, force=True)
        write_bundle(str(folder / "m"), str(folder / "m.tgz"), max_size=10**9)
        return str(folder / "m.tgz")

    return make


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_are_decoded_as_documented_in_every_runtime(
    *, scores_in, merged, decoded, scheme, runtime
):
    names = ("FrameLevelLogistic", "c2h8_checkpoint", "Lstm")
    found = scores_in(merged(names, quantize=scheme), FRAME, runtime)
    expected = scores_in(decoded(names, scheme), FRAME, "2.21")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"fp16": "auto"}, {"quantize": "uint8"}, {"quantize": "uint4"}]
)
@pytest.mark.parametrize("level", LEVELS)
def test_what_was_merged_is_sound(merged, level, options):
    found = verify_bundle(path=merged(LEVELS[level], with_fixed_frames=True, **options))
    assert all(check.is_ok for check in found.checks)


def test_no_original_is_left_out(fixtures):
    archives = {str(path.relative_to(fixtures)) for path in fixtures.glob("google2018/*/*.tgz")}
    metas = {
        str(path.relative_to(fixtures).with_suffix(""))
        for path in fixtures.glob("tiny/c*/inference_model_*.meta")
    }
    assert archives | {str(Path(meta)) for meta in metas} == {
        original.model for original in ORIGINALS.values()
    }

import numpy as np
import pytest

from tests.builders.models import FRAME, VIDEO, small_flags, write_train_dir
from yt8m_ensemble.casting import SCHEMES, dequantize, quantize
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.merging import (
    Member,
    build_merged_graph,
    export_inference_model,
    plan_merge,
)
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.models import build_graph
from yt8m_ensemble.values import DictSource, MixtureWeights

pytestmark = pytest.mark.tf

LEVELS = {
    "video": (VIDEO, ("LogisticModel", "MoeModel", "MoeModel")),
    "frame": (FRAME, ("FrameLevelLogisticModel", "NetVLADModelLF", "NetVLADModelLF")),
}


def make_members(tmp_path, level):
    features, models = LEVELS[level]
    members = []
    for seed, model in enumerate(models):
        flags = small_flags(model)
        directory = write_train_dir(tmp_path / f"m{seed}", flags, seed=seed)
        source = open_checkpoint(str(directory / "model.ckpt-1"))
        members.append(Member(f"m{seed}", build_graph(flags), source, features, 4))
    return members


def make_batch(level, videos=7):
    draw = np.random.default_rng(5)
    shape = (videos, 8) if level == "video" else (videos, 3, 8)
    num_frames = np.full(videos, 1 if level == "video" else 3, np.int32)
    return draw.normal(size=shape).astype(np.float32), num_frames


def predict(graph, source, batch):
    with GraphRunner(graph, source) as runner:
        return runner.both(runner.pool_frames(*batch))


def merge(tmp_path, members, weights, **options):
    plan = plan_merge(members, weights=weights, **options)
    graph = build_merged_graph(members, plan)
    directory = str(tmp_path / "merged")
    casts = export_inference_model(directory, members, plan, graph, force=True)
    return directory, graph, casts


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("space", ["probability", "logit", "geometric"])
def test_the_merged_graph_mixes_what_its_members_predict(tmp_path, level, space):
    members, batch = make_members(tmp_path, level), make_batch(level)
    weights = MixtureWeights(("m0", "m1", "m2"), (0.5, 0.3, 0.2), space)
    directory, _, _ = merge(tmp_path, members, weights)
    singles = [predict(member.graph, member.source, batch)[0] for member in members]
    with open_model(directory) as opened:
        mixed, own = predict(opened.graph, opened.source, batch)
    for single, scores in zip(singles, own, strict=True):
        np.testing.assert_array_equal(scores, single)
    np.testing.assert_allclose(mixed, mix(singles, weights), rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_one_member_of_weight_one_predicts_bit_for_bit_what_it_did(tmp_path, level):
    for member in make_members(tmp_path, level):
        batch = make_batch(level)
        directory, _, _ = merge(tmp_path, [member], MixtureWeights((member.name,), (1.0,)))
        with open_model(directory) as opened:
            mixed, _ = predict(opened.graph, opened.source, batch)
        np.testing.assert_array_equal(mixed, predict(member.graph, member.source, batch)[0])


def test_float16_stays_within_the_error_of_its_weights(tmp_path):
    members, batch = [], make_batch("video")
    for seed in (0, 1):
        flags = small_flags("LogisticModel", num_classes=400)
        directory = write_train_dir(tmp_path / f"m{seed}", flags, seed=seed)
        source = open_checkpoint(str(directory / "model.ckpt-1"))
        members.append(Member(f"m{seed}", build_graph(flags), source, VIDEO, 400))
    weights = MixtureWeights(("m0", "m1"), (0.5, 0.5))
    directory, _, casts = merge(tmp_path, members, weights, fp16="auto")
    assert [cast.name for cast in casts] == [f"m{i}/tower/fully_connected/weights" for i in (0, 1)]
    with open_model(directory) as opened:
        assert opened.source.specs()["m0/tower/fully_connected/weights"].dtype == "float16"
        mixed, _ = predict(opened.graph, opened.source, batch)
    exact = mix([predict(m.graph, m.source, batch)[0] for m in members], weights)
    # The input has norm 1, so a logit moves by at most sqrt(8) times the largest rounding error,
    # and a sigmoid by a quarter of that.
    bound = max(cast.max_error for cast in casts) * np.sqrt(8) / 4 + 1e-6
    assert 0 < np.abs(mixed - exact).max() <= bound


@pytest.mark.parametrize("scheme", SCHEMES)
def test_quantised_weights_decode_in_the_graph_as_in_numpy(tmp_path, scheme):
    flags = small_flags("LogisticModel", num_classes=301)
    directory = write_train_dir(tmp_path / "m", flags)
    source = open_checkpoint(str(directory / "model.ckpt-1"))
    member = Member("m", build_graph(flags), source, VIDEO, 301)
    batch = make_batch("video")
    merged, _, (report,) = merge(
        tmp_path, [member], MixtureWeights(("m",), (1.0,)), quantize=scheme
    )
    name = "tower/fully_connected/weights"
    coded, _ = quantize(name, source.read(name), scheme=scheme)
    arrays = {spec: source.read(spec) for spec in source.specs()}
    expected, _ = predict(member.graph, DictSource({**arrays, name: dequantize(coded)}), batch)
    with open_model(merged) as opened:
        assert opened.source.specs()[f"m/{name}"].dtype == "uint8"
        found, _ = predict(opened.graph, opened.source, batch)
        assert opened.nbytes < 0.75 * source.checkpoint.nbytes
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert report.max_error > 0


def test_the_input_is_normalised_once_whatever_the_number_of_members(tmp_path):
    members = make_members(tmp_path, "video")
    weights = MixtureWeights.uniform(["m0", "m1", "m2"])
    _, graph, _ = merge(tmp_path, members, weights)
    norms = [node for node in graph.graph_def.node if node.op == "Rsqrt"]
    assert len(norms) == 1
    assert sum(node.op == "Rsqrt" for m in members for node in m.graph.graph_def.node) == 3


def test_equal_variables_of_two_members_are_not_shared(tmp_path):
    member = make_members(tmp_path, "video")[0]
    twin = Member("twin", member.graph, member.source, member.features, member.num_classes)
    _, graph, _ = merge(tmp_path, [member, twin], MixtureWeights.uniform(["m0", "twin"]))
    variables = [node.name for node in graph.graph_def.node if node.op == "VariableV2"]
    assert sorted(variables) == sorted(graph.variables)
    assert len(variables) == 5


@pytest.mark.slow
def test_the_original_ensemble_is_made_again_tensor_by_tensor(fixtures, tmp_path):
    import tarfile

    from tests.csv_scores import largest_difference

    archive = tmp_path / "original"
    with tarfile.open(fixtures / "tiny/ens/ensemble_T.tgz") as tar:
        tar.extractall(archive, filter="data")
    from contextlib import ExitStack

    from yt8m_ensemble.data import read_batches

    with ExitStack() as stack:
        members = []
        for name in ("c2h8", "c4h6", "c2h12"):
            prefix = fixtures / f"tiny/{name}/inference_model_avg_{name}_60_210.ckpt-0"
            flags = tmp_path / "flags"
            flags.mkdir(exist_ok=True)
            for path in prefix.parent.glob(f"{prefix.name}.*"):
                target = flags / name / path.name.replace(prefix.name, "inference_model")
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(path.read_bytes())
            (flags / name / "model_flags.json").write_text(
                (fixtures / f"tiny/{name}/model_flags.json").read_text()
            )
            opened = stack.enter_context(open_model(str(flags / name)))
            members.append(
                Member(name, opened.graph, opened.source, opened.features, opened.num_classes)
            )
        weights = MixtureWeights(("c2h8", "c4h6", "c2h12"), (0.5, 0.2, 0.3))
        directory, _, _ = merge(tmp_path, members, weights, fp16="original", naming="original")
        ours = stack.enter_context(open_checkpoint(f"{directory}/inference_model"))
        theirs = stack.enter_context(open_checkpoint(f"{archive}/inference_model"))
        assert ours.specs() == theirs.specs()
        assert len(ours.specs()) == 32 * 3 + 1
        for name in set(ours.specs()) - {"global_step"}:
            np.testing.assert_array_equal(ours.read(name), theirs.read(name))
        opened = stack.enter_context(open_model(directory))
        paths = sorted(map(str, (fixtures / "data_const/frame").glob("test*.tfrecord")))
        (batch,) = read_batches(paths, features=opened.features, num_classes=40, batch_size=80)
        scores, _ = predict(opened.graph, opened.source, (batch.features, batch.num_frames))
        stored = fixtures / "tiny/ens/predictions_const_google2018.csv"
        assert largest_difference(stored, batch.video_ids, scores) < 1e-5

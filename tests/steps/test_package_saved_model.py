"""`package --format savedmodel`, and `verify` of what it wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.builders.models import FRAME, small_flags, write_train_dir
from tests.builders.records import make_frames, write_shards
from yt8m_ensemble.data import read_serialized
from yt8m_ensemble.errors import BundleError, OutputExistsError
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.merging import write_saved_model
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.values import FeatureSpec, MixtureWeights, Predictions

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def frames_of(index):
    return make_frames(index, rgb=6, num_frames=1 + 3 * index % 8)


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A frame-level and a video-level member in one inference model, and records."""
    folder = tmp_path_factory.mktemp("merged")
    kinds = {"frames": "DbofModel", "means": "MoeModel"}
    members = [
        f"{n}={write_train_dir(folder / n, small_flags(kind, num_classes=23), seed=seed)}"
        for seed, (n, kind) in enumerate(kinds.items())
    ]
    merge_models(members=members, out=str(folder / "m"), mix="logit")
    write_shards(folder, frames_of)
    return str(folder / "m"), f"{folder}/*.tfrecord"


def scores_of(model, records):
    scores = predict_scores(models=[model], data=records)
    assert isinstance(scores, Predictions)
    return scores


def test_it_scores_bit_for_bit_as_the_model_did(merged, tmp_path):
    model, records = merged
    out = str(tmp_path / "s" / "1")
    Path(out).parent.mkdir()
    # No limit of the challenge holds for what is served.
    done = package_model(model=model, out=out, format="savedmodel", card=True, max_size=1)
    names = [member.name for member in done.bundle.members]
    assert all((Path(out) / name).is_file() for name in names)
    assert len(names) == sum(path.is_file() for path in Path(out).rglob("*")) == 4
    provenance = json.loads(Path(f"{out}.provenance.json").read_text())
    assert set(provenance["files"]) == set(names)
    card = Path(f"{out}.card.md").read_text()
    assert "tf.saved_model.load" in card
    assert "SequenceExample" in card
    np.testing.assert_array_equal(scores_of(out, records).scores, scores_of(model, records).scores)

    loaded = tf.saved_model.load(out)
    paths = sorted(tf.io.gfile.glob(records))
    serialized = list(read_serialized(paths))
    top = loaded.signatures["serving_default"](example_bytes=tf.constant(serialized))
    mixed = tmp_path / "mixed.csv"
    predict_scores(models=[model], data=records, csv=str(mixed))
    for row, line in enumerate(mixed.read_text().splitlines()[1:]):
        video_id, _, pairs = line.partition(",")
        assert top["video_id"][row].numpy().decode() == video_id
        np.testing.assert_allclose(
            top["predictions"][row].numpy(), [float(s) for s in pairs.split()[1::2]], atol=2e-6
        )
    assert top["class_indexes"].shape == (len(serialized), 20)
    assert top["class_indexes"].dtype == tf.int32


def test_verify_compares_it_as_an_archive(merged, tmp_path):
    model, records = merged
    out, cache = str(tmp_path / "s"), str(tmp_path / "c.h5")
    package_model(model=model, out=out, format="savedmodel")
    predict_scores(models=[model], data=records, cache=cache)
    done = verify_bundle(path=out, data=records, against=cache)
    names = [check.name.partition(" in ")[0] for check in done.checks]
    assert "records score as their features" in names
    assert {"signature serving_default", "signature features"} <= set(names)
    assert not done.untidy
    # The members' scores are mixed with the weights that the model holds.
    other = MixtureWeights(("frames", "means"), (0.9, 0.1), "logit")
    package_model(model=model, out=out, format="savedmodel", weights=other, force=True)
    verify_bundle(path=out, data=records, against=cache)
    with open_model(out) as opened, open_model(model) as plain:
        assert opened.source.read("mixture_weights").tolist() == pytest.approx([0.9, 0.1])
        assert plain.source.read("mixture_weights").tolist() == [0.5, 0.5]


def test_what_is_there_stays_without_force(merged, tmp_path):
    model, _ = merged
    out = tmp_path / "s"
    out.mkdir()
    (out / "kept").write_text("x")
    with pytest.raises(OutputExistsError):
        package_model(model=model, out=str(out), format="savedmodel")
    assert [path.name for path in out.iterdir()] == ["kept"]


def test_a_missing_file_is_named(merged, tmp_path):
    model, _ = merged
    package_model(model=model, out=str(tmp_path / "s"), format="savedmodel")
    (tmp_path / "s/variables/variables.index").unlink()
    with pytest.raises(BundleError, match=r"holds no variables/variables\.index"):
        verify_bundle(path=str(tmp_path / "s"))


def test_a_parser_of_other_features_is_found_out(merged, tmp_path):
    model, records = merged
    turned = FeatureSpec(FRAME.names[::-1], FRAME.sizes[::-1], frame_level=True)
    out = tmp_path / "s"
    out.mkdir()
    with open_model(model) as opened:
        write_saved_model(
            opened.graph,
            opened.source,
            flags=(Path(model) / "model_flags.json").read_bytes(),
            features=turned,
            num_classes=23,
            directory=str(out),
        )
    with pytest.raises(BundleError, match="records score as their features"):
        verify_bundle(path=str(out), data=records)


def change_graph(path, change):
    """Change the meta graph of a SavedModel in place."""
    saved = SavedModel.FromString(path.read_bytes())
    change(saved.meta_graphs[0])
    path.write_bytes(saved.SerializeToString())


def test_a_signature_that_lacks_is_named_and_a_hostile_one_never_runs(merged, tmp_path):
    model, records = merged
    victim = tmp_path / "victim"
    for name in ("lacks", "hostile"):
        package_model(model=model, out=str(tmp_path / name), format="savedmodel")

    def remove(meta):
        del meta.signature_def["serving_default"]

    def write_a_file(meta):
        graph = tf.Graph()
        with graph.as_default(), tf.name_scope("evil"):
            done = tf.raw_ops.WriteFile(filename=str(victim), contents="x", name="write")
            with tf.control_dependencies([done]):
                tf.constant([b"v"], name="ids")
        meta.graph_def.node.extend(graph.as_graph_def().node)
        meta.signature_def["serving_default"].outputs["video_id"].name = "evil/ids:0"

    change_graph(tmp_path / "lacks/saved_model.pb", remove)
    change_graph(tmp_path / "hostile/saved_model.pb", write_a_file)
    with pytest.raises(BundleError, match="signature serving_default"):
        verify_bundle(path=str(tmp_path / "lacks"))
    with pytest.raises(BundleError, match="WriteFile"):
        verify_bundle(path=str(tmp_path / "hostile"), data=records)
    assert not victim.exists()


def test_a_video_level_model_reads_examples(tmp_path):
    model = write_train_dir(tmp_path / "t", small_flags("LogisticModel", num_classes=23))
    merge_models(members=[f"serving={model}"], out=str(tmp_path / "m"))
    package_model(
        model=str(tmp_path / "m"), out=str(tmp_path / "s"), format="savedmodel", card=True
    )
    assert "tf.train.Example`" in (tmp_path / "s.card.md").read_text()
    verify_bundle(path=str(tmp_path / "s"))

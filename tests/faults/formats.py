"""Every input format: how a small valid file is made, and how the toolkit reads all of it."""

import functools
import io
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.faults.mutation import mutate_gzip, mutate_record, mutate_zip

NUM_CLASSES = 5
ARRAYS: dict[str, NDArray[Any]] = {
    "t/w": np.ones((2, 3), np.float32),
    "t/b": np.ones(3),
    "s": np.array([b"x"], object),
}


@dataclass(frozen=True)
class Format:
    """A format of input.

    Attributes:
        make: Writes a valid file into a folder and returns the path to mutate.
        read: Opens that path and reads all of it.
        below: Mutates content below checksums; `None` if there are none.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    below: Callable[[bytes, random.Random], bytes] | None = None


def make_cache(folder, *, top_k=None):
    from tests.builders.predictions import make_predictions
    from yt8m_ensemble.storage import PredictionsWriter

    scores, labels = make_predictions(6, NUM_CLASSES, 2)
    path = folder / "p.h5"
    with PredictionsWriter(
        str(path), members="ab", digests="cd", num_classes=NUM_CLASSES, top_k=top_k
    ) as writer:
        writer.append(np.array([b"v%d" % n for n in range(6)]), scores, labels)
        writer.end_shard("s")
    return path


def read_cache(path):
    from yt8m_ensemble.storage import open_predictions

    with open_predictions(str(path)) as file:
        for member in file.members:
            file.scores(member)
        return file.labels, file.shards


def make_keras(folder):
    from yt8m_ensemble.checkpoints import write_keras_weights
    from yt8m_ensemble.values import DictSource

    write_keras_weights(str(folder / "k.weights.h5"), DictSource(ARRAYS))
    return folder / "k.weights.h5"


def make_safetensors(folder):
    from yt8m_ensemble.checkpoints import write_safetensors
    from yt8m_ensemble.values import DictSource

    with (folder / "s.safetensors").open("wb") as file:
        write_safetensors(file, DictSource(ARRAYS))
    return folder / "s.safetensors"


def read_keras(path):
    from yt8m_ensemble.checkpoints import open_keras_weights

    with open_keras_weights(str(path)) as source:
        for name in source.specs():
            source.read(name)


def read_safetensors(path):
    from yt8m_ensemble.checkpoints import open_safetensors

    source = open_safetensors(str(path))
    for name in source.specs():
        source.read(name)


def make_index(folder):
    from yt8m_ensemble.checkpoints import write_checkpoint

    write_checkpoint(str(folder / "c"), ARRAYS)
    return folder / "c.index"


def read_index(path):
    from yt8m_ensemble.checkpoints import open_checkpoint

    with open_checkpoint(str(path)) as source:
        for name in source.specs():
            source.read(name)


def make_npz(folder):
    np.savez(
        folder / "f.npz",
        video_ids=np.array([b"a", b"bc"]),
        labels_indptr=np.array([0, 1, 3]),
        labels_class_ids=np.array([1, 0, 4], np.int32),
        frames_indptr=np.array([0, 2, 3]),
        rgb=np.zeros((3, 4), np.uint8),
        audio=np.ones((3, 2), np.float32),
    )
    return folder / "f.npz"


def read_npz(path):
    from yt8m_ensemble.data import read_custom_features
    from yt8m_ensemble.data.conversion import RecordEncoder

    encoder = RecordEncoder(NUM_CLASSES, None)
    for video in read_custom_features(str(path)):
        encoder.encode(str(path), video)


def text(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def read_labels(path):
    from yt8m_ensemble.data.ground_truth import read_ground_truth_csv

    read_ground_truth_csv(str(path), num_classes=NUM_CLASSES)


def read_submission(path):
    from yt8m_ensemble.packaging.comparison import stored_scores

    with stored_scores(str(path), num_classes=NUM_CLASSES, mixture=None) as expected:
        expected(np.array([b"a", b"bc"]))


def read_vocabulary(path):
    from yt8m_ensemble.storage.vocabulary import read_vocabulary as read

    read(str(path))


def read_scores(path):
    from yt8m_ensemble.storage.score_files import open_score_files

    with open_score_files({"a": str(path)}) as opened:
        file = opened["a"]
        file.filled(np.arange(len(file.video_ids)), file.least_classes)


def make_scores(suffix):
    def make(folder):
        path = folder / f"s{suffix}"
        scores = np.array([[0.5, 0.25, 1.0], [0.0, 0.125, 0.75]], np.float32)
        if suffix == ".npz":
            np.savez(path, video_ids=np.array([b"a", b"bc"]), scores=scores)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            columns = {"video_ids": ["a", "bc"], "scores": scores.tolist()}
            pq.write_table(pa.table(columns), path)
        return path

    return make


def read_cloud(path):
    from yt8m_ensemble.steps.convert_records import convert_predictions

    convert_predictions(predictions=str(path), out=f"{path}.csv", force=True)


def make_weights(folder):
    from yt8m_ensemble.values import MixtureWeights

    weights = MixtureWeights(("a", "b"), (0.25, 0.75), space="logit")
    (folder / "w.json").write_text(json.dumps(weights.to_dict()))
    return folder / "w.json"


def read_weights(path):
    from yt8m_ensemble.values import MixtureWeights

    MixtureWeights.parse(path.read_bytes(), path=str(path))


def make_flags(folder):
    from tests.builders.models import small_flags

    (folder / "model_flags.json").write_text(small_flags("NetVLADModelLF").to_json())
    return folder / "model_flags.json"


def read_flags(path):
    from yt8m_ensemble.loading.paths import read_flags as read
    from yt8m_ensemble.models import make_model
    from yt8m_ensemble.values import parse_flags
    from yt8m_ensemble.values.flags import parse_feature_spec

    read(str(path.parent / "model.ckpt-1"))
    flags = parse_flags(path.read_bytes(), path=str(path))
    parse_feature_spec(flags)
    make_model(str(flags.get("model")), {}, frame_level=True)


def read_provenance(path):
    from yt8m_ensemble.provenance import read_provenance as read

    read(str(path).removesuffix(".provenance.json"))


def make_run_state(folder):
    from yt8m_ensemble.recipe.run_state import RunState
    from yt8m_ensemble.reporting.stored import StepResult

    (folder / "x").write_text("content")
    state = RunState(str(folder))
    state.finish("a/train", "key", [str(folder / "x")], elapsed_s=1.5, result=StepResult())
    return folder / ".steps" / "a.train.json"


def make_digests(folder):
    return make_run_state(folder).with_name("digests.json")


def read_run_state(path):
    from yt8m_ensemble.recipe.run_state import RunState

    RunState(str(path.parent.parent)).is_done("a/train", "key")


def make_events(folder):
    from yt8m_ensemble.training import ScalarWriter

    with ScalarWriter(str(folder)) as writer:
        for step in (1, 2):
            writer.write(step, {"label_loss": 1 / step})
    (path,) = folder.iterdir()
    return path


def read_events(path):
    from yt8m_ensemble.reporting.events import read_scalars

    read_scalars(str(path.parent))


def read_history(path):
    from yt8m_ensemble.training.validation import read_history

    read_history(str(path))


def make_recipe(folder):
    source = Path(__file__).parents[2] / "recipes"
    (folder / "r.toml").write_bytes(sorted(source.glob("*.toml"))[0].read_bytes())
    return folder / "r.toml"


def read_recipe(path):
    from yt8m_ensemble.recipe.document import load_recipe

    load_recipe(str(path))


def make_state_file(folder):
    from yt8m_ensemble.checkpoints import write_checkpoint, write_state_file

    for step in (1, 2):
        write_checkpoint(str(folder / f"model.ckpt-{step}"), {"w": np.ones(1)})
    write_state_file(str(folder), [str(folder / f"model.ckpt-{step}") for step in (1, 2)])
    return folder / "checkpoint"


def read_state_file(path):
    from yt8m_ensemble.checkpoints import last_prefixes

    last_prefixes(str(path.parent), 2)


def make_records(folder):
    from tests.builders.records import make_frames
    from yt8m_ensemble.data import write_records

    write_records(str(folder / "r.tfrecord"), [make_frames(n) for n in range(3)])
    return folder / "r.tfrecord"


@functools.cache  # making the pipeline takes 20 times as long as reading a file with it
def record_reader(path):
    from tests.builders.records import FRAMES
    from yt8m_ensemble.data import BatchReader

    return BatchReader([str(path)], features=FRAMES, num_classes=NUM_CLASSES, batch_size=2)


def read_records(path):
    return list(record_reader(path))


def count_records(path):
    from yt8m_ensemble.data import estimate_num_records

    estimate_num_records([str(path)])


def make_meta_graph(folder):
    from tests.builders.models import small_flags
    from yt8m_ensemble.graphs import write_meta_graph
    from yt8m_ensemble.models import build_graph

    write_meta_graph(build_graph(small_flags("LogisticModel")), str(folder / "m.meta"))
    return folder / "m.meta"


def read_meta_graph(path):
    from yt8m_ensemble.checkpoints import summarize_meta_graph
    from yt8m_ensemble.graphs import load_meta_graph

    summarize_meta_graph(path.read_bytes(), path=str(path))
    load_meta_graph(str(path))


def make_saved_model(folder):
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(tf.ones((8, NUM_CLASSES)))
    signature = [tf.TensorSpec([None, 8], tf.float32, "x")]
    module.score = tf.function(lambda x: {"y": x @ module.weight}, input_signature=signature)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.score})
    return folder / "saved_model.pb"


def make_frozen_graph(folder):
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 8), name="x")
        tf.sigmoid(x @ tf.ones((8, NUM_CLASSES)), name="y")
    (folder / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    return folder / "m.pb"


def make_keras_model(folder):
    import keras

    layers = [keras.Input((8,)), keras.layers.Dense(NUM_CLASSES, activation="sigmoid")]
    keras.Sequential(layers).save(folder / "m.keras")
    return folder / "m.keras"


def read_model(path):
    from yt8m_ensemble.loading.model import open_model

    with open_model(str(path)):
        pass


def make_bundle(folder):
    import tarfile

    with tarfile.open(folder / "b.tgz", "w:gz") as archive:
        for name in ("model_flags.json", "inference_model.meta", "inference_model.index",
                     "inference_model.data-00000-of-00001"):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = 100
            archive.addfile(info, io.BytesIO(bytes(100)))
    return folder / "b.tgz"


def read_bundle(path):
    from yt8m_ensemble.packaging.reading import extract_bundle

    with tempfile.TemporaryDirectory() as folder:
        extract_bundle(str(path), f"{folder}/b", max_unpacked=10**6)


CLOUD = b"".join(
    b'{"video_id": "v%d", "class_indexes": [1, 0], "predictions": [0.5, 0.25]}\n' % n
    for n in range(3)
)
FORMATS = {
    "cache": Format(make_cache, read_cache),
    "cache-top-k": Format(lambda folder: make_cache(folder, top_k=3), read_cache),
    "keras": Format(make_keras, read_keras),
    "safetensors": Format(make_safetensors, read_safetensors),
    "index": Format(make_index, read_index),
    "npz": Format(make_npz, read_npz, mutate_zip),
    "labels-csv": Format(text("l.csv", b"VideoId,Labels\na,0 1\nbc,4\nd,\n"), read_labels),
    "submission-csv": Format(
        text("s.csv", b"VideoId,LabelConfidencePairs\na,1 0.5 0 0.25\nbc,4 0.5 3 0.1\n"),
        read_submission,
    ),
    "vocabulary": Format(
        text("v.csv", b'Index,Name\r\n0,"Guitar, ""electric"""\r\n1,Game\r\n'), read_vocabulary
    ),
    "scores-csv": Format(
        text(
            "s.csv",
            b"\xef\xbb\xbfVideoId,LabelConfidencePairs\r\n"
            b'"bc",4 0.100000 3 1e-07\r\na,1 0.5 0 0\r\n',
        ),
        read_scores,
    ),
    "scores-npz": Format(make_scores(".npz"), read_scores, mutate_zip),
    "scores-parquet": Format(make_scores(".parquet"), read_scores),
    "cloud-json": Format(text("c.json", CLOUD), read_cloud),
    "weights": Format(make_weights, read_weights),
    "flags": Format(make_flags, read_flags),
    "provenance": Format(
        text(
            "o.provenance.json", b'{"command": "x", "options": {"a": 1}, "model_flags": {"m": 1}}'
        ),
        read_provenance,
    ),
    "run-state": Format(make_run_state, read_run_state),
    "run-digests": Format(make_digests, read_run_state),
    "events": Format(make_events, read_events),
    "validation-history": Format(text("v.json", b'{"100": 0.5, "200": 0.75}'), read_history),
    "recipe": Format(make_recipe, read_recipe),
    "state-file": Format(make_state_file, read_state_file),
    "tfrecord": Format(make_records, read_records, mutate_record),
    "tfrecord-count": Format(make_records, count_records, mutate_record),
    "meta-graph": Format(make_meta_graph, read_meta_graph),
    "saved-model": Format(make_saved_model, read_model),
    "frozen-graph": Format(make_frozen_graph, read_model),
    "keras-model": Format(make_keras_model, read_model, mutate_zip),
    "tgz": Format(make_bundle, read_bundle, mutate_gzip),
}

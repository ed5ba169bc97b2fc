"""Mutate small valid files of every input format; opening one succeeds or raises our error.

    python tests/faults/fuzz.py FORMAT [--seconds 60 | --count N] [--seed 0] [--keep DIR]

Opening means reading all that the toolkit would read. A traceback, a hang of over ten seconds and a
crash are faults. Formats that carry checksums are also mutated below them: the content is changed
and signed anew. Prints how many mutants were opened, how many refused, and what failed.
"""

import argparse
import functools
import io
import json
import random
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yt8m_ensemble.errors import EnsembleError

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `tests.builders`

NUM_CLASSES = 5
ARRAYS: dict[str, NDArray[Any]] = {
    "t/w": np.ones((2, 3), np.float32),
    "t/b": np.ones(3),
    "s": np.array([b"x"], object),
}
SPECIAL = (b"", b"\xff", b"\xef\xbb\xbf", b"\x00", b'"', b",", b"\r\n", b"-1", b"nan", b"1e999",
           b"99999999999999999999", b"{}", b"[]", b"null", b"\xc3\x28", b"\x7f\xff\xff\xff",
           b"\xff\xff\xff\xff\xff\xff\xff\x7f")  # fmt: skip


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


def mutate(content, rng):
    """Return bytes with one to three places changed."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 64)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:end] = rng.randbytes(end - at)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[rng.randrange(len(data) + 1) :][: rng.choice((1, 8, 100))]
        elif kind == 4:
            data[at : at + rng.choice((0, 1, 4))] = rng.choice(SPECIAL)
        elif kind == 5:
            data[at:end] = bytes(end - at)
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def mutate_zip(content, rng):
    """Change one member of a zip archive, or its name; its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    inner = members.pop(name)
    if rng.random() < 0.2:
        name = mutate(name.encode(), rng).decode("latin-1").strip("\0") or "x"
    else:
        inner = mutate(inner, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for key, value in {**members, name: inner}.items():
            archive.writestr(key, value)
    return out.getvalue()


def mutate_gzip(content, rng):
    """Change the tar archive inside; the checksum of the compression is right."""
    import gzip

    return gzip.compress(mutate(gzip.decompress(content), rng), mtime=0)


def mutate_record(content, rng):
    """Change one record of a TFRecord file; its checksums are right."""
    records, at = [], 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 8], "little")
        records.append(content[at + 12 : at + 12 + length])
        at += length + 16
    at = rng.randrange(len(records))
    records[at] = mutate(records[at], rng)
    return b"".join(framed(record) for record in records)


def framed(record):
    """Return a record between its length and checksums, as TFRecord files hold it."""
    from yt8m_ensemble.checkpoints.checksums import crc32c, mask

    length = len(record).to_bytes(8, "little")
    sums = [mask(crc32c(part)).to_bytes(4, "little") for part in (length, record)]
    return length + sums[0] + record + sums[1]


# -- what is made and how it is read ---------------------------------------------------------------


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


class HangError(Exception):
    """Opening took longer than anything of this size may."""


def fuzz(name, *, seed=0, seconds=None, count=None, keep=None):
    """Open mutants of a format; return how many opened and were refused, and the faults."""
    chosen = FORMATS[name]
    rng = random.Random(seed)
    found = {"opened": 0, "refused": 0}
    faults = []

    def hang(*_):
        raise HangError

    before = signal.signal(signal.SIGALRM, hang)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = chosen.make(Path(folder))
            valid = path.read_bytes()
            chosen.read(path)
            number, started = 0, time.monotonic()
            while number < count if count else time.monotonic() - started < seconds:
                change = chosen.below if chosen.below and rng.random() < 0.5 else mutate
                mutant = change(valid, rng)
                path.write_bytes(mutant)
                if keep:  # also of a crash
                    Path(keep, f"{name}{path.suffix}").write_bytes(mutant)
                signal.alarm(10)
                try:
                    chosen.read(path)
                    found["opened"] += 1
                except EnsembleError:
                    found["refused"] += 1
                except Exception as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    faults.append(
                        f"mutant {number}: {type(error).__name__} {str(error)[:200]!r} at "
                        f"{Path(last.filename).name}:{last.lineno}"
                    )
                    if keep:
                        Path(keep, f"{name}-{number}{path.suffix}").write_bytes(mutant)
                finally:
                    signal.alarm(0)
                number += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    return {**found, "faults": faults}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("format", choices=[*FORMATS, "all"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--count", type=int, help="number of mutants, instead of --seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="directory for mutants that failed")
    options = parser.parse_args()
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    if options.format in {"tfrecord", "all"}:
        import tensorflow as tf

        # Making a pipeline faster takes longer than reading files this small.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    names = FORMATS if options.format == "all" else [options.format]
    for name in names:
        found = fuzz(
            name,
            seed=options.seed,
            seconds=options.seconds,
            count=options.count,
            keep=options.keep,
        )
        sys.stdout.write(f"{json.dumps({'format': name, **found}, indent=1)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

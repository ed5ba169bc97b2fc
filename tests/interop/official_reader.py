"""Predict records with an archive as the official `inference.py` does, in TensorFlow 1.x.

    python official_reader.py ARCHIVE YEAR RECORDS_GLOB OUT.csv BATCH_SIZE

Follows that reader step by step: records come through its kind of input queue, named as it names
it, in the session that the archive's graph is imported into. It holds no code of the package, and
runs under Python 3.6, which knows no postponed annotations.
"""

import glob
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

MAX_FRAMES = 300
TOP_K = 20


def main(archive: str, year: str, pattern: str, out: str, batch_size: str) -> None:
    """Write the predictions of all records."""
    directory = tempfile.mkdtemp()
    with tarfile.open(archive) as tar:
        tar.extractall(directory)
    flags = json.loads(Path(directory, "model_flags.json").read_text())
    # The reader of 2019 moved the files it looks for into a folder.
    parts = ["inference_model"] * (2 if year == "2019" else 1)
    prefix = str(Path(directory, *parts))
    config = tf.ConfigProto(allow_soft_placement=True)
    with tf.Session(config=config) as session, Path(out).open("w") as csv:
        ids, features, counts = input_queue(sorted(glob.glob(pattern)), flags, int(batch_size))
        with tf.device("/cpu:0"):
            saver = tf.train.import_meta_graph(prefix + ".meta", clear_devices=True)
        saver.restore(session, prefix)
        batch = tf.get_collection("input_batch_raw")[0]
        num_frames = tf.get_collection("num_frames")[0]
        predictions = tf.get_collection("predictions")[0]
        session.run(tf.variables_initializer(tf.get_collection(tf.GraphKeys.LOCAL_VARIABLES)))
        coordinator = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess=session, coord=coordinator)
        csv.write("VideoId,LabelConfidencePairs\n")
        try:
            while not coordinator.should_stop():
                video_ids, values, frames = session.run([ids, features, counts])
                scores = session.run(predictions, {batch: values, num_frames: frames})
                csv.writelines(map(row, video_ids, scores))
        except tf.errors.OutOfRangeError:
            pass
        finally:
            coordinator.request_stop()
        coordinator.join(threads)


def row(video_id: bytes, scores: Any) -> str:
    """Return one line of the submission: the best classes, best first."""
    best = np.argpartition(scores, -TOP_K)[-TOP_K:]
    best = best[np.argsort(-scores[best])]
    pairs = " ".join(f"{class_id} {scores[class_id]:g}" for class_id in best)
    return f"{video_id.decode()},{pairs}\n"


def input_queue(paths: "list[str]", flags: "dict[str, Any]", batch_size: int) -> Any:
    """Return tensors of ids, features and frame counts, fed by queues below the name `input`."""
    names = flags["feature_names"].split(",")
    sizes = [int(size) for size in flags["feature_sizes"].split(",")]
    with tf.name_scope("input"):
        queue = tf.train.string_input_producer(paths, num_epochs=1, shuffle=False)
        _, serialized = tf.TFRecordReader().read(queue)
        parse = parse_frames if flags["frame_features"] else parse_video
        return tf.train.batch_join(
            [parse(serialized, names, sizes)],
            batch_size=batch_size,
            allow_smaller_final_batch=True,
            enqueue_many=True,
        )


def parse_video(serialized: Any, names: "list[str]", sizes: "list[int]") -> "list[Any]":
    """Return id, features and a one for a video-level record, each with a leading axis."""
    spec = {"id": tf.FixedLenFeature([], tf.string)}
    spec.update({n: tf.FixedLenFeature([s], tf.float32) for n, s in zip(names, sizes)})  # noqa: B905
    fields = tf.parse_single_example(serialized, spec)
    features = tf.concat([fields[name] for name in names], 0)
    return [fields["id"][None], features[None], tf.ones([1])]


def parse_frames(serialized: Any, names: "list[str]", sizes: "list[int]") -> "list[Any]":
    """Return id, padded frames and their count for a frame-level record."""
    context, fields = tf.parse_single_sequence_example(
        serialized,
        context_features={"id": tf.FixedLenFeature([], tf.string)},
        sequence_features={name: tf.FixedLenSequenceFeature([], tf.string) for name in names},
    )
    count = tf.minimum(tf.shape(fields[names[0]])[0], MAX_FRAMES)
    padded = []
    for name, size in zip(names, sizes):  # noqa: B905 - Python 3.7 knows no strict
        bytes_ = tf.reshape(tf.decode_raw(fields[name], tf.uint8), [-1, size])[:MAX_FRAMES]
        values = tf.cast(bytes_, tf.float32) * (4.0 / 255.0) + (4.0 / 512.0 - 2.0)
        filled = tf.pad(values, [[0, MAX_FRAMES - count], [0, 0]])
        filled.set_shape([MAX_FRAMES, size])
        padded.append(filled)
    return [context["id"][None], tf.concat(padded, 1)[None], count[None]]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`predict` and `eval` beside a straightforward port of the official reader's loop, in one run.

    python tests/bench/bench_predict.py [--size small] [--videos 800] [--rounds 3]

The baseline reads as the official `inference.py` does: one thread that parses one record after the
other, one batch at a time, a row of Python formatting a video. All score the same float16 bundle of
three gated NetVLADs over the same generated frame-level records. Each run is a process of its own,
so that peak memory is its own; it scores one record file and then all eight, and the rate is that
of the difference, which leaves out start-up and opening. The best of the rounds counts.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

SIZES = {  # clusters and hidden units of the three members; classes
    "tiny": ([(2, 8), (4, 6), (2, 12)], 40),
    "small": ([(4, 16), (6, 24), (8, 32)], 3862),
    "published": ([(32, 1024), (16, 800), (32, 512)], 3862),
}
FEATURES = ("rgb", 1024), ("audio", 128)
MAX_FRAMES, TOP_K, SHARDS, BASELINE_BATCH = 300, 20, 8, 64


def make(folder, *, size, videos):
    """Write records and the bundle."""
    from tests.pico import write_train_dir
    from yt8m_ensemble.models import make_model, model_options
    from yt8m_ensemble.steps.merge import merge_models
    from yt8m_ensemble.steps.package import package_model
    from yt8m_ensemble.steps.synth import synthesize
    from yt8m_ensemble.values import FeatureSpec, ModelFlags

    members, classes = SIZES[size]
    names, sizes = tuple(name for name, _ in FEATURES), tuple(size for _, size in FEATURES)
    features = FeatureSpec(names, sizes, frame_level=True)
    synthesize(out=f"{folder}/records", level="frame", videos=videos, classes=classes, shards=8)
    paths = []
    for number, (clusters, hidden) in enumerate(members):
        options = {
            "netvlad_cluster_size": clusters,
            "netvlad_hidden_size": hidden,
            "gating": True,
            "moe_prob_gating": True,
        }
        made = model_options(make_model("NetVLADModelLF", options, frame_level=True))
        flags = ModelFlags("NetVLADModelLF", features, classes, options=made)
        directory = write_train_dir(Path(folder, f"m{number}"), flags, seed=number, scale=0.02)
        paths.append(str(directory))
    merge_models(members=paths, fp16="auto", out=f"{folder}/blend")
    package_model(model=f"{folder}/blend", out=f"{folder}/blend.tgz")


def baseline(bundle, paths, out):
    """Port of the official loop: queue runners, one reader, one batch after the other."""
    import numpy as np
    import tensorflow.compat.v1 as tf

    with (
        tempfile.TemporaryDirectory() as directory,
        tf.Graph().as_default(),
        tf.Session() as session,
        Path(out).open("w") as csv,
    ):
        with tarfile.open(bundle) as tar:
            tar.extractall(directory, filter="data")
        queue = tf.train.string_input_producer(paths, num_epochs=1, shuffle=False)
        _, serialized = tf.TFRecordReader().read(queue)
        context, lists = tf.parse_single_sequence_example(
            serialized,
            context_features={"id": tf.FixedLenFeature([], tf.string)},
            sequence_features={n: tf.FixedLenSequenceFeature([], tf.string) for n, _ in FEATURES},
        )
        count = tf.minimum(tf.shape(lists["rgb"])[0], MAX_FRAMES)
        padded = []
        for name, size in FEATURES:
            frames = tf.reshape(tf.decode_raw(lists[name], tf.uint8), [-1, size])[:MAX_FRAMES]
            values = tf.cast(frames, tf.float32) * (4 / 255) + (4 / 512 - 2)
            values = tf.pad(values, [[0, MAX_FRAMES - count], [0, 0]])
            padded.append(tf.reshape(values, [MAX_FRAMES, size]))
        fetches = tf.train.batch_join(
            [[context["id"][None], tf.concat(padded, 1)[None], count[None]]],
            batch_size=BASELINE_BATCH,
            allow_smaller_final_batch=True,
            enqueue_many=True,
        )
        saver = tf.train.import_meta_graph(f"{directory}/inference_model.meta", clear_devices=True)
        saver.restore(session, f"{directory}/inference_model")
        batch, num_frames, predictions = (
            tf.get_collection(name)[0] for name in ("input_batch_raw", "num_frames", "predictions")
        )
        session.run(tf.variables_initializer(tf.get_collection(tf.GraphKeys.LOCAL_VARIABLES)))
        coordinator = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess=session, coord=coordinator)
        csv.write("VideoId,LabelConfidencePairs\n")
        try:
            while not coordinator.should_stop():
                video_ids, values, counts = session.run(fetches)
                scores = session.run(predictions, {batch: values, num_frames: counts})
                for video_id, row in zip(video_ids, scores, strict=True):
                    top = np.argpartition(row, -TOP_K)[-TOP_K:]
                    pairs = sorted(((c, row[c]) for c in top), key=lambda pair: -pair[1])
                    line = " ".join("%i %g" % pair for pair in pairs)  # noqa: UP031
                    csv.write(f"{video_id.decode()},{line}\n")
        except tf.errors.OutOfRangeError:
            pass
        finally:
            coordinator.request_stop()
        coordinator.join(threads)


def run(what, folder):
    """Score one file, twice, then all; print seconds of wall and CPU and the peak memory."""
    paths = sorted(map(str, Path(folder, "records").iterdir()))
    bundle, out = f"{folder}/blend.tgz", f"{folder}/{what}.out"

    def score(chosen):
        data = ",".join(chosen)
        if what == "baseline":
            baseline(bundle, chosen, out)
        elif what == "eval":
            from yt8m_ensemble.steps.eval import evaluate_model

            evaluate_model(model=bundle, data=data)
        else:
            from yt8m_ensemble.steps.predict import predict_scores

            csv, cache = (out, None) if what == "predict" else (None, out)
            predict_scores(models=[bundle], data=data, force=True, csv=csv, cache=cache)

    spent = []
    for chosen in (paths[:1], paths[:1], paths):  # the first warms TensorFlow up
        started = time.perf_counter(), time.process_time()
        score(chosen)
        spent.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    (one_wall, one_cpu), (all_wall, all_cpu) = spent[1:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    found = {"one_wall": one_wall, "one_cpu": one_cpu, "all_wall": all_wall, "all_cpu": all_cpu}
    print(json.dumps({**found, "peak": peak}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--videos", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--what", default="baseline,predict,cache,eval")
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(folder, size=options.size, videos=options.videos)
        best: dict[str, dict[str, float]] = {}
        for _ in range(options.rounds):
            for what in options.what.split(","):
                command = [sys.executable, __file__, "--run", what, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                old = best.get(what, found)
                best[what] = {key: min(found[key], old[key]) for key in found}
                best[what]["peak"] = max(found["peak"], old["peak"])
    videos = options.videos * (SHARDS - 1) / SHARDS
    for found in best.values():
        for clock in ("wall", "cpu"):
            found[clock] = found[f"all_{clock}"] - found[f"one_{clock}"]
    first = next(iter(best.values()))
    for what, found in best.items():
        print(
            f"{what:9} {videos / found['wall']:8.0f} videos/s "
            f"({first['wall'] / found['wall']:5.2f} x)   "
            f"{found['cpu'] / videos * 1e3:6.2f} ms of CPU a video "
            f"({first['cpu'] / found['cpu']:5.2f} x less)   {found['peak']:.2f} GB"
        )


if __name__ == "__main__":
    main()

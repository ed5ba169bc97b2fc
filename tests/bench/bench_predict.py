"""`predict` and `eval` beside a straightforward port of the official reader's loop, in one run.

    python tests/bench/bench_predict.py [--size small] [--videos 800] [--rounds 3]
    python tests/bench/bench_predict.py --size video --videos 20000

The baseline reads as the official `inference.py` does: one thread that parses one record after the
other, one batch at a time, a row of Python formatting a video. All score the same float16 bundle of
three gated NetVLADs over the same generated frame-level records; at size `video`, of a logistic
model and two mixtures of experts over video-level ones. `graph` runs the graph of that bundle on
batches that are in memory already: no reader can be faster. `original` runs the baseline's loop in
TensorFlow 1.x, by the interpreter that `YT8M_BENCH_PYTHON` names. Each run is a process of its own,
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
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def netvlads(*sizes):
    """Gated NetVLADs of some clusters and hidden units."""
    gates = {"gating": True, "moe_prob_gating": True}
    return [
        ("NetVLADModelLF", {"netvlad_cluster_size": c, "netvlad_hidden_size": h, **gates})
        for c, h in sizes
    ]


MEANS: list[Any] = [("LogisticModel", {}), *[("MoeModel", {"moe_num_mixtures": n}) for n in (2, 4)]]
# The three members; level; classes.
SIZES: dict[str, tuple[list[Any], Literal["frame", "video"], int]] = {
    "tiny": (netvlads((2, 8), (4, 6), (2, 12)), "frame", 40),
    "small": (netvlads((4, 16), (6, 24), (8, 32)), "frame", 3862),
    "published": (netvlads((32, 1024), (16, 800), (32, 512)), "frame", 3862),
    "video": (MEANS, "video", 3862),
}
FEATURES = ("rgb", 1024), ("audio", 128)
MAX_FRAMES, TOP_K, SHARDS, BASELINE_BATCH = 300, 20, 8, 64


def make(folder, *, size, videos):
    """Write records and the bundle."""
    from tests.builders.models import write_train_dir
    from yt8m_ensemble.models import make_model, model_options
    from yt8m_ensemble.steps.merge import merge_models
    from yt8m_ensemble.steps.package import package_model
    from yt8m_ensemble.steps.synth import synthesize
    from yt8m_ensemble.values import FeatureSpec, ModelFlags

    members, level, classes = SIZES[size]
    of_frames = level == "frame"
    names = tuple(name if of_frames else f"mean_{name}" for name, _ in FEATURES)
    features = FeatureSpec(names, tuple(size for _, size in FEATURES), frame_level=of_frames)
    synthesize(out=f"{folder}/records", level=level, videos=videos, classes=classes, shards=8)
    paths = []
    for number, (model, options) in enumerate(members):
        made = model_options(make_model(model, options, frame_level=of_frames))
        flags = ModelFlags(model, features, classes, options=made)
        directory = write_train_dir(Path(folder, f"m{number}"), flags, seed=number, scale=0.02)
        paths.append(str(directory))
    merge_models(members=paths, fp16="auto", out=f"{folder}/blend")
    package_model(model=f"{folder}/blend", out=f"{folder}/blend.tgz")


def parse_frames(serialized):
    """Read a frame-level record as the official reader does: id, padded frames, their number."""
    import tensorflow.compat.v1 as tf

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
    return context["id"], tf.concat(padded, 1), count


def parse_means(serialized):
    """Read a video-level record likewise."""
    import tensorflow.compat.v1 as tf

    spec = {f"mean_{name}": tf.FixedLenFeature([size], tf.float32) for name, size in FEATURES}
    spec["id"] = tf.FixedLenFeature([], tf.string)
    parsed = tf.parse_single_example(serialized, spec)
    return parsed["id"], tf.concat([parsed[f"mean_{name}"] for name, _ in FEATURES], 0), 1


def baseline(bundle, paths, out, *, level):
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
        parse = parse_frames if level == "frame" else parse_means
        fetches = tf.train.batch_join(
            [[tf.convert_to_tensor(field)[None] for field in parse(serialized)]],
            batch_size=BASELINE_BATCH if level == "frame" else 1024,
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


def run_graph(bundle, data):
    """Score the batches of some records, read before the clock starts."""
    from yt8m_ensemble.files import expand_globs
    from yt8m_ensemble.inference import pool_batches
    from yt8m_ensemble.loading.model import open_model
    from yt8m_ensemble.scoring.members import scoring_reader, start_runner

    paths = expand_globs(data, option="--data")
    with open_model(bundle) as model, start_runner(model) as runner:
        batches = list(scoring_reader(paths, model, [runner], batch_size=None))
        runner.predict(batches[0].features, batches[0].num_frames)
        started = time.perf_counter(), time.process_time()
        for videos in pool_batches(batches, [runner]):
            runner.mixed(videos.pooled[0])
        return time.perf_counter() - started[0], time.process_time() - started[1]


def original(python, bundle, paths, out):
    """Run the same loop in a TensorFlow of the challenge's day; start-up is part of the time."""
    reader = Path(__file__).parents[1] / "interop" / "official_reader.py"
    pattern = paths[0] if len(paths) == 1 else str(Path(paths[0]).parent / "*")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [python, str(reader), bundle, "2018", pattern, out, str(BASELINE_BATCH)]
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(what, folder, size):
    """Score one file, twice, then all; print seconds of wall and CPU and the peak memory."""
    paths = sorted(map(str, Path(folder, "records").iterdir()))
    bundle, out = f"{folder}/blend.tgz", f"{folder}/{what}.out"

    def score(chosen):
        data = ",".join(chosen)
        if what == "graph":
            return run_graph(bundle, data)
        if what == "original":
            return original(os.environ["YT8M_BENCH_PYTHON"], bundle, chosen, out)
        started = time.perf_counter(), time.process_time()
        if what == "baseline":
            baseline(bundle, chosen, out, level=SIZES[size][1])
        elif what == "eval":
            from yt8m_ensemble.steps.eval import evaluate_model

            evaluate_model(model=bundle, data=data)
        else:
            from yt8m_ensemble.steps.predict import predict_scores

            csv, cache = (out, None) if what == "predict" else (None, out)
            predict_scores(models=[bundle], data=data, force=True, csv=csv, cache=cache)
        return time.perf_counter() - started[0], time.process_time() - started[1]

    spent = [score(chosen) for chosen in (paths[:1], paths[:1], paths)]  # the first warms up
    (one_wall, one_cpu), (all_wall, all_cpu) = spent[1:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    found = {"one_wall": one_wall, "one_cpu": one_cpu, "all_wall": all_wall, "all_cpu": all_cpu}
    if what == "original":
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(json.dumps({**found, "peak": peak}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--videos", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--what", default="baseline,predict,cache,eval,graph")
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(folder, size=options.size, videos=options.videos)
        best: dict[str, dict[str, float]] = {}
        for _ in range(options.rounds):
            for what in options.what.split(","):
                command = [sys.executable, __file__, "--run", what, folder, options.size]
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

"""Training steps: how much of the loop is the compiled step, and what shorter products save.

    python tests/bench/bench_training.py [--steps 20] [--rounds 3]

Rows, of the best round: `loop` feeds the step from records; `waiting` is the part of it spent in
the input pipeline; `step` repeats one batch. On few cores input and step compete, so `step` alone
plus `input` alone may exceed `loop`.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from yt8m_ensemble.data import fetch_ahead, training_dataset
from yt8m_ensemble.files import expand_globs
from yt8m_ensemble.models import make_model, model_options
from yt8m_ensemble.options import TrainingOptions
from yt8m_ensemble.steps.synth import synthesize
from yt8m_ensemble.training import Trainer
from yt8m_ensemble.values import FeatureSpec, ModelFlags

NETVLAD = {"gating": True, "moe_prob_gating": True}
SMALL = {"netvlad_cluster_size": 8, "netvlad_hidden_size": 48, **NETVLAD}
LARGE = {"netvlad_cluster_size": 16, "netvlad_hidden_size": 800, **NETVLAD}
CASES = {
    "quickstart NetVLAD, 60 classes": ("NetVLADModelLF", SMALL, "64,16", 60, 80, "float32"),
    "published NetVLAD, 3862 classes": ("NetVLADModelLF", LARGE, "1024,128", 3862, 80, "float32"),
    "the same in bfloat16": ("NetVLADModelLF", LARGE, "1024,128", 3862, 80, "bfloat16"),
    "MoeModel, 3862 classes": ("MoeModel", {}, "1024,128", 3862, 512, "float32"),
    "MoeModel in bfloat16": ("MoeModel", {}, "1024,128", 3862, 512, "bfloat16"),
}


def measure(case, glob, *, steps):
    """Return milliseconds a step: of the loop, of waiting in it, of the step, of the input."""
    model, options, sizes, num_classes, batch_size, precision = CASES[case]
    made = make_model(model, options)
    names = "rgb,audio" if made.frame_level else "mean_rgb,mean_audio"
    features = FeatureSpec.parse(names, sizes, frame_level=made.frame_level)
    flags = ModelFlags(model, features, num_classes, options=model_options(made))
    training = TrainingOptions(batch_size=batch_size, precision=precision)  # type: ignore[arg-type]
    trainer = Trainer(flags, training)
    paths = expand_globs(glob, option="--data")
    batches = fetch_ahead(
        training_dataset(
            paths,
            features=features,
            num_classes=num_classes,
            batch_size=batch_size,
            num_epochs=None,
            seed=0,
        )
    )

    def fetch():
        batch = next(batches)
        return batch["features"], batch["num_frames"], batch["labels"]

    for _ in range(3):
        batch = fetch()
        trainer.train_on(*batch)
    waited, started = 0.0, time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        batch = fetch()
        waited += time.perf_counter() - before
        trainer.train_on(*batch)
    times = [time.perf_counter() - started, waited]
    for action in (lambda: trainer.train_on(*batch), fetch):
        started = time.perf_counter()
        for _ in range(steps):
            action()
        times.append(time.perf_counter() - started)
    return [1000 * elapsed / steps for elapsed in times]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'':32} {'loop':>9} {'waiting':>8} {'step':>9} {'input':>9} {'videos/s':>9}")
    with tempfile.TemporaryDirectory() as directory:
        for case, (model, _, sizes, classes, batch_size, _) in CASES.items():
            level = "frame" if make_model(model).frame_level else "video"
            out = f"{directory}/{level}-{sizes.replace(',', 'x')}"
            if not Path(out).is_dir():
                synthesize(
                    out=out,
                    videos=1200,
                    classes=classes,
                    level="frame" if make_model(model).frame_level else "video",
                    feature_sizes=tuple(map(int, sizes.split(","))),
                )
            rounds = [
                measure(case, f"{out}/*.tfrecord", steps=arguments.steps)
                for _ in range(arguments.rounds)
            ]
            loop, waiting, step, fetch = min(rounds)
            print(
                f"{case:32} {loop:6.1f} ms {waiting / loop:8.1%} {step:6.1f} ms {fetch:6.1f} ms "
                f"{1000 * batch_size / loop:9,.0f}"
            )


if __name__ == "__main__":
    main()

"""Is the average that `avg-ckpt --last auto` chooses worth it, and does it replace a decay?

    python tests/bench/bench_averages.py --train 'train*.tfrecord' --validate 'validate*' --out DIR

Runs differ in architecture, learning rate (constant, or falling by a cosine), moving average and
seed. Each is averaged by the rule on one half of the validation videos; the table is of the other
half: GAP of the last checkpoint, and what the choice, the uniform mean of the last five and the
checkpoint that is best on the first half differ from it.

With `--against-decay` the table says by how much averages of a run of constant rate, taken after
84 % of its steps and after all of them, differ from the last checkpoint of two runs of that many
steps: one whose rate falls by a cosine from the start, and the same run again with a rate that
falls to 1 % over the last 16 % of the steps. `--steps` is then a multiple of 125.
`--frames` has the records hold frames.

A run's checkpoints, up to 3 GB, go once it is judged; `--only REGEX` names runs.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from yt8m_ensemble.averaging import MeanSource, ShadowSource, plan_average
from yt8m_ensemble.checkpoints import last_prefixes, open_checkpoint
from yt8m_ensemble.progress import no_progress
from yt8m_ensemble.scoring.average_choice import LAST, choose_average
from yt8m_ensemble.scoring.checkpoints import open_scorer
from yt8m_ensemble.steps.train import train_model
from yt8m_ensemble.tuning import Scorer
from yt8m_ensemble.tuning.scoring import paired_differences

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"learning_rate_decay": 1.0},
    "cosine": {"schedule": "cosine"},
}
VIDEO_MODELS: dict[str, dict[str, Any]] = {
    "LogisticModel": {"learning_rate": 0.05},
    "MoeModel": {"learning_rate": 0.05, "model_options": {"moe_num_mixtures": 2}},
    "MlpModel": {"learning_rate": 0.002, "model_options": {"mlp_hidden_size": 256}},
}
_NETVLAD = {"netvlad_cluster_size": 8, "netvlad_hidden_size": 128}
FRAME_MODELS: dict[str, dict[str, Any]] = {
    "NetVLADModelLF": {"learning_rate": 0.005, "model_options": _NETVLAD},
    "WillowNetVLADModelLF": {
        "learning_rate": 0.005,
        "model_options": {**_NETVLAD, "video_level_classifier_model": "MlpModel"},
    },
}
BATCH, CHECKPOINTS = 128, 12
DECAY_CHECKPOINTS, DECAY_WINDOW = 25, 10
FALL_FROM = 21  # 84 % of the steps
STAIRS, STAIR = 20, 0.8


def settings(models):
    """Yield the name and the training options of each run."""
    for name, schedule, ema, seed in product(models, SCHEDULES, (0.0, 0.98), (0, 1)):
        if name == "MlpModel" and seed:
            continue
        smooth = {"ema_decay": ema} if ema else {}
        label = f"{name}-{schedule}{'-ema' * bool(ema)}-{seed}"
        yield label, {"model": name, "seed": seed, **models[name], **SCHEDULES[schedule], **smooth}


@contextmanager
def open_run(prefixes: list[str], validate: str) -> Iterator[Any]:
    """Yield the weights of checkpoints by path, and a scorer that half of the videos choose by."""
    with ExitStack() as stack:
        sources: dict[str, Any] = {
            path: stack.enter_context(open_checkpoint(path)) for path in prefixes
        }
        if "-ema" in prefixes[-1]:  # as `--use-ema` does
            sources = {path: ShadowSource(source, path=path) for path, source in sources.items()}
        scorer = stack.enter_context(
            open_scorer(
                prefixes[-1], validate, batch_size=1024, progress=no_progress, holdout=0.5, seed=0
            )
        )
        yield sources, scorer


def choose(sources, scorer):
    """Return the choice of the rule, and a function that ranks a candidate on the other videos."""
    plan = plan_average(sources, newest=list(sources)[-1])
    tuned_on, held_out = scorer.split
    choice = choose_average(
        sources,
        plan,
        score=scorer.best_pairs,
        tuned_on=tuned_on,
        held_out=held_out,
        seed=0,
        progress=no_progress,
    )

    def judge(candidate):
        used = {path: sources[path] for path in candidate.inputs}
        return held_out_scorer(scorer, MeanSource(used, plan, candidate.weights))

    return choice, judge


def held_out_scorer(scorer, source):
    """Return what scores weights on the videos that choose nothing."""
    return Scorer(scorer.best_pairs(source).select(scorer.split[1]), "probability")


def judge_choice(train_dir, validate):
    """Return GAP of the last checkpoint and the differences of other choices, on other videos."""
    prefixes = last_prefixes(train_dir, CHECKPOINTS, at_most=True)
    with open_run(prefixes, validate) as (sources, scorer):
        choice, judge = choose(sources, scorer)
        singles = [one for one in choice.candidates if len(one.inputs) == 1]
        best = max(singles, key=lambda one: one.gap)
        five = next(one for one in choice.candidates if one.name == "uniform 5")
        last, five_gap, best_gap = (
            judge(one).gap([1]) for one in (choice.candidates[0], five, best)
        )
        held = choice.held_out
        assert held is not None
        differences = held.difference, held.interval, five_gap - last, best_gap - last
        return choice.chosen, last, *differences


def judge_decay(constant, falling, validate):
    """Yield what averages of a constant run differ by from each run whose rate fell."""
    prefixes = last_prefixes(constant, DECAY_CHECKPOINTS)
    decayed = [last_prefixes(train_dir, 1)[0] for train_dir in falling]
    with open_run([*decayed, *prefixes], validate) as (sources, scorer):
        bases = [held_out_scorer(scorer, sources[path]) for path in decayed]
        arms = {"last": held_out_scorer(scorer, sources[prefixes[-1]])}
        for end in (FALL_FROM, DECAY_CHECKPOINTS):
            window = prefixes[end - DECAY_WINDOW : end]
            choice, judge = choose({path: sources[path] for path in window}, scorer)
            name = LAST if choice.chosen == window[-1] else choice.chosen
            arms[f"{end / DECAY_CHECKPOINTS:.0%}, {name}"] = judge(choice.best)
    rankings = [one.ranking([1]) for one in (*bases, *arms.values())]
    gaps = paired_differences(rankings, num_resamples=1000, seed=0)
    for base, resampled in zip(bases, gaps, strict=False):
        ends = np.quantile(gaps[len(bases) :] - resampled, [0.025, 0.975], axis=1).T
        yield (
            base.gap([1]),
            [
                (label, arm.gap([1]) - base.gap([1]), *interval)
                for (label, arm), interval in zip(arms.items(), ends, strict=True)
            ],
        )


def compare_choices(given, train):
    """Print what the choice of each run is worth, and the mean and worst of all."""
    rows = []
    for label, options in settings(given.models):
        if not re.search(given.only, label):
            continue
        train_dir = train(label, options, CHECKPOINTS)
        name, last, difference, (low, high), five, best = judge_choice(train_dir, given.validate)
        shutil.rmtree(train_dir)
        rows.append((difference, low, five, best))
        print(
            f"{label:32} last {last:.5f}  auto {difference:+.5f} [{low:+.5f}, {high:+.5f}] "
            f"last 5 {five:+.5f}  best {best:+.5f}  {LAST if name == LAST else name}",
            flush=True,
        )
    auto, _, five, best = np.array(rows).T
    print(f"mean: auto {auto.mean():+.5f}, last 5 {five.mean():+.5f}, best {best.mean():+.5f}")
    print(f"worst: auto {auto.min():+.5f}, last 5 {five.min():+.5f}, best {best.min():+.5f}")


def compare_with_decay(given, train):
    """Print how far averages of a constant rate are from the same run with a falling one."""
    for name, seed in product(given.models, range(given.seeds)):
        label = f"{name}-{seed}"
        if not re.search(given.only, label):
            continue
        options = {"model": name, "seed": seed, **given.models[name]}
        options["learning_rate"] = given.rate or options["learning_rate"]
        dirs = [
            train(f"{label}-{key}", {**options, **schedule}, DECAY_CHECKPOINTS)
            for key, schedule in SCHEDULES.items()
        ]
        dirs.append(train_to_the_end(dirs[0], f"{label}-late", options, given.steps, train))
        found = judge_decay(dirs[0], dirs[1:], given.validate)
        for schedule, (gap, arms) in zip(("cosine", "late fall"), found, strict=True):
            print(f"{label}: {schedule} {gap:.5f}", end="")
            for arm, difference, low, high in arms:
                print(f"; {arm} {difference:+.5f} [{low:+.5f}, {high:+.5f}]", end="")
            print(flush=True)
        for train_dir in dirs:
            shutil.rmtree(train_dir)


def train_to_the_end(constant, label, options, steps, train):
    """Train the last steps of a run again, with a rate that falls."""
    start = steps * FALL_FROM // DECAY_CHECKPOINTS
    train_dir = Path(constant).with_name(label)
    train_dir.mkdir()
    for path in Path(constant).glob(f"model.ckpt-{start}.*"):
        shutil.copy(path, train_dir)
    shutil.copy(Path(constant) / "model_flags.json", train_dir)
    stair = (steps - start) // STAIRS
    first = options["learning_rate"] / STAIR ** (start // stair)  # as if it had fallen all along
    falling = {"learning_rate_decay": STAIR, "learning_rate_decay_examples": BATCH * stair}
    return train(label, {**options, **falling, "learning_rate": first}, DECAY_CHECKPOINTS)


def main():
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", required=True)
    parser.add_argument("--validate", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--steps", type=int, default=420)
    parser.add_argument("--frames", action="store_true")
    parser.add_argument("--against-decay", action="store_true")
    parser.add_argument("--rate", type=float, help="learning rate instead of the model's own")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    given.models = FRAME_MODELS if given.frames else VIDEO_MODELS

    def train(label, options, checkpoints):
        train_dir = f"{given.out}/{label}"
        train_model(
            train_data=given.train,
            train_dir=train_dir,
            features="frame" if given.frames else "video",
            num_classes=3862,
            batch_size=BATCH,
            max_steps=given.steps,
            num_epochs=0,
            save_steps=given.steps // checkpoints,
            **options,
        )
        return train_dir

    (compare_with_decay if given.against_decay else compare_choices)(given, train)


if __name__ == "__main__":
    main()

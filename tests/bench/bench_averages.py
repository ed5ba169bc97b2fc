"""Is the average that `avg-ckpt --last auto` chooses worth it? Twenty runs on video-level records.

    python tests/bench/bench_averages.py --train 'train*.tfrecord' --validate 'validate*' --out DIR

Runs differ in architecture, learning rate (constant, or falling by a cosine), moving average and
seed. Each is averaged by the rule on one half of the validation videos; the table is of the other
half: GAP of the last checkpoint, and what the choice, the uniform mean of the last five and the
checkpoint that is best on the first half differ from it. A run's checkpoints, up to 3 GB, go once
it is judged; `--only REGEX` names runs.
"""

import argparse
import re
import shutil
import sys
from contextlib import ExitStack
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

MODELS: dict[str, dict[str, Any]] = {
    "LogisticModel": {"learning_rate": 0.05},
    "MoeModel": {"learning_rate": 0.05, "model_options": {"moe_num_mixtures": 2}},
    "MlpModel": {"learning_rate": 0.002, "model_options": {"mlp_hidden_size": 256}},
}
CHECKPOINTS = 12


def settings():
    """Yield the name and the training options of each run."""
    for name, schedule, ema, seed in product(MODELS, ("constant", "cosine"), (0.0, 0.98), (0, 1)):
        if name == "MlpModel" and seed:
            continue
        falling = {"schedule": "cosine"} if schedule == "cosine" else {"learning_rate_decay": 1.0}
        smooth = {"ema_decay": ema} if ema else {}
        label = f"{name}-{schedule}{'-ema' * bool(ema)}-{seed}"
        yield label, {"model": name, "seed": seed, **MODELS[name], **falling, **smooth}


def judge(train_dir, validate):
    """Return GAP of the last checkpoint and the differences of other choices, on other videos."""
    prefixes = last_prefixes(train_dir, CHECKPOINTS, at_most=True)
    with ExitStack() as stack:
        sources: dict[str, Any] = {
            path: stack.enter_context(open_checkpoint(path)) for path in prefixes
        }
        if "-ema" in train_dir:  # as `--use-ema` does
            sources = {path: ShadowSource(source, path=path) for path, source in sources.items()}
        plan = plan_average(sources, newest=prefixes[-1])
        scorer = stack.enter_context(
            open_scorer(
                prefixes[-1], validate, batch_size=1024, progress=no_progress, holdout=0.5, seed=0
            )
        )
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
        singles = [one for one in choice.candidates if len(one.inputs) == 1]
        best = max(singles, key=lambda one: one.gap)
        five = next(one for one in choice.candidates if one.name == "uniform 5")

        def gap(one):
            used = {path: sources[path] for path in one.inputs}
            found = scorer.best_pairs(MeanSource(used, plan, one.weights)).select(held_out)
            return Scorer(found, "probability").gap([1])

        last = gap(choice.candidates[0])
        held = choice.held_out
        assert held is not None
        return (
            choice.chosen,
            last,
            held.difference,
            held.interval,
            gap(five) - last,
            gap(best) - last,
        )


def main():
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", required=True)
    parser.add_argument("--validate", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--steps", type=int, default=420)
    given = parser.parse_args()
    rows = []
    for label, options in settings():
        if not re.search(given.only, label):
            continue
        train_dir = f"{given.out}/{label}"
        train_model(
            train_data=given.train,
            train_dir=train_dir,
            features="video",
            num_classes=3862,
            batch_size=128,
            max_steps=given.steps,
            save_steps=given.steps // CHECKPOINTS,
            **options,
        )
        name, last, difference, (low, high), five, best = judge(train_dir, given.validate)
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


if __name__ == "__main__":
    main()

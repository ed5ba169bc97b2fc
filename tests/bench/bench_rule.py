"""What the rule of `tune-weights` is worth on videos that it has not seen, and that it never hurts.

    python tests/bench/bench_rule.py CACHE.h5 [--draws 20] [--sizes 100 300 1000 3000]

CACHE.h5 holds dense scores of some members, such as `predictions/averaged.h5` of a run of
`recipes/real-video.toml`. For each size that many videos are drawn to tune on, again and again, and
all others judge: GAP minus that of the uniform mean of logits over the same members, the worst and
the mean of the draws. Three sets of members:

    alike     three of the first member, each with errors of its own in its logits
    unequal   those of the cache and the last one with large errors
    broken    those of the cache and one that says the same of every video

The second table leaves one member out after the other, and adds a copy of one; half of the videos
tune. No setting was chosen on these videos: the rule's constants are the defaults.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from yt8m_ensemble.mixing import from_space, to_space
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning import Scorer, TuneSettings, collect_candidates, tune

SMALL_ERROR, LARGE_ERROR = 0.5, 2.0
CONSTANT = 0.01


def disturbed(scores, error, seed):
    """Scores with normal errors in their logits."""
    errors = np.random.default_rng(seed).standard_normal(scores.shape, np.float32)
    return from_space(to_space(scores, "logit") + np.float32(error) * errors, "logit")


def read_sets(path):
    """Candidates of each set of members, and the ids of the videos."""
    with open_prediction_set([path]) as opened:
        names, video_ids = list(opened.members), opened.video_ids
        scores = {
            "alike": ["first", "second", "third"],
            "unequal": [*names, "weak"],
            "broken": [*names, "constant"],
        }
        candidates = {
            kind: collect_candidates(members_of(kind, opened.blocks()), names=listed)
            for kind, listed in scores.items()
        }
    return candidates, video_ids


def members_of(kind, blocks):
    """Turn blocks of the cache's members into blocks of a set."""
    for number, (scores, labels) in enumerate(blocks):
        if kind == "alike":
            own = [disturbed(scores[0], SMALL_ERROR, 3 * number + m) for m in range(3)]
        elif kind == "unequal":
            own = [*scores, disturbed(scores[-1], LARGE_ERROR, number)]
        else:
            own = [*scores, np.full_like(scores[0], CONSTANT)]
        yield np.stack(own), labels


def gain(candidates, video_ids, rows):
    """What tuning on some videos gains over uniform logits on all others, and its result."""
    settings = TuneSettings(holdout=0, bootstrap=200, class_bias=False)
    result = tune(candidates.select(rows), video_ids[rows], settings)
    others = np.setdiff1d(np.arange(candidates.num_videos), rows)
    scorer = Scorer(candidates.select(others), "logit")
    tuned, uniform = (
        scorer.gap(values) for values in (result.weights.values, np.ones(len(candidates.names)))
    )
    return tuned - uniform, uniform, result


def bench_draws(candidates, video_ids, sizes, draws):
    """Print the first table."""
    print("members   tuned on   worst     mean      best      equal weights  constant at 0")
    for kind, held in candidates.items():
        for size in sizes:
            rng = np.random.default_rng(size)
            found = [
                gain(held, video_ids, np.sort(rng.choice(held.num_videos, size, replace=False)))
                for _ in range(draws)
            ]
            gains = [difference for difference, _, _ in found]
            kept = sum(result.chosen_by != "out of fold" or result.shrinkage == 0
                       for _, _, result in found)  # fmt: skip
            zero = sum(result.weights.values[-1] == 0 for _, _, result in found)
            print(
                f"{kind:9} {size:8,} {min(gains):+9.5f} {np.mean(gains):+9.5f} {max(gains):+9.5f}"
                f" {kept:10} of {draws}" + (f" {zero:10} of {draws}" if kind == "broken" else ""),
                flush=True,
            )


def bench_members(candidates, video_ids):
    """Print the second table, of the members of the cache."""
    held = candidates["broken"].select_members(range(len(candidates["broken"].names) - 1))
    rows = np.sort(np.random.default_rng(0).permutation(held.num_videos)[: held.num_videos // 2])
    every = range(len(held.names))
    cases = {"all": [*every]}
    cases |= {f"without {held.names[m]}": [n for n in every if n != m] for m in every}
    print("members                   uniform   tuned     weights")
    for name, members in cases.items():
        report(name, held.select_members(members), video_ids, rows)
    for member in every:
        report(f"two of {held.names[member]}", with_copy(held, member), video_ids, rows)


def with_copy(held, member):
    """The same candidates with one member twice."""
    scores = np.concatenate([held.scores, held.scores[member : member + 1]])
    return replace(held, names=(*held.names, "copy"), scores=scores)


def report(name, held, video_ids, rows):
    """Print one row of the second table."""
    difference, uniform, result = gain(held, video_ids, rows)
    weights = ", ".join(f"{value:.3f}" for value in result.weights.values)
    print(f"{name:24} {uniform:8.5f} {uniform + difference:9.5f}   {weights}", flush=True)


def main():
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000])
    given = parser.parse_args()
    candidates, video_ids = read_sets(given.cache)
    bench_members(candidates, video_ids)
    print()
    bench_draws(candidates, video_ids, given.sizes, given.draws)


if __name__ == "__main__":
    main()

"""How many generated instances `select` proves in a minute: 20 members in 4 precisions.

    python tests/bench/bench_select.py [--videos 20000] [--seconds 60] [--seeds 2] [--budgets 2 3 5]

Members are of unlike skill, scale and size; precisions lose more and more. A budget is given in
members of the mean size in the smallest precision: what fits decides how many sets there are.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.builders.predictions import blocks
from yt8m_ensemble.tuning import collect_candidates
from yt8m_ensemble.tuning.subset_search import Limits, search_subsets
from yt8m_ensemble.tuning.variants import Variant

NUM_MEMBERS, NUM_CLASSES = 20, 60
PRECISIONS = {"float32": 0, "float16": 1e-3, "uint8": 0.03, "uint4": 0.2}


def make_instance(num_videos, seed):
    """Candidates of all variants, and the variants."""
    rng = np.random.default_rng(seed)
    prior = 1 / (np.arange(NUM_CLASSES) + 5)
    labels = rng.random((num_videos, NUM_CLASSES)) < 3 * prior / prior.sum()
    shape = labels.shape
    shared = np.log(prior) + 4 * labels + rng.standard_normal(shape)
    scores: list[np.ndarray] = []
    variants = []
    for member in range(NUM_MEMBERS):
        noise = (0.6 + 0.25 * rng.gamma(2, 1)) * rng.standard_normal(shape)
        logits = (1 + 0.1 * rng.standard_normal()) * (shared + noise) + 0.3 * rng.standard_normal()
        size = int(rng.integers(50, 600)) * 8
        for place, (precision, loss) in enumerate(PRECISIONS.items()):
            own = logits + loss * rng.standard_normal(shape)
            variants.append(Variant(f"m{member}", precision, size >> place, len(scores), True))
            scores.append((1 / (1 + np.exp(-own))).astype(np.float32))
    names = [variant.name for variant in variants]
    return collect_candidates(blocks(np.stack(scores), labels), names=names), variants


def main():
    """Search every instance under every budget."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--budgets", type=float, nargs="+", default=[2, 3, 5])
    given = parser.parse_args()
    print("seed  budget  seconds  members  GAP       proven  gap of the bound  scored")
    for seed in range(given.seeds):
        candidates, variants = make_instance(given.videos, seed)
        mean = np.mean([v.size_bytes for v in variants if v.precision == "uint4"])
        for budget in given.budgets:
            started = time.perf_counter()
            limits = Limits(budget * mean, None, given.seconds)
            found = search_subsets(candidates, variants, space="logit", limits=limits)
            print(
                f"{seed:4} {budget:7} {time.perf_counter() - started:8.1f} {len(found.best):8} "
                f" {found.gaps[found.best]:.6f} {found.proof.is_proven!s:>7} "
                f"{found.proof.gap:17.6f} {found.proof.num_nodes:7}",
                flush=True,
            )


if __name__ == "__main__":
    main()

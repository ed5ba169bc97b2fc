"""GAP and mixtures beside floors and plain baselines of the same run.

    python tests/bench/bench_scoring.py [--videos 20000] [--rounds 5] [--growth 1400000]

`GAP, dense` scores an N x 3,862 float32 matrix; its floor is one read of the matrix plus one sort
of the kept pairs, its baselines the straightforward evaluator: a heap of (score, label) tuples,
filled video by video from a heap or from numpy's partition (timed on fewer videos and scaled).
`GAP of a mixture` scores one mixture of four members from cached candidates; its floor is one read
of the candidate scores, its baseline plain numpy on a padded candidate matrix. Every time is the
best of the rounds, which take turns.
"""

import argparse
import heapq
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from yt8m_ensemble.metrics import EvaluationMetrics, global_average_precision, top_k_classes
from yt8m_ensemble.tuning import Scorer, collect_candidates, search_weights
from yt8m_ensemble.tuning.tuners import simplex_grid

NUM_CLASSES = 3862
NUM_MEMBERS = 4
TOP_K = 20
ROW = 8  # mixtures scored in a row


def make_predictions(num_videos, seed=0):
    """Long-tailed scores of four members that share most of their errors, as real ones do."""
    rng = np.random.default_rng(seed)
    prior = np.log(1 / (np.arange(NUM_CLASSES) + 10)).astype(np.float32)
    chance = np.exp(prior) / np.exp(prior).sum()
    scores = np.empty((NUM_MEMBERS, num_videos, NUM_CLASSES), np.float32)
    labels = np.zeros((num_videos, NUM_CLASSES), np.bool_)
    for start in range(0, num_videos, 1000):
        rows = range(start, min(start + 1000, num_videos))
        owners = np.repeat(rows, 1 + rng.poisson(2, len(rows)))
        labels[owners, rng.choice(NUM_CLASSES, len(owners), p=chance)] = True
        part = labels[rows.start : rows.stop]
        shared = prior + 5 * part + 1.5 * rng.standard_normal(part.shape, np.float32)
        for member in range(NUM_MEMBERS):
            own = rng.standard_normal(part.shape, np.float32) * np.float32(0.2 + 0.05 * member)
            scores[member, rows.start : rows.stop] = 1 / (1 + np.exp(-shared - own))
    return scores, labels


def heap_gap(scores, labels, *, select):
    """GAP as the formula reads: a heap of all kept pairs, then one pass over it."""
    heap: list[tuple[float, bool]] = []
    for row, truth in zip(scores, labels, strict=True):
        for class_id in select(row):
            heapq.heappush(heap, (row[class_id], truth[class_id]))
    hits, total = 0, 0.0
    for rank, (_, hit) in enumerate(sorted(heap, key=lambda pair: pair[0], reverse=True), start=1):
        if hit:
            hits += 1
            total += hits / rank
    return total / np.count_nonzero(labels)


def select_by_heap(row):
    """The best classes of a video by a heap of its scores."""
    return heapq.nlargest(TOP_K, range(len(row)), key=row.tolist().__getitem__)


def select_by_partition(row):
    """The best classes of a video by numpy."""
    return np.argpartition(row, -TOP_K)[-TOP_K:]


def pad(candidates, width=64):
    """Candidates as (M, N, width) with zeros at the end of short rows, for plain numpy."""
    sizes = np.diff(candidates.indptr)
    columns = np.arange(candidates.indptr[-1]) - np.repeat(candidates.indptr[:-1], sizes)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    fits = columns < width
    padded = np.zeros((len(candidates.names), len(sizes), width), np.float32)
    padded[:, rows[fits], columns[fits]] = candidates.scores[:, fits]
    hits = np.zeros(padded.shape[1:], np.bool_)
    hits[rows[fits], columns[fits]] = candidates.hits[fits]
    return padded, hits


def numpy_gap(padded, hits, weights, num_positives):
    """Mix, take the top 20, sort, cumulate."""
    mixed = np.einsum("m,mnc->nc", weights, padded, optimize=True)
    top = np.argpartition(mixed, -TOP_K, axis=1)[:, -TOP_K:]
    order = np.argsort(-np.take_along_axis(mixed, top, axis=1).ravel())
    ranked = np.take_along_axis(hits, top, axis=1).ravel()[order]
    precisions = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return precisions[ranked].sum() / num_positives


def best_times(rounds, **functions):
    """Call every function in turn and return the least time of each."""
    times = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name] = min(times[name], time.perf_counter() - started)
    return times


def show(name, seconds, **ratios):
    """Print one row."""
    compared = "".join(f"  {value:8.1f} x {label}" for label, value in ratios.items())
    print(f"{name:42} {1e3 * seconds:10.2f} ms{compared}")


def bench_dense(scores, labels, rounds, heap_videos):
    """GAP of a dense matrix."""
    kept = np.take_along_axis(scores, top_k_classes(scores, TOP_K), axis=1).ravel()
    times = best_times(
        rounds,
        read=scores.max,
        sort=lambda: np.sort(kept),
        ours=lambda: global_average_precision(scores, labels),
    )
    some, truth = scores[:heap_videos], labels[:heap_videos]
    slow = best_times(
        1,
        heaps=lambda: heap_gap(some, truth, select=select_by_heap),
        partition=lambda: heap_gap(some, truth, select=select_by_partition),
    )
    floor = times["read"] + times["sort"]
    show("floor: read the matrix, sort kept pairs", floor)
    show("GAP, dense", times["ours"], floor=times["ours"] / floor)
    for name, label in (("heaps", "heaps throughout"), ("partition", "numpy selects, heap ranks")):
        seconds = slow[name] * len(scores) / heap_videos
        show(f"baseline (scaled): {label}", seconds, ours=seconds / times["ours"])


def bench_all_metrics(scores, labels, rounds):
    """GAP, mAP, Hit@1 and PERR in batches, as an evaluation job gathers them."""

    def evaluate():
        metrics = EvaluationMetrics(NUM_CLASSES)
        for start in range(0, len(labels), 1024):
            metrics.update(scores[start : start + 1024], labels[start : start + 1024])
        return metrics.result()

    show("all metrics, batches of 1,024", best_times(rounds, ours=evaluate)["ours"])


def bench_mixture(candidates, rounds):
    """GAP of one mixture, then of many on two threads, then a whole grid."""
    scorer = Scorer(candidates, "probability")
    padded, hits = pad(candidates)
    points = np.random.default_rng(0).dirichlet(np.ones(NUM_MEMBERS) * 5, 64).astype(np.float32)
    mixtures = iter(np.tile(points, (100, 1)))
    scorer.gap(points[0])
    # One after the other, as a search asks for them: a processor that sleeps takes long to wake.
    times = best_times(
        rounds,
        read=candidates.scores.max,
        alone=lambda: [scorer.gap(next(mixtures), num_threads=1) for _ in range(ROW)],
        ours=lambda: [scorer.gap(next(mixtures)) for _ in range(ROW)],
    )
    times |= {name: times[name] / ROW for name in ("alone", "ours")}
    # By itself: the threads of numpy's matrix products wait for more, and take a processor.
    times |= best_times(
        rounds, plain=lambda: numpy_gap(padded, hits, points[0], candidates.num_positives)
    )
    width = len(candidates.class_ids) / candidates.num_videos
    print(f"\n{candidates.num_videos} videos, {width:.0f} candidates each")
    show("floor: read the candidates' scores", times["read"])
    show("plain numpy, 64 candidates", times["plain"])
    show("GAP of a mixture, one thread", times["alone"], floor=times["alone"] / times["read"])
    show("GAP of a mixture", times["ours"], floor=times["ours"] / times["read"])
    print(f"  {times['plain'] / times['ours']:.1f} times as fast as plain numpy")
    with ThreadPoolExecutor(2) as pool:
        score = partial(scorer.gap, num_threads=1)
        many = best_times(max(1, rounds // 2), many=lambda: list(pool.map(score, points)))
    print(f"  {len(points) / many['many']:.0f} mixtures/s on two threads")
    grid = len(list(simplex_grid(NUM_MEMBERS, 20)))
    whole = best_times(1, grid=lambda: search_weights(scorer, method="grid", step=0.05))["grid"]
    show(f"grid of {grid:,} points", whole)


def bench_growth(candidates, rounds, most):
    """One mixture of ever more videos, drawn with replacement: the cost should grow as they do."""
    print()
    rng = np.random.default_rng(0)
    counts = [count for count in (200, 2_000, 20_000, 200_000) if count < most]
    for count in [*counts, most]:
        drawn = candidates.select(rng.integers(candidates.num_videos, size=count))
        scorer = Scorer(drawn, "probability")
        scorer.gap(np.ones(NUM_MEMBERS))
        times = best_times(rounds, gap=lambda s=scorer: s.gap(np.ones(NUM_MEMBERS)))
        size = (drawn.scores.nbytes + drawn.class_ids.nbytes + drawn.hits.nbytes) / count
        print(
            f"{count:9,} videos  {1e6 * times['gap'] / count:8.3f} us and {size:4.0f} bytes a video"
        )


def main():
    """Run the benches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--heap-videos", type=int, default=2_000)
    parser.add_argument("--growth", type=int, default=1_400_000)
    options = parser.parse_args()
    scores, labels = make_predictions(options.videos)
    bench_dense(scores[0], labels, options.rounds, options.heap_videos)
    bench_all_metrics(scores[0], labels, options.rounds)
    blocks = ((scores[:, i : i + 256], labels[i : i + 256]) for i in range(0, len(labels), 256))
    started = time.perf_counter()
    candidates = collect_candidates(blocks, names="abcd")
    print(f"\ncandidates collected in {time.perf_counter() - started:.1f} s")
    bench_mixture(candidates, options.rounds)
    bench_growth(candidates, options.rounds, options.growth)


if __name__ == "__main__":
    main()

"""Metrics as slow loops written from their formulas; shares no code with the package."""

from __future__ import annotations

import math


def best_first(row):
    """Classes by falling score, lower class first among equals."""
    return [c for _, c in sorted((-float(score), c) for c, score in enumerate(row))]


def top_pairs(scores, labels, top_k):
    """Each video's best pairs as (score, video, class, hit), lower class first among equals."""
    pairs = []
    for n, row in enumerate(scores):
        pairs += [(float(row[c]), n, c, bool(labels[n][c])) for c in best_first(row)[:top_k]]
    return pairs


def average_precision(pairs, num_positives):
    if num_positives == 0:
        return math.nan
    hits, total = 0, 0.0
    for rank, pair in enumerate(sorted(pairs, key=lambda p: (-p[0], p[1], p[2])), start=1):
        if pair[3]:
            hits += 1
            total += hits / rank
    return total / num_positives


def gap(scores, labels, top_k=20):
    num_positives = sum(bool(v) for row in labels for v in row)
    return average_precision(top_pairs(scores, labels, top_k), num_positives)


def average_precisions(scores, labels, top_k=20):
    pairs = top_pairs(scores, labels, top_k)
    return [
        average_precision([p for p in pairs if p[2] == c], sum(bool(row[c]) for row in labels))
        for c in range(len(labels[0]))
    ]


def hit_at_one(scores, labels):
    hits = [bool(truth[best_first(row)[0]]) for row, truth in zip(scores, labels, strict=True)]
    return sum(hits) / len(scores)


def perr(scores, labels):
    total = 0.0
    for row, truth in zip(scores, labels, strict=True):
        count = sum(bool(v) for v in truth)
        if count:
            best = best_first(row)[:count]
            total += sum(bool(truth[c]) and row[c] > 0 for c in best) / count
    return total / len(scores)

"""Compiled loops behind `Candidates` and `Scorer`. Plain arrays in and out, no checks.

Loaded only when something is scored; numba keeps the machine code beside the source. The loops are
given all room that they need: numba compiles the making of an array for longer than many a loop.

A pooled pair is one 64-bit number: the score's bits, flipped so that they fall with the score
(32), the candidate's place (31), and whether it is a hit (1). Sorting these numbers ranks the pool
by the tie rule of `metrics`: equal scores in (video, class) order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yt8m_ensemble.metrics.compiling import compiled

LANES = 64
"""Resamples scored in one pass over the ranked pairs."""

PAIRS = 128
"""Ranked pairs whose videos' copies are fetched at a time."""

LATE = 1 << 14
"""Rank from which the precisions of copies of one pair are summed by a formula."""

RANKS = 1 << 14
"""Ranks whose precisions are summed together, so that no number of threads changes a digit."""

CHUNK = 32
"""Videos mixed at a time: their mixed scores stay in the first-level cache."""

_MAX = 0x7FFFFFFF
_FIRST_STEP = 1 << 19  # a sixteenth of a score, as float32 bits go


@compiled
def keep_undominated(  # noqa: PLR0917 - compiled functions take no keywords
    indptr: Any,
    scores: Any,
    class_ids: Any,
    top_k: int,
    margin: float,
    floor: float,
    room: Any,
    order: Any,
    keep: Any,
) -> None:
    """Find the candidates that can be among their video's `top_k` in some mixture.

    A candidate is out if `top_k` others rank before it in every mixture: they are at least as high
    in every member and have a lower class id, or they exceed it and `floor` by `margin`.

    Args:
        indptr: Where each video's candidates start, `(N + 1,)`.
        scores: Members' scores, `(M, n)`, float32.
        class_ids: Classes of the candidates, `(n,)`, rising within a video.
        top_k: Pairs kept per video.
        margin: Relative excess that float32 rounding cannot undo.
        floor: Scores below it are alike in some space.
        room: Room for `M + 4` rows of the candidates of a video, or `top_k`, float32.
        order: Room for 3 rows of the candidates of a video, int64.
        keep: Output, `(n,)`, bool; set where a candidate stays.
    """
    num_members = len(scores)
    factor = np.float32(1.0 + margin)
    for video in range(len(indptr) - 1):
        begin = indptr[video]
        # Of those that stay the room holds the scores, and the order the classes and, for one
        # candidate at a time, whether they dominate it.
        num_kept = 0
        num_near = _within_reach(
            scores, begin, indptr[video + 1], top_k, factor, np.float32(floor), room, order
        )
        for place in range(num_near):
            i = order[0, place]
            class_id = class_ids[i]
            # Those that are out are so by `top_k` that stay, which dominate whatever these do.
            for j in range(num_kept):
                order[2, j] = 1
            for member in range(num_members):
                score = scores[member, i]
                exceeding = max(score, np.float32(floor)) * factor
                for j in range(num_kept):
                    border = score if order[1, j] < class_id else exceeding
                    order[2, j] &= np.int64(room[4 + member, j] >= border)
            dominators = 0
            for j in range(num_kept):
                dominators += order[2, j]
            if dominators < top_k:
                keep[i] = True
                order[1, num_kept] = class_id
                for member in range(num_members):
                    room[4 + member, num_kept] = scores[member, i]
                num_kept += 1


@compiled
def _within_reach(  # noqa: PLR0917 - compiled functions take no keywords
    scores: Any, begin: int, end: int, top_k: int, factor: Any, floor: Any, room: Any, order: Any
) -> int:
    # Those whose highest score reaches the `top_k`-th highest of all lowest scores: others have
    # `top_k` before them. By falling sum, for only a higher sum can dominate. The room's first
    # rows: lowest and highest score, sum, and the `top_k` best of the lowest.
    for i in range(begin, end):
        room[0, i - begin] = room[1, i - begin] = room[2, i - begin] = scores[0, i]
    for member in range(1, len(scores)):
        for i in range(begin, end):
            room[0, i - begin] = min(room[0, i - begin], scores[member, i])
            room[1, i - begin] = max(room[1, i - begin], scores[member, i])
            room[2, i - begin] += scores[member, i]
    for place in range(top_k):
        room[3, place] = -1
    for i in range(end - begin):
        place = top_k - 1
        if room[0, i] > room[3, place]:
            while place > 0 and room[3, place - 1] < room[0, i]:
                room[3, place] = room[3, place - 1]
                place -= 1
            room[3, place] = room[0, i]
    count = 0
    for i in range(end - begin):
        if max(room[1, i], floor) * factor >= room[3, top_k - 1]:
            place = count
            while place > 0 and room[2, order[0, place - 1] - begin] < room[2, i]:
                order[0, place] = order[0, place - 1]
                place -= 1
            order[0, place] = begin + i
            count += 1
    return count


@compiled
def fill_pool(  # noqa: PLR0917 - compiled functions take no keywords
    indptr: Any,
    linked: Any,
    weights: Any,
    hits: Any,
    top_k: int,
    guesses: Any,
    mixed: Any,
    bits: Any,
    pool: Any,
) -> int:
    """Mix every video's candidates and write the `top_k` best of each into `pool`.

    Args:
        indptr: Where each video's candidates start, `(N + 1,)`, int64.
        linked: Members' candidate scores in the mixing space, `(M, n)`, float32.
        weights: Mixture weights, `(M,)`, float32.
        hits: Whether a candidate is a positive, `(n,)`, bool.
        top_k: Pairs kept per video.
        guesses: Each video's border in the last mixture scored, `(N,)`, int32; updated. It saves
            time and never changes the result.
        mixed: Room for `CHUNK` videos' candidates, float32.
        bits: The same memory as int32.
        pool: Output, uint64, room for `top_k * N + 1` numbers.

    Returns:
        Pairs written.
    """
    num_videos = len(guesses)
    count = 0
    for chunk in range(0, num_videos, CHUNK):
        end = min(chunk + CHUNK, num_videos)
        origin = indptr[chunk]
        size = indptr[end] - origin
        # The arithmetic of `mixing.mix`, in its order, so that both agree bit for bit.
        for i in range(size):
            mixed[i] = 0
        for member in range(len(weights)):
            weight = weights[member]
            column = linked[member, origin : origin + size]
            for i in range(size):
                mixed[i] += weight * column[i]
        for i in range(size):
            mixed[i] += np.float32(0)  # -0.0 becomes the 0.0 it equals
        # Signed integers in the order of the floats. A loop of its own, or it is not vectorized:
        # the compiler knows no more than that both are somewhere in memory.
        for i in range(size):
            bits[i] ^= (bits[i] >> 31) & np.int32(_MAX)
        for video in range(chunk, end):
            begin = indptr[video]
            row = bits[begin - origin : indptr[video + 1] - origin]
            border, room = _border(row, guesses[video], top_k)
            guesses[video] = border
            for i in range(len(row)):
                falling = np.uint64(np.int64(_MAX) - np.int64(row[i])) << np.uint64(32)
                tag = np.uint64(begin + i) << np.uint64(1)
                # Written always, counted only if kept: no branch to mispredict.
                pool[count] = falling | tag | np.uint64(hits[begin + i])
                count += int(row[i] >= border)
                if row[i] == border:
                    count -= int(room == 0)
                    room -= int(room > 0)
    return count


@compiled
def _border(row: Any, guess: Any, top_k: int) -> tuple[Any, int]:
    # The value from which to keep, and how many of those that equal it.
    if len(row) <= top_k:
        return np.int32(-_MAX - 1), len(row)
    at_least = _count_at_least(row, guess)
    if at_least == top_k:
        return guess, len(row)
    # The border is in low .. high: at least top_k are >= low, fewer are > high. Look near the
    # guess first, in growing steps, then halve.
    low = high = np.int64(row[0])
    for i in range(len(row)):
        low = min(low, np.int64(row[i]))
        high = max(high, np.int64(row[i]))
    upward = at_least > top_k
    if upward:
        low = max(low, np.int64(guess))
    else:
        high = min(high, np.int64(guess) - 1)
    step = np.int64(_FIRST_STEP)
    while low < high:
        middle = low + step if upward else high + 1 - step
        if step > high - low:
            middle = (low + high + 1) >> 1
        at_least = _count_at_least(row, np.int32(middle))
        if at_least == top_k:
            return np.int32(middle), len(row)
        if (at_least > top_k) != upward:
            step = np.int64(_MAX)  # overshot: halve from here on
        step *= 2
        if at_least > top_k:
            low = middle
        else:
            high = middle - 1
    above = 0
    for i in range(len(row)):
        above += int(row[i] > low)
    return np.int32(low), top_k - above


@compiled
def _count_at_least(row: Any, border: Any) -> Any:
    count = np.int32(0)
    for i in range(len(row)):
        count += np.int32(row[i] >= border)
    return count


@compiled
def sum_precisions(pool: Any, first: int, sums: Any) -> None:
    """Add up what the precisions at the hits' ranks are made of, block by block of ranks.

    With h hits before block b, the precisions of its hits sum to h * sums[b, 0] + sums[b, 1].

    Args:
        pool: Sorted pooled pairs, from the beginning of a block on.
        first: Pairs that rank before them.
        sums: Output, `(blocks, 3)`, float64. Over the hits of each block: 1 / rank, hits so far
            in the block / rank, and 1.
    """
    for block in range(len(sums)):
        inverse = precise = 0.0
        num_hits = 0
        begin = block * RANKS
        for i in range(begin, min(begin + RANKS, len(pool))):
            if pool[i] & np.uint64(1):
                num_hits += 1
                inverse += 1 / (first + i + 1)
                precise += num_hits / (first + i + 1)
        sums[block, 0], sums[block, 1], sums[block, 2] = inverse, precise, num_hits


@compiled
def count_draws(drawn: Any, counts: Any) -> None:
    """Count how often each video is drawn.

    Args:
        drawn: Videos, int64.
        counts: Output, `(N,)`, uint8; updated.
    """
    for i in range(len(drawn)):
        counts[drawn[i]] += 1


@compiled
def sum_resampled_precisions(  # noqa: PLR0917 - compiled functions take no keywords
    videos: Any, hits: Any, copies: Any, words: Any, room: Any, counts: Any, totals: Any
) -> None:
    """Sum precisions at the hits' ranks of `LANES` resamples of the videos.

    The r-th resample holds `copies[n, r]` times video n. Copies of one pair take consecutive ranks.

    Args:
        videos: Video of each ranked pair of the original videos, int32.
        hits: Whether it is a positive.
        copies: Shape `(N, LANES)`, uint8, one cache line a video, as words: `(N, LANES / 8)`,
            uint64.
        words: Room for the copies of `PAIRS` pairs, `(PAIRS, LANES / 8)`, uint64.
        room: The same memory as `(PAIRS, LANES)`, uint8.
        counts: Room, `(2, LANES)`, int32.
        totals: Output, `(LANES,)`, float64.
    """
    # Loops of a fixed length over all resamples, without branches, are compiled to vectors.
    num_hits, misses = counts[0], counts[1]
    for r in range(LANES):
        num_hits[r] = misses[r] = 0
        totals[r] = 0
    all_rank_late = False
    for start in range(0, len(videos), len(room)):
        size = min(len(room), len(videos) - start)
        # Videos lie anywhere in memory. A loop this short has many of them on their way at once.
        for i in range(size):
            for word in range(LANES // 8):
                words[i, word] = copies[videos[start + i], word]
        for i in range(size):
            row = room[i]
            if not hits[start + i]:
                for r in range(LANES):
                    misses[r] += row[r]
            elif all_rank_late:
                # k copies behind h hits and m misses add k - m * (1 / (h+m+1) + ... + 1 / (h+m+k)),
                # here by the middle of the sum and its curvature: exact to 1e-14 from `LATE` on.
                for r in range(LANES):
                    count = np.float64(row[r])
                    inverse = 1 / (num_hits[r] + misses[r] + (count + 1) / 2)
                    bend = 1 + (count * count - 1) / 12 * inverse * inverse
                    totals[r] += count - misses[r] * (count * inverse * bend)
                    num_hits[r] += row[r]
            else:
                all_rank_late = _add_copies(row, num_hits, misses, totals) >= LATE


@compiled
def _add_copies(row: Any, num_hits: Any, misses: Any, totals: Any) -> Any:
    # One copy of a hit after the other; returns the least of the ranks.
    most = np.uint8(0)
    for r in range(LANES):
        most = max(most, row[r])
    for copy in range(most):
        for r in range(LANES):
            is_drawn = np.int32(row[r] > copy)
            num_hits[r] += is_drawn
            totals[r] += is_drawn * (num_hits[r] / max(num_hits[r] + misses[r], 1))
    least = num_hits[0] + misses[0]
    for r in range(LANES):
        least = min(least, num_hits[r] + misses[r])
    return least


@compiled
def add_mean_ranks(keys: Any, weight: float, total: Any) -> None:
    """Add weighted ranks in `[0, 1]`, from low scores to high; equal scores share their mean rank.

    Args:
        keys: Sorted, uint64: a score's bits (32) above its place (32).
        weight: Factor.
        total: Sums by place, `(n,)`, float64; updated.
    """
    scale = weight / (2 * max(len(keys) - 1, 1))
    start = 0
    while start < len(keys):
        score = keys[start] >> np.uint64(32)
        end = start + 1
        while end < len(keys) and keys[end] >> np.uint64(32) == score:
            end += 1
        for i in range(start, end):
            total[keys[i] & np.uint64(0xFFFFFFFF)] += scale * (start + end - 1)
        start = end


@compiled
def sum_slopes(margins: Any, class_ids: Any, hits: Any, bias: Any, sums: Any) -> None:
    """Add up the first two derivatives of each class's log loss by its bias.

    Args:
        margins: Logit of each pair, `(n,)`, float64.
        class_ids: Its class.
        hits: Whether it is a positive.
        bias: Bias of each class, `(C,)`.
        sums: Sums of `sigmoid(z + b) - y` and of `sigmoid'(z + b)`, `(2, C)`, float64; updated.
    """
    for i in range(len(margins)):
        class_id = class_ids[i]
        chance = 1 / (1 + np.exp(-(margins[i] + bias[class_id])))
        sums[0, class_id] += chance - hits[i]
        sums[1, class_id] += chance * (1 - chance)


@compiled
def soft_precision(  # noqa: PLR0917 - compiled functions take no keywords
    linked: Any, places: Any, hits: Any, weights: Any, edges: Any, gradient: Any
) -> float:
    """Return a smooth stand-in for the sum of precisions over a fixed pool, and its gradient.

    Scores fall into a histogram; a score between two edges is shared between them in proportion,
    so that moving it moves the sums. With N and H the counts of pairs and of hits at an edge, and
    cN, cH their sums from the top, the value is sum of H * cH / cN (Cakir et al., "Deep Metric
    Learning to Rank", CVPR 2019).

    Args:
        linked: Members' candidate scores in the mixing space, `(M, n)`, float32.
        places: Candidates in the pool, `(p,)`.
        hits: Whether each candidate is a positive, `(n,)`, bool.
        weights: Mixture weights, `(M,)`, float64.
        edges: Rising edges, `(B,)`, float64; scores beyond the ends count at the ends.
        gradient: Output, `(M,)`, float64.

    Returns:
        The sum in float64.
    """
    num_edges = len(edges)
    cells = np.empty(len(places), np.int32)
    pairs = np.zeros(num_edges)
    positives = np.zeros(num_edges)
    for p in range(len(places)):
        score = 0.0
        for member in range(len(weights)):
            score += weights[member] * linked[member, places[p]]
        cell = min(max(int(np.searchsorted(edges, score)) - 1, 0), num_edges - 2)
        share = (score - edges[cell]) / (edges[cell + 1] - edges[cell])
        share = min(max(share, 0.0), 1.0)
        # Beyond the ends a score cannot move the sums.
        cells[p] = cell if 0.0 < share < 1.0 else -1
        pairs[cell] += 1 - share
        pairs[cell + 1] += share
        if hits[places[p]]:
            positives[cell] += 1 - share
            positives[cell + 1] += share
    value = 0.0
    above = np.empty(num_edges)
    above_hits = np.empty(num_edges)
    all_pairs = all_hits = 0.0
    for b in range(num_edges - 1, -1, -1):
        all_pairs += pairs[b]
        all_hits += positives[b]
        above[b], above_hits[b] = all_pairs, all_hits
        if all_pairs > 0:
            value += positives[b] * all_hits / all_pairs
    # By the chain rule: first through the counts from the top, then through each pair's share.
    by_pairs = np.zeros(num_edges)
    by_hits = np.zeros(num_edges)
    of_pairs = of_hits = 0.0
    for b in range(num_edges):
        if above[b] > 0:
            of_pairs -= positives[b] * above_hits[b] / above[b] ** 2
            of_hits += positives[b] / above[b]
            by_hits[b] = above_hits[b] / above[b]
        by_pairs[b] = of_pairs
        by_hits[b] += of_hits
    gradient[:] = 0
    for p in range(len(places)):
        cell = cells[p]
        if cell >= 0:
            slope = by_pairs[cell + 1] - by_pairs[cell]
            if hits[places[p]]:
                slope += by_hits[cell + 1] - by_hits[cell]
            slope /= edges[cell + 1] - edges[cell]
            for member in range(len(weights)):
                gradient[member] += slope * linked[member, places[p]]
    return value

"""How members differ and what their mixture makes of it: pairs, frequency bands, videos.

Works on candidates, so it sees the classes that can matter to a mixture, not the far tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.metrics.ranking import average_precision, class_average_precisions
from yt8m_ensemble.mixing import to_space
from yt8m_ensemble.tuning.baselines import apply_mixture
from yt8m_ensemble.tuning.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates
    from yt8m_ensemble.values import Labels, MixtureWeights

MIXTURE = "mixture"
_ROWS = 1 << 15  # videos
_PAIRS = 1 << 22
BANDS = (1, 3, 10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Pair:
    """Compare two members.

    Args:
        members: Their names.
        correlation: Pearson correlation of their logits over the candidates.
        disagreement: Share of videos whose best class differs.
        only_first: Share of videos where the first alone puts a positive on top.
        only_second: Share of videos where the second alone does.
        q: Yule's Q of these successes, `(ad - bc) / (ad + bc)` with both right a, both wrong d,
            one alone b and c: 1 for members that fail on the same videos, 0 for independent ones;
            `nan` where it is 0 / 0.
    """

    members: tuple[str, str]
    correlation: float
    disagreement: float
    only_first: float
    only_second: float
    q: float


@dataclass(frozen=True)
class Band:
    """GAP over the classes of one frequency band.

    Args:
        low: Fewest positives of a class in the band, in these videos.
        high: Most of them.
        num_classes: Classes in the band.
        num_positives: Positives of these classes.
        gaps: Average precision by member and mixture over the pooled pairs of these classes.
    """

    low: int
    high: int
    num_classes: int
    num_positives: int
    gaps: Mapping[str, float]


@dataclass(frozen=True)
class ClassChange:
    """Average precision of one class before and after mixing.

    Args:
        class_id: The class.
        num_positives: Its positives.
        best_single: Average precision under the best single member (best overall).
        mixture: Average precision under the mixture.
        name: What the class is called; empty if that is not known.
    """

    class_id: int
    num_positives: int
    best_single: float
    mixture: float
    name: str = ""


@dataclass(frozen=True)
class Comparison:
    """Result of `compare_members`.

    Args:
        gaps: GAP by member and mixture.
        best_single: The member of highest GAP.
        pairs: Every pair of members.
        bands: Frequency bands, rare to frequent; bands without classes are left out.
        classes: Classes that changed most, gains first.
        fixed: Ids of videos where the mixture puts a positive on top and the best single does not.
        broken: Ids of the reverse.
        num_videos: Videos compared on.
    """

    gaps: Mapping[str, float]
    best_single: str
    pairs: tuple[Pair, ...]
    bands: tuple[Band, ...]
    classes: tuple[ClassChange, ...]
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    num_videos: int


def compare_members(
    candidates: Candidates, labels: Labels, weights: MixtureWeights, *, num_listed: int = 10
) -> Comparison:
    """Compare members with each other and with their mixture.

    Args:
        candidates: Of all videos and members.
        labels: Of the same videos.
        weights: The mixture, members in the candidates' order.
        num_listed: Classes listed at either end.

    Returns:
        The comparison.
    """
    scores = dict(zip(candidates.names, candidates.scores, strict=True))
    scores[MIXTURE] = apply_mixture(weights)(candidates)
    scorer = Scorer(candidates, "probability")
    pools, gaps, tops = {}, {}, {}
    for name, mixed in scores.items():
        pools[name] = pool = scorer.pool_of(mixed)
        gaps[name] = average_precision(mapped.take(candidates.hits, pool), candidates.num_positives)
        tops[name] = best_candidates(candidates, mixed)
        mapped.release(pool, mixed)
    best_single = max(candidates.names, key=lambda name: gaps[name])
    right = {name: candidates.hits[top] for name, top in tops.items()}
    positives = np.bincount(labels.class_ids, minlength=labels.num_classes)
    ids = labels.video_ids.astype("U")
    return Comparison(
        gaps=gaps,
        best_single=best_single,
        pairs=_pairs(candidates, tops),
        bands=_bands(candidates, pools, positives),
        classes=_classes(
            candidates,
            tuple((scores[name], pools[name]) for name in (best_single, MIXTURE)),
            positives,
            num_listed,
        ),
        fixed=tuple(ids[right[MIXTURE] & ~right[best_single]].tolist()),
        broken=tuple(ids[right[best_single] & ~right[MIXTURE]].tolist()),
        num_videos=candidates.num_videos,
    )


def best_candidates(candidates: Candidates, mixed: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each video's best candidate, the lowest class among equals."""
    best = np.empty(candidates.num_videos, np.int64)
    for start in range(0, candidates.num_videos, _ROWS):
        ends = candidates.indptr[start : start + _ROWS + 1]
        own = mixed[ends[0] : ends[-1]]
        highest = np.repeat(np.maximum.reduceat(own, ends[:-1] - ends[0]), np.diff(ends))
        # Classes rise within a video, so the first of those that are highest is its best.
        places = np.flatnonzero(own == highest) + ends[0]
        best[start : start + _ROWS] = places[np.searchsorted(places, ends[:-1])]
    return best


def _pairs(candidates: Candidates, tops: Mapping[str, NDArray[np.int64]]) -> tuple[Pair, ...]:
    names = candidates.names
    correlations = _correlations(candidates)
    pairs = []
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            first, second = tops[names[i]], tops[names[j]]
            hit, other_hit = candidates.hits[first], candidates.hits[second]
            pairs.append(
                Pair(
                    (names[i], names[j]),
                    float(correlations[i, j]),
                    float(np.mean(first != second)),
                    float(np.mean(hit & ~other_hit)),
                    float(np.mean(other_hit & ~hit)),
                    _yules_q(hit, other_hit),
                )
            )
    return tuple(pairs)


def _correlations(candidates: Candidates) -> NDArray[np.float64]:
    """Return the correlations of the members' logits, shape `(M, M)`, summed in float64."""
    num_members, length = candidates.scores.shape
    sums, products = np.zeros((num_members, 1)), np.zeros((num_members, num_members))
    for part in mapped.blocks(length):
        logits = to_space(candidates.scores[:, part], "logit")
        sums += logits.sum(axis=1, dtype=np.float64, keepdims=True)
        mapped.release(candidates.scores)
    for part in mapped.blocks(length):
        centered = to_space(candidates.scores[:, part], "logit") - sums / length
        products += centered @ centered.T
        mapped.release(candidates.scores)
    deviations = np.sqrt(np.diag(products))
    found: NDArray[np.float64] = products / np.outer(deviations, deviations)
    return np.clip(found, -1, 1)


def _class_gaps(
    candidates: Candidates,
    scores: NDArray[np.float32],
    pool: NDArray[np.int32],
    positives: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the average precision of each class, shape `(C,)`."""
    # Some classes at a time: their rankings have nothing to do with each other.
    class_ids = mapped.take(candidates.class_ids, pool)
    sizes = np.cumsum(np.bincount(class_ids, minlength=len(positives)))
    found = np.empty(len(positives))
    first = 0
    while first < len(positives):
        done = sizes[first - 1] if first else 0
        last = max(int(np.searchsorted(sizes, done + _PAIRS, "right")), first + 1)
        own = pool[(class_ids >= first) & (class_ids < last)]
        found[first:last] = class_average_precisions(
            candidates.class_ids[own] - first,
            scores[own],
            candidates.hits[own],
            positives=positives[first:last],
        )
        first = last
    return found


def _yules_q(hit: NDArray[np.bool_], other_hit: NDArray[np.bool_]) -> float:
    alike = np.sum(hit & other_hit) * float(np.sum(~hit & ~other_hit))
    unlike = np.sum(hit & ~other_hit) * float(np.sum(other_hit & ~hit))
    return float((alike - unlike) / (alike + unlike)) if alike + unlike else float("nan")


def _bands(
    candidates: Candidates, pools: Mapping[str, NDArray[np.int32]], positives: NDArray[np.int64]
) -> tuple[Band, ...]:
    ends = [*(edge - 1 for edge in BANDS[1:]), max(int(positives.max()), BANDS[-1])]
    bands = [
        (low, high, inside, int(positives[inside].sum()))
        for low, high in zip(BANDS, ends, strict=True)
        if (inside := (positives >= low) & (positives <= high)).any()
    ]
    gaps: list[dict[str, float]] = [{} for _ in bands]
    for name, pool in pools.items():
        class_ids, hits = (mapped.take(a, pool) for a in (candidates.class_ids, candidates.hits))
        for (_, _, inside, total), found in zip(bands, gaps, strict=True):
            chosen = [hits[part][inside[class_ids[part]]] for part in mapped.blocks(len(pool))]
            found[name] = average_precision(np.concatenate(chosen), total)
        mapped.release(pool)
    return tuple(
        Band(low, high, int(inside.sum()), total, found)
        for (low, high, inside, total), found in zip(bands, gaps, strict=True)
    )


def _classes(
    candidates: Candidates,
    rankings: tuple[tuple[NDArray[np.float32], NDArray[np.int32]], ...],
    positives: NDArray[np.int64],
    num_listed: int,
) -> tuple[ClassChange, ...]:
    before, after = (_class_gaps(candidates, *ranking, positives) for ranking in rankings)
    # Rare classes move most and mean least: weigh the change by the positives behind it.
    change = np.nan_to_num((after - before) * positives)
    order = np.argsort(-change, kind="stable").tolist()
    return tuple(
        ClassChange(c, int(positives[c]), float(before[c]), float(after[c]))
        for c in dict.fromkeys([*order[:num_listed], *order[-num_listed:]])
        if change[c] != 0
    )

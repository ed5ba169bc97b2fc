"""Compiled loops behind `top_k_bounds`. Plain arrays in and out, no checks.

Loaded only when something is scored; numba keeps the machine code beside the source. As in
`kernels` the loops are given all room that they need.
"""

from __future__ import annotations

from typing import Any

from yt8m_ensemble.metrics.compiling import compiled

WORD = 8
"""Flags that are looked at together."""


@compiled
def list_classes(  # noqa: PLR0917 - compiled functions take no keywords
    kept_classes: Any,
    kept_scores: Any,
    labels: Any,
    flags: Any,
    words: Any,
    places: Any,
    starts: Any,
    class_ids: Any,
    hits: Any,
    scores: Any,
) -> int:
    """List the classes that any member keeps of each video, in rising order.

    Args:
        kept_classes: Classes that each member keeps, `(M, B, K)`, int32.
        kept_scores: Their scores, `(M, B, K)`, float32; those below 0 count as not kept.
        labels: Ground truth, `(B, C)`, bool.
        flags: Zeros, uint8, for all classes, in whole words; they end as zeros.
        words: The same memory in words of `WORD` flags, uint64.
        places: Room for all classes, int64.
        starts: Output, where each video's classes start, `(B + 1,)`, int64.
        class_ids: Output, room for all classes, int32.
        hits: Output, whether they are positives, bool.
        scores: Output, members' scores, one row a class, `(room, M)`, float32; -1 where a member
            does not keep the class.

    Returns:
        Classes written.
    """
    num_members, num_videos, num_kept = kept_classes.shape
    num_classes = labels.shape[1]
    count = 0
    for video in range(num_videos):
        starts[video] = count
        for member in range(num_members):
            for k in range(num_kept):
                if kept_scores[member, video, k] >= 0:
                    flags[kept_classes[member, video, k]] = 1
        for word in range(len(words)):
            if words[word]:
                for class_id in range(word * WORD, min((word + 1) * WORD, num_classes)):
                    if flags[class_id]:
                        places[class_id] = count
                        class_ids[count] = class_id
                        hits[count] = labels[video, class_id]
                        for member in range(num_members):
                            scores[count, member] = -1
                        count += 1
                words[word] = 0
        for member in range(num_members):
            for k in range(num_kept):
                if kept_scores[member, video, k] >= 0:
                    place = places[kept_classes[member, video, k]]
                    scores[place, member] = kept_scores[member, video, k]
    starts[num_videos] = count
    return count


@compiled
def list_unlisted(  # noqa: PLR0917 - compiled functions take no keywords
    starts: Any, class_ids: Any, wanted: Any, order: Any, is_listed: Any, found: Any
) -> None:
    """Write the first classes of an order that are not listed of each video.

    Args:
        starts: Where each video's listed classes start, `(B + 1,)`.
        class_ids: Listed classes.
        wanted: Videos to look at, `(B,)`, bool.
        order: All classes, `(C,)`, int64.
        is_listed: False for all classes, `(C,)`, bool; it ends so.
        found: Output, `(B, top_k)`, int32; left as it is where there are no more.
    """
    for video in range(len(found)):
        if not wanted[video]:
            continue
        for i in range(starts[video], starts[video + 1]):
            is_listed[class_ids[i]] = True
        count = 0
        for class_id in order:
            if count == found.shape[1]:
                break
            if not is_listed[class_id]:
                found[video, count] = class_id
                count += 1
        for i in range(starts[video], starts[video + 1]):
            is_listed[class_ids[i]] = False


@compiled
def keep_best(starts: Any, scores: Any, top_k: int, best: Any, keep: Any) -> None:
    """Find each video's best candidates; of equal ones the first.

    Args:
        starts: Where each video's candidates start, `(N + 1,)`.
        scores: Their scores, `(n,)`, float32.
        top_k: Candidates kept a video.
        best: Room for `top_k` scores, float32.
        keep: Output, `(n,)`, bool; set where a candidate is kept.
    """
    for video in range(len(starts) - 1):
        count = 0
        for i in range(starts[video], starts[video + 1]):
            if count < top_k or scores[i] > best[count - 1]:
                place = min(count, top_k - 1)
                while place > 0 and best[place - 1] < scores[i]:
                    best[place] = best[place - 1]
                    place -= 1
                best[place] = scores[i]
                count = min(count + 1, top_k)
        if count == 0:
            continue
        room = count
        for place in range(count):
            room -= int(best[place] > best[count - 1])
        for i in range(starts[video], starts[video + 1]):
            is_border = scores[i] == best[count - 1]
            keep[i] = scores[i] > best[count - 1] or (is_border and room > 0)
            room -= int(is_border)

"""Which weights to store in fewer bits, or which members to drop, so that a model fits a limit.

Pure arithmetic on descriptions: reads no weight, changes no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

from yt8m_ensemble.casting import is_narrowable, plan_quantized

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yt8m_ensemble.values import TensorSpec

_MAX_EXACT_MEMBERS: Final = 16
"""Up to here every set of members is tried; beyond, the least weighed go one by one."""


@dataclass(frozen=True)
class SizeReduction:
    """Ways to make a model fit its size limit; either alone is enough.

    Args:
        casts: By tensor, the narrower storage, `float16` or `uint8`; `None` if no casts suffice.
        drops: The members to leave out; `None` if all but one are not enough.
    """

    casts: Mapping[str, str] | None
    drops: tuple[str, ...] | None

    def sentence(self) -> str:
        """Return the advice as one sentence."""
        ways = []
        if self.casts is not None:
            kinds = {"float16": "`merge --fp16`", "uint8": "`merge --quantize uint8`"}
            counts = {kind: list(self.casts.values()).count(kind) for kind in kinds}
            parts = [f"{n} as {kind} ({kinds[kind]})" for kind, n in counts.items() if n]
            ways.append(f"store tensors in fewer bits, {' and '.join(parts)}")
        if self.drops is not None:
            ways.append(f"drop {', '.join(self.drops)}")
        if not ways:
            return "No cast and no smaller set of members meets the limit."
        text = ", or ".join(ways)
        return f"Merge again: {text}."


def plan_size_reduction(
    specs: Iterable[TensorSpec],
    *,
    excess: int,
    member_bytes: Mapping[str, int],
    member_weights: Mapping[str, float],
) -> SizeReduction:
    """Find the cheapest way to make a model smaller.

    Casts cost accuracy in the order none < float16 < uint8 (measured on real records: +0.00001 and
    +0.00003 GAP, which is noise; fewer bits cost more), so as few tensors as possible are made
    float16, the largest first; if all of them are not enough, as few as possible become uint8.
    Members cost what they weigh: the set with the least mixture weight goes, then with the fewest
    members, then with the fewest bytes.

    Args:
        specs: The checkpoint's tensors.
        excess: Bytes to save.
        member_bytes: Checkpoint bytes by member.
        member_weights: Mixture weight by member.

    Returns:
        Both ways.

    Examples:
        >>> from yt8m_ensemble.values import TensorSpec
        >>> specs = [TensorSpec("a", (1000, 9), "float32"), TensorSpec("b", (1000, 5), "float32")]
        >>> sizes, weights = {"x": 36_000, "y": 20_000}, {"x": 0.7, "y": 0.3}
        >>> plan_size_reduction(specs, excess=9_000, member_bytes=sizes, member_weights=weights)
        SizeReduction(casts={'a': 'float16'}, drops=('y',))
    """
    return SizeReduction(
        _plan_casts(list(specs), excess=excess),
        _plan_drops(member_bytes, member_weights, excess=excess),
    )


def _plan_casts(specs: list[TensorSpec], *, excess: int) -> dict[str, str] | None:
    eligible = sorted(filter(is_narrowable, specs), key=lambda spec: (-spec.nbytes, spec.name))
    casts: dict[str, str] = {}
    saved = 0
    for spec in eligible:
        if saved >= excess:
            break
        if spec.dtype == "float32":
            casts[spec.name] = "float16"
            saved += spec.nbytes // 2
    for spec in eligible:
        if saved >= excess:
            break
        if len(spec.shape) > 1:
            coded = sum(part.nbytes for part in plan_quantized(spec, "uint8").values())
            kept = spec.size * 2
            if coded < kept:
                casts[spec.name] = "uint8"
                saved += kept - coded
    return casts if saved >= excess else None


def _plan_drops(
    sizes: Mapping[str, int], weights: Mapping[str, float], *, excess: int
) -> tuple[str, ...] | None:
    names = list(sizes)
    if len(names) > _MAX_EXACT_MEMBERS:
        ordered = sorted(names, key=lambda name: (weights.get(name, 0.0), -sizes[name]))
        candidates = (tuple(ordered[:count]) for count in range(1, len(names)))
    else:
        candidates = (
            chosen for count in range(1, len(names)) for chosen in combinations(names, count)
        )
    enough = [chosen for chosen in candidates if sum(sizes[name] for name in chosen) >= excess]
    return min(
        enough,
        key=lambda chosen: (
            math.fsum(weights.get(name, 0.0) for name in chosen),
            len(chosen),
            sum(sizes[name] for name in chosen),
        ),
        default=None,
    )

"""Members in the precisions that could be shipped: their bytes and where their scores are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Variant:
    """A member in one precision, with its bytes.

    Args:
        member: The member.
        precision: Of its stored weights, e.g. `float16`.
        size_bytes: What it adds to the bundle.
        column: Which of the candidates' members holds its scores.
        is_measured: Whether these are the scores of this very precision, or assumed to equal them.
    """

    member: str
    precision: str
    size_bytes: int
    column: int
    is_measured: bool

    @property
    def name(self) -> str:
        """Member and precision."""
        return f"{self.member}@{self.precision}"

    @property
    def family(self) -> str:
        """Member's name without a number at its end: `netvlad-2` is of the family `netvlad`."""
        return re.sub(r"[-_.]?\d+$", "", self.member) or self.member


def list_variants(
    columns: Sequence[str], sizes: Mapping[str, Mapping[str, int]], precisions: Sequence[str]
) -> list[Variant]:
    """Pair each member's precisions with the predictions that tell how they score.

    A column `NAME@PRECISION` holds the scores of that precision. Without one, a precision counts
    as scoring like the column `NAME`, except `uint4`, whose loss is too large to assume away.

    Args:
        columns: Names of the predictions' members.
        sizes: Bytes by member and precision.
        precisions: Precisions to consider.

    Returns:
        The variants.

    Raises:
        UsageError: If a member has no size.
    """
    variants = []
    for member in dict.fromkeys(column.partition("@")[0] for column in columns):
        if member not in sizes:
            msg = (
                f"The size of '{member}' is not known. Pass `--size {member}=BYTES`, or "
                f"`--model {member}=PATH`."
            )
            raise UsageError(msg, member=member)
        for precision in precisions:
            own = f"{member}@{precision}"
            if own in columns or (precision == "float32" and member in columns):
                column, is_measured = own if own in columns else member, True
            elif member in columns and precision != "uint4":
                column, is_measured = member, False
            else:
                continue
            variants.append(
                Variant(
                    member, precision, sizes[member][precision], columns.index(column), is_measured
                )
            )
    return variants


def drop_larger_copies(variants: Sequence[Variant]) -> list[Variant]:
    """Return the variants without those that score like a smaller one of the same member.

    Args:
        variants: What there is.

    Returns:
        The smallest variant of each member and column.
    """
    best: dict[tuple[str, int], Variant] = {}
    for variant in variants:
        key = (variant.member, variant.column)
        if key not in best or variant.size_bytes < best[key].size_bytes:
            best[key] = variant
    return list(best.values())

"""The mixture that a user gives in any form: a file, numbers in the members' order, or a value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from yt8m_ensemble import files
from yt8m_ensemble.errors import MixtureWeightsError
from yt8m_ensemble.values import MixtureWeights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.options.shared import WeightsOptions
    from yt8m_ensemble.values import Space


def choose_mixture(
    names: Sequence[str],
    options: WeightsOptions,
    *,
    space: Space | None = None,
    may_leave_out: bool = False,
    advice: str = "",
) -> MixtureWeights:
    """Return the mixture of members.

    Args:
        names: The members in their order.
        options: The weights; without them all members count alike.
        space: Where they are averaged; `None` takes that of the weights, else probability.
        may_leave_out: Whether a file may weigh some of the members only.
        advice: What to do where names differ, for the message.

    Returns:
        The mixture, its members in the order of `names`.

    Raises:
        MixtureWeightsError: If it is over other members, or no mixture.
    """
    weights = options.weights
    if weights is None:
        return MixtureWeights.uniform(names, space=space or "probability")
    if isinstance(weights, str):
        weights = MixtureWeights.parse(files.read_bytes(weights), path=weights)
    if isinstance(weights, MixtureWeights):
        absent = [name for name in weights.names if name not in names]
        unweighed = [name for name in names if name not in weights.names]
        if absent or (unweighed and not may_leave_out):
            msg = (
                f"The mixture is over {', '.join(weights.names)}, the members are "
                f"{', '.join(names)}. {advice}".strip()
            )
            raise MixtureWeightsError(
                msg, mixture=weights.names, members=tuple(names), absent=absent
            )
        ordered = weights if unweighed else weights.reordered(names)
        return replace(ordered, space=space or weights.space)
    make = MixtureWeights.normalized if options.normalize else MixtureWeights
    numbers = tuple(map(float, cast("Sequence[float]", weights)))
    return make(tuple(names), numbers, space=space or "probability")

"""Combine the scores of M members into one. Plain arrays in, float32 out; never chooses weights.

Each space has a link that members pass through before they are averaged and a way back. The merged
graph does the same float32 arithmetic, operation by operation, so that both agree to 1e-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import MixtureWeightsError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import MixtureWeights, Space

EPSILON = 1e-7
"""Scores are clipped to [EPSILON, 1 - EPSILON], rounded to float32, before a logarithm."""

_BLOCK = 1 << 18  # scores

_BLOCK = 1 << 18  # scores

_LOW, _HIGH = np.float32(EPSILON), np.float32(1 - EPSILON)
_ONE = np.float32(1)


def mix(
    scores: Sequence[NDArray[np.floating]],
    weights: MixtureWeights,
    *,
    class_ids: NDArray[np.integer] | None = None,
) -> NDArray[np.float32]:
    """Average members with mixture weights in their mixing space.

        probability   sum over members of w * p             (linear opinion pool)
        logit         sigmoid((sum of w * logit(clip(p)) + b) / T)    (logarithmic opinion pool)
        geometric     exp(sum of w * log(clip(p)))          (unnormalized geometric mean)

    with b the class bias and T the temperature of the mixture, 0 and 1 where it has none.

    Args:
        scores: One array `(N, C)` for each member in the order of `weights`, confidences in
            `[0, 1]`, any float dtype; computed on as float32.
        weights: The mixture; its values are rounded to float32, as the graph stores them.
        class_ids: Classes along the last axis of the scores; `None` for all C in their order. Only
            weights that differ from class to class and biases look at them.

    Returns:
        Shape `(N, C)`, float32, summed in float32 in member order. Weights of one 1 and else 0
        return that member bit for bit in probability space.

    Raises:
        MixtureWeightsError: If there are not as many arrays as weights.
        ShapeError: If the arrays differ in shape, or in classes from the weights.

    Examples:
        >>> from yt8m_ensemble.values import MixtureWeights
        >>> pair = [np.array([[0.9]]), np.array([[0.5]])]
        >>> mix(pair, MixtureWeights.uniform(["a", "b"])).round(4)  # (0.9 + 0.5) / 2
        array([[0.7]], dtype=float32)
        >>> mix(pair, MixtureWeights.uniform(["a", "b"], space="logit"))  # sqrt(9) to 1
        array([[0.75]], dtype=float32)
        >>> mix(pair, MixtureWeights.uniform(["a", "b"], space="geometric")).round(4)  # sqrt(0.45)
        array([[0.6708]], dtype=float32)
    """
    mixed = mix_in_space(scores, weights, class_ids=class_ids)
    for part in _parts(mixed):
        mixed[part] = from_space(mixed[part], weights.space)
    return mixed


def mix_in_space(
    scores: Sequence[NDArray[np.floating]],
    weights: MixtureWeights,
    *,
    class_ids: NDArray[np.integer] | None = None,
) -> NDArray[np.float32]:
    """Average as `mix` does and stay in the mixing space: logits keep digits that scores lose.

    Args:
        scores: As `mix` takes them.
        weights: As `mix` takes them.
        class_ids: As `mix` takes them.

    Returns:
        Shape `(N, C)`, float32: what `from_space` would turn into confidences.

    Raises:
        MixtureWeightsError: If there are not as many arrays as weights.
        ShapeError: If the arrays differ in shape, or in classes from the weights.
    """
    if len(scores) != len(weights.values):
        msg = f"{len(scores)} members' scores for {len(weights.values)} mixture weights."
        raise MixtureWeightsError(msg, scores=len(scores), weights=len(weights.values))
    shapes = {array.shape for array in scores}
    if len(shapes) > 1:
        listed = ", ".join(
            f"{name} {array.shape}" for name, array in zip(weights.names, scores, strict=True)
        )
        msg = f"Cannot mix scores of different shapes: {listed}."
        raise ShapeError(msg, shapes=sorted(shapes))
    factors = weights.factors
    if weights.class_values:
        if class_ids is not None:
            factors = factors[:, class_ids]
        if factors.shape[1] != scores[0].shape[-1]:
            msg = (
                f"The mixture holds weights of {factors.shape[1]} classes, the scores are of "
                f"{scores[0].shape[-1]}. Tune weights on predictions of these classes."
            )
            raise ShapeError(msg, weights=factors.shape[1], scores=scores[0].shape[-1])
    total = np.zeros(scores[0].shape, np.float32)
    is_flat = total.ndim == 1
    for array, factor in zip(scores, factors, strict=True):
        for part in _parts(array):
            own = factor[part] if is_flat and factor.size > 1 else factor
            total[part] += own * to_space(array[part], weights.space)
    if weights.class_bias:
        total += class_bias(weights, scores[0].shape[-1], class_ids)
    if weights.temperature != 1:
        total /= np.float32(weights.temperature)
    return total


def class_bias(
    weights: MixtureWeights, num_scores: int, class_ids: NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """Return the bias that a mixture adds to each score.

    Args:
        weights: The mixture.
        num_scores: Scores along the last axis.
        class_ids: Their classes, shape `(num_scores,)`; `None` for all C in order.

    Returns:
        Shape `(num_scores,)`, float32; zeros if the mixture has none.

    Raises:
        ShapeError: If the scores are of another number of classes.
    """
    if not weights.class_bias:
        return np.zeros(num_scores, np.float32)
    bias = np.asarray(weights.class_bias, np.float32)
    found = bias if class_ids is None else bias[class_ids]
    if len(found) != num_scores:
        msg = (
            f"The mixture holds biases of {len(bias)} classes, the scores are of {num_scores}. "
            "Tune weights on predictions of these classes."
        )
        raise ShapeError(msg, biases=len(bias), scores=num_scores)
    return found


def to_space(scores: NDArray[np.floating], space: Space) -> NDArray[np.float32]:
    """Pass scores through a space's link: themselves, their logits, or their logarithms.

    Args:
        scores: Confidences in `[0, 1]`, any shape and float dtype.
        space: The mixing space.

    Returns:
        Same shape, float32; finite for every score in `[0, 1]`.
    """
    if space == "probability":
        return scores.astype(np.float32, copy=False)
    clipped = np.clip(scores.astype(np.float32, copy=False), _LOW, _HIGH)
    return np.log(clipped) - np.log1p(-clipped) if space == "logit" else np.log(clipped)


def from_space(values: NDArray[np.float32], space: Space) -> NDArray[np.float32]:
    """Undo a space's link, elementwise and rising, so the order of scores is that of `values`.

    Args:
        values: Averages in the mixing space, any shape.
        space: The mixing space.

    Returns:
        Confidences, same shape, float32.
    """
    if space == "probability":
        return values
    if space == "geometric":
        return np.exp(values)
    with np.errstate(over="ignore"):  # far below 0 the quotient is rightly 0
        return _ONE / (_ONE + np.exp(-values))


def _parts(array: NDArray[np.floating]) -> Iterator[slice]:
    """Yield blocks of rows: what is computed on the way to a result stays small."""
    rows = max(_BLOCK // max(array[:1].size, 1), 1)
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)

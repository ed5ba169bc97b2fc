"""Means and weights by slow exact loops; shares no code with the package."""

from fractions import Fraction


def exact_mean(columns, weights):
    """Return the exact weighted mean of each position as a Fraction."""
    return [
        sum(Fraction(w) * Fraction(float(x)) for w, x in zip(weights, column, strict=True))
        for column in zip(*columns, strict=True)
    ]


def ema_weights(decay, count):
    """Return how much each input is in e = decay * e + (1 - decay) * x, by running it on units."""
    average = [1.0] + [0.0] * (count - 1)
    for newest in range(1, count):
        unit = [float(position == newest) for position in range(count)]
        average = [decay * a + (1 - decay) * u for a, u in zip(average, unit, strict=True)]
    return average

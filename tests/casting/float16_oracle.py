"""float32 to float16 one value at a time, from IEEE 754's text; shares no code."""

from fractions import Fraction


def cast(value):
    """Return the nearest float16 as a Fraction, ties to even; `None` past the range."""
    exact = abs(Fraction(float(value)))
    unit = Fraction(1, 2**24)
    while exact >= unit * 2**11:
        unit *= 2
    steps, rest = divmod(exact, unit)
    steps = int(steps)
    if rest * 2 > unit or (rest * 2 == unit and steps % 2):
        steps += 1
    result = steps * unit
    if result > 65504:
        return None
    return -result if value < 0 else result

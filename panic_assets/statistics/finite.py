"""Numbers that tables can hold."""

import math


def number(value: float) -> float | None:
    """The value; None where it is not finite, which tables do not hold."""
    return float(value) if math.isfinite(value) else None

"""Bytes divided by a number known now, as in `image / 255`: two multiplications, and exact.

With 1 / c = high + low, n / c is n high + (n low), the sum rounded once (N. Brisebarre and J.-M.
Muller, "Correctly rounded multiplication by arbitrary precision constants", IEEE Trans. Comput.
57, 2008).  There are so few bytes that each quotient is compared with the rounded one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

__all__ = ["byte_factors"]

_BYTES: Final = np.arange(-128.0, 256.0)
_LEAST: Final = 1e-20
_MOST: Final = 1e20


@lru_cache(maxsize=256)
def byte_factors(divisor: float) -> tuple[float, float] | None:
    """`high` and `low` with `fma(n, high, n * low)` the float32 nearest to `n / divisor`.

    None unless that is so for every n that 8 bits hold; the divisor is a float32.

    >>> byte_factors(255.0)
    (0.003921568859368563, -2.319175823606301e-10)
    """
    if not _LEAST < divisor < _MOST:
        return None
    high = np.float32(1 / divisor)
    low = np.float32(1 / divisor - float(high))
    large = _BYTES * float(high)  # exact: 8 bits times 24
    small = (_BYTES * float(low)).astype(np.float32)
    total = large + small
    lost = (large - total) + small
    rounded = total.astype(np.float32)
    # Rounding twice is rounding once, but where the first one lands between two numbers.
    between = np.abs(total - rounded) * 2 == np.spacing(np.abs(rounded)).astype(np.float64)
    # A quotient of 24 bits each is never as close to the middle as 53 bits can tell.
    right = rounded == (_BYTES / divisor).astype(np.float32)
    if not right.all() or (between & (lost != 0)).any():
        return None
    return float(high), float(low)

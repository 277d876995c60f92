"""The inverse of the normal distribution function: ratios of polynomials, one piece each.

Around the middle it is d r(9/64 - d^2) with d = p - 1/2, so that no terms of r cancel; out in a
tail it is q - r(q) with q = sqrt(-2 log p), whose error is small beside q. The pieces are minimax
fits to values of 40 digits: relative errors under 2.3e-9 in single and 5e-17 in double precision,
down to the smallest subnormal number. The division of the line follows Wichura, Algorithm AS 241
(1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.control.custom_jvp import custom_jvp

__all__ = ["ndtri"]

_Ratio = tuple[tuple[float, ...], tuple[float, ...]]
"""Coefficients above and below, of rising powers."""

_TAIL: Final = 0.125
"""Where the tails begin."""
_FAR: Final = 7.0
"""The q from which on double precision has a third piece."""

_CENTRE_SINGLE: Final[_Ratio] = (
    (3.0675983406136901, 31.568792753942194, 72.899902073351835, 21.5647023673265873),
    (1.0, 12.3660349577544314, 39.5145462500955921, 26.4314492565542396),
)
_TAIL_SINGLE: Final[_Ratio] = (
    (
        *(3.10689857683622396, 7.51154426852563118, 1.94929191629651181),
        *(0.0788401283824626906, 0.000107357387139255148),
    ),
    (
        *(1.0, 4.78870949609356493, 3.6168548490635144),
        *(0.536783801191913861, 0.0138414467144030734),
    ),
)
_CENTRE_DOUBLE: Final[_Ratio] = (
    (
        *(3.06759834766935501, 69.4874036781349328, 570.806341580897297, 2069.4226198626633),
        *(3205.69669057638694, 1692.84204225745788, 137.929202634425373),
    ),
    (
        *(1.0, 24.7270463914850018, 227.474633465611022, 961.555330893960095),
        *(1863.28200629361772, 1426.7811259679438, 276.998919819997227),
    ),
)
_TAIL_DOUBLE: Final[_Ratio] = (
    (
        *(3.56232957866860527, 27.1830223730519435, 39.805034952495473, 18.6412160626324485),
        *(3.8610159688930712, 0.302364025225361362, 0.00595971137325957796),
        4.87731817045939342e-6,
    ),
    (
        *(1.0, 12.1125083498390095, 28.6967839805562195, 22.7379215309808875),
        *(7.68506074526740013, 1.1935887442944162, 0.0690678440432014196),
        0.000960721551972919676,
    ),
)
_FAR_DOUBLE: Final[_Ratio] = (
    (
        *(3.22466007252519471, 9.65553268315805744, 3.81652553770383194, 0.434690495368778038),
        *(0.0169067828228001947, 0.000216363445427660146, 6.84753231206609053e-7),
        7.84050216462891074e-11,
    ),
    (
        *(1.0, 5.72640361728756115, 5.33919114017766016, 1.31815723747287097),
        *(0.111572700967200706, 0.0034362052724759572, 0.0000353497582585971704),
        8.62869325397124633e-8,
    ),
)


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    *rest, value = coefficients
    for c in reversed(rest):
        value = value * x + c
    return value


def _ratio(x: Any, coefficients: _Ratio) -> Any:
    above, below = coefficients
    return _polynomial(x, above) / _polynomial(x, below)


@custom_jvp
def ndtri(p: Any) -> Any:
    """The number below which a normal variable lies with probability `p`, a floating array.

    >>> import pullback.numpy as jnp
    >>> round(float(ndtri(jnp.float32(0.975))), 3)
    1.96
    """
    if p.dtype.itemsize < 4:
        return lax.convert_element_type(ndtri(lax.convert_element_type(p, np.float32)), p.dtype)
    double = p.dtype == np.float64
    tail, d = jnp.minimum(p, 1 - p), p - 0.5
    q = jnp.sqrt(-2 * jnp.log(tail))
    correction = _ratio(q, _TAIL_DOUBLE if double else _TAIL_SINGLE)
    if double:
        correction = jnp.where(q < _FAR, correction, _ratio(q, _FAR_DOUBLE))
    size = jnp.where(tail == 0, np.inf, q - correction)
    near = d * _ratio((0.5 - _TAIL) ** 2 - d * d, _CENTRE_DOUBLE if double else _CENTRE_SINGLE)
    return jnp.where(tail < _TAIL, jnp.where(p < 0.5, -size, size), near)


@ndtri.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (p,), (t,) = primals, tangents
    x = ndtri(p)
    return x, t * lax.exp(0.5 * x * x + 0.5 * np.log(2 * np.pi).item())

"""What the distributions of `jax.scipy.stats` share: operands, supports, and logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core.avals import aval_of
from pullback.numpy.arrays import as_array
from pullback.numpy.promotion import promote_args_inexact

__all__ = ["inside", "keep_nan", "operands", "standardized", "tail"]


def operands(name: str, *args: Any) -> list[Any]:
    """The operands in one inexact dtype, broadcast; weakly typed if all of them are."""
    found = [as_array(x) for x in promote_args_inexact(name, *args)]
    weak = all(aval_of(x).weak_type or type(x) is bool for x in args)
    return found if weak else [lax.convert_element_type(x, x.dtype) for x in found]


def standardized(name: str, x: Any, loc: Any, scale: Any, *rest: Any) -> list[Any]:
    """(x - loc) / scale, the scale, and the other operands."""
    x, loc, scale, *others = operands(name, x, loc, scale, *rest)
    return [(x - loc) / scale, scale, *others]


def inside(support: Any, value: Any, outside: float = -np.inf) -> Any:
    """`value` within the support, else another one; a support that is not left keeps NaN."""
    return jnp.where(support, value, outside)


def keep_nan(x: Any, value: Any) -> Any:
    """`value`, and NaN where `x` is NaN."""
    return jnp.where(jnp.isnan(x), x, value)


def tail(log_cdf: Any) -> Any:
    """log(1 - exp(log_cdf))."""
    return jnp.where(
        log_cdf > -0.6931472, lax.log(-lax.expm1(log_cdf)), lax.log1p(-lax.exp(log_cdf))
    )

"""`jax.scipy.cluster.vq`: the nearest code of each observation."""

from __future__ import annotations

from typing import Any

from pullback import numpy as jnp
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes_inexact

__all__ = ["vq"]


def vq(obs: Any, code_book: Any, check_finite: bool = True) -> tuple[Any, Any]:
    """The index of the nearest code, and the distance to it, of every observation.

    `obs` has shape (M, N) and `code_book` (K, N), or (M,) and (K,) for scalars; the results have
    shape (M,).  `check_finite` changes nothing.  ValueError for other ranks.

    >>> import pullback.numpy as jnp
    >>> vq(jnp.array([[0.0, 1.0]]), jnp.array([[3.0, 5.0], [0.0, 2.0]]))
    (Array([1], dtype=int32), Array([1.], dtype=float32))
    """
    obs, code_book = ensure_arraylike("scipy.cluster.vq.vq", obs, code_book)
    obs, code_book = promote_dtypes_inexact(obs, code_book)
    if obs.ndim != code_book.ndim:
        raise ValueError("Observation and code_book should have the same rank")
    if obs.ndim not in (1, 2):
        raise ValueError("ndim different than 1 or 2 are not supported")
    if obs.ndim == 1:
        obs, code_book = obs[:, None], code_book[:, None]
    distances = jnp.linalg.norm(obs[:, None, :] - code_book[None, :, :], axis=-1)
    code = jnp.argmin(distances, axis=-1)
    return code, jnp.take_along_axis(distances, code[:, None], axis=1)[:, 0]

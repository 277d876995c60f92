"""Functions on sparse arrays of any format: conversions, creation, random arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import numpy as jnp
from pullback import random
from pullback.experimental.sparse.bcoo import BCOO
from pullback.experimental.sparse.bcsr import BCSR
from pullback.experimental.sparse.matrices import COO, CSC, CSR
from pullback.transforms.mapping import vmap

__all__ = ["empty", "eye", "random_bcoo"]

_FORMATS: Final[dict[str, Any]] = {"bcsr": BCSR, "bcoo": BCOO, "coo": COO, "csr": CSR, "csc": CSC}


def _format(name: str) -> Any:
    if name not in _FORMATS:
        raise ValueError(f"sparse_format={name!r} not recognized; must be one of {list(_FORMATS)}")
    return _FORMATS[name]


def empty(
    shape: Sequence[int],
    dtype: Any = None,
    index_dtype: Any = "int32",
    sparse_format: str = "bcoo",
    **kwds: Any,
) -> Any:
    """A sparse array of zeros, of format "bcoo", "bcsr", "coo", "csr" or "csc".

    >>> empty((2, 3))
    BCOO(float32[2, 3], nse=0)
    """
    return _format(sparse_format)._empty(shape, dtype=dtype, index_dtype=index_dtype, **kwds)


def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = None,
    index_dtype: Any = "int32",
    sparse_format: str = "bcoo",
    **kwds: Any,
) -> Any:
    """A sparse array with ones on its k-th diagonal.

    >>> eye(3)
    BCOO(float32[3, 3], nse=3)
    """
    n = operator.index(N)
    m = n if M is None else operator.index(M)
    cls = _format(sparse_format)
    return cls._eye(n, m, operator.index(k), dtype=dtype, index_dtype=index_dtype, **kwds)


def random_bcoo(
    key: Any,
    shape: Sequence[int],
    *,
    dtype: Any = float,
    indices_dtype: Any = None,
    nse: float = 0.2,
    n_batch: int = 0,
    n_dense: int = 0,
    unique_indices: bool = True,
    sorted_indices: bool = False,
    generator: Callable[..., Any] = random.uniform,
    **kwds: Any,
) -> BCOO:
    """A BCOO array at random places, with data by `generator(key, shape=, dtype=)`.

    `nse` is the number of entries of each batch, or below 1 their share of all elements.

    >>> import pullback as pb
    >>> random_bcoo(pb.random.key(0), (4, 5), nse=3)
    BCOO(float32[4, 5], nse=3)
    """
    shape = tuple(operator.index(n) for n in shape)
    stop = len(shape) - n_dense
    if n_batch < 0 or n_dense < 0 or n_batch > stop:
        raise ValueError(f"invalid n_batch={n_batch}, n_dense={n_dense} for shape={shape}")
    sparse = shape[n_batch:stop]
    room = math.prod(sparse)
    if nse < 0 or nse > room >= 1:
        raise ValueError(f"got {nse=}, expected to be between 0 and {room}")
    count = math.ceil(room * nse) if 0 < nse < 1 else operator.index(int(nse))
    lead = shape[:n_batch]
    keys = random.split(key, 1 + math.prod(lead))
    wide = jnp.int32 if indices_dtype is None else indices_dtype

    def places(key: Any) -> Any:
        if not sparse:
            return jnp.zeros((count, 0), wide)
        flat = random.choice(key, room, shape=(count,), replace=not unique_indices)
        flat = jnp.sort(flat) if sorted_indices else flat
        return jnp.stack(jnp.unravel_index(flat, sparse), axis=-1).astype(wide)

    indices = vmap(places)(keys[1:]).reshape(*lead, count, len(sparse))
    data = generator(keys[0], shape=(*lead, count, *shape[stop:]), dtype=dtype, **kwds)
    return BCOO(
        (data, indices),
        shape=shape,
        unique_indices=unique_indices,
        indices_sorted=sorted_indices,
    )

"""`jax.numpy`: NumPy's functions on arrays that can be traced, differentiated and compiled.

The way of a call: operands are checked and promoted (`promotion`), then a few operations of `lax`
are applied. Importing this package gives arrays their operators and methods (`array_methods`).
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as _np

from pullback.core.array import Array
from pullback.core.tracebacks import bounded as _bounded
from pullback.numpy import array_methods as _array_methods
from pullback.numpy import elementwise as _elementwise
from pullback.numpy import fft as fft
from pullback.numpy import linalg as linalg
from pullback.numpy import scalar_types as _scalar_types
from pullback.numpy import ufunc_table as _ufunc_table
from pullback.numpy.arithmetic import *  # noqa: F403
from pullback.numpy.array_api import *  # noqa: F403
from pullback.numpy.comparisons import *  # noqa: F403
from pullback.numpy.creation import *  # noqa: F403
from pullback.numpy.cumulative import *  # noqa: F403
from pullback.numpy.einsums import *  # noqa: F403
from pullback.numpy.files import *  # noqa: F403
from pullback.numpy.floats import *  # noqa: F403
from pullback.numpy.grids import *  # noqa: F403
from pullback.numpy.histograms import *  # noqa: F403
from pullback.numpy.joining import *  # noqa: F403
from pullback.numpy.matrices import *  # noqa: F403
from pullback.numpy.nan_reductions import *  # noqa: F403
from pullback.numpy.padding import *  # noqa: F403
from pullback.numpy.polynomials import *  # noqa: F403
from pullback.numpy.positions import *  # noqa: F403
from pullback.numpy.predicates import *  # noqa: F403
from pullback.numpy.products import *  # noqa: F403
from pullback.numpy.ranges import *  # noqa: F403
from pullback.numpy.reductions import *  # noqa: F403
from pullback.numpy.scalar_types import can_cast as can_cast
from pullback.numpy.scalar_types import finfo as finfo
from pullback.numpy.scalar_types import iinfo as iinfo
from pullback.numpy.scalar_types import isdtype as isdtype
from pullback.numpy.scalar_types import issubdtype as issubdtype
from pullback.numpy.scalar_types import promote_types as promote_types
from pullback.numpy.scalar_types import result_type as result_type
from pullback.numpy.selection import *  # noqa: F403
from pullback.numpy.sets import *  # noqa: F403
from pullback.numpy.shaping import *  # noqa: F403
from pullback.numpy.sorting import *  # noqa: F403
from pullback.numpy.statistics import *  # noqa: F403
from pullback.numpy.ufuncs import frompyfunc as frompyfunc
from pullback.numpy.ufuncs import ufunc as ufunc
from pullback.numpy.vectorization import *  # noqa: F403
from pullback.runtime.placement import takes_sharding as _takes_sharding
from pullback.runtime.placement import where_asked as _where_asked

ndarray: Final = Array
dtype: Final = _np.dtype
ComplexWarning: Final = _np.exceptions.ComplexWarning

for _table in (
    _elementwise.FUNCTIONS,
    _ufunc_table.UFUNCS,
    _scalar_types.SCALAR_TYPES,
    _scalar_types.CATEGORIES,
    _scalar_types.CONSTANTS,
):
    globals().update(_table)
_array_methods.namespace.append(sys.modules[__name__])
_public = {name: value for name, value in globals().items() if not name.startswith("_")}
globals().update(_bounded(_public, __name__))
for _name, _function in _public.items():
    if _takes_sharding(_function):
        globals()[_name] = _where_asked(_function)
        globals()[_name].__module__ = __name__
for _module in (linalg, fft):
    _public = {name: getattr(_module, name) for name in _module.__all__}
    vars(_module).update(_bounded(_public, _module.__name__))


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'jax.numpy' has no attribute {name!r} (or not yet)")

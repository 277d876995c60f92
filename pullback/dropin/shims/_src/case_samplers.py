"""Random operands and lists of dtypes for tests in the style of JAX's own.

A sampler takes a `numpy.random.RandomState` and gives a function of shape and dtype.  Shapes are
tuples, or one of the two marks for scalars of NumPy and of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from pullback import config
from pullback.core import dtypes as core_dtypes

__all__ = [
    "NUMPY_SCALAR_SHAPE",
    "PYTHON_SCALAR_SHAPE",
    "ScalarShape",
    "dtypes",
    "is_sequence",
    "rand_bool",
    "rand_default",
    "rand_fullrange",
    "rand_indices_unique_along_axis",
    "rand_int",
    "rand_nonzero",
    "rand_not_small",
    "rand_positive",
    "rand_small",
    "rand_small_positive",
    "rand_some_equal",
    "rand_some_inf",
    "rand_some_inf_and_nan",
    "rand_some_nan",
    "rand_some_zero",
    "rand_uniform",
    "rand_unique_int",
]

Sampler = Callable[[Any, Any], Any]


class ScalarShape:
    """A mark for the shape of a scalar that is no array."""

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Any:
        return iter(())


@final
class _NumpyScalar(ScalarShape):
    def __repr__(self) -> str:
        return "numpy"


@final
class _PythonScalar(ScalarShape):
    def __repr__(self) -> str:
        return "python"


NUMPY_SCALAR_SHAPE: Final = _NumpyScalar()
PYTHON_SCALAR_SHAPE: Final = _PythonScalar()


def is_sequence(x: Any) -> bool:
    """Whether `x` can be iterated over."""
    try:
        iter(x)
    except TypeError:
        return False
    return True


# --------------------------------------------------------------------------- dtypes


@final
class _Dtypes:
    """Lists of dtypes by kind; what needs 64 bits is left out where they are off."""

    @staticmethod
    def supported(dtypes: Iterable[Any]) -> list[Any]:
        """Those that arrays may have with the current setting of 64 bits."""
        wide = config.read("jax_enable_x64")
        return [d for d in dtypes if wide or np.dtype(d).name not in _WIDE]

    @property
    def floating(self) -> list[Any]:
        """float32, float64."""
        return self.supported([np.float32, np.float64])

    @property
    def all_floating(self) -> list[Any]:
        """The floats of 16, 32 and 64 bits."""
        return self.supported([core_dtypes.bfloat16, np.float16, np.float32, np.float64])

    @property
    def integer(self) -> list[Any]:
        """int32, int64."""
        return self.supported([np.int32, np.int64])

    @property
    def all_integer(self) -> list[Any]:
        """The signed integers."""
        return self.supported([np.int8, np.int16, np.int32, np.int64])

    @property
    def unsigned(self) -> list[Any]:
        """uint32, uint64."""
        return self.supported([np.uint32, np.uint64])

    @property
    def all_unsigned(self) -> list[Any]:
        """The unsigned integers."""
        return self.supported([np.uint8, np.uint16, np.uint32, np.uint64])

    @property
    def complex(self) -> list[Any]:
        """complex64, complex128."""
        return self.supported([np.complex64, np.complex128])

    @property
    def boolean(self) -> list[Any]:
        """bool."""
        return [np.bool_]

    @property
    def inexact(self) -> list[Any]:
        """Floats and complex numbers."""
        return self.floating + self.complex

    @property
    def all_inexact(self) -> list[Any]:
        """All floats and complex numbers."""
        return self.all_floating + self.complex

    @property
    def numeric(self) -> list[Any]:
        """All but bool."""
        return self.floating + self.integer + self.unsigned + self.complex

    @property
    def all(self) -> list[Any]:
        """Every dtype that an ordinary array has."""
        kinds = (self.all_floating, self.all_integer, self.all_unsigned, self.complex)
        return [d for kind in kinds for d in kind] + self.boolean

    @cached_property
    def custom_floats(self) -> list[Any]:
        """The floats of eight bits."""
        names = [n for n in dir(core_dtypes) if n.startswith("float8")]
        return [getattr(core_dtypes, n) for n in names]

    @property
    def python_scalar_types(self) -> list[type]:
        """bool, int, float, complex."""
        return [bool, int, float, complex]


_WIDE: Final = frozenset(["float64", "int64", "uint64", "complex128"])
dtypes: Final = _Dtypes()


# --------------------------------------------------------------------------- samples


def _shaped(values: Any, shape: Any, dtype: Any) -> Any:
    """An array of `dtype`, or the scalar that the mark asks for."""
    if shape is NUMPY_SCALAR_SHAPE:
        return np.asarray(values).astype(dtype)[()]
    if shape is PYTHON_SCALAR_SHAPE:
        return _PYTHON[core_dtypes.kind_of(np.dtype(dtype))](np.asarray(values).item())
    return np.asarray(values).astype(dtype)


_PYTHON: Final[dict[str, type]] = {"b": bool, "i": int, "u": int, "f": float, "c": complex}


def _dims(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, ScalarShape):
        return ()
    return tuple(shape) if is_sequence(shape) else (shape,)


def _drawn(draw: Callable[[tuple[int, ...]], Any], scale: float, after: Any = None) -> Sampler:
    """Samples of `draw`, complex where the dtype is, changed by `after` and cast."""

    def sample(shape: Any, dtype: Any) -> Any:
        dims, kind = _dims(shape), core_dtypes.kind_of(np.dtype(dtype))
        values = np.asarray(scale * draw(dims))
        if kind == "c":
            values = values + 1j * scale * draw(dims)
        elif kind == "u":
            values = np.abs(values)
        elif kind == "b":
            values = values > 0
        return _shaped(values if after is None else after(values, dtype), shape, dtype)

    return sample


def _normal(rng: Any) -> Callable[[tuple[int, ...]], Any]:
    return lambda dims: rng.randn(*dims)


def rand_default(rng: Any, scale: float = 3) -> Sampler:
    """Normal numbers."""
    return _drawn(_normal(rng), scale)


def rand_small(rng: Any) -> Sampler:
    """Normal numbers near zero."""
    return _drawn(_normal(rng), 1e-3)


def rand_nonzero(rng: Any) -> Sampler:
    """Normal numbers with ones in the place of zeros."""

    def without_zeros(values: Any, dtype: Any) -> Any:
        cast = np.asarray(values).astype(dtype)
        return np.where(cast == 0, np.array(1, dtype=cast.dtype), cast)

    return _drawn(_normal(rng), 3, without_zeros)


def rand_positive(rng: Any) -> Sampler:
    """Numbers above one."""
    return _drawn(lambda dims: rng.rand(*dims) + 1, 2)


def rand_small_positive(rng: Any) -> Sampler:
    """Numbers in (0, 2e-5)."""
    return _drawn(lambda dims: rng.rand(*dims), 2e-5)


def rand_uniform(rng: Any, low: float = 0.0, high: float = 1.0) -> Sampler:
    """Uniform numbers."""
    return _drawn(lambda dims: rng.uniform(low, high, dims), 1)


def rand_not_small(rng: Any, offset: float = 10.0) -> Sampler:
    """Normal numbers moved away from zero."""

    def moved(values: Any, dtype: Any) -> Any:
        return values + np.where(np.real(values) > 0, offset, -offset)

    return _drawn(_normal(rng), 3, moved)


def rand_bool(rng: Any) -> Sampler:
    """Heads or tails."""
    return lambda shape, dtype: _shaped(rng.rand(*_dims(shape)) < 0.5, shape, dtype)


def rand_int(rng: Any, low: int = 0, high: int | None = None) -> Sampler:
    """Integers in [low, high)."""

    def sample(shape: Any, dtype: Any) -> Any:
        end = np.iinfo(np.dtype(dtype)).max if high is None else high
        return _shaped(rng.randint(low, end, size=_dims(shape), dtype=np.int64), shape, dtype)

    return sample


def rand_unique_int(rng: Any, high: int | None = None) -> Sampler:
    """Different integers."""

    def sample(shape: Any, dtype: Any) -> Any:
        count = int(np.prod(_dims(shape)))
        drawn = rng.choice(count if high is None else high, size=count, replace=False)
        return _shaped(drawn.reshape(_dims(shape)), shape, dtype)

    return sample


def rand_fullrange(rng: Any, standardize_nans: bool = False) -> Sampler:
    """Random bits."""

    def sample(shape: Any, dtype: Any) -> Any:
        dims, wanted = _dims(shape), np.dtype(dtype)
        if core_dtypes.kind_of(wanted) == "b":
            return rand_bool(rng)(shape, dtype)
        raw = rng.bytes(int(np.prod(dims)) * wanted.itemsize)
        values = np.frombuffer(raw, wanted).reshape(dims).copy()
        if standardize_nans and core_dtypes.kind_of(wanted) in "fc":
            values[np.isnan(values)] = np.nan
        return _shaped(values, shape, dtype)

    return sample


def rand_indices_unique_along_axis(rng: Any) -> Callable[..., Any]:
    """A function of `dim, shape, axis`: indices below `dim`, different along the axis."""

    def sample(dim: int, shape: Sequence[int], axis: int) -> Any:
        rest = [n for k, n in enumerate(shape) if k != axis % len(shape)]
        rows = [rng.choice(dim, size=shape[axis], replace=False) for _ in range(int(np.prod(rest)))]
        table = np.asarray(rows, np.int64).reshape(*rest, shape[axis])
        return np.moveaxis(table, -1, axis)

    return sample


def _some(rng: Any, values: Sequence[Any], share: float) -> Sampler:
    """Normal numbers, of which some are among `values`."""
    base = rand_default(rng)

    def sample(shape: Any, dtype: Any) -> Any:
        wanted = np.dtype(dtype)
        if core_dtypes.kind_of(wanted) not in "fc":
            return base(shape, dtype)
        dims = _dims(shape)
        out = np.array(base(dims, dtype))
        for value in values:
            chosen = rng.rand(*dims) < share
            out = np.where(chosen, np.asarray(value).astype(wanted), out)
        return _shaped(out, shape, dtype)

    return sample


def rand_some_inf(rng: Any) -> Sampler:
    """Normal numbers and infinities."""
    return _some(rng, (np.inf, -np.inf), 0.1)


def rand_some_nan(rng: Any) -> Sampler:
    """Normal numbers and NaNs."""
    return _some(rng, (np.nan, -np.nan), 0.1)


def rand_some_inf_and_nan(rng: Any) -> Sampler:
    """Normal numbers, infinities and NaNs."""
    return _some(rng, (np.inf, -np.inf, np.nan), 0.1)


def rand_some_zero(rng: Any) -> Sampler:
    """Normal numbers, half of them zero."""
    base = rand_default(rng)

    def sample(shape: Any, dtype: Any) -> Any:
        dims = _dims(shape)
        values = np.where(rng.rand(*dims) < 0.5, base(dims, dtype), np.zeros((), dtype))
        return _shaped(values, shape, dtype)

    return sample


def rand_some_equal(rng: Any) -> Sampler:
    """Normal numbers, half of them the same."""
    base = rand_default(rng)

    def sample(shape: Any, dtype: Any) -> Any:
        dims = _dims(shape)
        values = np.asarray(base(dims, dtype))
        if values.size == 0:
            return _shaped(values, shape, dtype)
        return _shaped(np.where(rng.rand(*dims) < 0.5, values.ravel()[0], values), shape, dtype)

    return sample

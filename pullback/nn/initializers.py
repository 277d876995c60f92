"""Random initial values of parameters: functions of a key, a shape and a dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import pullback.numpy as jnp
from pullback import lax, random

__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


@runtime_checkable
class Initializer(Protocol):
    """`init(key, shape, dtype)` gives an array."""

    def __call__(
        self, key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None
    ) -> Any: ...


def _dtype(given: Any, default: Any) -> Any:
    dtype = default if given is None else given
    return jnp.result_type(float) if dtype is None else jnp.dtype(dtype)


def zeros(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
    """Zeros.

    >>> zeros(None, (2,)).tolist()
    [0.0, 0.0]
    """
    return jnp.zeros(shape, _dtype(dtype, None))


def ones(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
    """Ones.

    >>> ones(None, (2,)).tolist()
    [1.0, 1.0]
    """
    return jnp.ones(shape, _dtype(dtype, None))


def constant(value: Any, dtype: Any = None) -> Initializer:
    """One number everywhere.

    >>> constant(3)(None, (2,)).tolist()
    [3.0, 3.0]
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
        return jnp.full(shape, value, _dtype(dtype, default))

    return init


def uniform(scale: Any = 1e-2, dtype: Any = None) -> Initializer:
    """Uniform in [0, scale).

    >>> from pullback import random
    >>> uniform()(random.key(0), (2, 3)).shape
    (2, 3)
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
        dtype = _dtype(dtype, default)
        return random.uniform(key, shape, dtype) * jnp.array(scale, dtype)

    return init


def normal(stddev: Any = 1e-2, dtype: Any = None) -> Initializer:
    """Normal with mean 0.

    >>> from pullback import random
    >>> normal()(random.key(0), (2, 3)).shape
    (2, 3)
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
        dtype = _dtype(dtype, default)
        return random.normal(key, shape, dtype) * jnp.array(stddev, dtype)

    return init


def truncated_normal(
    stddev: Any = 1e-2, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0
) -> Initializer:
    """Normal, without what lies beyond `lower` and `upper` standard deviations.

    >>> from pullback import random
    >>> bool(abs(truncated_normal(1.0)(random.key(0), (99,))).max() <= 2)
    True
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
        dtype = _dtype(dtype, default)
        draw = random.truncated_normal(key, lower, upper, shape, dtype)
        return draw * jnp.array(stddev, dtype)

    return init


def _size(shape: Sequence[int], axes: Any) -> int:
    axes = axes if isinstance(axes, tuple | list) else (axes,)
    return math.prod(shape[k] for k in axes)


def _fans(
    shape: Sequence[int], in_axis: Any, out_axis: Any, batch_axis: Any
) -> tuple[float, float]:
    """How many inputs feed each output, and how many outputs each input feeds."""
    if len(shape) <= 1:
        raise ValueError(
            f"Can't compute input and output sizes of a {len(shape)}-dimensional weights tensor. "
            "Must be at least 2D."
        )
    ins, outs = _size(shape, in_axis), _size(shape, out_axis)
    field = math.prod(shape) / ins / outs / _size(shape, batch_axis)
    return ins * field, outs * field


def variance_scaling(
    scale: Any,
    mode: str,
    distribution: str,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: Any = None,
) -> Initializer:
    """Random with variance `scale / n`, n being what `mode` says.

    `mode` is "fan_in", "fan_out", "fan_avg" (their mean) or "fan_geo_avg" (their geometric mean);
    `distribution` is "truncated_normal", "normal" or "uniform".

    Raises ValueError for another mode or distribution, and for shapes of rank below 2.

    >>> from pullback import random
    >>> variance_scaling(1.0, "fan_in", "normal")(random.key(0), (64, 3)).shape
    (64, 3)
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
        dtype = _dtype(dtype, default)
        fan_in, fan_out = _fans(shape, in_axis, out_axis, batch_axis)
        fans = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }
        if mode not in fans:
            raise ValueError(f"invalid mode for variance scaling initializer: {mode}")
        variance = jnp.array(scale / fans[mode], dtype)
        return _scaled(key, shape, dtype, distribution, variance)

    return init


def _scaled(key: Any, shape: Any, dtype: Any, distribution: str, variance: Any) -> Any:
    if distribution == "normal":
        return random.normal(key, shape, dtype) * jnp.sqrt(variance)
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    if distribution == "uniform":
        if is_complex:
            return _complex_uniform(key, shape, dtype) * jnp.sqrt(variance)
        return random.uniform(key, shape, dtype, -1) * jnp.sqrt(3 * variance)
    if distribution != "truncated_normal":
        raise ValueError(f"invalid distribution for variance scaling initializer: {distribution}")
    if is_complex:
        stddev = jnp.sqrt(variance) / jnp.array(0.95311164380491208, dtype)
        return _complex_truncated_normal(key, 2, shape, dtype) * stddev
    # The standard deviation of a normal one cut off at two of its own.
    stddev = jnp.sqrt(variance) / jnp.array(0.87962566103423978, dtype)
    return random.truncated_normal(key, -2, 2, shape, dtype) * stddev


def _polar(radius: Any, angle: Any, dtype: Any) -> Any:
    return radius * jnp.exp(1j * angle).astype(dtype)


def _complex_uniform(key: Any, shape: Any, dtype: Any) -> Any:
    """Uniform on the unit disk."""
    real = jnp.finfo(dtype).dtype
    keys = random.split(key)
    radius = jnp.sqrt(2 * random.uniform(keys[0], shape, real)).astype(dtype)
    return _polar(radius, 2 * jnp.pi * random.uniform(keys[1], shape, real), dtype)


def _complex_truncated_normal(key: Any, upper: Any, shape: Any, dtype: Any) -> Any:
    """Complex normal with magnitudes up to `upper`."""
    real = jnp.finfo(dtype).dtype
    keys = random.split(key)
    inside = (1 - jnp.exp(jnp.array(-(upper**2), real))) * random.uniform(keys[0], shape, real)
    radius = jnp.sqrt(-jnp.log(1 - inside.astype(real))).astype(dtype)
    return _polar(radius, 2 * jnp.pi * random.uniform(keys[1], shape, real), dtype)


def _family(name: str, scale: float, mode: str, distribution: str, text: str) -> Any:
    def make(
        in_axis: int | Sequence[int] = -2,
        out_axis: int | Sequence[int] = -1,
        batch_axis: int | Sequence[int] = (),
        dtype: Any = None,
    ) -> Initializer:
        return variance_scaling(
            scale, mode, distribution, in_axis, out_axis, batch_axis, dtype=dtype
        )

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""{text}

    >>> from pullback import random
    >>> {name}()(random.key(0), (64, 3)).shape
    (64, 3)
    """
    return make


_NORMAL = "truncated_normal"
glorot_normal = _family(
    "glorot_normal", 1.0, "fan_avg", _NORMAL, "Glorot and Bengio, 2010: normal."
)
glorot_uniform = _family(
    "glorot_uniform", 1.0, "fan_avg", "uniform", "Glorot and Bengio, 2010: uniform."
)
lecun_normal = _family("lecun_normal", 1.0, "fan_in", _NORMAL, "LeCun et al., 1998: normal.")
lecun_uniform = _family("lecun_uniform", 1.0, "fan_in", "uniform", "LeCun et al., 1998: uniform.")
he_normal = _family("he_normal", 2.0, "fan_in", _NORMAL, "He et al., 2015, for relu: normal.")
he_uniform = _family("he_uniform", 2.0, "fan_in", "uniform", "He et al., 2015, for relu: uniform.")
xavier_normal, xavier_uniform = glorot_normal, glorot_uniform
kaiming_normal, kaiming_uniform = he_normal, he_uniform


def _orthonormal(columns: Any) -> Any:
    """The Q of a QR decomposition whose R has a positive diagonal: Gram-Schmidt, done twice."""

    def step(j: Any, q: Any) -> Any:
        v = lax.dynamic_index_in_dim(columns, j, axis=1, keepdims=False)
        for _ in range(2):  # the second round removes what rounding left in the first
            v = v - q @ (q.conj().T @ v)
        v = v / jnp.sqrt(jnp.sum(jnp.abs(v) ** 2)).astype(v.dtype)
        return lax.dynamic_update_index_in_dim(q, v, j, axis=1)

    return lax.fori_loop(0, columns.shape[1], step, jnp.zeros_like(columns))


def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """A random orthogonal matrix; for other shapes, orthogonal columns or rows.

    >>> from pullback import random
    >>> q = orthogonal()(random.key(0), (3, 3))
    >>> bool(abs(q @ q.T - jnp.eye(3)).max() < 1e-5)
    True
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
        dtype = _dtype(dtype, default)
        if len(shape) < 2:
            raise ValueError("orthogonal initializer requires at least a 2D shape")
        columns = shape[column_axis]
        rows = math.prod(shape) // columns if columns else 0
        if rows == 0:
            return jnp.zeros(shape, dtype)
        tall = (max(rows, columns), min(rows, columns))
        q = _orthonormal(random.normal(key, tall, dtype))
        q = q if rows >= columns else q.T
        rest = [size for k, size in enumerate(shape) if k != column_axis % len(shape)]
        q = jnp.moveaxis(q.reshape(*rest, columns), -1, column_axis)
        return jnp.array(scale, dtype) * q

    return init


def delta_orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """An orthogonal matrix at the centre of a convolution's window, 0 elsewhere (Xiao, 2018).

    Shapes are `[*window, in feature, out feature]` with at most as many inputs as outputs.

    >>> from pullback import random
    >>> delta_orthogonal()(random.key(0), (3, 3, 2, 4)).shape
    (3, 3, 2, 4)
    """
    default = dtype

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
        dtype = _dtype(dtype, default)
        if len(shape) not in (3, 4, 5):
            raise ValueError(
                f"Delta orthogonal initializer requires a 3D, 4D or 5D shape, got {len(shape)}D."
            )
        if shape[-1] < shape[-2]:
            raise ValueError("`fan_in` must be less or equal than `fan_out`.")
        matrix = orthogonal(scale, column_axis, dtype)(key, tuple(shape[-2:]))
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        return jnp.zeros(shape, dtype).at[centre].set(matrix)

    return init

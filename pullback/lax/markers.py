"""`lax`: markers of values and places in a program, random bits by counters, scaled products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.control import generators
from pullback.control.callbacks import io_callback
from pullback.control.generators import RandomAlgorithm
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.dimensions import as_length
from pullback.core.structs import ShapeDtypeStruct
from pullback.lax.contractions import dot_general
from pullback.ops import conversion, elementwise, markers, structural
from pullback.transforms.arguments import check_operand

__all__ = [
    "RandomAlgorithm",
    "after_all",
    "after_all_p",
    "create_token",
    "create_token_p",
    "dce_sink",
    "dce_sink_p",
    "device_put_p",
    "dtype",
    "rng_bit_generator",
    "rng_bit_generator_p",
    "rng_uniform",
    "rng_uniform_p",
    "scaled_dot",
    "sharding_constraint_p",
    "stage",
    "stage_p",
]


def stage(x: Any, /) -> Any:
    """A value as one of the current trace: an operation of its own while something is traced.

    >>> import pullback as pb
    >>> pb.make_jaxpr(lambda: stage(2.0))()
    { lambda ; . let a:f32[] = stage 2.0:f32[] in (a,) }
    """
    check_operand(x, "stage")
    return markers.stage.bind(x)


def dce_sink(val: Any, *, prevent_mlir_dce: bool = False) -> None:
    """Keep a pytree of values from being removed as unused; computes nothing.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> "sin" in str(pb.make_jaxpr(lambda x: dce_sink(jnp.sin(x)))(1.0))
    True
    """
    leaves = tree.leaves(val)
    for x in leaves:
        check_operand(x, "dce_sink")
    markers.dce_sink.bind(*leaves, prevent_mlir_dce=bool(prevent_mlir_dce))


def create_token(_: Any = None) -> Any:
    """A token: something to wait for, without a value. The argument is ignored.

    >>> create_token().size
    0
    """
    return markers.create_token.bind()


def after_all(*operands: Any) -> Any:
    """One token for several.

    >>> after_all(create_token(), create_token()).size
    0
    """
    return markers.after_all.bind(*operands)


def dtype(x: Any) -> Any:
    """The dtype that a value or a type has in arrays.

    >>> dtype(3), dtype(float), dtype(np.zeros(2))
    (dtype('int32'), dtype('float32'), dtype('float32'))
    """
    if isinstance(x, (type, np.dtype, str)) or dtypes.is_extended(x):
        return dtypes.check_user_dtype(x, "dtype")
    if x is None:
        raise TypeError("Cannot determine dtype of None")
    try:
        return aval_of(x).dtype
    except TypeError:
        raise TypeError(f"Cannot determine dtype of {x!r}") from None


def rng_bit_generator(
    key: Any,
    shape: Sequence[int],
    dtype: Any = np.uint32,
    algorithm: Any = RandomAlgorithm.RNG_DEFAULT,
    *,
    out_sharding: Any = None,
) -> list[Any]:
    """The next state of a generator, and random bits of a shape and an unsigned dtype.

    The state is four uint32: a key of two, and a counter (low word first), which the next state
    has behind what was used. `RNG_PHILOX`, the default, is Philox-4x32 with ten rounds;
    `RNG_THREE_FRY` Threefry-2x32 with twenty.

    >>> state, bits = rng_bit_generator(np.array([1, 2, 3, 4], np.uint32), (2,))
    >>> state.tolist(), bits.tolist()
    ([1, 2, 4, 4], [512747620, 1298009047])
    """
    if out_sharding is not None:
        raise NotImplementedError("rng_bit_generator: out_sharding needs several devices")
    outs: list[Any] = generators.rng_bit_generator.bind(
        key,
        shape=tuple(as_length(n) for n in shape),
        dtype=dtypes.check_user_dtype(dtype, "rng_bit_generator"),
        algorithm=RandomAlgorithm(algorithm),
        out_sharding=None,
    )
    return outs


def rng_uniform(a: Any, b: Any, shape: Sequence[int]) -> Any:
    """Uniform random numbers in [a, b), others at each call: they come from a state.

    >>> x = rng_uniform(2.0, 3.0, (5,))
    >>> x.shape, bool(((x >= 2) & (x < 3)).all())
    ((5,), True)
    """
    low, high = aval_of(a), aval_of(b)
    if low.shape or high.shape or low.dtype != high.dtype:
        raise ValueError(
            "rng_uniform: the bounds are scalars of one dtype, got "
            f"{low.str_short()} and {high.str_short()}"
        )
    shape = tuple(as_length(n) for n in shape)
    # Programs call back, since the state is that of the process.
    return io_callback(
        lambda low, high: generators.draw(np.asarray(low), np.asarray(high), shape),
        ShapeDtypeStruct(shape, low.dtype),
        a,
        b,
    )


def scaled_dot(
    lhs: Any,
    rhs: Any,
    *,
    lhs_scale: Any = None,
    rhs_scale: Any = None,
    dimension_numbers: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The product of two arrays that are multiplied by scales, each for a block of elements.

    A scale has the shape of its operand, but for the contracted axis, which is shorter: its
    elements are for blocks of equal size. The default dimension numbers are those of a matrix
    product, with the first axis as a batch axis if there are three. The result is in bfloat16
    unless `preferred_element_type` says otherwise. Raises TypeError for shapes that do not fit.

    >>> x, y = np.ones((2, 4), "float32"), np.ones((4, 1), "float32")
    >>> scale = np.array([[1.0, 10.0]] * 2, "float32")
    >>> scaled_dot(x, y, lhs_scale=scale, preferred_element_type="float32").tolist()
    [[22.0], [22.0]]
    """
    rank = len(aval_of(lhs).shape)
    if dimension_numbers is None:
        if rank not in (2, 3) or len(aval_of(rhs).shape) != rank:
            raise TypeError("scaled_dot: without dimension_numbers the operands have 2 or 3 axes")
        batch = (0,) if rank == 3 else ()
        dimension_numbers = (((rank - 1,), (rank - 2,)), (batch, batch))
    (lc, rc), _ = dimension_numbers
    wide = dtypes.as_dtype(
        dtypes.bfloat16 if preferred_element_type is None else preferred_element_type
    )
    left = _scaled(lhs, lhs_scale, lc, wide, "LHS")
    right = _scaled(rhs, rhs_scale, rc, wide, "RHS")
    return dot_general(left, right, dimension_numbers, preferred_element_type=wide)


def _scaled(x: Any, scale: Any, contracted: Sequence[int], dtype: Any, name: str) -> Any:
    x = conversion.convert(x, dtype)
    if scale is None:
        return x
    shape, blocks = aval_of(x).shape, aval_of(scale).shape
    if len(blocks) != len(shape):
        raise TypeError(f"scaled_dot: {name} has {len(shape)} axes and its scale {len(blocks)}")
    for k, (n, m) in enumerate(zip(shape, blocks, strict=True)):
        if k not in contracted and n != m:
            raise TypeError(f"scaled_dot: {name} dim {k} has size {n}, but its scale {m}")
        if k in contracted and (not m or n % m):
            raise TypeError(
                f"{name} contracting dim {k} of size {n} must be divisible by its scale's dim "
                f"size {m}."
            )
    split = [p for n, m in zip(shape, blocks, strict=True) for p in (m, n // m)]
    spread = structural.broadcast_in_dim(
        conversion.convert(scale, dtype),
        shape=tuple(split),
        broadcast_dimensions=tuple(range(0, len(split), 2)),
        sharding=None,
    )
    spread = structural.reshape(spread, new_sizes=shape, dimensions=None, sharding=None)
    return elementwise.mul(x, spread)


after_all_p = markers.after_all
create_token_p = markers.create_token
dce_sink_p = markers.dce_sink
device_put_p = markers.device_put
rng_bit_generator_p = generators.rng_bit_generator
rng_uniform_p = generators.rng_uniform
sharding_constraint_p = markers.sharding_constraint
stage_p = markers.stage

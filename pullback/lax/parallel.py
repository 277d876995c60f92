"""`lax`: collective operations over the named axes that `vmap(..., axis_name=...)` binds."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.control import collectives, exchange
from pullback.control.collectives import is_positional
from pullback.control.composite import composite
from pullback.core import axes as named_axes
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.axes import NamedAxisEffect
from pullback.core.trace import Tracer
from pullback.errors import UnsupportedError
from pullback.lax import indexing
from pullback.ops import conversion, elementwise, structural
from pullback.transforms.arguments import check_operand

__all__ = [
    "all_gather",
    "all_gather_p",
    "all_to_all",
    "all_to_all_p",
    "axis_index",
    "axis_index_p",
    "axis_size",
    "pbroadcast",
    "pcast",
    "pmax",
    "pmax_p",
    "pmean",
    "pmin",
    "pmin_p",
    "ppermute",
    "ppermute_p",
    "precv",
    "psend",
    "pshuffle",
    "psum",
    "psum_p",
    "psum_scatter",
    "pswapaxes",
    "ragged_all_to_all",
    "ragged_all_to_all_p",
]

AxisName = Hashable

all_gather_p = exchange.all_gather
all_to_all_p = exchange.all_to_all
axis_index_p = collectives.axis_index
pmax_p = collectives.pmax
pmin_p = collectives.pmin
ppermute_p = exchange.ppermute
psum_p = collectives.psum


def _names(axis_name: Any, operation: str) -> tuple[Any, ...]:
    """The names of an argument `axis_name`, each of which must be bound."""
    names = tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)
    for name in names:
        if not is_positional(name):
            named_axes.axis_size(name, operation)
    return names


def _groups(axis_index_groups: Any, size: int, operation: str) -> Any:
    """The groups as tuples, each axis index in exactly one of them and all of one length."""
    if axis_index_groups is None:
        return None
    groups = tuple(tuple(group) for group in axis_index_groups)
    if len({len(group) for group in groups}) > 1:
        raise ValueError(f"{operation}: axis_index_groups must all have the same size")
    if sorted(i for group in groups for i in group) != list(range(size)):
        raise ValueError(
            f"{operation}: axis_index_groups must cover each of the {size} indices exactly once"
        )
    return groups


def _size(names: Sequence[Any], operation: str) -> int:
    return math.prod(named_axes.axis_size(n, operation) for n in names if not is_positional(n))


def _mapped(
    x: Any, axis_name: Any, axis_index_groups: Any, operation: str, one: Callable[..., Any]
) -> Any:
    """`one(leaf, names, groups)` for each leaf; names are checked first."""
    names = _names(axis_name, operation)
    groups = _groups(axis_index_groups, _size(names, operation), operation)

    def leaf(value: Any) -> Any:
        check_operand(value, operation)
        return one(value, names, groups)

    return tree.map(leaf, x)


# ------------------------------------------------------------------ reductions


def psum(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """The sum of `x` (a pytree) over the lanes of an axis, or of several.

    With `axis_index_groups`, a partition of the indices into lists, each lane gets the sum of its
    own group. `psum(1, name)` is the number of lanes, a Python number. NameError for a name that
    is not bound.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: x / lax.psum(x, "i"), axis_name="i")(jnp.ones(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    def one(value: Any, names: Any, groups: Any) -> Any:
        if not isinstance(value, Tracer) and not any(map(is_positional, names)):
            return _times(value, _size(names, "psum") if groups is None else len(groups[0]))
        if aval_of(value).dtype == np.bool_:
            value = conversion.convert(value, np.dtype(np.int32))
        return _bind(collectives.psum, value, names, groups)

    return _mapped(x, axis_name, axis_index_groups, "psum", one)


def _bind(primitive: Any, value: Any, names: Any, groups: Any) -> Any:
    if not names:
        return value
    ndim = aval_of(value).ndim
    axes = tuple(n % ndim if is_positional(n) and -ndim <= n < ndim else n for n in names)
    return primitive.bind(value, axes=axes, axis_index_groups=groups)


def _times(x: Any, size: int) -> Any:
    """The sum over lanes of a value that is the same in all of them."""
    if type(x) in (bool, int, float, complex):
        return x * size
    if aval_of(x).dtype == np.bool_:
        x = conversion.convert(x, np.dtype(np.int32))
    return elementwise.mul(x, dtypes.physical(aval_of(x).dtype).type(size))


def pmean(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """The mean of `x` (a pytree) over the lanes of an axis.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: x - lax.pmean(x, "i"), axis_name="i")(jnp.arange(3.0)).tolist()
    [-1.0, 0.0, 1.0]
    """
    total = psum(x, axis_name, axis_index_groups=axis_index_groups)
    n = psum(1, axis_name, axis_index_groups=axis_index_groups)
    return tree.map(lambda value: _divided(value, n), total)


def _divided(x: Any, n: Any) -> Any:
    if type(x) in (bool, int, float, complex):
        return x / n
    dtype = aval_of(x).dtype
    if not dtypes.issubdtype(dtype, np.inexact):
        dtype = dtypes.canonicalize_dtype(np.dtype(np.float64))
        x = conversion.convert(x, dtype)
    return elementwise.div(x, dtypes.physical(dtype).type(n))


def _extremum(x: Any, axis_name: Any, groups: Any, operation: str, primitive: Any) -> Any:
    def one(value: Any, names: Any, groups: Any) -> Any:
        return _bind(primitive, value, names, groups)

    return _mapped(x, axis_name, groups, operation, one)


def pmax(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """The maximum of `x` (a pytree) over the lanes of an axis.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.pmax(x, "i"), axis_name="i")(jnp.arange(3)).tolist()
    [2, 2, 2]
    """
    return _extremum(x, axis_name, axis_index_groups, "pmax", collectives.pmax)


def pmin(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """The minimum of `x` (a pytree) over the lanes of an axis.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.pmin(x, "i"), axis_name="i")(jnp.arange(3)).tolist()
    [0, 0, 0]
    """
    return _extremum(x, axis_name, axis_index_groups, "pmin", collectives.pmin)


# ------------------------------------------------------------------ the axis itself


def axis_index(axis_name: Any) -> Any:
    """The number of this lane along an axis; along the product of several, the first the slowest.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.axis_index("i"), axis_name="i")(jnp.zeros(3)).tolist()
    [0, 1, 2]
    """
    names = _names(axis_name, "axis_index")
    if not isinstance(axis_name, (tuple, list)):
        return collectives.axis_index.bind(axis_name=axis_name)
    index: Any = np.int32(0)
    stride = 1
    for name in reversed(names):
        here = collectives.axis_index.bind(axis_name=name)
        index = elementwise.add(index, elementwise.mul(here, np.int32(stride)))
        stride *= named_axes.axis_size(name, "axis_index")
    return index


def axis_size(axis_name: Any) -> int:
    """The number of lanes of an axis, or of the product of several: a Python number.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: x * lax.axis_size("i"), axis_name="i")(jnp.ones(3)).tolist()
    [3.0, 3.0, 3.0]
    """
    return _size(_names(axis_name, "axis_size"), "axis_size")


# ------------------------------------------------------------------ exchanges


def all_gather(
    x: Any,
    axis_name: Any,
    *,
    axis_index_groups: Any = None,
    axis: int = 0,
    tiled: bool = False,
    to: str = "varying",
) -> Any:
    """The values of all lanes, along a new axis; with `tiled`, concatenated along `axis`.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.all_gather(x, "i"), axis_name="i")(jnp.arange(2)).tolist()
    [[0, 1], [0, 1]]
    """

    def one(value: Any, names: Any, groups: Any) -> Any:
        ndim = aval_of(value).ndim + (not tiled)
        if not -ndim <= axis < ndim:
            raise ValueError(f"all_gather: axis {axis} is out of bounds for {aval_of(value)}")
        return exchange.all_gather.bind(
            value,
            all_gather_dimension=axis % ndim,
            axis_index_groups=groups,
            axis_name=names,
            axis_size=_size(names, "all_gather") if groups is None else len(groups[0]),
            tiled=tiled,
        )

    return _mapped(x, axis_name, axis_index_groups, "all_gather", one)


def psum_scatter(
    x: Any,
    axis_name: Any,
    *,
    scatter_dimension: int = 0,
    axis_index_groups: Any = None,
    tiled: bool = False,
) -> Any:
    """Each lane's part of `psum(x, axis_name)`, cut along `scatter_dimension`.

    That axis has one entry for each lane and is dropped; with `tiled`, a multiple of the number of
    lanes, and each lane gets a slice.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.psum_scatter(x, "i"), axis_name="i")(jnp.eye(2)).tolist()
    [1.0, 1.0]
    """

    def one(value: Any, names: Any, groups: Any) -> Any:
        params = {
            "axis_index_groups": groups,
            "axis_name": names,
            "axis_size": _size(names, "psum_scatter") if groups is None else len(groups[0]),
            "scatter_dimension": scatter_dimension % max(aval_of(value).ndim, 1),
            "tiled": tiled,
        }
        exchange.reduce_scatter.abstract(aval_of(value), **params)  # the batching rule checks less
        return exchange.reduce_scatter.bind(value, **params)

    return _mapped(x, axis_name, axis_index_groups, "psum_scatter", one)


def all_to_all(
    x: Any,
    axis_name: Any,
    split_axis: int,
    concat_axis: int,
    *,
    axis_index_groups: Any = None,
    tiled: bool = False,
) -> Any:
    """Lane k gets part k, along `split_axis`, of the value of every lane.

    The parts are stacked along a new axis `concat_axis`, and `split_axis`, which has one entry for
    each lane, is dropped; with `tiled` the parts are slices, and concatenated.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> x = jnp.arange(4).reshape(2, 2)
    >>> pb.vmap(lambda row: lax.all_to_all(row, "i", 0, 0), axis_name="i")(x).tolist()
    [[0, 2], [1, 3]]
    """

    def one(value: Any, names: Any, groups: Any) -> Any:
        aval, n = aval_of(value), _size(names, "all_to_all") if groups is None else len(groups[0])
        split, concat = split_axis % aval.ndim, concat_axis % aval.ndim
        params = {
            "axis_index_groups": groups,
            "axis_name": axis_name,
            "tiled": tiled,
        }
        if not tiled and aval.shape[split] != n:
            raise ValueError(
                f"all_to_all: axis {split} of {aval.str_short()} must have one entry for each of "
                f"the {n} lanes, or tiled=True"
            )
        exchange.all_to_all.abstract(aval, split_axis=split, concat_axis=concat, **params)
        if tiled or split == concat:
            return exchange.all_to_all.bind(value, split_axis=split, concat_axis=concat, **params)
        split, concat = (split, concat + 1) if split < concat else (split + 1, concat)
        out = exchange.all_to_all.bind(
            structural.broadcast(value, 1, concat), split_axis=split, concat_axis=concat, **params
        )
        return structural.squeeze(out, dimensions=(split,))

    return _mapped(x, axis_name, axis_index_groups, "all_to_all", one)


def pswapaxes(x: Any, axis_name: Any, axis: int, *, axis_index_groups: Any = None) -> Any:
    """Exchange the lanes with an axis of `x`, which has one entry for each lane.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> x = jnp.arange(4).reshape(2, 2)
    >>> pb.vmap(lambda row: lax.pswapaxes(row, "i", 0), axis_name="i")(x).tolist()
    [[0, 2], [1, 3]]
    """
    return all_to_all(x, axis_name, axis, axis, axis_index_groups=axis_index_groups)


def ppermute(x: Any, axis_name: Any, perm: Any) -> Any:
    """Send values between lanes: `perm` is a list of pairs (source, destination).

    No source and no destination comes twice. A lane that is no destination gets zeros.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> shift = lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2), (2, 0)])
    >>> pb.vmap(shift, axis_name="i")(jnp.arange(3)).tolist()
    [2, 0, 1]
    """
    pairs = tuple((int(src), int(dst)) for src, dst in perm)
    size = _size(_names(axis_name, "ppermute"), "ppermute")
    for what, ends in (("sources", [s for s, _ in pairs]), ("destinations", [d for _, d in pairs])):
        if len(set(ends)) != len(ends) or not all(0 <= i < size for i in ends):
            raise ValueError(
                f"ppermute: {what} must be distinct indices of an axis of size {size}, got {perm}"
            )

    def one(value: Any, names: Any, groups: Any) -> Any:
        return exchange.ppermute.bind(value, axis_name=names, perm=pairs)

    return _mapped(x, axis_name, None, "ppermute", one)


def pshuffle(x: Any, axis_name: Any, perm: Any) -> Any:
    """Lane i gets the value of lane `perm[i]`; `perm` is a permutation.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.pshuffle(x, "i", [2, 0, 1]), axis_name="i")(jnp.arange(3)).tolist()
    [2, 0, 1]
    """
    if set(perm) != set(range(len(perm))):
        raise ValueError(f"pshuffle: `perm` must be a permutation, got {perm}")
    return ppermute(x, axis_name, [(src, dst) for dst, src in enumerate(perm)])


def pbroadcast(x: Any, axis_name: Any, source: int) -> Any:
    """The value of lane `source`, in all lanes.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.pbroadcast(x, "i", 1), axis_name="i")(jnp.arange(3)).tolist()
    [1, 1, 1]
    """
    if isinstance(axis_name, (tuple, list)):
        raise UnsupportedError("pbroadcast: several axis names at once are not supported")

    def one(value: Any, names: Any, groups: Any) -> Any:
        return exchange.pbroadcast.bind(value, axis_name=axis_name, source=int(source))

    return _mapped(x, axis_name, None, "pbroadcast", one)


# ------------------------------------------------------------------ what needs several devices


def pcast(x: Any, axis_name: Any, *, to: str) -> Any:
    """`x`, with another statement on whether it differs between lanes; under vmap that is known.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: lax.pcast(x, "i", to="varying"), axis_name="i")(jnp.arange(2)).tolist()
    [0, 1]
    """
    if to not in ("varying", "reduced", "unreduced"):
        raise ValueError(f"pcast: `to` must be 'varying', 'reduced' or 'unreduced', got {to!r}")
    _names(axis_name, "pcast")
    return x


def psend(x: Any, axis_name: Any, perm: Any) -> Any:
    """Not supported: there is one device."""
    raise UnsupportedError("psend: sending between devices is not supported; use ppermute")


def precv(token: Any, out_shape: Any, axis_name: Any, perm: Any) -> Any:
    """Not supported: there is one device."""
    raise UnsupportedError("precv: receiving from devices is not supported; use ppermute")


def ragged_all_to_all(
    operand: Any,
    output: Any,
    input_offsets: Any,
    send_sizes: Any,
    output_offsets: Any,
    recv_sizes: Any,
    *,
    axis_name: Any,
    axis_index_groups: Any = None,
) -> Any:
    """Send rows of `operand` to all lanes, to each another number of them.

    Lane i sends the `send_sizes[j]` rows from `input_offsets[j]` on to lane j, where they become
    the rows from `output_offsets[j]` on of its result; the other rows of the result are those of
    `output`. `recv_sizes[i]` says how many rows lane i sends to this one.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> x = jnp.arange(4.0).reshape(2, 2)
    >>> ones, places = jnp.ones((2, 2), "int32"), jnp.array([[0, 1]] * 2)
    >>> lane = jnp.array([[0, 0], [1, 1]])
    >>> send = lambda x, i, n, o, r: ragged_all_to_all(x, 0 * x, i, n, o, r, axis_name="i")
    >>> pb.vmap(send, axis_name="i")(x, places, ones, lane, ones).tolist()
    [[0.0, 2.0], [1.0, 3.0]]
    """
    if axis_index_groups is not None:
        raise UnsupportedError("ragged_all_to_all: axis_index_groups is not supported")
    axis_size(axis_name)
    return ragged_all_to_all_p.bind(
        operand,
        output,
        input_offsets,
        send_sizes,
        output_offsets,
        recv_sizes,
        axis_name=axis_name,
        axis_index_groups=None,
    )


def _exchange_rows(
    operand: Any,
    output: Any,
    input_offsets: Any,
    send_sizes: Any,
    output_offsets: Any,
    recv_sizes: Any,
    *,
    axis_name: Any,
    axis_index_groups: Any,
) -> list[Any]:
    """Every lane looks at what all lanes have, and takes what is sent to it."""
    shape = aval_of(output).shape
    lane = axis_index(axis_name)
    rows = structural.iota(dtype=np.dtype(np.int32), shape=shape[:1], dimension=0, sharding=None)
    everything = all_gather(operand, axis_name)
    from_, sizes, to = (
        conversion.convert(
            indexing.dynamic_index_in_dim(all_gather(x, axis_name), lane, 1, keepdims=False),
            np.dtype(np.int32),
        )
        for x in (input_offsets, send_sizes, output_offsets)
    )
    length = aval_of(operand).shape[0]
    for sender in range(axis_size(axis_name)):
        start, size, offset = (
            structural.broadcast_in_dim(
                indexing.index_in_dim(x, sender, 0, keepdims=False),
                shape=shape[:1],
                broadcast_dimensions=(),
                sharding=None,
            )
            for x in (to, sizes, from_)
        )
        place = elementwise.sub(rows, start)
        sent = elementwise.and_(
            elementwise.ge(place, np.zeros(shape[:1], np.int32)), elementwise.lt(place, size)
        )
        source = elementwise.clamp(
            np.int32(0), elementwise.add(place, offset), np.int32(max(length - 1, 0))
        )
        theirs = indexing.index_in_dim(everything, sender, 0, keepdims=False)
        taken = indexing.index_take(theirs, (source,), (0,)) if length else output
        wide = structural.broadcast_in_dim(
            sent, shape=shape, broadcast_dimensions=(0,), sharding=None
        )
        output = elementwise.select_n(wide, output, taken)
    return [output]


def _exchange_effects(*, axis_name: Any, **_: Any) -> frozenset[Any]:
    return frozenset(map(NamedAxisEffect, _names(axis_name, "ragged_all_to_all")))


ragged_all_to_all_p = composite(
    "ragged_all_to_all", _exchange_rows, samples=lambda: (), effects=_exchange_effects
)

"""Families of primitives: rules that many share, given once.

The modules of `ops/` describe their primitives by these; the result is a `core.primitive` record.

    sin = unary("sin", np.sin, INEXACT, jvp=lambda ans, x: lambda t: mul(t, cos(x)), lower="sin",
                hlo="stablehlo.sine", samples=inputs(INEXACT, (-4, 4)))

An element-wise operation takes operands of one shape, or of rank 0 among others of one shape.

- `jvp` is one function per operand (a single function for unary ones): given the result and the
  operands it returns the linear map from that operand's tangent to the result's.  `None` says that
  the operand has no tangents (its type has none); `LINEAR`, that the map is the operation itself.
- `transpose` is one function per operand: `(ct, *operands) -> cotangent`; or `NONLINEAR`.
- `hlo` is the name of an operation, a rule, or `BY_ELEMENTS`: the rule `lower` serves for both.
- dtypes of operands are classes: strings of the letters of `dtypes.kind_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from pullback.core import dtypes, element_types
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Linear,
    NotApplicable,
    Primitive,
    Zero,
    registry,
)
from pullback.core.trace import current
from pullback.errors import shapes_text

__all__ = [
    "ANY",
    "BITS",
    "BOOL",
    "BY_ELEMENTS",
    "COMPLEX",
    "FLOAT",
    "INEXACT",
    "INT",
    "LINEAR",
    "NONDIFF",
    "NONLINEAR",
    "NUMERIC",
    "ORDERED",
    "REAL",
    "SIGNED",
    "UNSIGNED",
    "OnTensors",
    "add_tangents",
    "batch_front",
    "binary",
    "broadcast",
    "broadcast_batch_dims",
    "check_accepts",
    "comparison",
    "element_wise",
    "element_wise_batch",
    "element_wise_shape",
    "float_limits",
    "integer_limits",
    "late",
    "linear_jvp",
    "match_shape",
    "move_axis",
    "nondifferentiable",
    "operand_types",
    "scalar_like",
    "unary",
    "unbroadcast",
    "widened",
    "zero_tangent",
]

# --------------------------------------------------------------------------- classes of dtypes

FLOAT: Final = "f"
COMPLEX: Final = "c"
INEXACT: Final = "fc"
INT: Final = "iu"
UNSIGNED: Final = "u"
BOOL: Final = "b"
BITS: Final = "iub"
REAL: Final = "iuf"
SIGNED: Final = "ifc"
NUMERIC: Final = "iufc"
ORDERED: Final = "iufb"
ANY: Final = "iufcb"

_CLASS_NAMES: Final = {
    "iu": "integer",
    "i": "signedinteger",
    "u": "unsignedinteger",
    "f": "floating",
    "c": "complexfloating",
    "b": "bool",
}

NONLINEAR: Final = NotApplicable("transpose", "the operation is not linear")
NONDIFF: Final = NotApplicable("jvp", "the result has no tangents", TypeError)
LINEAR: Final = NotApplicable("jvp", "linear: the operation itself")
BY_ELEMENTS: Final = NotApplicable("hlo", "the rule `lower`, which is about elements")


def operand_types(avals: Sequence[Any]) -> str:
    """`f32[3] and i32[]`, for errors."""
    return shapes_text([a.str_short() for a in avals])


def check_accepts(name: str, aval: Any, accepts: str, position: int | None = None) -> None:
    """Raise TypeError unless the dtype of `aval` is of one of the kinds in `accepts`."""
    if dtypes.kind_of(aval.dtype) not in accepts:
        where = "" if position is None else f" at position {position}"
        integers = "iu" if {"i", "u"} <= set(accepts) else "".join(set(accepts) & {"i", "u"})
        kinds = [k for k in (integers, "f", "c", "b") if k and k in _CLASS_NAMES]
        classes = ", ".join(_CLASS_NAMES[k] for k in kinds if set(k) <= set(accepts))
        raise TypeError(
            f"{name} does not accept dtype {aval.dtype.name}{where}. Accepted dtypes{where} are "
            f"subtypes of {classes}. The operand is {aval.str_short()}."
        )


def integer_limits(dtype: Any) -> Any:
    """`iinfo` of an integer dtype, NumPy's or not."""
    info: Any = dtypes.iinfo
    return info(dtype)


def float_limits(dtype: Any) -> Any:
    """`finfo` of a float dtype, NumPy's or not."""
    info: Any = dtypes.finfo
    return info(dtype)


# --------------------------------------------------------------------------- references

_WIDER: Final[dict[Any, Any]] = {
    **dict.fromkeys((dtypes.float16, np.dtype(dtypes.bfloat16)), dtypes.float32),
    **dict.fromkeys(element_types.SMALL_FLOATS.values(), dtypes.float32),
    **dict.fromkeys(element_types.SMALL_SIGNED.values(), np.dtype(np.int8)),
    **dict.fromkeys(element_types.SMALL_UNSIGNED.values(), np.dtype(np.uint8)),
}


def widened(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that computes in float32 for narrower floats, in int8 for narrower ints."""

    def reference(*xs: Any, **params: Any) -> Any:
        dtype = xs[0].dtype
        wide = _WIDER.get(dtype)
        if wide is None:
            return fn(*xs, **params)
        out = fn(*[x.astype(wide) for x in xs], **params)
        return out.astype(dtype) if out.dtype == wide else out

    return reference


# --------------------------------------------------------------------------- avals


def element_wise_shape(name: str, avals: Sequence[Any]) -> tuple[int, ...]:
    """The shape of the result: all operands have it, or are of rank 0."""
    shape: tuple[int, ...] = ()
    for aval in avals:
        if aval.shape and aval.shape != shape:
            if shape:
                raise TypeError(
                    f"{name}: operands have incompatible shapes {operand_types(avals)}; they "
                    "must be equal, or some of rank 0"
                )
            shape = aval.shape
    return shape


def _same_dtype(name: str, avals: Sequence[Any]) -> None:
    first = avals[0].dtype
    for aval in avals:
        if aval.dtype != first:
            raise TypeError(f"{name}: operands must have one dtype, got {operand_types(avals)}")


Result = Callable[..., Any]


def element_wise_abstract(
    name: str, accepts: str, result: Result | None = None
) -> Callable[..., ShapedArray]:
    """The aval rule: operands of one dtype in `accepts`; `result(dtype)` is that of the result."""

    def abstract(*avals: ShapedArray, **params: Any) -> ShapedArray:
        _same_dtype(name, avals)
        dtype = avals[0].dtype
        if dtypes.kind_of(dtype) not in accepts:
            check_accepts(name, avals[0], accepts, None if len(avals) == 1 else 0)
        shape = element_wise_shape(name, avals)
        if result is not None:
            dtype = result(dtype)
        return ShapedArray(shape, dtype, all(a.weak_type for a in avals))

    return abstract


# --------------------------------------------------------------------------- structural helpers

# The structural primitives are in sibling modules, which import this one: they are looked up in the
# registry when a rule runs.


def broadcast(x: Any, shape: Sequence[int], dims: Sequence[int] = ()) -> Any:
    """`x` with its axis k as axis `dims[k]` of `shape`."""
    return registry["broadcast_in_dim"](
        x, shape=tuple(shape), broadcast_dimensions=tuple(dims), sharding=None
    )


def scalar_like(x: Any, value: Any) -> Any:
    """A NumPy scalar in the dtype of `x`."""
    return dtypes.physical(aval_of(x).dtype).type(value)


def match_shape(x: Any, shape: tuple[int, ...]) -> Any:
    """`x`, broadcast to `shape` if it has rank 0."""
    return x if aval_of(x).shape == shape else broadcast(x, shape)


def unbroadcast(ct: Any, aval: Any) -> Any:
    """A cotangent summed to the shape of `aval`: the transpose of broadcasting a rank-0 operand."""
    shape = aval_of(ct).shape
    if shape == aval.shape:
        return ct
    return registry["reduce_sum"](ct, axes=tuple(range(len(shape))), out_sharding=None)


def move_axis(x: Any, source: int, target: int) -> Any:
    """`x` with one axis moved."""
    if source == target:
        return x
    rest = [k for k in range(len(aval_of(x).shape)) if k != source]
    rest.insert(target, source)
    return registry["transpose"](x, permutation=tuple(rest))


def batch_front(size: int, x: Any, dim: int | None) -> Any:
    """`x` with its batch axis in front; one is made for an operand that has none."""
    if dim is not None:
        return move_axis(x, dim, 0)
    shape = aval_of(x).shape
    return broadcast(x, (size, *shape), range(1, len(shape) + 1))


def broadcast_batch_dims(
    size: int, args: Sequence[Any], dims: Sequence[int | None]
) -> tuple[list[Any], int]:
    """Operands of an element-wise operation made alike in shape, and where the batch axis is.

    Unbatched operands of rank 0 stay as they are; one that has only its batch axis is spread over
    the other axes.
    """
    avals = [aval_of(x) for x in args]
    ranks = [len(a.shape) - (d is not None) for a, d in zip(avals, dims, strict=True)]
    rank = max(ranks)
    at = next((d for d, r in zip(dims, ranks, strict=True) if d is not None and r == rank), 0)
    model = ranks.index(rank)
    full = _with_batch(avals[model].shape, dims[model], at, size)
    return [_aligned(x, d, at, full) for x, d in zip(args, dims, strict=True)], at


def _with_batch(shape: tuple[int, ...], dim: int | None, at: int, size: int) -> tuple[int, ...]:
    rest = list(shape)
    if dim is not None:
        del rest[dim]
    rest.insert(at, size)
    return tuple(rest)


def _aligned(x: Any, dim: int | None, at: int, full: tuple[int, ...]) -> Any:
    shape = aval_of(x).shape
    if dim is None:
        others = [k for k in range(len(full)) if k != at]
        return broadcast(x, full, others) if shape else x
    return move_axis(x, dim, at) if len(shape) == len(full) else broadcast(x, full, (at,))


# --------------------------------------------------------------------------- derivatives


def zero_tangent(x: Any) -> Zero:
    """The zero tangent of a value."""
    return Zero(aval_of(x).to_tangent_aval())


def add_tangents(terms: Sequence[Any], out: Any) -> Any:
    """The sum of the terms of a tangent of `out`; `Zero` if there are none."""
    if not terms:
        return zero_tangent(out)
    total = terms[0]
    for term in terms[1:]:
        total = registry["add_any"](total, term)
    return total


def linear_jvp(bind: Callable[..., Any]) -> Callable[..., Any]:
    """The jvp of an operation that is linear in its one operand (or all of them together)."""

    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        out = bind(*primals, **params)
        if all(type(t) is Zero for t in tangents) or _no_tangent(out):
            return out, zero_tangent(out)
        return out, bind(*tangents, **params)

    return jvp


def _no_tangent(x: Any) -> bool:
    return dtypes.kind_of(aval_of(x).dtype) not in INEXACT


def _element_wise_jvp(bind: Callable[..., Any], rules: Sequence[Any]) -> Callable[..., Any]:
    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        out = bind(*primals, **params)
        shape = aval_of(out).shape
        terms = []
        for rule, t in zip(rules, tangents, strict=False):
            if type(t) is not Zero and rule is not None:
                term = rule(out, *primals, **params)(t)
                terms.append(match_shape(term, shape) if shape else term)
        return out, terms[0] if len(terms) == 1 else add_tangents(terms, out)

    return jvp


def nondifferentiable(bind: Callable[..., Any]) -> Callable[..., Any]:
    """The jvp of an operation whose derivative is zero or whose result has no tangents."""

    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        out = bind(*primals, **params)
        return out, zero_tangent(out)

    return jvp


def _element_wise_transpose(rules: Sequence[Any]) -> Callable[..., Any]:
    def transpose(ct: Any, *args: Any, **params: Any) -> list[Any]:
        return [
            unbroadcast(rule(ct, *args, **params), x.aval) if type(x) is Linear else None
            for rule, x in zip(rules, args, strict=True)
        ]

    return transpose


# --------------------------------------------------------------------------- batching


def element_wise_batch(bind: Callable[..., Any]) -> Callable[..., Any]:
    """The batching rule of element-wise operations."""

    def batch(size: int, args: Any, dims: Any, **params: Any) -> tuple[Any, int]:
        if len(args) > 1:
            args, dim = broadcast_batch_dims(size, args, dims)
        else:
            dim = dims[0]
        return bind(*args, **params), dim

    return batch


# --------------------------------------------------------------------------- lowering


@dataclass(frozen=True)
class OnTensors:
    """Marks a lowering that works on whole tensors: `rule(b, *tensors, **params)`."""

    rule: Callable[..., Any]


LowerSpec: TypeAlias = "str | OnTensors | Callable[..., Any]"


def element_wise_lower(fn: LowerSpec) -> Callable[..., Any]:
    """The lowering of an element-wise operation: the scalar operation's name, or an expression.

    A function is called as `fn(s, *elements, **params)`.
    """
    if isinstance(fn, OnTensors):
        return fn.rule
    if isinstance(fn, str):
        return lambda b, *xs, **params: b.map(fn, *xs)
    return lambda b, *xs, **params: b.map(
        (lambda s, *elements: fn(s, *elements, **params)) if params else fn, *xs
    )


# --------------------------------------------------------------------------- families


def element_wise(
    name: str,
    reference: Callable[..., Any],
    abstract: Callable[..., Any],
    *,
    jvp: Any,
    transpose: Any,
    lower: LowerSpec,
    hlo: Any,
    samples: Callable[[], Any],
    literals: bool,
) -> Primitive:
    """An element-wise primitive with an aval rule of its own, and perhaps a whole `jvp` rule."""
    bind = late(name)
    return Primitive(
        name=name,
        abstract=abstract,
        reference=reference,
        jvp=_jvp_rule(bind, jvp),
        transpose=_element_wise_transpose(transpose) if isinstance(transpose, tuple) else transpose,
        batch=element_wise_batch(bind),
        partial_eval=FIRST_ORDER,
        lower=element_wise_lower(lower),
        hlo=element_wise_lower(lower) if hlo is BY_ELEMENTS else hlo,
        samples=samples,
        multiple_results=False,
        effects=PURE,
        literals=literals,
    )


def late(name: str) -> Callable[..., Any]:
    """`bind` of the primitive that will be registered under `name`, for its own rules."""

    def bind(*args: Any, **params: Any) -> Any:
        return current.trace.process(registry[name], args, params)

    return bind


def _jvp_rule(bind: Callable[..., Any], jvp: Any) -> Callable[..., Any]:
    if jvp is LINEAR:
        return linear_jvp(bind)
    if jvp is NONDIFF:
        return nondifferentiable(bind)
    return _element_wise_jvp(bind, jvp) if isinstance(jvp, tuple) else jvp


def unary(
    name: str,
    reference: Callable[..., Any],
    accepts: str,
    *,
    jvp: Any,
    transpose: Any = NONLINEAR,
    lower: LowerSpec,
    hlo: Any,
    samples: Callable[[], Any],
    result: Result | None = None,
) -> Primitive:
    """An element-wise function of one operand."""
    return element_wise(
        name,
        reference,
        element_wise_abstract(name, accepts, result),
        jvp=jvp if isinstance(jvp, NotApplicable) else (jvp,),
        transpose=transpose if isinstance(transpose, NotApplicable) else (transpose,),
        lower=lower,
        hlo=hlo,
        samples=samples,
        literals=False,
    )


def binary(
    name: str,
    reference: Callable[..., Any],
    accepts: str,
    *,
    jvp: Any,
    transpose: Any = NONLINEAR,
    lower: LowerSpec,
    hlo: Any,
    samples: Callable[[], Any],
    result: Result | None = None,
) -> Primitive:
    """An element-wise function of two or more operands of one dtype."""
    return element_wise(
        name,
        reference,
        element_wise_abstract(name, accepts, result),
        jvp=jvp,
        transpose=transpose,
        lower=lower,
        hlo=hlo,
        samples=samples,
        literals=True,
    )


def comparison(
    name: str, reference: Callable[..., Any], accepts: str, *, lower: Any, hlo: Any, samples: Any
) -> Primitive:
    """An element-wise predicate of two operands of one dtype."""
    return binary(
        name,
        reference,
        accepts,
        jvp=NONDIFF,
        lower=lower,
        hlo=hlo,
        samples=samples,
        result=lambda dtype: dtypes.bool_,
    )

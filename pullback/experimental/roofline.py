"""`jax.experimental.roofline`: operations and bytes of a program, counted without running it.

Two counts are made.  The unfused one takes every operation by itself: it reads its operands and
writes its results.  The fused one assumes that everything but products of matrices is merged into
them, and counts products alone.  `scan` counts its body as often as it runs, `while` once, and a
branch as the costliest one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.jaxpr import Jaxpr, JaxprEqn, Literal, subjaxprs
from pullback.core.primitive import Primitive
from pullback.core.structs import ShapeDtypeStruct
from pullback.passes.costs import FREE, convolution_operations, nbytes, product_operations
from pullback.transforms.arguments import FlatFunction, shaped
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.derivatives import vjp as reverse
from pullback.transforms.staging import stage

__all__ = [
    "RooflineResult",
    "RooflineRuleContext",
    "RooflineShape",
    "register_roofline",
    "register_standard_roofline",
    "roofline",
    "roofline_and_grad",
]


@dataclass(frozen=True, kw_only=True)
class RooflineShape:
    """The shape and the dtype of an operand, and its bytes."""

    shape: tuple[int, ...]
    dtype: Any

    @classmethod
    def from_aval(cls, aval: Any) -> RooflineShape:
        """That of an abstract value."""
        return cls(shape=tuple(aval.shape), dtype=aval.dtype)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """The number of bytes."""
        return self.size * int(dtypes.physical(self.dtype).itemsize)

    @classmethod
    def total_bytes(cls, avals: Sequence[Any]) -> int:
        """The bytes of several abstract values."""
        return sum(cls.from_aval(aval).bytes for aval in avals)


@dataclass(frozen=True, kw_only=True)
class RooflineRuleContext:
    """What a rule is told of an equation."""

    name_stack: Any
    primitive: Primitive
    avals_in: Sequence[Any]
    avals_out: Sequence[Any]
    jaxpr_eqn_ctx: Any
    mesh: Any
    pin_lhs_in_vmem: bool
    pin_rhs_in_vmem: bool


def _added(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    return {k: a.get(k, 0) + b.get(k, 0) for k in {**a, **b}}


@dataclass(frozen=True, kw_only=True)
class RooflineResult:
    """Operations, bytes of memory, and bytes and hops between devices (none on one device)."""

    flops: int = 0
    unfused_flops: int = 0
    ici_bytes: dict[str, int] = field(default_factory=dict)
    ici_latency: dict[str, int] = field(default_factory=dict)
    hbm_bytes: int = 0
    peak_hbm_bytes: int = 0
    unfused_hbm_bytes: int = 0

    @classmethod
    def zeros(cls) -> RooflineResult:
        """Nothing."""
        return cls()

    def __add__(self, other: RooflineResult) -> RooflineResult:
        return RooflineResult(
            flops=self.flops + other.flops,
            unfused_flops=self.unfused_flops + other.unfused_flops,
            ici_bytes=_added(self.ici_bytes, other.ici_bytes),
            ici_latency=_added(self.ici_latency, other.ici_latency),
            hbm_bytes=self.hbm_bytes + other.hbm_bytes,
            peak_hbm_bytes=max(self.peak_hbm_bytes, other.peak_hbm_bytes),
            unfused_hbm_bytes=self.unfused_hbm_bytes + other.unfused_hbm_bytes,
        )

    def __mul__(self, times: int) -> RooflineResult:
        return RooflineResult(
            flops=self.flops * times,
            unfused_flops=self.unfused_flops * times,
            ici_bytes={k: v * times for k, v in self.ici_bytes.items()},
            ici_latency={k: v * times for k, v in self.ici_latency.items()},
            hbm_bytes=self.hbm_bytes * times,
            peak_hbm_bytes=self.peak_hbm_bytes,
            unfused_hbm_bytes=self.unfused_hbm_bytes * times,
        )


# --------------------------------------------------------------------------- rules

_Rule = Callable[..., RooflineResult]
_RULES: Final[dict[Primitive, _Rule]] = {}


def register_roofline(prim: Primitive) -> Callable[[_Rule], _Rule]:
    """Decorates `rule(ctx, *shapes, **params) -> RooflineResult` for a primitive."""

    def register(rule: _Rule) -> _Rule:
        _RULES[prim] = rule
        return rule

    return register


def register_standard_roofline(prim: Primitive) -> None:
    """Counts a primitive as nothing."""
    _RULES[prim] = lambda ctx, *args, **kwargs: RooflineResult.zeros()


def _operations(eqn: JaxprEqn) -> int:
    """Operations of an equation by itself."""
    name = eqn.primitive.name
    made = sum(int(v.aval.size) for v in eqn.outvars)
    if name in FREE or not eqn.outvars:
        return 0
    if name == "dot_general":
        return product_operations(eqn)
    if name == "conv_general_dilated":
        return convolution_operations(eqn)
    if name.startswith("reduce_") and "axes" in eqn.params:
        return sum(int(v.aval.size) for v in eqn.invars) - made
    return made


def _equation(eqn: JaxprEqn, settings: dict[str, Any]) -> RooflineResult:
    rule = _RULES.get(eqn.primitive)
    if rule is not None:
        avals = [[v.aval for v in vs] for vs in (eqn.invars, eqn.outvars)]
        context = RooflineRuleContext(
            name_stack=getattr(eqn.source_info, "name_stack", None),
            primitive=eqn.primitive,
            avals_in=avals[0],
            avals_out=avals[1],
            jaxpr_eqn_ctx=None,
            **settings,
        )
        return rule(context, *map(RooflineShape.from_aval, avals[0]), **eqn.params)
    name = eqn.primitive.name
    inner = [_program(j, settings) for j in subjaxprs(eqn)]
    if inner and not name.startswith(("reduce", "scatter", "cum", "sort")):
        if name == "cond":
            return max(inner, key=lambda r: (r.unfused_flops, r.unfused_hbm_bytes))
        total = functools.reduce(RooflineResult.__add__, inner)
        return total * int(eqn.params["length"]) if name == "scan" else total
    operations = _operations(eqn)
    touched = 0 if name in FREE else sum(nbytes(v.aval) for v in [*eqn.invars, *eqn.outvars])
    if name != "dot_general":
        return RooflineResult(unfused_flops=operations, unfused_hbm_bytes=touched)
    pinned = (settings["pin_lhs_in_vmem"], settings["pin_rhs_in_vmem"])
    kept = sum(nbytes(v.aval) for v, pin in zip(eqn.invars, pinned, strict=True) if pin)
    return RooflineResult(
        flops=operations,
        unfused_flops=operations,
        hbm_bytes=touched - kept,
        unfused_hbm_bytes=touched,
    )


def _program(jaxpr: Jaxpr, settings: dict[str, Any]) -> RooflineResult:
    """The sum over the equations, and the most bytes that are alive at once."""
    last = {v: k for k, eqn in enumerate(jaxpr.eqns) for v in eqn.invars if type(v) is not Literal}
    last.update({v: len(jaxpr.eqns) for v in jaxpr.outvars if type(v) is not Literal})
    alive: set[Any] = {*jaxpr.invars, *jaxpr.constvars}
    total, peak = RooflineResult.zeros(), 0
    for k, eqn in enumerate(jaxpr.eqns):
        peak = max(peak, sum(nbytes(v.aval) for v in alive))
        total = total + _equation(eqn, settings)
        alive = {v for v in {*alive, *eqn.outvars} if last.get(v, -1) > k}
    return total + RooflineResult(peak_hbm_bytes=peak)


# --------------------------------------------------------------------------- public functions


def _counted(f: Callable[..., Any], args: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    leaves, in_tree = tree.flatten((args, {}))
    flat = FlatFunction(f, in_tree)
    closed = stage(flat, [shaped(x) for x in leaves], description="roofline")
    shapes = [ShapeDtypeStruct(a.shape, a.dtype) for a in closed.out_avals]
    needed, _ = dce_jaxpr(closed.jaxpr, [True] * len(shapes), keep_invars=True)
    return (closed, tree.unflatten(flat.out_tree, shapes)), _program(needed, settings)


def roofline(
    f: Callable[..., Any],
    mesh: Any = None,
    in_specs: Any = None,
    out_specs: Any = None,
    *,
    pin_lhs_in_vmem: bool = False,
    pin_rhs_in_vmem: bool = False,
    vjp: bool = False,
    print_jaxpr: bool = False,
) -> Callable[..., tuple[Any, RooflineResult]]:
    """A function that gives the shapes of f's results and what they cost; `f` does not run.

    Arguments are arrays or `ShapeDtypeStruct`s.  `vjp` counts the reverse pass instead of f.  One
    device is counted: `mesh` and the specs change nothing.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> x = pb.ShapeDtypeStruct((4, 5), jnp.float32)
    >>> roofline(lambda x: x @ x.T)(x)[1].flops
    160
    """
    settings = {
        "mesh": mesh,
        "pin_lhs_in_vmem": pin_lhs_in_vmem,
        "pin_rhs_in_vmem": pin_rhs_in_vmem,
    }

    def backwards(*args: Any) -> Any:
        *primals, cts = args
        return reverse(f, *primals)[1](cts)

    def wrapped(*args: Any) -> tuple[Any, RooflineResult]:
        (closed, shapes), found = _counted(f, args, settings)
        if vjp:
            (closed, shapes), both = _counted(backwards, (*args, shapes), settings)
            found = both
        if print_jaxpr:
            print(closed)
        return shapes, found

    return wrapped


def roofline_and_grad(
    f: Callable[..., Any],
    mesh: Any,
    in_specs: Any,
    out_specs: Any,
    *,
    pin_lhs_in_vmem: bool = False,
    pin_rhs_in_vmem: bool = False,
    print_jaxpr: bool = False,
) -> Callable[..., tuple[Any, RooflineResult, RooflineResult]]:
    """A function that gives the shapes of f's results, what f costs, and what its vjp costs."""
    settings: dict[str, Any] = {
        "pin_lhs_in_vmem": pin_lhs_in_vmem,
        "pin_rhs_in_vmem": pin_rhs_in_vmem,
        "print_jaxpr": print_jaxpr,
    }

    def wrapped(*args: Any) -> tuple[Any, RooflineResult, RooflineResult]:
        shapes, forward = roofline(f, mesh, in_specs, out_specs, **settings)(*args)
        _, backward = roofline(f, mesh, in_specs, out_specs, vjp=True, **settings)(*args)
        return shapes, forward, backward

    return wrapped

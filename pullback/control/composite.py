"""Primitives that are abbreviations: what they do is said in terms of other primitives.

Such a primitive is one equation in a jaxpr; every rule of it is that of its definition, which is
staged for the types of the operands. What its derivative and its batching make are equations of
the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from pullback.core import axes
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import ClosedJaxpr, Literal
from pullback.core.primitive import FIRST_ORDER, PURE, Primitive, Sample
from pullback.ops.kinds import NONLINEAR
from pullback.transforms.batching import batch_flat
from pullback.transforms.jvp import jvp_flat
from pullback.transforms.staging import stage
from pullback.transforms.transpose import backward_pass

__all__ = ["composite"]

Definition: TypeAlias = Callable[..., Sequence[Any]]


def _aval(x: Any) -> ShapedArray:
    return ShapedArray(x.shape, x.dtype)


def _stager(name: str, definition: Definition) -> Callable[..., ClosedJaxpr]:
    """The definition for operands of given types, kept for the next time."""

    def staged(avals: tuple[Any, ...], items: tuple[Any, ...], _names: Any) -> ClosedJaxpr:
        params = dict(items)
        return stage(lambda *xs: list(definition(*xs, **params)), list(avals), description=name)

    kept = lru_cache(512)(staged)

    def of(avals: Sequence[Any], params: dict[str, Any]) -> ClosedJaxpr:
        key = tuple(avals), tuple(params.items()), axes.environment()
        try:
            return kept(*key)
        except TypeError:  # a parameter that cannot be hashed, or operands that do not fit
            return staged(*key)

    return of


def evaluate_references(closed: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    """The results of a jaxpr on NumPy arrays, each equation by its primitive's reference."""
    jaxpr = closed.jaxpr
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def value(atom: Any) -> Any:
        return np.asarray(atom.val) if type(atom) is Literal else env[atom]

    for eqn in jaxpr.eqns:
        out = eqn.primitive.reference(*map(value, eqn.invars), **eqn.params)
        outs = out if eqn.primitive.multiple_results else [out]
        env.update(zip(eqn.outvars, map(np.asarray, outs), strict=True))
    return [value(v) for v in jaxpr.outvars]


def composite(
    name: str,
    definition: Definition,
    *,
    samples: Callable[[], Iterable[Sample]],
    linear: bool = False,
    multiple_results: bool = False,
    effects: Callable[..., frozenset[Any]] = PURE,
) -> Primitive:
    """The primitive called `name` that stands for `definition(*operands, **params)`.

    `definition` returns a sequence of results. `linear`: it is so in all operands together, or in
    those that it may be asked to be transposed for.
    """
    staged = _stager(name, definition)

    def one_or_all(outs: Sequence[Any]) -> Any:
        return list(outs) if multiple_results else outs[0]

    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        outs, dots = jvp_flat(lambda *xs: definition(*xs, **params), primals, tangents)
        return one_or_all(outs), one_or_all(dots)

    def transpose(ct: Any, *args: Any, **params: Any) -> list[Any]:
        closed = staged([getattr(x, "aval", x) for x in args], params)
        cts = ct if multiple_results else [ct]
        return backward_pass(closed.jaxpr, closed.consts, list(args), cts)

    def batch(size: int, args: Any, dims: Any, **params: Any) -> tuple[Any, Any]:
        outs, out_dims = batch_flat(
            lambda *xs: definition(*xs, **params),
            size,
            args,
            dims,
            axis_name=axes.batching_axis(),
            description=name,
        )
        return one_or_all(outs), one_or_all(out_dims)

    def lower(b: Any, *xs: Any, **params: Any) -> Any:
        return one_or_all(b.inline(staged([_aval(x) for x in xs], params), *xs))

    return Primitive(
        name=name,
        abstract=lambda *avals, **params: one_or_all(staged(avals, params).out_avals),
        reference=lambda *xs, **params: one_or_all(
            evaluate_references(staged([_aval(x) for x in xs], params), xs)
        ),
        jvp=jvp,
        transpose=transpose if linear else NONLINEAR,
        batch=batch,
        partial_eval=FIRST_ORDER,
        lower=lower,
        hlo=lower,
        samples=samples,
        multiple_results=multiple_results,
        effects=effects,
        literals=False,
    )

"""Derivatives against finite differences, for tests: the namespace `jax.test_util`.

A derivative is checked in one random direction, whose difference quotient costs two evaluations
however many arguments there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.transforms.derivatives import jvp, vjp

__all__ = ["check_grads", "check_jvp", "check_vjp"]

_TOLERANCE: Final = {2: 2e-2, 4: 2e-3, 8: 1e-5}
"""Relative and absolute tolerance by the bytes of a real number."""

_STEP: Final = {2: 1e-1, 4: 5e-3, 8: 1e-5}
"""Steps of central differences that balance rounding and truncation, by the same."""


def _real_bytes(values: Any) -> int:
    """The bytes of the narrowest real number among the leaves; 8 if there is none."""
    sizes = []
    for x in tree.leaves(values):
        dtype = aval_of(x).dtype
        if dtypes.kind_of(dtype) in "fc":
            sizes.append(dtype.itemsize // (2 if dtypes.kind_of(dtype) == "c" else 1))
    return min(max(min(sizes, default=8), 2), 8)


def _wide(x: Any) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.asarray(x)
    kind = dtypes.kind_of(array.dtype)
    if kind not in "fc":
        return array
    return array.astype(np.complex128 if kind == "c" else np.float64)


def _direction(rng: np.random.Generator, x: Any) -> Any:
    """A random tangent of `x`."""
    aval = aval_of(x).to_tangent_aval()
    if aval.dtype == dtypes.float0:
        return np.zeros(aval.shape, dtypes.float0)
    value = rng.standard_normal(aval.shape)
    if dtypes.kind_of(aval.dtype) == "c":
        value = value + 1j * rng.standard_normal(aval.shape)
    return np.asarray(value).astype(dtypes.physical(aval.dtype))


def _directions(values: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return tree.map(lambda x: _direction(rng, x), values)


def _moved(x: Any, t: Any, step: float) -> Any:
    if t.dtype == dtypes.float0:
        return x
    return (_wide(x) + step * _wide(t)).astype(dtypes.physical(aval_of(x).dtype))


def _difference_quotient(f: Callable[..., Any], args: Any, tangents: Any, eps: float) -> Any:
    ahead, behind = (
        f(*tree.map(lambda x, t, s=step: _moved(x, t, s), args, tangents)) for step in (eps, -eps)
    )
    return tree.map(lambda a, b: (_wide(a) - _wide(b)) / (2 * eps), ahead, behind)


def _check_close(got: Any, want: Any, atol: float, rtol: float, what: str) -> None:
    paths = tree.leaves_with_path(got)
    for (path, x), y in zip(paths, tree.leaves(want), strict=True):
        if np.asarray(x).dtype != dtypes.float0:
            where = f"{what}{tree.keystr(path)}"
            np.testing.assert_allclose(_wide(x), _wide(y), rtol, atol, err_msg=where)


def _tolerances(values: Any, atol: float | None, rtol: float | None) -> tuple[float, float]:
    default = _TOLERANCE[_real_bytes(values)]
    return default if atol is None else atol, default if rtol is None else rtol


def _product(cts: Any, tangents: Any) -> float:
    """The real part of the sum of products, without conjugation."""
    total = 0.0
    for c, t in zip(tree.leaves(cts), tree.leaves(tangents), strict=True):
        if np.asarray(c).dtype != dtypes.float0 and np.asarray(t).dtype != dtypes.float0:
            total += float(np.real(np.sum(_wide(c) * _wide(t))))
    return total


def check_jvp(
    f: Callable[..., Any],
    f_jvp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = 1e-4,
    err_msg: str = "",
) -> None:
    """Check forward mode: `f_jvp(args, tangents)` gives the result of `f` and its derivative.

    Raises AssertionError if it does not agree with finite differences.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> check_jvp(jnp.sin, functools.partial(pb.jvp, jnp.sin), (0.5,))
    """
    args = tuple(args)
    atol, rtol = _tolerances(args, atol, rtol)
    tangents = _directions(args)
    out, out_tangents = f_jvp(args, tangents)
    step = _STEP[_real_bytes(args)] if eps is None else eps
    prefix = f"{err_msg} " if err_msg else ""
    _check_close(out, f(*args), atol, rtol, f"{prefix}JVP primal")
    want = _difference_quotient(f, args, tangents, step)
    _check_close(out_tangents, want, atol, rtol, f"{prefix}JVP tangent")


def check_vjp(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = 1e-4,
    err_msg: str = "",
) -> None:
    """Check reverse mode: `f_vjp(*args)` gives the result of `f` and a function of cotangents.

    Raises AssertionError if it does not agree with finite differences.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> check_vjp(jnp.sin, functools.partial(pb.vjp, jnp.sin), (0.5,))
    """
    args = tuple(args)
    atol, rtol = _tolerances(args, atol, rtol)
    step = _STEP[_real_bytes(args)] if eps is None else eps
    prefix = f"{err_msg} " if err_msg else ""
    out, pull = f_vjp(*args)
    _check_close(out, f(*args), atol, rtol, f"{prefix}VJP primal")
    tangents = _directions(args)
    moved = _difference_quotient(f, args, tangents, step)
    cts = _directions(out, seed=1)
    got, want = _product(pull(cts), tangents), _product(cts, moved)
    np.testing.assert_allclose(got, want, rtol, atol, err_msg=f"{prefix}VJP cotangent projection")


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the derivatives of `f` at `args` up to an order, in forward and in reverse mode.

    Raises AssertionError if they do not agree with finite differences, ValueError for other modes
    than "fwd" and "rev".

    >>> import pullback.numpy as jnp
    >>> check_grads(lambda x, y: jnp.sin(x) * y, (0.5, 2.0), order=2)
    """
    unknown = set(modes) - {"fwd", "rev"}
    if unknown:
        raise ValueError(f"check_grads: modes are 'fwd' and 'rev', got {sorted(unknown)}")
    _check(f, tuple(args), order, tuple(modes), (atol, rtol, eps), "")


def _check(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    options: tuple[Any, Any, Any],
    place: str,
) -> None:
    atol, rtol, eps = options
    if eps is None:
        eps = _STEP[_real_bytes(args)]
    if "fwd" in modes:
        name = f"fwd{place}"
        check_jvp(f, functools.partial(jvp, f), args, atol, rtol, eps, name)
        if order > 1:
            tangents = _directions(args)
            _check(
                lambda *xs: jvp(f, xs, tangents)[1], args, order - 1, modes, options, f" of {name}"
            )
    if "rev" in modes:
        name = f"rev{place}"
        check_vjp(f, functools.partial(vjp, f), args, atol, rtol, eps, name)
        if order > 1:
            cts = _directions(f(*args), seed=1)
            _check(
                lambda *xs: _inexact(vjp(f, *xs)[1](cts)),
                args,
                order - 1,
                modes,
                options,
                f" of {name}",
            )


def _inexact(values: Any) -> list[Any]:
    """The leaves that are no trivial cotangents."""
    return [x for x in tree.leaves(values) if aval_of(x).dtype != dtypes.float0]

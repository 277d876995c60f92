"""Checks of derivatives against finite differences: the namespace `jax.test_util`.

A function is moved along a random direction by a small step both ways; the central difference is
compared with what forward mode says, and, multiplied with random cotangents, with what reverse
mode says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import tree_util
from pullback.core import dtypes
from pullback.transforms.derivatives import jvp, vjp

__all__ = ["check_grads", "check_jvp", "check_vjp"]

_TOLERANCE: Final = {1: 1e-1, 2: 1e-1, 4: 2e-3, 8: 1e-5}
"""Of gradients, by the bytes of a real number."""
_STEP: Final = 1e-4
_SEED: Final = 42


def _is_inexact(x: Any) -> bool:
    return dtypes.kind_of(dtypes.dtype_of(x)) in "fc"


def _wide(x: Any) -> Any:
    """A leaf in double precision."""
    dtype = np.complex128 if dtypes.kind_of(dtypes.dtype_of(x)) == "c" else np.float64
    return np.asarray(x).astype(dtype)


def _random_like(rng: Any, tree: Any) -> Any:
    """Normal numbers in the structure and the dtypes of `tree`; float0 zeros for integers."""

    def leaf(x: Any) -> Any:
        shape, dtype = np.shape(x), dtypes.dtype_of(x)
        if not _is_inexact(x):
            return np.zeros(shape, dtypes.float0)
        values = rng.standard_normal(shape)
        if dtypes.kind_of(dtype) == "c":
            values = values + 1j * rng.standard_normal(shape)
        return np.asarray(values).astype(dtypes.physical(dtype))

    return tree_util.tree_map(leaf, tree)


def _moved(tree: Any, direction: Any, step: float) -> Any:
    def leaf(x: Any, t: Any) -> Any:
        if not _is_inexact(x):
            return x
        return (_wide(x) + step * _wide(t)).astype(dtypes.physical(dtypes.dtype_of(x)))

    return tree_util.tree_map(leaf, tree, direction)


def _numerical_jvp(f: Callable[..., Any], args: Any, tangents: Any, eps: float) -> Any:
    """The central difference of `f` along `tangents`."""
    above, below = f(*_moved(args, tangents, eps)), f(*_moved(args, tangents, -eps))

    def leaf(x: Any, y: Any) -> Any:
        return (_wide(x) - _wide(y)) / (2 * eps) if _is_inexact(x) else np.zeros(np.shape(x))

    return tree_util.tree_map(leaf, above, below)


def _pairing(xs: Any, ys: Any) -> float:
    """The real part of the sum of products; integers do not count."""
    pairs = zip(tree_util.tree_leaves(xs), tree_util.tree_leaves(ys), strict=True)
    total = 0.0
    for x, y in pairs:
        if np.asarray(x).dtype != dtypes.float0 and np.asarray(y).dtype != dtypes.float0:
            total += float(np.real(np.sum(_wide(x) * _wide(y))))
    return total


def _tolerance(tree: Any, given: Any) -> float:
    """The tolerance given (by dtype, or for all), or else the default of the least precise leaf."""
    if given is not None and not isinstance(given, dict):
        return float(given)
    table = {np.dtype(k): v for k, v in (given or {}).items()}
    found = []
    for x in filter(_is_inexact, tree_util.tree_leaves(tree)):
        dtype = np.dtype(dtypes.dtype_of(x))
        size = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        found.append(float(table.get(dtype, _TOLERANCE[size])))
    return max(found, default=0.0)


def _compare(xs: Any, ys: Any, scale: Any, atol: Any, rtol: Any, message: str) -> None:
    absolute, relative = _tolerance(scale, atol), _tolerance(scale, rtol)
    for x, y in zip(tree_util.tree_leaves(xs), tree_util.tree_leaves(ys), strict=True):
        if np.asarray(x).dtype != dtypes.float0:
            np.testing.assert_allclose(_wide(x), _wide(y), relative, absolute, err_msg=message)


def check_jvp(
    f: Callable[..., Any],
    f_jvp: Callable[..., Any],
    args: Sequence[Any],
    atol: Any = None,
    rtol: Any = None,
    eps: float = _STEP,
    err_msg: str = "",
) -> None:
    """Compare `f_jvp(args, tangents)`, values and tangents, with `f` and its central differences.

    Tolerances are numbers or dicts by dtype. Raises AssertionError where they are exceeded.

    >>> import functools, pullback as pb, pullback.numpy as jnp
    >>> check_jvp(jnp.sin, functools.partial(pb.jvp, jnp.sin), (1.0,))
    """
    tangents = _random_like(np.random.default_rng(_SEED), tuple(args))
    value, tangent = f_jvp(tuple(args), tangents)
    expected = f(*args)
    _compare(value, expected, expected, atol, rtol, f"{err_msg} jvp: the value".strip())
    difference = _numerical_jvp(f, tuple(args), tangents, eps)
    _compare(tangent, difference, expected, atol, rtol, f"{err_msg} jvp: the tangent".strip())


def check_vjp(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    atol: Any = None,
    rtol: Any = None,
    eps: float = _STEP,
    err_msg: str = "",
) -> None:
    """Compare `f_vjp(*args)`, the value and the pulled back cotangents, with central differences.

    Tolerances are numbers or dicts by dtype. Raises AssertionError where they are exceeded.

    >>> import functools, pullback as pb, pullback.numpy as jnp
    >>> check_vjp(jnp.sin, functools.partial(pb.vjp, jnp.sin), (1.0,))
    """
    rng = np.random.default_rng(_SEED)
    value, pull = f_vjp(*args)
    expected = f(*args)
    _compare(value, expected, expected, atol, rtol, f"{err_msg} vjp: the value".strip())
    tangents = _random_like(rng, tuple(args))
    difference = _numerical_jvp(f, tuple(args), tangents, eps)
    cotangents = _random_like(rng, value)
    pulled = _pairing(tangents, pull(cotangents))
    pushed = _pairing(cotangents, difference)
    message = f"{err_msg} vjp: cotangents".strip()
    _compare(pulled, pushed, (expected, args), atol, rtol, message)


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: Any = None,
    rtol: Any = None,
    eps: float | None = None,
) -> None:
    """Compare the derivatives of `f` at `args` up to `order`, in both modes, with differences.

    Tolerances are numbers or dicts by dtype; `eps` is the step of the differences. Raises
    AssertionError where they are exceeded.

    >>> import pullback.numpy as jnp
    >>> check_grads(lambda x: jnp.sum(jnp.tanh(x) ** 2), (jnp.arange(3.0),), order=2)
    """
    step = _STEP if eps is None else eps
    _check_order(f, tuple(args), order, modes, (atol, rtol, step), "")


def _check_order(
    f: Callable[..., Any],
    args: Any,
    order: int,
    modes: Sequence[str],
    limits: tuple[Any, Any, float],
    path: str,
) -> None:
    if "fwd" in modes:

        def pushed(primals: Any, tangents: Any) -> Any:
            return jvp(f, primals, tangents)

        check_jvp(f, pushed, args, *limits, path)
        if order > 1:
            tangents = _random_like(np.random.default_rng(_SEED + 1), args)
            _check_order(pushed, (args, tangents), order - 1, modes, limits, f"{path} jvp of")
    if "rev" in modes:

        def pulled(*xs: Any) -> Any:
            return vjp(f, *xs)

        check_vjp(f, pulled, args, *limits, path)
        if order > 1:
            value, _ = vjp(f, *args)
            cotangents = _random_like(np.random.default_rng(_SEED + 2), value)

            def cotangents_of(*xs: Any) -> Any:
                return vjp(f, *xs)[1](cotangents)

            _check_order(cotangents_of, args, order - 1, modes, limits, f"{path} vjp of")

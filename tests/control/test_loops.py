"""What loops carry, keep and copy: jaxprs and values against JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pullback.core.array import Array
from tests.control.systems import OURS, THEIRS, assert_same, total, values

X = values(3, seed=1)


def while_unchanged(sys: Any, x: Any, n: Any) -> Any:
    lax = sys.lax
    body = lambda c: (lax.add(c[0], 1), lax.mul(c[1], c[3]), c[2], c[3])  # noqa: E731
    return lax.while_loop(lambda c: lax.lt(c[0], c[2]), body, (0, x, n, x))


def while_swapped(sys: Any, x: Any, n: Any) -> Any:
    lax = sys.lax
    body = lambda c: (lax.add(c[0], 1), c[2], c[1])  # noqa: E731
    return lax.while_loop(lambda c: lax.lt(c[0], n), body, (0, x, lax.neg(x)))


def fori(sys: Any, x: Any, n: Any) -> Any:
    lax = sys.lax
    return lax.fori_loop(0, n, lambda i, c: (lax.mul(c[0], c[1]), c[1]), (x, lax.sin(x)))


def fori_static(sys: Any, x: Any, n: Any) -> Any:
    lax = sys.lax
    return lax.fori_loop(0, 4, lambda i, c: (lax.mul(c[0], c[1]), c[1]), (x, x))


def scan_carry(sys: Any, x: Any, n: Any) -> Any:
    lax = sys.lax
    return lax.scan(lambda c, y: ((lax.add(c[0], y), c[1]), c[1]), (np.float32(0), x), x)


def scan_rows(sys: Any, x: Any, n: Any) -> Any:
    lax = sys.lax
    return lax.scan(lambda c, y: (lax.add(c, y), {"y": y, "c": c}), np.float32(0), x, reverse=True)


def scan_nothing(sys: Any, x: Any, n: Any) -> Any:
    return sys.lax.scan(lambda c, y: (c, y), x, x)


LOOPS = [
    while_unchanged,
    while_swapped,
    fori,
    fori_static,
    scan_carry,
    scan_rows,
    scan_nothing,
]


@pytest.mark.parametrize("loop", LOOPS[:-1])  # JAX keeps a scan without results
def test_jaxprs(loop: Callable[..., Any]) -> None:
    def text(sys: Any) -> str:
        return str(sys.make_jaxpr(lambda x, n: loop(sys, x, n))(X, np.int32(3)))

    assert text(OURS) == text(THEIRS)


@pytest.mark.parametrize("loop", LOOPS)
def test_values(loop: Callable[..., Any]) -> None:
    def test(sys: Any) -> Any:
        f = lambda x: loop(sys, x, np.int32(3))  # noqa: E731
        return f(X), sys.jit(f)(X), sys.vmap(f)(values(2, 3)), sys.jvp(f, (X,), (X,))[1]

    assert_same(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_results_are_arrays(loop: Callable[..., Any]) -> None:
    leaves = loop(OURS, X, np.int32(3))
    flat = leaves if isinstance(leaves, tuple) else (leaves,)
    assert all(isinstance(x, Array) for x in flat if not isinstance(x, (tuple, dict)))


def test_residual_rows_of_a_scan_are_not_copied() -> None:
    def text(sys: Any) -> str:
        lax = sys.lax

        def f(x: Any, xs: Any) -> Any:
            def body(c: Any, row: Any) -> Any:
                return lax.mul(c, row), c

            return lax.scan(body, x, xs)[0]

        return str(sys.make_jaxpr(lambda x, xs: sys.vjp(lambda y: f(y, xs), x)[0])(X[0], X))

    assert text(OURS) == text(THEIRS)
    scan = OURS.make_jaxpr(
        OURS.grad(
            lambda c, xs: OURS.lax.scan(
                lambda c, x: (OURS.lax.mul(c, OURS.lax.mul(x, x)), None), c, xs
            )[0]
        )
    )(X[0], X).jaxpr.eqns[0]
    assert scan.primitive.name == "scan"
    products = [v for v in scan.outvars if v.aval.shape == (3,)]
    assert len(products) == 1  # x * x, not x


def test_gradients_through_forwarded_rows() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        def f(x: Any, xs: Any) -> Any:
            def body(c: Any, row: Any) -> Any:
                a, b = c
                return (lax.mul(lax.sin(a), lax.mul(row, b)), b), (row, a)

            (a, b), (rows, before) = lax.scan(body, (x, x), xs)
            return lax.add(lax.mul(a, b), lax.add(total(sys, rows), total(sys, before)))

        return (
            sys.value_and_grad(f, (0, 1))(X[0], X),
            sys.jit(sys.grad(f, (0, 1)))(X[0], X),
            sys.vmap(sys.grad(f, (0, 1)), (0, None))(X, X),
            sys.jvp(sys.grad(f), (X[0], X), (X[1], X)),
        )

    assert_same(test, rtol=1e-4)

"""`cond` and `switch` under vmap: which branches run, on what, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import debug, lax

calls: list[str] = []


def noting(name: str, fun: Any) -> Any:
    def branch(x: Any) -> Any:
        debug.callback(lambda: calls.append(name))
        return fun(x)

    return branch


BRANCHES = [
    noting("sqrt", lambda x: jnp.sqrt(x)),
    noting("double", lambda x: x * 2.0),
    noting("reciprocal", lambda x: 1.0 / x),
]


def chosen(k: Any, x: Any) -> Any:
    return lax.switch(k, BRANCHES, x)


def run(fun: Any, *args: Any) -> tuple[Any, set[str]]:
    calls.clear()
    result = pb.tree.map(np.asarray, fun(*args))
    return result, set(calls)


X = np.array([4.0, 9.0, 16.0], np.float32)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("index", "expected"),
    [([0, 0, 0], {"sqrt"}), ([0, 1, 1], {"sqrt", "double"}), ([5, 2, -3], {"reciprocal", "sqrt"})],
)
def test_only_needed_branches_run(compiled: bool, index: list[int], expected: set[str]) -> None:
    f = pb.jit(pb.vmap(chosen)) if compiled else pb.vmap(chosen)
    funs = (np.sqrt, lambda x: 2 * x, lambda x: 1 / x)
    values, ran = run(f, np.array(index), X)
    assert ran == expected
    rows = [funs[min(max(k, 0), 2)](x) for k, x in zip(index, X, strict=True)]
    np.testing.assert_allclose(values, rows, rtol=1e-6)


def test_only_needed_branches_run_in_scan_and_nested_vmap_and_derivatives() -> None:
    def scanned(ks: Any, x: Any) -> Any:
        return lax.scan(lambda c, k: (pb.vmap(chosen)(k, c), None), x, ks)[0]

    ks = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 0]])
    values, ran = run(pb.jit(scanned), ks, X)
    assert ran == {"sqrt", "double"}
    assert calls.count("sqrt") == calls.count("double") == 2
    y = 2 * np.sqrt(X)
    np.testing.assert_allclose(values, [np.sqrt(y[0]), 2 * y[1], np.sqrt(y[2])], rtol=1e-6)
    twice = pb.vmap(pb.vmap(chosen))
    _, ran = run(twice, np.array([[0, 0], [0, 2]]), np.ones((2, 2), np.float32))
    assert ran == {"sqrt", "reciprocal"}
    total = lambda x, k: pb.vmap(chosen)(k, x).sum()  # noqa: E731
    slope, ran = run(pb.jit(pb.grad(total)), X, np.array([0, 0, 1]))
    assert "reciprocal" not in ran
    np.testing.assert_allclose(slope, [0.25, 1 / 6, 2.0], rtol=1e-6)
    (_, slope), _ = run(
        lambda x: pb.jvp(total, (x, np.array([0, 0, 1])), (np.ones_like(x), FLOAT0)), X
    )
    np.testing.assert_allclose(slope, 0.25 + 1 / 6 + 2.0, rtol=1e-6)


FLOAT0 = np.zeros(3, pb.dtypes.float0)


def safe(x: Any) -> Any:
    """Its branches have infinite derivatives where the other one is meant."""
    return lax.cond(x > 0, lambda x: jnp.sqrt(x) + x**1.5 / x, lambda x: jnp.exp(x), x)


def test_lanes_do_not_hurt_each_other() -> None:
    x = np.array([0.0, 4.0, 200.0, -1.0], np.float32)
    slopes = np.array([1.0, 0.5, 1 / np.sqrt(200), np.exp(-1.0)])
    total = lambda x: pb.vmap(safe)(x).sum()  # noqa: E731
    for f in (pb.grad(total), pb.jit(pb.grad(total)), pb.vmap(pb.grad(safe))):
        np.testing.assert_allclose(f(x), slopes, rtol=1e-5)
        np.testing.assert_allclose(f(np.zeros(4, np.float32)), np.ones(4), rtol=1e-6)
    np.testing.assert_allclose(pb.jacfwd(pb.vmap(safe))(x).diagonal(), slopes, rtol=1e-5)
    curvature = np.array([1.0, -1 / 16, -0.5 * 200**-1.5, np.exp(-1.0)])
    np.testing.assert_allclose(pb.hessian(total)(x).diagonal(), curvature, rtol=1e-5)


def test_a_shared_operand_gets_the_cotangents_of_the_lanes_that_used_it() -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.cond(x > 0, lambda x, w: jnp.log(x) * w.sum(), lambda x, w: w[0] * x, x, w)

    x, w = np.array([0.0, 1.0, np.e, -2.0], np.float32), np.ones(3, np.float32)
    got = pb.grad(lambda w: pb.vmap(f, (0, None))(x, w).sum())(w)
    np.testing.assert_allclose(got, [1.0 - 2.0, 1.0, 1.0], rtol=1e-6)


def test_a_loop_in_a_branch_ends_although_it_would_not_for_other_lanes() -> None:
    def halvings(n: Any) -> Any:
        return lax.while_loop(lambda s: s[0] != 1, lambda s: (s[0] // 2, s[1] + 1), (n, 0))[1]

    f = pb.vmap(lambda n: lax.cond(n > 0, halvings, lambda n: -1, n))
    assert f(np.array([1, 0, 8, -5])).tolist() == [0, -1, 3, -1]
    assert f(np.array([0, 0])).tolist() == [-1, -1]
    assert f(np.zeros(0, np.int32)).shape == (0,)


def test_cheap_branches_are_a_selection() -> None:
    f = pb.vmap(lambda x: lax.cond(x > 0, lambda x: jnp.sin(x), lambda x: x * 2.0, x))
    text = str(pb.make_jaxpr(f)(X))
    assert "select_n" in text
    assert "cond" not in text

"""`associative_scan`, `custom_root`, `custom_linear_solve`, `platform_dependent` against JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.control.systems import OURS, THEIRS, assert_same, dot, total, values

X = values(7, seed=1)
MATRIX = (np.eye(4) * 3 + values(4, 4, seed=2) * 0.3).astype(np.float32)
RIGHT = values(4, seed=3)


# ------------------------------------------------------------------ associative_scan


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8])
@pytest.mark.parametrize("reverse", [False, True])
def test_prefix_sums(n: int, reverse: bool) -> None:
    def test(sys: Any) -> Any:
        x = values(2, n, seed=n)
        return sys.lax.associative_scan(sys.lax.add, x, reverse=reverse, axis=1)

    assert_same(test)


def affine(sys: Any, a: Any, b: Any) -> Any:
    lax = sys.lax
    return {"m": lax.mul(a["m"], b["m"]), "c": lax.add(lax.mul(a["c"], b["m"]), b["c"])}


def test_pytrees_and_derivatives() -> None:
    def test(sys: Any) -> Any:
        def recurrence(m: Any, c: Any) -> Any:
            scan = sys.lax.associative_scan
            return total(sys, scan(lambda a, b: affine(sys, a, b), {"m": m, "c": c})["c"])

        m, c = values(2, 5, seed=4), values(2, 5, seed=5)
        return (
            sys.vmap(sys.value_and_grad(recurrence, (0, 1)))(m, c),
            sys.jit(sys.grad(recurrence))(m[0], c[0]),
        )

    assert_same(test)


def test_booleans_and_integers() -> None:
    assert_same(lambda sys: sys.lax.associative_scan(sys.lax.bitwise_or, X > 0.5))
    assert_same(lambda sys: sys.lax.associative_scan(sys.lax.max, np.arange(5)[::-1].copy()))


@pytest.mark.parametrize("n", [5, 8])
def test_jaxpr_of_associative_scan(n: int) -> None:
    def text(sys: Any) -> str:
        return str(sys.make_jaxpr(lambda x: sys.lax.associative_scan(sys.lax.add, x))(values(n, 2)))

    assert text(OURS) == text(THEIRS)


def test_errors_of_associative_scan() -> None:
    with pytest.raises(ValueError, match="same length"):
        OURS.lax.associative_scan(OURS.lax.add, (values(3), values(4)))
    with pytest.raises(TypeError, match="structure"):
        OURS.lax.associative_scan(lambda a, b: (a, b), values(3))


# ------------------------------------------------------------------ custom_linear_solve


def jacobi(sys: Any, steps: int = 40) -> Any:
    """A solver by fixed-point iterations, which reverse mode could not go through."""

    def solve(matvec: Any, b: Any) -> Any:
        lax = sys.lax

        def step(state: Any) -> Any:
            i, x = state
            return lax.add(i, 1), lax.add(x, lax.mul(lax.sub(b, matvec(x)), np.float32(0.3)))

        done = lax.while_loop(lambda s: lax.lt(s[0], steps), step, (0, lax.mul(b, np.float32(0))))
        return done[1]

    return solve


def solve_with(sys: Any, a: Any, b: Any, symmetric: bool = False) -> Any:
    if symmetric:
        a = sys.lax.mul(sys.lax.add(a, sys.lax.transpose(a, (1, 0))), np.float32(0.5))
    return sys.lax.custom_linear_solve(
        lambda x: dot(sys, a, x),
        b,
        jacobi(sys),
        None if symmetric else jacobi(sys),
        symmetric=symmetric,
    )


@pytest.mark.parametrize("symmetric", [False, True])
def test_linear_solve(symmetric: bool) -> None:
    def test(sys: Any) -> Any:
        def f(a: Any, b: Any) -> Any:
            return total(sys, sys.lax.sin(solve_with(sys, a, b, symmetric)))

        return (
            solve_with(sys, MATRIX, RIGHT, symmetric),
            sys.grad(f, (0, 1))(MATRIX, RIGHT),
            sys.jit(sys.grad(f, (0, 1)))(MATRIX, RIGHT),
            sys.jvp(f, (MATRIX, RIGHT), (MATRIX, RIGHT)),
            sys.jvp(sys.grad(f, 1), (MATRIX, RIGHT), (MATRIX, RIGHT)),
            sys.vmap(sys.grad(f, (0, 1)), (None, 0))(MATRIX, values(2, 4)),
            sys.vmap(f, (0, None))(np.stack([MATRIX, 1.1 * MATRIX]), RIGHT),
        )

    assert_same(test, rtol=1e-4, atol=1e-5)


def test_linear_solve_with_auxiliary() -> None:
    def test(sys: Any) -> Any:
        def f(b: Any) -> Any:
            x, aux = sys.lax.custom_linear_solve(
                lambda v: {"x": sys.lax.mul(v["x"], np.float32(4))},
                {"x": b},
                lambda mv, y: ({"x": sys.lax.mul(y["x"], np.float32(0.25))}, np.int32(3)),
                symmetric=True,
                has_aux=True,
            )
            return total(sys, x["x"]), aux

        return sys.grad(f, has_aux=True)(RIGHT), sys.jit(f)(RIGHT)

    assert_same(test)


def test_linear_solve_without_transpose_solve() -> None:
    def f(b: Any) -> Any:
        solve = OURS.lax.custom_linear_solve
        return total(OURS, solve(lambda v: OURS.lax.neg(v), b, lambda mv, y: OURS.lax.neg(y)))

    with pytest.raises(TypeError, match="transpose_solve"):
        OURS.grad(f)(RIGHT)
    with pytest.raises(TypeError, match="structure"):
        OURS.jit(lambda b: OURS.lax.custom_linear_solve(lambda v: (v, v), b, lambda mv, y: y))(X)


# ------------------------------------------------------------------ custom_root


def square_root(sys: Any, a: Any) -> Any:
    lax = sys.lax

    def newton(f: Any, guess: Any) -> Any:
        def step(i: Any, x: Any) -> Any:
            value, slope = sys.jvp(f, (x,), (np.float32(1),))
            return lax.sub(x, lax.div(value, slope))

        return lax.fori_loop(0, 20, step, guess)

    return lax.custom_root(
        lambda x: lax.sub(lax.mul(x, x), a),
        np.float32(1.5),
        newton,
        lambda g, y: lax.div(y, g(np.float32(1))),
    )


def test_root() -> None:
    def test(sys: Any) -> Any:
        f = lambda a: square_root(sys, a)  # noqa: E731
        a = np.float32(3)
        return (
            f(a),
            sys.grad(f)(a),
            sys.grad(sys.grad(f))(a),
            sys.jvp(f, (a,), (a,)),
            sys.jit(sys.grad(f))(a),
            sys.vmap(sys.value_and_grad(f))(np.float32([1, 2, 3])),
        )

    assert_same(test, rtol=1e-4)


def test_root_of_several_variables() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        def tangent_solve(g: Any, y: Any) -> Any:
            solve = jacobi(sys)
            product = lambda v: g({"v": v})["v"]  # noqa: E731
            return {"v": lax.custom_linear_solve(product, y["v"], solve, solve)}

        def root(b: Any) -> Any:
            found = lax.custom_root(
                lambda x: {"v": lax.sub(dot(sys, MATRIX, x["v"]), lax.sin(b))},
                {"v": np.zeros(4, np.float32)},
                lambda f, x: ({"v": dot(sys, np.linalg.inv(MATRIX), lax.sin(b))}, np.float32(1)),
                tangent_solve,
                has_aux=True,
            )
            return total(sys, found[0]["v"])

        return sys.value_and_grad(root)(RIGHT)

    assert_same(test, rtol=1e-4)


def test_root_checks_structure() -> None:
    with pytest.raises(TypeError, match="structure"):
        OURS.jit(
            lambda a: OURS.lax.custom_root(lambda x: (x, a), a, lambda f, x: x, None or print)
        )(1.0)


# ------------------------------------------------------------------ platform_dependent


def test_platform_dependent() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        def f(x: Any) -> Any:
            return lax.platform_dependent(x, tpu=lambda x: x, cpu=lax.sin, default=lax.cos)

        def g(x: Any) -> Any:
            return total(sys, lax.platform_dependent(x, tpu=lambda x: x, default=lax.cos))

        return f(X), sys.jit(f)(X), sys.grad(g)(X), sys.vmap(f)(X)

    assert_same(test)


def test_platform_without_a_function() -> None:
    with pytest.raises(NotImplementedError, match="'cpu'"):
        OURS.lax.platform_dependent(X, tpu=OURS.lax.sin)
    with pytest.raises(TypeError, match="same types"):
        OURS.lax.platform_dependent(X, cpu=OURS.lax.sin, default=lambda x: (x, x))


def test_linear_solve_of_a_symmetric_matrix_with_a_transposed_solver() -> None:
    def solve(b: Any) -> Any:
        halve = lambda _, y: y / 2  # noqa: E731
        return OURS.lax.custom_linear_solve(lambda x: 2 * x, b, halve, halve, symmetric=True)

    assert float(OURS.grad(solve)(3.0)) == 0.5

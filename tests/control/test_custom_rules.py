"""Custom derivative and batching rules against JAX."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback.errors import UnexpectedTracerError
from tests.control.systems import OURS, THEIRS, assert_same, total, values

X = values(3, seed=1)
A, B = np.float32(0.7), np.float32(1.3)


# ------------------------------------------------------------------ custom_gradient


def test_custom_gradient() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        @sys.custom_derivatives.custom_gradient
        def f(x: Any, y: Any) -> Any:
            z = lax.sin(x)
            return lax.mul(z, y), lambda ct: (lax.mul(ct, z), lax.mul(ct, np.float32(8)))

        @sys.custom_derivatives.custom_gradient
        def g(x: Any) -> Any:
            return {"a": lax.mul(x, x)}, lambda ct: lax.mul(ct["a"], np.float32(7))

        return (
            f(A, B),
            sys.grad(f, (0, 1))(A, B),
            sys.jit(sys.grad(f))(A, B),
            sys.vmap(sys.grad(f, (0, 1)), (0, None))(X, B),
            sys.grad(lambda x: total(sys, sys.vmap(f, (0, None))(x, B)))(X),
            sys.grad(lambda x: g(x)["a"])(A),
            sys.grad(sys.grad(f))(A, B),
        )

    assert_same(test)


def test_custom_gradient_wants_a_pair() -> None:
    with pytest.raises(TypeError, match="pair"):
        OURS.custom_derivatives.custom_gradient(lambda x: x)(A)


# ------------------------------------------------------------------ closure_convert


def test_closure_convert() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        def apply(f: Any, x: Any) -> Any:
            converted, consts = sys.custom_derivatives.closure_convert(f, x)
            return with_rule(converted, x, *consts)

        def fun(f: Any, x: Any, *consts: Any) -> Any:
            return f(x, *consts)

        with_rule = sys.custom_vjp(fun, nondiff_argnums=(0,))

        def fwd(f: Any, x: Any, *consts: Any) -> Any:
            return f(x, *consts), (x, consts)

        def bwd(f: Any, residuals: Any, ct: Any) -> Any:
            x, consts = residuals
            return (lax.mul(ct, x), *[lax.mul(ct, np.float32(2)) for _ in consts])

        with_rule.defvjp(fwd, bwd)

        def outer(a: Any, x: Any) -> Any:
            return apply(lambda y: lax.mul(lax.sin(a), y), x)

        return sys.grad(outer, (0, 1))(A, B), sys.jit(sys.grad(outer))(A, B)

    assert_same(test)


# ------------------------------------------------------------------ residuals without axes


@pytest.mark.parametrize("nesting", ["inside", "outside", "jit", "twice", "around", "second"])
def test_flags_among_residuals_stay_python_bools_under_vmap(nesting: str) -> None:
    """A backward rule may ask with `if` what the forward rule told it, whatever maps the two."""

    def test(sys: Any) -> Any:
        lax = sys.lax
        seen: list[type] = []

        @sys.custom_vjp
        def f(m: Any, y: Any) -> Any:
            return lax.mul(m, lax.sin(y))

        def fwd(m: Any, y: Any) -> Any:
            value = lax.mul(m.value, lax.sin(y.value))
            return value, (m.perturbed, y.perturbed, m.value, y.value)

        def bwd(res: Any, ct: Any) -> Any:
            m_moves, y_moves, m, y = res
            seen.extend([type(m_moves), type(y_moves)])
            of_m = lax.mul(ct, lax.sin(y)) if m_moves else None
            return of_m, lax.mul(ct, lax.mul(m, lax.cos(y))) if y_moves else None

        f.defvjp(fwd, bwd, symbolic_zeros=True)
        each = sys.vmap(f, (None, 0))

        def grad(fun: Any) -> Any:
            return sys.grad(lambda m: total(sys, fun(m)))

        column = lax.reshape(X, (3, 1))
        found = {
            "inside": lambda: grad(lambda m: each(m, X))(A),
            "outside": lambda: sys.vmap(sys.grad(f, (0, 1)), (None, 0))(A, X),
            "jit": lambda: sys.jit(grad(lambda m: each(m, X)))(A),
            "twice": lambda: grad(lambda m: sys.vmap(each, (None, 0))(m, column))(A),
            "around": lambda: sys.vmap(grad(lambda m: each(m, X)))(X),
            "second": lambda: grad(lambda b: grad(lambda m: each(m, lax.mul(X, b)))(A))(B),
        }[nesting]()
        assert seen
        assert set(seen) == {bool}
        return found

    assert_same(test)


# ------------------------------------------------------------------ symbolic zeros


def test_symbolic_zeros_of_custom_jvp() -> None:
    def test(sys: Any) -> Any:
        lax, zero = sys.lax, sys.custom_derivatives.SymbolicZero
        seen: list[Any] = []
        f = sys.custom_jvp(lambda x, y: lax.mul(x, y))

        def rule(primals: Any, tangents: Any) -> Any:
            seen.append([isinstance(t, zero) for t in tangents])
            (x, y), (t, _) = primals, tangents
            if isinstance(t, zero):
                return f(x, y), t
            return f(x, y), lax.mul(t, np.float32(3))

        f.defjvp(rule, symbolic_zeros=True)
        results = (
            sys.grad(f)(A, B),
            sys.grad(f, 1)(A, B),
            sys.vmap(sys.grad(f), (0, None))(X, B),
            sys.jit(sys.grad(f, (0, 1)))(A, B),
            sys.jvp(f, (A, B), (A, B)),
        )
        return results, np.asarray(seen)

    assert_same(test)


def test_symbolic_zeros_of_custom_vjp() -> None:
    def test(sys: Any) -> Any:
        lax, zero = sys.lax, sys.custom_derivatives.SymbolicZero
        seen: list[Any] = []
        f = sys.custom_vjp(lambda x, y: (lax.mul(x, y), lax.add(x, y)))

        def fwd(x: Any, y: Any) -> Any:
            seen.append([x.perturbed, y.perturbed])
            return (lax.mul(x.value, y.value), lax.add(x.value, y.value)), (x.value, y.value)

        def bwd(residuals: Any, cts: Any) -> Any:
            seen.append([isinstance(ct, zero) for ct in cts])
            x, y = residuals
            ct = cts[1] if isinstance(cts[0], zero) else cts[0]
            return lax.mul(ct, y), lax.mul(ct, x)

        f.defvjp(fwd, bwd, symbolic_zeros=True)
        first = lambda x, y: f(x, y)[0]  # noqa: E731
        second = lambda x, y: f(x, y)[1]  # noqa: E731
        results = (
            sys.grad(first)(A, B),
            sys.grad(second, (0, 1))(A, B),
            sys.vmap(sys.grad(second, (0, 1)), (0, None))(X, B),
            sys.grad(lambda x: total(sys, sys.vmap(first, (0, None))(x, B)))(X),
        )
        return results, np.asarray(seen)

    assert_same(test)


def test_zero_from_primal() -> None:
    zeros = OURS.custom_derivatives.zero_from_primal
    assert float(zeros(2.0)) == 0.0
    assert zeros(3).dtype == THEIRS.custom_derivatives.zero_from_primal(3).dtype
    symbolic = zeros(X, symbolic_zeros=True)
    assert (symbolic.shape, symbolic.dtype, symbolic.ndim) == ((3,), np.float32, 1)


# ------------------------------------------------------------------ closing over values


def test_a_closed_over_value_is_not_differentiated_silently() -> None:
    def vjp_function(y: Any) -> Any:
        f = OURS.custom_vjp(lambda x: OURS.lax.mul(x, y))
        f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct,))
        return f(A)

    def jvp_function(y: Any) -> Any:
        f = OURS.custom_jvp(lambda x: OURS.lax.mul(x, y))
        f.defjvp(lambda p, t: (f(*p), t[0]))
        return f(A)

    for function in (vjp_function, jvp_function):
        for transformed in (OURS.grad(function), OURS.grad(OURS.jit(function))):
            with pytest.raises(UnexpectedTracerError, match="closes over"):
                transformed(B)
        assert float(OURS.jit(function)(B)) == pytest.approx(float(A * B))


def test_closing_over_values_that_are_not_differentiated() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        def outer(x: Any, y: Any) -> Any:
            f = sys.custom_vjp(lambda v: lax.mul(v, y))
            f.defvjp(lambda v: (lax.mul(v, y), y), lambda r, ct: (lax.mul(ct, lax.neg(r)),))
            return f(lax.sin(x))

        return (
            sys.grad(outer)(A, B),
            sys.vmap(sys.grad(outer), (0, None))(X, B),
            sys.vmap(sys.grad(outer))(X, X),
        )

    assert_same(test)


# ------------------------------------------------------------------ optimize_remat


def doubled(sys: Any, optimize: bool = True) -> Any:
    lax = sys.lax
    f = sys.custom_vjp(lambda x: lax.sin(x))
    f.defvjp(
        lambda x: (lax.sin(x), lax.cos(lax.mul(x, np.float32(1)))),
        lambda r, ct: (lax.mul(ct, r),),
        optimize_remat=optimize,
    )
    return f


def test_optimize_remat() -> None:
    def test(sys: Any) -> Any:
        f = doubled(sys)
        g = sys.checkpoint(lambda x: f(sys.lax.exp(f(x))))
        return (
            sys.grad(f)(A),
            sys.grad(g)(A),
            sys.jit(sys.grad(g))(A),
            sys.vmap(sys.grad(f))(X),
            sys.grad(lambda x: total(sys, sys.vmap(f)(x)))(X),
            sys.jvp(sys.grad(f), (A,), (B,)),
        )

    assert_same(test)


def test_the_first_pass_through_a_checkpoint_runs_the_function_itself() -> None:
    f = doubled(OURS)
    closed = OURS.make_jaxpr(OURS.grad(OURS.checkpoint(lambda x: f(f(x)))))(A)
    names = [e.primitive.name for e in closed.jaxpr.eqns]
    assert "remat_opt" not in names
    (again,) = [e for e in closed.jaxpr.eqns if e.primitive.name == "remat2"]
    assert "remat_opt" in [e.primitive.name for e in again.params["jaxpr"].eqns]


# ------------------------------------------------------------------ jaxprs


def test_jaxprs() -> None:
    def texts(sys: Any) -> list[str]:
        def f(x: Any) -> Any:
            return sys.lax.sin(x)

        def rule(primals: Any, tangents: Any) -> Any:
            return f(*primals), tangents[0]

        def fwd(x: Any) -> Any:
            return f(x), x

        def bwd(x: Any, ct: Any) -> Any:
            return (ct,)

        j, v = sys.custom_jvp(f), sys.custom_vjp(f)
        j.defjvp(rule)
        v.defvjp(fwd, bwd)
        return [
            str(sys.make_jaxpr(g)(X))
            for g in (j, v, sys.vmap(j), sys.jit(v), sys.grad(lambda x: total(sys, v(x))))
        ]

    assert texts(OURS) == texts(THEIRS)


# ------------------------------------------------------------------ linear_call


def scaled(sys: Any, r: Any, x: Any) -> Any:
    lax = sys.lax
    return sys.custom_derivatives.linear_call(
        lambda r, x: lax.div(x["x"], r),
        lambda r, ct: {"x": lax.mul(lax.div(ct, r), np.float32(10))},
        r,
        {"x": x},
    )


def test_linear_call() -> None:
    def test(sys: Any) -> Any:
        f = lambda x: sys.lax.sin(scaled(sys, B, x))  # noqa: E731
        return (
            f(A),
            sys.grad(f)(A),
            sys.jit(sys.grad(f))(A),
            sys.jvp(f, (A,), (B,)),
            sys.linear_transpose(lambda x: scaled(sys, B, x), A)(B),
            sys.grad(lambda x: sys.linear_transpose(lambda y: scaled(sys, B, y), A)(x)[0])(A),
        )

    assert_same(test)


def test_linear_call_under_vmap() -> None:
    f = lambda r, x: OURS.lax.sin(scaled(OURS, r, x))  # noqa: E731
    gradient = np.asarray(OURS.vmap(OURS.grad(f, 1), (None, 0))(B, X))
    np.testing.assert_allclose(gradient, 10 * np.cos(X / B) / B, rtol=1e-5)
    outside = np.asarray(OURS.grad(lambda x: total(OURS, OURS.vmap(f)(X + 2, x)))(X))
    np.testing.assert_allclose(outside, 10 * np.cos(X / (X + 2)) / (X + 2), rtol=1e-4)


# ------------------------------------------------------------------ custom_vmap


def with_vmap_rule(sys: Any, seen: list[Any]) -> Any:
    lax = sys.lax

    @sys.custom_batching.custom_vmap
    def f(x: Any, y: Any) -> Any:
        return lax.mul(lax.sin(x), y)

    @f.def_vmap
    def rule(size: int, in_batched: Any, x: Any, y: Any) -> Any:
        seen.append([size, *in_batched])
        if not in_batched[1]:
            y = (
                lax.full((size,), 1, np.float32) * y
                if sys is THEIRS
                else lax.mul(lax.full((size,), np.float32(1)), y)
            )
        if not in_batched[0]:
            x = lax.mul(lax.full((size,), np.float32(1)), x)
        return lax.mul(lax.cos(x), y), True

    return f


def test_custom_vmap() -> None:
    def test(sys: Any) -> Any:
        seen: list[Any] = []
        f = with_vmap_rule(sys, seen)
        results = (
            f(A, B),
            sys.vmap(f, (0, None))(X, B),
            sys.vmap(f)(X, X),
            sys.vmap(sys.jit(f), (None, 0))(A, X),
            sys.jit(sys.vmap(f, (0, None)))(X, B),
        )
        flags = np.unique(np.asarray(seen), axis=0)
        derivatives = (
            sys.jvp(f, (A, B), (A, B)),
            sys.vmap(lambda x: sys.jvp(f, (x, x), (x, x)))(X),
            sys.grad(lambda x: total(sys, sys.vmap(f, (0, None))(x, B)))(X),
        )
        return results, flags, derivatives

    assert_same(test)


def test_forward_mode_differentiates_the_batching_rule() -> None:
    """Also where value and tangent do not both have lanes, which JAX gets wrong."""
    f = with_vmap_rule(OURS, [])
    _, dot = OURS.vmap(lambda x: OURS.jvp(lambda y: f(x, y), (B,), (x,)))(X)
    np.testing.assert_allclose(np.asarray(dot), np.cos(X) * X, rtol=1e-5)
    _, dot = OURS.vmap(lambda t: OURS.jvp(lambda x: f(x, B), (A,), (t,)))(X)
    np.testing.assert_allclose(np.asarray(dot), -np.sin(A) * X * B, rtol=1e-5)


def test_custom_vmap_of_pytrees() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        @sys.custom_batching.custom_vmap
        def f(p: Any) -> Any:
            return {"s": lax.add(p["a"], p["b"]), "t": p["b"]}

        @f.def_vmap
        def rule(size: int, in_batched: Any, p: Any) -> Any:
            out = {"s": lax.mul(p["a"], np.float32(100)), "t": p["b"]}
            return out, {"s": in_batched[0]["a"], "t": in_batched[0]["b"]}

        mapped = sys.vmap(f, ({"a": 0, "b": None},))
        return mapped({"a": X, "b": B}), f({"a": A, "b": B})

    assert_same(test)


def test_reverse_mode_of_custom_vmap_gives_the_rule_up() -> None:
    f = with_vmap_rule(OURS, [])
    assert float(OURS.grad(f)(A, B)) == pytest.approx(float(np.cos(A) * B))


def test_sequential_vmap() -> None:
    def test(sys: Any) -> Any:
        f = sys.custom_batching.sequential_vmap(lambda x, y: (sys.lax.sin(x), sys.lax.mul(x, y)))
        nested = sys.vmap(sys.vmap(f, (0, None)), (0, None))
        return sys.vmap(f, (0, None))(X, B), sys.vmap(f)(X, X), nested(values(2, 3), B)

    assert_same(test)


def test_errors_of_custom_vmap() -> None:
    f = OURS.custom_batching.custom_vmap(lambda x: x)
    with pytest.raises(AttributeError, match="def_vmap"):
        OURS.vmap(f)(X)
    f.def_vmap(lambda size, batched, x: x)
    with pytest.raises(TypeError, match="pair"):
        OURS.vmap(f)(X)
    f.def_vmap(lambda size, batched, x: (x, False))
    with pytest.raises(ValueError, match="shape"):
        OURS.vmap(f)(X)


# ------------------------------------------------------------------ fwd_and_bwd


def test_forward_and_backward() -> None:
    def test(sys: Any) -> Any:
        fwd, bwd = sys.fwd_and_bwd(lambda x, y: sys.lax.mul(sys.lax.sin(x), y), argnums=(0, 1))
        out, residuals = fwd(A, B)
        one, back = sys.fwd_and_bwd(
            lambda x, y: (sys.lax.mul(x, y), y), argnums=1, has_aux=True, jitted=False
        )
        again, kept, aux = one(A, B)
        return out, bwd(residuals, A), again, back(kept, B), aux

    assert_same(test)


def test_the_backward_pass_is_compiled_once() -> None:
    fwd, bwd = OURS.fwd_and_bwd(lambda x: OURS.lax.sin(x), argnums=0)
    for x in (0.1, 0.2, 0.3):
        _, residuals = fwd(x)
        assert float(bwd(residuals, 1.0)) == pytest.approx(np.cos(x), rel=1e-5)
    assert bwd._cache_size() == 1


def test_a_pullback_goes_through_jit() -> None:
    def test(sys: Any) -> Any:
        out, pull = sys.jit(lambda x: sys.vjp(sys.lax.sin, x))(X)
        return out, sys.jit(lambda p, ct: p(ct))(pull, X)

    assert_same(test)


def test_defaults_of_arguments_that_are_not_differentiated() -> None:
    @functools.partial(pb.custom_jvp, nondiff_argnums=(1, 2))
    def scaled(x: Any, n: int, m: int | None = None) -> Any:
        return x * n

    @scaled.defjvp
    def rule(n: int, m: int | None, primals: Any, tangents: Any) -> Any:
        return scaled(*primals, n, m), tangents[0] * (10 if m is None else m)

    assert pb.grad(scaled)(2.0, 3) == 10
    assert pb.grad(scaled)(2.0, 3, 4) == pb.grad(scaled)(2.0, m=4, n=3) == 4


def test_an_integer_result_takes_any_cotangent() -> None:
    for ct in (np.zeros((), pb.dtypes.float0), 1, np.int32(1), 1.0):
        of_n, of_x = pb.vjp(lambda n, x: (n + 1, x), 3, 1.0)[1]((ct, 2.0))
        assert of_n.dtype == pb.dtypes.float0
        assert of_x == 2


def test_a_rule_gets_arrays_where_numbers_were_given() -> None:
    seen = []

    @pb.custom_vjp
    def same(x: Any) -> Any:
        return x

    def backward(_: Any, ct: Any) -> Any:
        seen.append(isinstance(ct, pb.Array) and ct.shape == ())
        return (ct,)

    same.defvjp(lambda x: (x, None), backward)
    assert pb.grad(same)(2.0) == 1
    assert pb.vjp(same, 2.0)[1](3.0)[0] == 3
    assert pb.jit(pb.grad(same))(2.0) == 1
    assert seen == [True] * 3

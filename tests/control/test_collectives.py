"""Collectives over named axes under vmap: against JAX, and against NumPy where JAX has no rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pullback.errors import UnsupportedError
from tests.control.systems import OURS, THEIRS, assert_same, total, values

X = values(4, 4, seed=1)
RING = [(0, 1), (1, 2), (2, 3), (3, 0)]

COLLECTIVES: dict[str, Callable[..., Any]] = {
    "psum": lambda lax, x: lax.psum(x, "i"),
    "psum_tree": lambda lax, x: lax.psum({"a": x, "b": lax.mul(x, x)}, "i")["b"],
    "psum_constant": lambda lax, x: lax.mul(x, np.float32(lax.psum(1, "i"))),
    "pmean": lambda lax, x: lax.pmean(lax.sin(x), "i"),
    "all_gather": lambda lax, x: lax.all_gather(x, "i"),
    "all_gather_1": lambda lax, x: lax.all_gather(x, "i", axis=1),
    "all_gather_tiled": lambda lax, x: lax.all_gather(x, "i", axis=0, tiled=True),
    "psum_scatter": lambda lax, x: lax.psum_scatter(x, "i"),
    "psum_scatter_tiled": lambda lax, x: lax.psum_scatter(x, "i", tiled=True),
    "all_to_all": lambda lax, x: lax.all_to_all(x, "i", 0, 0),
    "all_to_all_tiled": lambda lax, x: lax.all_to_all(x, "i", 0, 0, tiled=True),
    "ppermute": lambda lax, x: lax.ppermute(x, "i", RING),
    "ppermute_back": lambda lax, x: lax.ppermute(x, "i", [(3, 0), (2, 1), (1, 2), (0, 3)]),
    "pswapaxes": lambda lax, x: lax.pswapaxes(x, "i", 0),
    "axis_index": lambda lax, x: lax.mul(x, lax.convert_element_type(lax.axis_index("i"), x.dtype)),
    "axis_size": lambda lax, x: lax.mul(x, np.float32(lax.axis_size("i"))),
    "unbatched": lambda lax, x: lax.add(x, lax.psum(lax.full((4,), np.float32(2)), "i")),
}
NONLINEAR = {
    "pmax": lambda lax, x: lax.pmax(x, "i"),
    "pmin": lambda lax, x: lax.pmin(x, "i"),
    "normalize": lambda lax, x: lax.div(x, lax.psum(lax.mul(x, x), "i")),
}


def mapped(sys: Any, fun: Any, **axes: Any) -> Any:
    return sys.vmap(lambda x: fun(sys.lax, x), axis_name="i", **axes)


@pytest.mark.parametrize("name", [*COLLECTIVES, *NONLINEAR])
def test_values(name: str) -> None:
    fun = (COLLECTIVES | NONLINEAR)[name]

    def test(sys: Any) -> Any:
        return (
            mapped(sys, fun)(X),
            mapped(sys, fun, in_axes=1)(X),
            sys.jit(mapped(sys, fun))(X),
            sys.vmap(lambda x: sys.jit(lambda y: fun(sys.lax, y))(x), axis_name="i")(X),
        )

    assert_same(test)


@pytest.mark.parametrize("name", [*COLLECTIVES, "normalize"])
def test_derivatives(name: str) -> None:
    fun = (COLLECTIVES | NONLINEAR)[name]

    def test(sys: Any) -> Any:
        lax = sys.lax
        inside = lambda x: total(sys, lax.sin(fun(lax, x)))  # noqa: E731
        outside = lambda x: total(sys, lax.sin(mapped(sys, fun)(x)))  # noqa: E731
        return (
            sys.vmap(sys.grad(inside), axis_name="i")(X),
            sys.grad(outside)(X),
            sys.jit(sys.vmap(sys.grad(sys.jit(inside)), axis_name="i"))(X),
            sys.jvp(outside, (X,), (np.cos(X),)),
            sys.vmap(lambda x: sys.jvp(inside, (x,), (x,)), axis_name="i")(X),
        )

    assert_same(test, rtol=1e-4)


NESTED: dict[str, Callable[..., Any]] = {
    "psum": lambda lax, x: lax.psum(x, ("i", "j")),
    "psum_other": lambda lax, x: lax.psum(x, "j"),
    "pmean": lambda lax, x: lax.pmean(x, ("j", "i")),
    "pmax": lambda lax, x: lax.pmax(x, ("i", "j")),
    "axis_index": lambda lax, x: lax.add(lax.axis_index("i"), lax.mul(lax.axis_index("j"), 10)),
    "all_gather": lambda lax, x: lax.all_gather(lax.all_gather(x, "i"), "j", axis=1),
    "ppermute": lambda lax, x: lax.ppermute(x, "j", [(0, 1), (1, 2), (2, 0)]),
    "scatter": lambda lax, x: lax.psum_scatter(lax.psum(x, "i"), "j"),
}


@pytest.mark.parametrize("name", NESTED)
def test_two_axes(name: str) -> None:
    x = values(3, 2, 3, seed=2)

    def test(sys: Any) -> Any:
        inner = sys.vmap(lambda y: NESTED[name](sys.lax, y), axis_name="i")
        return sys.vmap(inner, axis_name="j")(x)

    assert_same(test)


@pytest.mark.parametrize("name", ["psum", "pmax", "all_gather", "axis_index", "ppermute"])
def test_jaxprs(name: str) -> None:
    def text(sys: Any) -> str:
        def f(x: Any) -> Any:
            lax = sys.lax
            if name == "axis_index":
                return lax.axis_index("i")
            return (COLLECTIVES | NONLINEAR)[name](lax, x)

        return str(sys.make_jaxpr(f, axis_env=[("i", 4)])(X))

    assert text(OURS) == text(THEIRS)


# ------------------------------------------------------------------ inside of control flow


def in_scan(sys: Any, x: Any) -> Any:
    lax = sys.lax

    def body(c: Any, row: Any) -> Any:
        index = lax.convert_element_type(lax.axis_index("i"), np.float32)
        new = lax.add(c, lax.mul(index, row))
        return new, lax.psum(lax.mul(new, row), "i")

    return lax.scan(body, np.float32(0), x)


def in_while(sys: Any, x: Any) -> Any:
    lax = sys.lax

    def body(state: Any) -> Any:
        i, v = state
        return lax.add(i, lax.add(lax.axis_index("i"), 1)), lax.pmean(lax.mul(v, v), "i")

    return lax.while_loop(lambda s: lax.lt(s[0], 4), body, (0, x))


def in_cond(sys: Any, x: Any) -> Any:
    lax = sys.lax
    return lax.cond(
        lax.gt(lax.axis_index("i"), 1), lambda v: lax.psum(v, "i"), lambda v: lax.neg(v), x
    )


def in_checkpoint(sys: Any, x: Any) -> Any:
    return sys.checkpoint(lambda v: sys.lax.psum(sys.lax.sin(v), "i"))(x)


def in_custom_jvp(sys: Any, x: Any) -> Any:
    lax = sys.lax
    f = sys.custom_jvp(lambda v: lax.psum(v, "i"))
    f.defjvp(lambda p, t: (f(*p), lax.mul(lax.pmean(t[0], "i"), np.float32(3))))
    return f(lax.sin(x))


def in_custom_vjp(sys: Any, x: Any) -> Any:
    lax = sys.lax
    f = sys.custom_vjp(lambda v: lax.psum(v, "i"))
    f.defvjp(lambda v: (f(v), v), lambda v, ct: (lax.mul(lax.psum(ct, "i"), v),))
    return f(lax.sin(x))


@pytest.mark.parametrize("fun", [in_scan, in_while, in_cond])
def test_control_flow(fun: Any) -> None:
    def test(sys: Any) -> Any:
        f = sys.vmap(lambda x: fun(sys, x), axis_name="i")
        return f(X), sys.jit(f)(X)

    assert_same(test)


@pytest.mark.parametrize("fun", [in_scan, in_checkpoint, in_custom_jvp, in_custom_vjp])
def test_derivatives_through_control_flow(fun: Any) -> None:
    def test(sys: Any) -> Any:
        def inside(x: Any) -> Any:
            out = fun(sys, x)
            return total(sys, out[1] if isinstance(out, tuple) else out)

        f = sys.vmap(inside, axis_name="i")
        if fun is in_custom_vjp:  # JAX has lost the name of the axis when the rule runs outside
            return sys.vmap(sys.grad(inside), axis_name="i")(X)
        return (
            sys.vmap(sys.grad(inside), axis_name="i")(X),
            sys.grad(lambda x: total(sys, f(x)))(X),
            sys.jit(sys.grad(lambda x: total(sys, f(x))))(X),
        )

    assert_same(test)


def test_axis_index_in_scan_without_lanes() -> None:
    def test(sys: Any) -> Any:
        def f(x: Any) -> Any:
            add = sys.lax.add
            body = lambda c, _: (add(c, sys.lax.axis_index("i")), None)  # noqa: E731
            return sys.lax.scan(body, np.int32(0), None, length=3)[0]

        return sys.vmap(f, axis_name="i")(X)

    assert_same(test)


def test_a_jitted_function_is_traced_for_each_axis() -> None:
    f = OURS.jit(lambda x: OURS.lax.psum(x, "i") if True else x)
    assert OURS.vmap(f, axis_name="i")(np.ones(3, np.float32)).tolist() == [3, 3, 3]
    assert OURS.vmap(f, axis_name="i")(np.ones(2, np.float32)).tolist() == [2, 2]
    size = OURS.jit(lambda x: OURS.lax.axis_size("i"))
    assert OURS.vmap(lambda x: size(1), axis_name="i")(np.ones(3)).tolist() == [3] * 3
    assert OURS.vmap(lambda x: size(1), axis_name="i")(np.ones(2)).tolist() == [2] * 2
    with pytest.raises(NameError):
        f(X)


def test_out_axes_none_for_the_same_value_in_all_lanes() -> None:
    assert_same(lambda sys: mapped(sys, lambda lax, x: lax.psum(x, "i"), out_axes=None)(X))


# ------------------------------------------------------------------ beyond JAX's vmap


def test_groups() -> None:
    groups = [[0, 2], [1, 3]]
    f = lambda lax, x: lax.psum(x, "i", axis_index_groups=groups)  # noqa: E731
    out = np.asarray(mapped(OURS, f)(X))
    np.testing.assert_allclose(out[0], X[0] + X[2], rtol=1e-6)
    np.testing.assert_allclose(out[3], X[1] + X[3], rtol=1e-6)
    ct = values(4, 4, seed=3)
    weighted = lambda x: total(OURS, OURS.lax.mul(ct, mapped(OURS, f)(x)))  # noqa: E731
    np.testing.assert_allclose(np.asarray(OURS.grad(weighted)(X))[2], ct[0] + ct[2], rtol=1e-6)
    mean = lambda lax, x: lax.pmean(x, "i", axis_index_groups=groups)  # noqa: E731
    np.testing.assert_allclose(np.asarray(mapped(OURS, mean)(X)), out / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="same size"):
        mapped(OURS, lambda lax, x: lax.psum(x, "i", axis_index_groups=[[0], [1, 2, 3]]))(X)
    with pytest.raises(UnsupportedError, match="axis_index_groups"):
        mapped(OURS, lambda lax, x: lax.all_gather(x, "i", axis_index_groups=groups))(X)


def test_partial_permutations() -> None:
    f = lambda lax, x: lax.ppermute(x, "i", [(0, 2), (1, 0)])  # noqa: E731
    expected = np.stack([X[1], 0 * X[0], X[0], 0 * X[0]])
    np.testing.assert_array_equal(np.asarray(mapped(OURS, f)(X)), expected)
    weighted = lambda x: total(OURS, OURS.lax.mul(X, mapped(OURS, f)(x)))  # noqa: E731
    gradient = np.stack([X[2], X[0], 0 * X[0], 0 * X[0]])
    np.testing.assert_array_equal(np.asarray(OURS.grad(weighted)(X)), gradient)


def test_long_permutations_and_shuffles() -> None:
    perm = np.random.default_rng(0).permutation(20)
    x = values(20, 2)
    out = OURS.vmap(lambda v: OURS.lax.pshuffle(v, "i", list(perm)), axis_name="i")(x)
    np.testing.assert_array_equal(np.asarray(out), x[perm])


def test_pbroadcast() -> None:
    f = lambda lax, x: lax.pbroadcast(x, "i", 2)  # noqa: E731
    np.testing.assert_array_equal(np.asarray(mapped(OURS, f)(X)), np.stack([X[2]] * 4))
    inside = lambda x: total(OURS, OURS.lax.mul(x, f(OURS.lax, x)))  # noqa: E731
    gradient = np.asarray(OURS.vmap(OURS.grad(inside), axis_name="i")(X))
    expected = np.stack([X[2]] * 4)
    expected[2] += X.sum(0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_derivative_of_extrema() -> None:
    for name, pick in (("pmax", np.argmax), ("pmin", np.argmin)):
        f = lambda x: total(OURS, mapped(OURS, NONLINEAR[name])(x))  # noqa: B023, E731
        expected = np.zeros((4, 4), np.float32)
        expected[pick(X, 0), np.arange(4)] = 4
        np.testing.assert_allclose(np.asarray(OURS.grad(f)(X)), expected)


def test_gathering_over_two_axes() -> None:
    x = values(3, 2, 2, seed=5)

    def both(fun: Any) -> Any:
        return np.asarray(OURS.vmap(OURS.vmap(fun, axis_name="j"), axis_name="i")(x))

    lax = OURS.lax
    np.testing.assert_array_equal(
        both(lambda v: lax.all_gather(v, ("i", "j")))[1, 1], x.reshape(6, 2)
    )
    np.testing.assert_array_equal(
        both(lambda v: lax.all_gather(v, ("j", "i")))[0, 1], x.transpose(1, 0, 2).reshape(6, 2)
    )
    y = np.asarray(
        OURS.vmap(
            OURS.vmap(
                lambda v: lax.psum_scatter(lax.all_gather(v, ("i", "j")), ("i", "j")), axis_name="j"
            ),
            axis_name="i",
        )(x)
    )
    np.testing.assert_allclose(y, 6 * x, rtol=1e-6)
    index = both(lambda v: lax.axis_index(("i", "j")))
    np.testing.assert_array_equal(index, np.arange(6).reshape(3, 2))


def test_backward_rules_know_the_axis_outside_of_vmap() -> None:
    f = OURS.vmap(lambda x: in_custom_vjp(OURS, x), axis_name="i")
    gradient = np.asarray(OURS.grad(lambda x: total(OURS, f(x)))(X))
    np.testing.assert_allclose(gradient, 4 * np.sin(X) * np.cos(X), rtol=1e-5)


# ------------------------------------------------------------------ errors


def test_unbound_names() -> None:
    for call in ("psum", "pmax", "all_gather"):
        with pytest.raises(NameError, match="unbound axis name: k"):
            OURS.jit(lambda x, call=call: getattr(OURS.lax, call)(x, "k"))(X)
    with pytest.raises(NameError, match="names in force: 'i'"):
        mapped(OURS, lambda lax, x: lax.axis_index("k"))(X)
    with pytest.raises(NameError, match="axis_size"):
        OURS.lax.axis_size("k")


def test_operands_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match="psum_scatter"):
        mapped(OURS, lambda lax, x: lax.psum_scatter(lax.slice(x, (0,), (3,)), "i"))(X)
    with pytest.raises(ValueError, match="distinct"):
        mapped(OURS, lambda lax, x: lax.ppermute(x, "i", [(0, 1), (0, 2)]))(X)
    with pytest.raises(ValueError, match="permutation"):
        mapped(OURS, lambda lax, x: lax.pshuffle(x, "i", [0, 0, 1, 2]))(X)

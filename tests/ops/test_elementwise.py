"""Element-wise primitives at their edges: derivatives where they are delicate, integers, errors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback
from pullback import lax
from pullback.ops import elementwise as ops

F32 = np.float32


def _same(got: Any, want: Any, rtol: float = 2e-5) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol, rtol)


# --------------------------------------------------------------------------- derivatives

EDGES = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5]


@pytest.mark.parametrize("exponent", [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("base", EDGES)
def test_gradient_of_pow(base: float, exponent: float) -> None:
    got = pullback.grad(lax.pow, argnums=(0, 1))(base, exponent)
    want = jax.grad(jax.lax.pow, argnums=(0, 1))(base, exponent)
    _same(got[0], want[0])
    _same(got[1], want[1])


@pytest.mark.parametrize("exponent", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize("base", EDGES)
def test_gradient_of_integer_powers(base: float, exponent: int) -> None:
    got = pullback.grad(lambda x: lax.integer_pow(x, exponent))(base)
    _same(got, jax.grad(lambda x: jax.lax.integer_pow(x, exponent))(base))
    got = pullback.grad(lambda x: lax.pow(x, exponent))(base)
    _same(got, jax.grad(lambda x: jax.lax.pow(x, exponent))(base))


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("pair", [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (0.0, -0.0)])
def test_ties_of_extremes_share_the_gradient(name: str, pair: tuple[float, float]) -> None:
    got = pullback.grad(getattr(lax, name), argnums=(0, 1))(*pair)
    want = jax.grad(getattr(jax.lax, name), argnums=(0, 1))(*pair)
    assert [float(x) for x in got] == [float(x) for x in want]


@pytest.mark.parametrize(
    "name",
    ["abs", "sqrt", "rsqrt", "cbrt", "sign", "floor", "bessel_i0e", "bessel_i1e", "log", "erf"],
)
@pytest.mark.parametrize("x", [0.0, 1.0, -0.0])
def test_gradients_at_zero(name: str, x: float) -> None:
    _same(pullback.grad(getattr(lax, name))(x), jax.grad(getattr(jax.lax, name))(x), 1e-4)


@pytest.mark.parametrize("x", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_gradient_of_clamp(x: float) -> None:
    got = pullback.grad(lax.clamp, argnums=(0, 1, 2))(0.0, x, 1.0)
    want = jax.grad(jax.lax.clamp, argnums=(0, 1, 2))(0.0, x, 1.0)
    assert [float(g) for g in got] == [float(w) for w in want]


@pytest.mark.parametrize("name", ["abs", "real", "imag"])
@pytest.mark.parametrize("z", [3 + 4j, -1 + 0.5j, 2j])
def test_gradients_of_real_functions_of_complex_numbers(name: str, z: complex) -> None:
    _same(pullback.grad(getattr(lax, name))(z), jax.grad(getattr(jax.lax, name))(z))


@pytest.mark.parametrize("name", ["exp", "log", "sin", "tanh", "sqrt", "square", "acosh", "asinh"])
def test_holomorphic_gradients(name: str) -> None:
    z = 1.3 + 0.7j
    got = pullback.grad(getattr(lax, name), holomorphic=True)(z)
    _same(got, jax.grad(getattr(jax.lax, name), holomorphic=True)(z))


def test_gradient_through_conj_and_complex() -> None:
    def f(module: Any) -> Any:
        return lambda x, y: module.real(
            module.mul(module.conj(module.complex(x, y)), module.complex(y, x))
        )

    got = pullback.grad(f(lax), argnums=(0, 1))(2.0, 3.0)
    want = jax.grad(f(jax.lax), argnums=(0, 1))(2.0, 3.0)
    assert [float(g) for g in got] == [float(w) for w in want]


def test_second_derivatives() -> None:
    for name in ("sin", "exp", "log", "tanh", "logistic", "lgamma", "erf", "rsqrt", "atan"):
        ours = pullback.grad(pullback.grad(getattr(lax, name)))(0.7)
        theirs = jax.grad(jax.grad(getattr(jax.lax, name)))(0.7)
        np.testing.assert_allclose(ours, theirs, 1e-4, err_msg=name)


@pytest.mark.parametrize("a", [0.3, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("x", [0.1, 1.0, 3.5, 40.0])
def test_gradients_of_incomplete_gamma_functions(a: float, x: float) -> None:
    """The oracle computes in double precision."""
    for name in ("igamma", "igammac"):
        got = pullback.grad(getattr(lax, name), argnums=(0, 1))(a, x)
        with jax.enable_x64(True):
            want = jax.grad(getattr(jax.lax, name), argnums=(0, 1))(np.float64(a), np.float64(x))
        np.testing.assert_allclose(got, want, 1e-4, 1e-9, err_msg=name)
    with jax.enable_x64(True):
        sample = jax.lax.random_gamma_grad(np.float64(a), np.float64(x))
    np.testing.assert_allclose(lax.random_gamma_grad(a, x), sample, 1e-4, 1e-9)


# --------------------------------------------------------------------------- integers and bits


def test_integer_division_is_that_of_xla() -> None:
    x = np.array([5, -5, 7, 0, -(2**31)], np.int32)
    y = np.array([0, 2, -2, 0, -1], np.int32)
    assert lax.div(x, y).tolist() == [-1, -2, -3, -1, -(2**31)]
    assert lax.rem(x, y).tolist() == [5, -1, 1, 0, 0]
    assert lax.div(x.view(np.uint32), np.uint32(0)).tolist() == [2**32 - 1] * 5


def test_shifts_beyond_the_width() -> None:
    x, y = np.full(4, -7, np.int32), np.array([31, 32, 33, -1], np.int32)
    assert lax.shift_left(x, y).tolist() == [-(2**31), 0, 0, 0]
    assert lax.shift_right_logical(x, y).tolist() == [1, 0, 0, 0]
    assert lax.shift_right_arithmetic(x, y).tolist() == [-1, -1, -1, -1]


def test_floats_become_integers_by_saturation() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e20, -1e20, -1.9, 3.7], F32)
    for dtype in ("int8", "uint8", "int32", "uint32", "int4", "bool"):
        want = np.asarray(jax.lax.convert_element_type(x, dtype))
        np.testing.assert_array_equal(np.asarray(lax.convert_element_type(x, dtype)), want)


def test_signed_zeros() -> None:
    x = np.array([-0.0, 0.0], F32)
    for name in ("sign", "floor", "ceil", "round", "sqrt", "sin", "tanh", "neg", "expm1", "asinh"):
        got, want = getattr(lax, name)(x), getattr(jax.lax, name)(x)
        assert np.signbit(np.asarray(got)).tolist() == np.signbit(np.asarray(want)).tolist(), name


# --------------------------------------------------------------------------- errors


def test_operands_of_different_dtypes_are_refused() -> None:
    with pytest.raises(
        TypeError, match=r"lax.add .* same dtypes, got float32, int32 .f32.3. and i32.3."
    ):
        lax.add(np.ones(3, F32), np.ones(3, np.int32))
    with pytest.raises(TypeError, match="add: operands must have one dtype, got f32"):
        ops.add(np.ones(3, F32), np.ones(3, np.int32))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TypeError, match=r"add.* f32\[3\] and f32\[4\]"):
        lax.add(np.ones(3, F32), np.ones(4, F32))
    with pytest.raises(TypeError, match="number of axes"):
        lax.add(np.ones(3, F32), np.ones((2, 3), F32))


def test_dtypes_that_a_function_does_not_take() -> None:
    with pytest.raises(TypeError, match=r"sin does not accept dtype int32\. Accepted dtypes are"):
        lax.sin(1)
    with pytest.raises(TypeError, match="lt does not accept dtype complex64 at position 0"):
        lax.lt(1j, 2j)
    with pytest.raises(TypeError, match="negative powers"):
        lax.integer_pow(np.arange(3), -1)


# --------------------------------------------------------------------------- the façade


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_python_scalars_adopt_the_dtype(dtype: str) -> None:
    out = lax.mul(lax.convert_element_type(np.arange(3), dtype), 2)
    assert out.dtype == jnp.dtype(dtype)
    assert not out.weak_type


def test_axes_of_length_one_are_broadcast() -> None:
    x, y = np.ones((1, 3), F32), np.ones((2, 1), F32)
    assert lax.add(x, y).shape == jax.lax.add(x, y).shape == (2, 3)


def test_scalars_give_weak_types() -> None:
    for name, args in [("add", (1.0, 2.0)), ("eq", (1, 2)), ("select", (True, 1.0, 2.0))]:
        ours, theirs = getattr(lax, name)(*args), getattr(jax.lax, name)(*args)
        assert (ours.dtype, ours.weak_type) == (theirs.dtype, theirs.weak_type)
    assert not lax.convert_element_type(1.0, float).weak_type


def test_bitcasts_change_the_last_axis() -> None:
    x = np.arange(6, dtype=F32).reshape(2, 3)
    thin = lax.bitcast_convert_type(x, "uint8")
    want = jax.lax.bitcast_convert_type(x, "uint8")
    assert thin.shape == (2, 3, 4)
    np.testing.assert_array_equal(np.asarray(thin), np.asarray(want))
    np.testing.assert_array_equal(np.asarray(lax.bitcast_convert_type(thin, "float32")), x)


def test_stop_gradient_of_a_tree() -> None:
    f = lambda x: lax.mul(x, lax.stop_gradient({"a": x, "b": (1, x)})["a"])  # noqa: E731
    assert float(pullback.grad(f)(3.0)) == 3.0

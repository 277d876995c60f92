"""Taylor mode against nested forward mode, which knows nothing of series, and against JAX."""

from __future__ import annotations

import math

import jax.numpy as xnp
import numpy as np
import pytest
from jax.experimental import jet as xjet

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, nn
from pullback.core.primitive import NotApplicable, registry
from pullback.experimental.jet import fact, jet, jet2
from pullback.scipy import special

RNG = np.random.default_rng(0)
X = RNG.uniform(0.3, 0.8, 3)
TERMS = [RNG.normal(size=3) for _ in range(3)]
A = RNG.normal(size=(3, 3)) + 4 * np.eye(3)


@pytest.fixture(autouse=True)
def _double():
    with pb.enable_x64():
        yield


def derivatives(f, x, terms):
    """Value and derivatives of f(x + Σ termₖ tᵏ/k!) at 0, by jvp of jvp."""

    def along(t):
        return f(x + sum(c * t**k / math.factorial(k) for k, c in enumerate(terms, 1)))

    outs = [along(0.0)]
    for _ in terms:
        along = (lambda g: lambda t: pb.jvp(g, (t,), (1.0,))[1])(along)
        outs.append(along(0.0))
    return outs


def assert_agrees(f, x=X, terms=TERMS):
    value, series = jet(f, (jnp.asarray(x),), (terms,))
    for got, expected in zip([value, *series], derivatives(f, jnp.asarray(x), terms), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-9)


UNARY = [
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "digamma", "erf"),
    *("erf_inv", "erfc", "exp", "exp2", "expm1", "lgamma", "log", "log1p", "logistic", "rsqrt"),
    *("sin", "sinh", "sqrt", "square", "tan", "tanh"),
]


@pytest.mark.parametrize("name", UNARY)
def test_elementary_functions(name):
    shift = 1.0 if name == "acosh" else 0.0
    assert_agrees(lambda v: getattr(lax, name)(v + shift))


FUNCTIONS = {
    "quotient": lambda v: v / (1 + v * v),
    "reciprocal": lambda v: 2.0 / v,
    "scaled": lambda v: v / 3.0,
    "power": lambda v: v**v,
    "float power": lambda v: v**2.5,
    "integer power": lambda v: v**5,
    "negative power": lambda v: v**-3,
    "quadratic form": lambda v: v @ A @ v,
    "atan2": lambda v: jnp.arctan2(v, v * v),
    "igamma": lambda v: special.gammainc(1.5, v),
    "solve": lambda v: jnp.linalg.solve(A + jnp.outer(v, v), v),
    "cholesky": lambda v: jnp.linalg.cholesky(A @ A.T + jnp.diag(v * v)),
    "eigh": lambda v: jnp.linalg.eigh(A @ A.T + jnp.diag(v))[0],
    "inverse": lambda v: jnp.linalg.inv(A + jnp.diag(v)),
    "determinant": lambda v: jnp.linalg.det(A + jnp.diag(v)),
    "norm": jnp.linalg.norm,
    "logsumexp": special.logsumexp,
    "softmax": nn.softmax,
    "relu": lambda v: nn.relu(v - 0.5),
    "product": jnp.prod,
    "cumulative product": jnp.cumprod,
    "cumulative sum": jnp.cumsum,
    "largest": lambda v: jnp.max(v) * v,
    "sorted": lambda v: jnp.sort(v) ** 2,
    "indexed": lambda v: v[jnp.array([1, 1, 2])] * v.at[1].add(v[2]),
    "convolution": lambda v: jnp.convolve(v, v),
    "fft": lambda v: jnp.abs(jnp.fft.fft(v * v)) ** 2,
    "complex": lambda v: jnp.real(jnp.exp(1j * v) * jnp.conj(v + 2j)),
    "where": lambda v: jnp.where(v > 0.5, jnp.sin(v), v**2),
    "joined": lambda v: jnp.concatenate([v, v[::-1] * 2])[1:5].reshape(2, 2).T,
    "integers": lambda v: v * jnp.floor(v * 3).astype(int),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    assert_agrees(FUNCTIONS[name])


def in_scan(v):
    def body(c, y):
        return (jnp.sin(c * y) + v[0], 1.0), c * c

    (c, _), ys = lax.scan(lambda c, y: body(c[0], y), (v[1], 1.0), v, reverse=True)
    return c * ys


def in_while(v):
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1]) * v), (0, v))[1]


@pb.custom_jvp
def with_rule(v):
    return jnp.sin(v)


@with_rule.defjvp
def _(primals, tangents):
    (v,), (t,) = primals, tangents
    return jnp.sin(v), jnp.cos(v) * t


PROGRAMS = {
    "jit": pb.jit(lambda v: jnp.sin(v) * v),
    "scan": in_scan,
    "while": in_while,
    "fori": lambda v: lax.fori_loop(0, 3, lambda i, c: c * v + i, v),
    "cond": lambda v: lax.cond(v[0] > 0, lambda u: jnp.sin(u) * 2, lambda u: jnp.ones(3), v),
    "checkpoint": pb.checkpoint(lambda v: jnp.exp(jnp.sin(v))),
    "custom_jvp": with_rule,
    "vmap": pb.vmap(lambda a: jnp.exp(a) / a),
    "grad": pb.grad(lambda v: jnp.sum(jnp.sin(v) * v**3)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    assert_agrees(PROGRAMS[name])
    assert_agrees(pb.jit(PROGRAMS[name]))


def test_custom_vjp_is_the_function_itself():
    f = pb.custom_vjp(lambda v: v**3)
    f.defvjp(lambda v: (v**3, None), lambda _, ct: (100 * ct,))
    _, (first, second) = jet(f, (2.0,), ((1.0, 0.0),))
    assert (float(first), float(second)) == (12.0, 12.0)


def test_zero_times_infinity_does_not_arise_in_powers():
    _, series = jet(lambda v: v**3 + v * v, (0.0,), ((1.0, 0.0, 0.0),))
    np.testing.assert_allclose(series, [0, 2, 6])


def test_transformed():
    def f(x, t):
        return jet(lambda v: jnp.sin(v) * v, (x,), ((t, 0.0, 0.0),))[1][2]

    third = lambda x: -3 * np.sin(x) - x * np.cos(x)  # noqa: E731
    x = np.array([0.3, 0.9])
    np.testing.assert_allclose(pb.jit(pb.vmap(f, (0, None)))(x, 1.0), third(x), rtol=1e-10)
    slope = (third(0.3 + 1e-6) - third(0.3 - 1e-6)) / 2e-6
    np.testing.assert_allclose(pb.grad(f)(0.3, 1.0), slope, rtol=1e-7)


def test_pytrees_and_constants():
    def f(p, n):
        return {"y": p["a"] * p["b"], "n": n, "c": 3.0}

    value, series = jet(f, ({"a": 2.0, "b": 3.0}, 4), ({"a": [1.0, 0.0], "b": [1.0, 0.0]}, [0, 0]))
    assert pb.tree.map(float, value) == {"y": 6.0, "n": 4.0, "c": 3.0}
    assert [float(c) for c in series["y"]] == [5.0, 2.0]
    assert [float(c) for c in series["c"]] == [0.0, 0.0]


def test_plain_coefficients():
    scaled = jet(jnp.exp, (0.5,), ((1.0, 2.0, 3.0),))[1]
    plain = jet2(jnp.exp, (0.5,), ((1.0, 1.0, 0.5),))[1]
    same = jet(jnp.exp, (0.5,), ((1.0, 1.0, 0.5),), factorial_scaled=False)[1]
    np.testing.assert_allclose(plain, [c / fact(k) for k, c in enumerate(scaled, 1)], rtol=1e-12)
    np.testing.assert_allclose(plain, same)


@pytest.mark.parametrize("factorial_scaled", [True, False])
def test_conventions_of_jax(factorial_scaled):
    x, terms = np.float32(0.4), [np.float32(c) for c in (1.0, -0.5, 2.0)]
    args = {"factorial_scaled": factorial_scaled}
    ours = jet(lambda v: jnp.tanh(v) * v, (x,), (terms,), **args)
    theirs = xjet.jet(lambda v: xnp.tanh(v) * v, (xnp.asarray(x),), (terms,), **args)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("primals", "series", "message"),
    [
        ((1.0,), ((1.0,), (1.0,)), "there are 1 primals"),
        ((1.0, 2.0), ((1.0,), (1.0, 2.0)), "the same number of terms"),
        ((1.0,), ((np.ones(2),),), r"term 0 of series\[0\] has shape"),
        ((1.0,), (1.0,), "a list or tuple of terms"),
    ],
)
def test_terms_that_do_not_fit(primals, series, message):
    with pytest.raises(ValueError, match=message):
        jet(lambda *xs: sum(xs), primals, series)


def test_an_operation_without_derivative_names_itself():
    missing = sorted(n for n, p in registry.items() if isinstance(p.jvp, NotApplicable))
    assert "schur" in missing
    with pytest.raises(NotImplementedError, match="schur has no derivative rule"):
        jet(lambda v: lax.linalg.schur(v)[0], (jnp.asarray(A),), ((A, A),))

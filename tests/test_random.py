"""`random` agrees with JAX: in every bit, or to a few ulp where functions are approximate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback
from pullback import random
from pullback.core.primitive import registry
from pullback.errors import UnsupportedError
from pullback.random import keys as key_functions

SEEDS = (0, 42)


def same(ours: Any, theirs: Any, ulps: float = 0.0, scale: float = 0.0) -> None:
    """Equal shapes, dtypes and values, but for `ulps` units in the last place (plus of `scale`)."""
    a, b = np.asarray(ours), np.asarray(theirs)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    if ulps == 0:
        np.testing.assert_array_equal(a, b)
        return
    eps = float(jnp.finfo(b.dtype).eps)
    np.testing.assert_allclose(
        a.astype(np.complex128), b.astype(np.complex128), rtol=ulps * eps, atol=ulps * eps * scale
    )


@pytest.mark.parametrize("seed", [0, 1, 7, 2**31, 2**32 - 1, -1, -5, 2**40 + 3, True, np.int32(9)])
def test_seeds(seed: Any) -> None:
    same(random.key_data(random.key(seed)), jax.random.key_data(jax.random.key(seed)))
    same(random.PRNGKey(seed), jax.random.PRNGKey(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_split_and_fold_in(seed: int) -> None:
    k, j = random.key(seed), jax.random.key(seed)
    for num in (1, 2, 3, 20, (2, 3)):
        same(random.key_data(random.split(k, num)), jax.random.key_data(jax.random.split(j, num)))
    for data in (0, 1, 2**32 - 1, np.int32(-4)):
        ours, theirs = random.fold_in(k, data), jax.random.fold_in(j, data)
        same(random.key_data(ours), jax.random.key_data(theirs))
    same(random.split(random.PRNGKey(seed)), jax.random.split(jax.random.PRNGKey(seed)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (1000,)])
def test_bits(dtype: str, shape: tuple[int, ...]) -> None:
    same(random.bits(random.key(3), shape, dtype), jax.random.bits(jax.random.key(3), shape, dtype))


ALPHA = np.array([0.3, 1.0, 4.5], np.float32)
LOGITS = np.array([[0.1, 1.0, -2.0, 0.5], [3.0, 0.0, 0.0, 1.0]], np.float32)
P = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)

EXACT: dict[str, Callable[[Any, Any], Any]] = {
    "uniform": lambda r, k: r.uniform(k, (50,)),
    "uniform_range": lambda r, k: r.uniform(k, (500,), minval=-3.3, maxval=5.7),
    "uniform_arrays": lambda r, k: r.uniform(k, (2, 3), minval=ALPHA, maxval=ALPHA + 1),
    "uniform_bf16": lambda r, k: r.uniform(k, (50,), jnp.bfloat16),
    "uniform_f16": lambda r, k: r.uniform(k, (50,), np.float16),
    "randint": lambda r, k: r.randint(k, (50,), 0, 7),
    "randint_big": lambda r, k: r.randint(k, (50,), -(2**31), 2**31 - 1),
    "randint_full": lambda r, k: r.randint(k, (50,), 0, 256, np.uint8),
    "randint_i8": lambda r, k: r.randint(k, (50,), -200, 200, np.int8),
    "randint_u32": lambda r, k: r.randint(k, (50,), 0, 2**31 - 1, np.uint32),
    "randint_empty_range": lambda r, k: r.randint(k, (5,), 3, 3),
    "randint_arrays": lambda r, k: r.randint(k, (2, 3), np.arange(3), np.array(9)),
    "bernoulli": lambda r, k: r.bernoulli(k, 0.3, (50,)),
    "bernoulli_p": lambda r, k: r.bernoulli(k, P),
    "bernoulli_high": lambda r, k: r.bernoulli(k, 0.3, (50,), mode="high"),
    "rademacher": lambda r, k: r.rademacher(k, (50,)),
    "rademacher_f": lambda r, k: r.rademacher(k, (5,), np.float32),
    "permutation": lambda r, k: r.permutation(k, 100),
    "permutation_long": lambda r, k: r.permutation(k, 5000),
    "permutation_rows": lambda r, k: r.permutation(k, ROWS),
    "permutation_axis": lambda r, k: r.permutation(k, ROWS, axis=1),
    "permutation_each": lambda r, k: r.permutation(k, ROWS, axis=1, independent=True),
    "choice": lambda r, k: r.choice(k, 10, (3, 4)),
    "choice_rows": lambda r, k: r.choice(k, ROWS, (5,), axis=1),
    "choice_once": lambda r, k: r.choice(k, 10, (3,), replace=False),
    "choice_once_rows": lambda r, k: r.choice(k, ROWS, (2,), replace=False),
    "choice_p": lambda r, k: r.choice(k, 4, (50,), p=P),
    "choice_p_once": lambda r, k: r.choice(k, 4, (3,), replace=False, p=P),
    "categorical": lambda r, k: r.categorical(k, LOGITS),
    "categorical_axis": lambda r, k: r.categorical(k, LOGITS, axis=0),
    "categorical_shape": lambda r, k: r.categorical(k, LOGITS, shape=(5, 2)),
    "categorical_once": lambda r, k: r.categorical(k, LOGITS, shape=(3, 2), replace=False),
    "categorical_high": lambda r, k: r.categorical(k, LOGITS, mode="high"),
    "geometric": lambda r, k: r.geometric(k, 0.3, (50,)),
    "poisson": lambda r, k: r.poisson(k, np.array([0.0, 0.5, 3.0, 9.5, 30.0, 1e4, np.nan])),
    "binomial": lambda r, k: r.binomial(
        k, np.array([10.0, 100.0, 1e4, 5.0, 50.0]), np.array([0.3, 0.9, 0.5, 0.0, 1.0])
    ),
    "multinomial": lambda r, k: r.multinomial(k, np.float32(100), P),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str) -> None:
    sample = EXACT[name]
    same(sample(random, random.key(42)), sample(jax.random, jax.random.key(42)))


# Units in the last place, relative and of the scale: log near 1 and cancellations amplify an ulp.
CLOSE: dict[str, tuple[Callable[[Any, Any], Any], float, float]] = {
    "normal": (lambda r, k: r.normal(k, (500,)), 4, 0),
    "normal_c": (lambda r, k: r.normal(k, (50,), np.complex64), 8, 1),
    "truncated_normal": (lambda r, k: r.truncated_normal(k, -1.0, 2.0, (50,)), 16, 1),
    "exponential": (lambda r, k: r.exponential(k, (50,)), 4, 0),
    "gumbel": (lambda r, k: r.gumbel(k, (50,)), 4, 4),
    "gumbel_high": (lambda r, k: r.gumbel(k, (50,), mode="high"), 4, 4),
    "laplace": (lambda r, k: r.laplace(k, (50,)), 4, 1),
    "logistic": (lambda r, k: r.logistic(k, (50,)), 4, 4),
    "cauchy": (lambda r, k: r.cauchy(k, (50,)), 8, 1),
    "lognormal": (lambda r, k: r.lognormal(k, 1.5, (50,)), 16, 0),
    "maxwell": (lambda r, k: r.maxwell(k, (50,)), 8, 0),
    "double_sided_maxwell": (lambda r, k: r.double_sided_maxwell(k, 1.0, 2.0, (50,)), 8, 4),
    "pareto": (lambda r, k: r.pareto(k, 3.0, (50,)), 8, 0),
    "rayleigh": (lambda r, k: r.rayleigh(k, 3.0, (50,)), 8, 0),
    "weibull_min": (lambda r, k: r.weibull_min(k, 3.0, 2.0, (50,)), 8, 0),
    "triangular": (lambda r, k: r.triangular(k, 0.0, 0.3, 1.0, (50,)), 8, 1),
    "wald": (lambda r, k: r.wald(k, 2.0, (50,)), 64, 8),
    "gamma": (lambda r, k: r.gamma(k, ALPHA, (20, 3)), 64, 1),
    "loggamma": (lambda r, k: r.loggamma(k, ALPHA, (20, 3)), 32, 8),
    "beta": (lambda r, k: r.beta(k, 2.0, 3.0, (50,)), 32, 1),
    "dirichlet": (lambda r, k: r.dirichlet(k, ALPHA, (5,)), 64, 1),
    "chisquare": (lambda r, k: r.chisquare(k, 3.0, (50,)), 64, 1),
    "f": (lambda r, k: r.f(k, 3.0, 4.0, (50,)), 64, 1),
    "t": (lambda r, k: r.t(k, 3.0, (50,)), 32, 1),
    "generalized_normal": (lambda r, k: r.generalized_normal(k, 3.0, (50,)), 32, 1),
    "ball": (lambda r, k: r.ball(k, 3, 2.0, (20,)), 32, 1),
    "multivariate_normal": (
        lambda r, k: r.multivariate_normal(
            k, np.ones(2, np.float32), np.array([[2.0, 0.5], [0.5, 1.0]], np.float32), (4,)
        ),
        16,
        2,
    ),
    "orthogonal": (lambda r, k: r.orthogonal(k, 3), 64, 1),
}


# What these need is in `ops.linalg` when there is one.
NEEDS = {"multivariate_normal": "cholesky", "orthogonal": "qr"}


@pytest.mark.parametrize("name", CLOSE)
def test_close(name: str) -> None:
    if name in NEEDS and NEEDS[name] not in registry:
        with pytest.raises(UnsupportedError, match=NEEDS[name]):
            CLOSE[name][0](random, random.key(42))
        return
    sample, ulps, scale = CLOSE[name]
    ours, theirs = sample(random, random.key(42)), sample(jax.random, jax.random.key(42))
    same(ours, theirs, ulps, scale)


def test_key_styles() -> None:
    old, new = random.PRNGKey(5), random.key(5)
    same(random.uniform(old, (3,)), random.uniform(new, (3,)))
    assert random.split(old).dtype == np.uint32
    assert random.split(new).dtype is key_functions.KEY
    assert random.wrap_key_data(old).dtype is key_functions.KEY
    assert random.key_impl(old) == random.key_impl(new) == "threefry2x32"
    same(random.key_data(random.clone(new)), old)


def test_errors() -> None:
    k = random.key(0)
    with pytest.raises(ValueError, match="float dtype"):
        random.uniform(k, (2,), "int32")
    with pytest.raises(ValueError, match="single key"):
        random.normal(random.split(k), (2,))
    with pytest.raises(TypeError, match=r"to end with \(2,\)"):
        random.normal(np.zeros(3, np.uint32), (2,))
    with pytest.raises(TypeError, match="invalid PRNG key data"):
        random.normal(0, (2,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="larger sample"):
        random.choice(k, 3, (5,), replace=False)
    with pytest.raises(ValueError, match="unrecognized"):
        random.key(0, impl="dice")
    with pytest.raises(TypeError, match="integer"):
        random.key(1.5)
    with pytest.raises(OverflowError):
        random.fold_in(k, -1)
    with pytest.raises(ValueError, match="do not broadcast"):
        random.uniform(k, (2,), minval=np.zeros(3, np.float32))


WIDE = ("uniform", "uniform_range", "randint", "choice_once", "choice_p_once", "categorical_once")


@pytest.mark.parametrize("name", [*WIDE, "normal", "gamma", "multinomial"])
def test_wide_types(name: str) -> None:
    with pullback.enable_x64(), jax.enable_x64():
        sample = EXACT[name] if name in EXACT else CLOSE[name][0]
        ours, theirs = sample(random, random.key(42)), sample(jax.random, jax.random.key(42))
        same(ours, theirs, 0 if name in EXACT else 64, 1)


@pytest.mark.parametrize("name", ["uniform_range", "normal", "permutation", "gamma", "poisson"])
def test_compiled(name: str) -> None:
    sample = EXACT[name] if name in EXACT else CLOSE[name][0]
    ours = pullback.jit(lambda key: sample(random, key))(random.key(42))
    theirs = sample(jax.random, jax.random.key(42))
    same(ours, theirs, 0 if name in EXACT else 16, 1)

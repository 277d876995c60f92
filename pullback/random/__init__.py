"""Random numbers from explicit keys: the namespace `jax.random`.

    key = random.key(0)
    key, subkey = random.split(key)
    x = random.normal(subkey, (3,))

Bits are those of JAX, bit for bit; so are numbers, but for an ulp where transcendental functions
are involved.  A key is an array of dtype `key<fry>`, or, in the old style, two uint32.
"""

from __future__ import annotations

from pullback.ops.sampling import random_gamma as random_gamma_p
from pullback.random.basic import bernoulli, bits, rademacher, randint, uniform
from pullback.random.counting import binomial, geometric, multinomial, poisson
from pullback.random.discrete import categorical, choice, permutation
from pullback.random.gammas import (
    ball,
    beta,
    chisquare,
    dirichlet,
    f,
    gamma,
    generalized_normal,
    loggamma,
    t,
)
from pullback.random.keys import (
    PRNGKey,
    clone,
    fold_in,
    key,
    key_data,
    key_dtype,
    key_impl,
    split,
    wrap_key_data,
)
from pullback.random.multivariate import multivariate_normal, orthogonal
from pullback.random.normals import (
    double_sided_maxwell,
    lognormal,
    maxwell,
    normal,
    truncated_normal,
    wald,
)
from pullback.random.transformed import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    pareto,
    rayleigh,
    triangular,
    weibull_min,
)

__all__ = [
    "PRNGKey",
    "ball",
    "bernoulli",
    "beta",
    "binomial",
    "bits",
    "categorical",
    "cauchy",
    "chisquare",
    "choice",
    "clone",
    "dirichlet",
    "double_sided_maxwell",
    "exponential",
    "f",
    "fold_in",
    "gamma",
    "generalized_normal",
    "geometric",
    "gumbel",
    "key",
    "key_data",
    "key_dtype",
    "key_impl",
    "laplace",
    "loggamma",
    "logistic",
    "lognormal",
    "maxwell",
    "multinomial",
    "multivariate_normal",
    "normal",
    "orthogonal",
    "pareto",
    "permutation",
    "poisson",
    "rademacher",
    "randint",
    "random_gamma_p",
    "rayleigh",
    "split",
    "t",
    "triangular",
    "truncated_normal",
    "uniform",
    "wald",
    "weibull_min",
    "wrap_key_data",
]

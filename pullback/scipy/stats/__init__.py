"""`jax.scipy.stats`: densities and distribution functions, one module a distribution.

Distributions are imported when somebody first asks for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pullback.scipy.stats import (
        bernoulli,
        beta,
        betabinom,
        binom,
        cauchy,
        chi2,
        dirichlet,
        expon,
        gamma,
        gennorm,
        geom,
        gumbel_l,
        gumbel_r,
        laplace,
        logistic,
        multinomial,
        multivariate_normal,
        nbinom,
        norm,
        pareto,
        poisson,
        t,
        truncnorm,
        uniform,
        vonmises,
        wrapcauchy,
    )
    from pullback.scipy.stats.kde import gaussian_kde
    from pullback.scipy.stats.samples import mode, rankdata, sem

__all__ = [
    "bernoulli",
    "beta",
    "betabinom",
    "binom",
    "cauchy",
    "chi2",
    "dirichlet",
    "expon",
    "gamma",
    "gaussian_kde",
    "gennorm",
    "geom",
    "gumbel_l",
    "gumbel_r",
    "laplace",
    "logistic",
    "mode",
    "multinomial",
    "multivariate_normal",
    "nbinom",
    "norm",
    "pareto",
    "poisson",
    "rankdata",
    "sem",
    "t",
    "truncnorm",
    "uniform",
    "vonmises",
    "wrapcauchy",
]

_MODULES: Final = {
    "gaussian_kde": "kde",
    "mode": "samples",
    "rankdata": "samples",
    "sem": "samples",
}
"""Where functions are that are not modules of their own."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'pullback.scipy.stats' has no attribute {name!r}")
    found = importlib.import_module(f"pullback.scipy.stats.{_MODULES.get(name, name)}")
    return getattr(found, name) if name in _MODULES else found


def __dir__() -> list[str]:
    return list(__all__)

"""Special functions on XLA:CPU over wide ranges, in double precision, against SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import pullback as pb
from pullback.core.primitive import registry
from pullback.hlo import pjrt
from pullback.ops import hypergeometric, integrals  # noqa: F401

pytestmark = pytest.mark.skipif(
    "xla_cpu" not in pjrt.find_plugins() or not pjrt.installed(),
    reason="no PJRT plugin for XLA:CPU is installed (extra pjrt-test)",
)

_rng = np.random.default_rng(5)


def _between(low: float, high: float) -> Any:
    return _rng.uniform(low, high, 300)


WIDE = np.concatenate(
    [_between(-60, 60), np.logspace(-8, 3, 40), -np.logspace(-8, 3, 40), [0, np.inf, -np.inf]]
)
X, Y = _between(-10, 10), _between(-3, 10)
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "exponential_integral_1": (scipy.special.exp1, (WIDE,)),
    "exponential_integral_i": (scipy.special.expi, (WIDE,)),
    "exponential_integral_n": (scipy.special.expn, (np.arange(WIDE.size) % 7.0, WIDE)),
    "dawson": (scipy.special.dawsn, (WIDE,)),
    "spence": (scipy.special.spence, (WIDE,)),
    "sine_integral": (lambda x: scipy.special.sici(x)[0], (WIDE,)),
    "cosine_integral": (lambda x: scipy.special.sici(x)[1], (WIDE,)),
    "fresnel_sine": (lambda x: scipy.special.fresnel(x)[0], (WIDE,)),
    "fresnel_cosine": (lambda x: scipy.special.fresnel(x)[1], (WIDE,)),
    "faddeeva_real": (lambda x, y: scipy.special.wofz(x + 1j * y).real, (X, Y)),
    "faddeeva_imag": (lambda x, y: scipy.special.wofz(x + 1j * y).imag, (X, Y)),
    "owens_t": (scipy.special.owens_t, (_between(-9, 9), _between(-5, 5))),
    "hyp1f1": (
        scipy.special.hyp1f1,
        (_between(0.1, 6), _between(0.1, 6), _between(-30, 30)),
    ),
    "hyp2f1": (
        scipy.special.hyp2f1,
        (_between(0.1, 3), _between(0.1, 3), _between(3, 6), _between(-20, 0.95)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wide_ranges(name: str) -> None:
    oracle, xs = CASES[name]
    with pb.enable_x64(True), np.errstate(all="ignore"):
        operands = [pb.device_put(np.asarray(x), pb.devices("xla_cpu")[0]) for x in xs]
        got = np.asarray(pb.jit(registry[name].bind)(*operands))
        np.testing.assert_allclose(got, oracle(*xs), 1e-11, 1e-290, err_msg=name)

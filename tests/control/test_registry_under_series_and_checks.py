"""Laws over the registry: series agree with nested forward mode, checks change no result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.core import dtypes
from pullback.core.primitive import registry
from pullback.experimental import checkify
from pullback.experimental.jet import jet
from tests.test_laws import DIFFERENTIABLE, SAMPLED, _quiet, _samples, _under  # noqa: F401

pytestmark = pytest.mark.usefixtures("_quiet")

SMALL = 200


def _results(name: str, sample: Any, args: Any) -> list[Any]:
    out = registry[name].bind(*args, **sample.params)
    return list(out) if registry[name].multiple_results else [out]


def _small(samples: Any) -> Any:
    return next((s for s in samples if all(0 < x.size <= SMALL for x in s.args)), None)


def _direction(rng: np.random.Generator, x: Any) -> Any:
    t = rng.normal(size=x.shape)
    return (t + 1j * rng.normal(size=x.shape) if x.dtype.kind == "c" else t).astype(x.dtype)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_order_series_are_nested_derivatives(name: str) -> None:
    sample = _small(_samples(name, smooth=True))
    if sample is None:
        pytest.skip("no small sample in double precision")
    rng = np.random.default_rng(0)
    moving = [i for i, x in enumerate(sample.args) if dtypes.kind_of(x.dtype) in "fc"]
    if sample.differentiable is not None:
        moving = [i for i in moving if i in sample.differentiable]
    first, second = ([_direction(rng, sample.args[i]) for i in moving] for _ in range(2))

    def f(*values: Any) -> list[Any]:
        args = list(sample.args)
        for i, x in zip(moving, values, strict=True):
            args[i] = x
        outs = _results(name, sample, args)
        return [x for x in outs if dtypes.kind_of(x.dtype) in "fc"]

    def along(t: Any) -> list[Any]:
        return f(
            *[
                x + u * t.astype(x.dtype) + v * (t * t / 2).astype(x.dtype)
                for x, u, v in zip(xs, first, second, strict=True)
            ]
        )

    with _under(sample):
        xs = [jnp.asarray(sample.args[i]) for i in moving]
        one, zero = jnp.ones(()), jnp.zeros(())
        slope = lambda t: pb.jvp(along, (t,), (one,))[1]  # noqa: E731
        series_in = tuple(map(list, zip(first, second, strict=True)))
        try:
            expected = [along(zero), slope(zero), pb.jvp(slope, (zero,), (one,))[1]]
        except NotImplementedError:  # it has no second derivative
            with pytest.raises(NotImplementedError):
                jet(f, tuple(xs), series_in)
            return
        value, series = jet(f, tuple(xs), series_in)
        got = [value, [s[0] for s in series], [s[1] for s in series]]
    for ours, theirs in zip(got, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            scale = 1 + np.max(np.abs(np.asarray(b)), initial=0)
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8 * scale)


@pytest.mark.parametrize("name", SAMPLED)
def test_checks_change_no_result(name: str) -> None:
    sample = _small(_samples(name))
    if sample is None:
        pytest.skip("no small sample")
    with _under(sample):
        expected = _results(name, sample, sample.args)
        error, outs = checkify.checkify(
            lambda *args: _results(name, sample, args), errors=checkify.all_checks
        )(*sample.args)
    assert error.get() is None or any(
        text in error.get() for text in ("nan generated", "division by zero", "out-of-bounds")
    )
    for a, b in zip(outs, expected, strict=True):
        assert a.aval == b.aval
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))

"""Every ordered pair of transformations and sampled triples: JAX and finite differences agree."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pullback
import pullback.ad_checkpoint
import pullback.checkpoint_policies
import pullback.debug
import pullback.experimental
import pullback.lax
import pullback.numpy
from tests.transforms import golden_composition as golden
from tests.transforms.wrappers import (
    CALLBACKS,
    DIRECTION,
    FUNCTIONS,
    SEEN,
    WRAPPERS,
    Chain,
    System,
    X,
    compose,
    derivative,
    is_pullback,
    w_custom_jvp,
    w_custom_vjp,
    w_grad,
    w_jit,
    w_jvp,
    w_linearize,
    w_pure_callback,
    w_remat,
    w_scan,
    w_vjp,
    w_vmap,
    w_while,
)


def _has_meaning(chain: Chain) -> bool:
    """In JAX reverse mode does not pass a while loop; forward mode passes no custom_vjp."""
    for k, outer in enumerate(chain):
        inner = chain[k + 1 :]
        if outer in (w_vjp, w_grad, w_custom_vjp) and w_while in inner:
            return False
        if outer in (w_jvp, w_linearize) and w_custom_vjp in inner:
            return False
    return True


SINGLES: list[Chain] = [(w,) for w in WRAPPERS]
PAIRS: list[Chain] = [c for c in itertools.product(WRAPPERS, repeat=2) if _has_meaning(c)]
TRIPLES: list[Chain] = random.Random(0).sample(
    [c for c in itertools.product(WRAPPERS, repeat=3) if _has_meaning(c)], 120
)
CASES = [
    *itertools.product(SINGLES, FUNCTIONS),
    *((c, FUNCTIONS[k % len(FUNCTIONS)]) for k, c in enumerate([*PAIRS, *TRIPLES])),
]


@pytest.fixture(autouse=True)
def _wide() -> Iterator[None]:
    with pullback.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def _from_jax(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--golden-update"):
        golden.write(CASES)


BEYOND: list[Chain] = [
    c
    for c in itertools.product(WRAPPERS, repeat=2)
    if c[0] in (w_vjp, w_grad, w_custom_vjp) and c[1] is w_while
]
BEYOND += [
    (w_jit, w_grad, w_while),
    (w_vmap, w_vjp, w_while),
    (w_grad, w_remat, w_while),
    (w_vjp, w_while, w_pure_callback),
    (w_grad, w_while, w_custom_jvp),
    (w_grad, w_while, w_while),
    (w_scan, w_vjp, w_while),
    (w_while, w_grad, w_while),
    (w_vjp, w_vjp, w_while),
    (w_linearize, w_grad, w_while),
]
"""Reverse mode through a loop whose end is not known, which JAX does not have."""


def _name(value: Any) -> str:
    return "-".join(w.__name__[2:] for w in value) if isinstance(value, tuple) else value.__name__


@pytest.mark.parametrize(("chain", "function"), CASES, ids=_name)
def test_composition(chain: Chain, function: Any) -> None:
    """Compiled in double precision: value and derivative are JAX's, the derivative a slope."""
    _check_against_jax(chain, function)
    _check_against_differences(chain, function)


def _unrolled(sys: System, f: Any) -> Any:
    """What `w_while` does, without a loop."""

    def g(x: Any) -> Any:
        v = x
        for _ in range(3):
            v = 0.5 * f(v)
        return v + 3

    return g


def _is_reverse_through_while(chain: Chain) -> bool:
    """What JAX cannot do, and we can."""
    without = tuple(w for w in chain if w is not w_while)
    return not _has_meaning(chain) and _has_meaning(without)


REVERSED: list[Chain] = [
    *filter(_is_reverse_through_while, itertools.product(WRAPPERS, repeat=2)),
    *random.Random(1).sample(
        [*filter(_is_reverse_through_while, itertools.product(WRAPPERS, repeat=3))], 12
    ),
]


@pytest.mark.parametrize("chain", REVERSED, ids=_name)
def test_reverse_mode_through_while(chain: Chain) -> None:
    """As if the loop had been written out."""
    system = System(pullback)
    function = FUNCTIONS[len(_name(chain)) % len(FUNCTIONS)]
    unrolled = tuple(_unrolled if w is w_while else w for w in chain)
    ours = derivative(system, chain, compose(system, chain, function), through_while=True)
    expected = derivative(system, unrolled, compose(system, unrolled, function))
    assert ours is not None
    assert expected is not None
    x = pullback.numpy.asarray(X)
    for a, b in zip(pullback.jit(ours)(x), expected(x), strict=True):
        _close(a, b, 1e-9)


@pytest.mark.parametrize("chain", BEYOND, ids=_name)
def test_reverse_through_while(chain: Chain) -> None:
    """Eager derivatives are slopes, and compiled ones the same."""
    function = FUNCTIONS[BEYOND.index(chain) % len(FUNCTIONS)]
    system = System(pullback)
    f = compose(system, chain, function)

    def g(x: Any) -> Any:
        y, pull = pullback.vjp(f, x)
        return y, pull(pullback.numpy.asarray(DIRECTION))[0]

    _, slope = g(pullback.numpy.asarray(X))
    slopes = [_difference(f, e, 1e-5) for e in np.eye(3)]
    _close(slope, [float(np.sum(s * DIRECTION)) for s in slopes], 1e-6)
    _close(pullback.jit(g)(X)[1], slope, 1e-9)


def _check_against_jax(chain: Chain, function: Any) -> None:
    system = System(pullback, golden.RULE)
    f = compose(system, chain, function)
    g = derivative(system, chain, f)
    SEEN.clear()
    outs = [pullback.jit(f)(X)] if g is None else pullback.jit(g)(X)
    assert SEEN or not CALLBACKS.intersection(chain)
    for ours, theirs in zip(outs, golden.read()[golden.key(chain, function)], strict=True):
        assert ours.dtype == "float64"
        _close(ours, theirs, 1e-9)


def _check_against_differences(chain: Chain, function: Any) -> None:
    """By eager evaluation, with rules that are true."""
    system, step = System(pullback), 1e-5
    f = compose(system, chain, function)
    g = derivative(system, chain, f)
    if g is None:
        return
    value, slope = g(pullback.numpy.asarray(X))
    if is_pullback(chain):
        slopes = [_difference(f, e, step) for e in np.eye(3)]
        _close(slope, [float(np.sum(s * DIRECTION)) for s in slopes], 1e-6)
    else:
        _close(slope, _difference(f, DIRECTION, step), 1e-6)
    assert value.shape == (3,)


def _difference(f: Any, direction: Any, step: float) -> Any:
    up, down = (pullback.numpy.asarray(X + s * direction) for s in (step, -step))
    with pullback.disable_jit():
        return (np.asarray(f(up)) - np.asarray(f(down))) / (2 * step)


def _close(ours: Any, theirs: Any, tolerance: float) -> None:
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(np.asarray(ours) / scale, np.asarray(theirs) / scale, 0, tolerance)

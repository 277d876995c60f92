"""QR decompositions by blocks of reflectors, by their residuals and against LAPACK."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import pullback as pb
from pullback import lax
from pullback import numpy as pnp
from pullback.loops.ir import Call, Loop, walk
from pullback.loops.program import lower_program

SHAPES = [(64, 64), (100, 70), (70, 100), (300, 65), (128, 256), (257, 129)]


@pytest.fixture(autouse=True)
def _wide() -> Any:
    with pb.enable_x64(True):
        yield


def _draw(dtype: str, *shape: int) -> Any:
    rng = np.random.default_rng(3)
    values: Any = rng.standard_normal(shape)
    if dtype.startswith("c"):
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", SHAPES)
def test_factors(dtype: str, shape: tuple[int, int]) -> None:
    x, eps = _draw(dtype, *shape), float(np.finfo(dtype).eps)
    for mode in ("reduced", "complete"):
        q, r = map(np.asarray, pb.jit(lambda x, mode=mode: pnp.linalg.qr(x, mode=mode))(x))
        columns = shape[0] if mode == "complete" else min(shape)
        assert (q.shape, r.shape) == ((shape[0], columns), (columns, shape[1]))
        np.testing.assert_array_equal(np.tril(r, -1), 0)
        np.testing.assert_allclose(q @ r, x, atol=20 * max(shape) * eps)
        np.testing.assert_allclose(q.conj().T @ q, np.eye(columns), atol=max(shape) * eps)
        expected = scipy.linalg.qr(x, mode="r" if mode == "complete" else "economic")
        np.testing.assert_allclose(r, expected[-1] if mode != "complete" else expected[0],
                                   atol=2000 * max(shape) * eps)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_reflectors_are_those_of_lapack(dtype: str) -> None:
    x = _draw(dtype, 130, 90)
    packed, taus = map(np.asarray, pb.jit(lambda x: pnp.linalg.qr(x, mode="raw"))(x))
    geqrf = scipy.linalg.get_lapack_funcs("geqrf", dtype=np.dtype(dtype))
    expected, factors, _, _ = geqrf(x)
    np.testing.assert_allclose(packed.T, expected, atol=1e-11)
    np.testing.assert_allclose(taus, factors, atol=1e-12)
    q = pb.jit(lax.linalg.householder_product)(packed.T, taus)
    np.testing.assert_allclose(q, pb.jit(pnp.linalg.qr)(x)[0], atol=1e-12)


def test_q_that_nobody_wants_is_not_made() -> None:
    x = _draw("float32", 200, 200)
    alone = lower_program(pb.make_jaxpr(lambda x: pnp.linalg.qr(x, mode="r"))(x))
    both = lower_program(pb.make_jaxpr(pnp.linalg.qr)(x))
    counts = [sum(_is_reflection(s) for s in walk(p.body)) for p in (alone, both)]
    assert counts[0] < counts[1]
    np.testing.assert_array_equal(
        pb.jit(lambda x: pnp.linalg.qr(x, mode="r"))(x), pb.jit(pnp.linalg.qr)(x)[1]
    )


def test_strips_run_at_once() -> None:
    program = lower_program(pb.make_jaxpr(pnp.linalg.qr)(_draw("float32", 200, 200)))
    strips = [s for s in walk(program.body) if isinstance(s, Loop) and s.parallel]
    assert sum(any(_is_reflection(t) for t in walk(s.body)) for s in strips) >= 2


def _is_reflection(stmt: Any) -> bool:
    return isinstance(stmt, Call) and stmt.symbol == "slarfb"


@pytest.mark.parametrize("lanes", [2, 9])
def test_lanes(lanes: int) -> None:
    """Few lanes share the threads one after the other, many take one each: the same bits."""
    x = _draw("complex64", lanes, 90, 70)
    stacked = pb.jit(pnp.linalg.qr)(x)
    alone = pb.jit(pnp.linalg.qr)(x[-1])
    for got, expected in zip(stacked, alone, strict=True):
        np.testing.assert_array_equal(got[-1], expected)


def test_derivatives_are_finite_differences() -> None:
    x, t = _draw("float64", 80, 70), np.random.default_rng(4).standard_normal((80, 70))
    _, dots = pb.jvp(pnp.linalg.qr, (x,), (t,))
    step = 1e-6
    above, below = pnp.linalg.qr(x + step * t), pnp.linalg.qr(x - step * t)
    for dot, high, low in zip(dots, above, below, strict=True):
        np.testing.assert_allclose(dot, (high - low) / (2 * step), atol=1e-5)


def test_a_column_of_zeros_and_a_matrix_of_nan() -> None:
    x = _draw("float64", 90, 80)
    x[:, 40] = 0
    q, r = pb.jit(pnp.linalg.qr)(x)
    np.testing.assert_allclose(q @ r, x, atol=1e-12)
    q, r = pb.jit(pnp.linalg.qr)(np.full((80, 80), np.nan))
    assert np.isnan(q).any()
    assert np.isnan(r).any()

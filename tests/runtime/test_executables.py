"""Compiled programs are kept up to a number of bytes, the latest used ones first."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.runtime import executables

KIB = 1 << 10


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    pb.clear_caches()
    yield
    pb.config.update("pullback_executables_bytes", 2 << 30)
    pb.clear_caches()


def closing_over(kib: int, seed: int = 0) -> Any:
    """A jitted function with a constant of its own."""
    table = np.random.default_rng(seed).normal(size=256 * kib).astype(np.float32)
    return pb.jit(lambda x: x * jnp.asarray(table)), table


def kept(f: Any) -> bool:
    """Whether the function has its program still."""
    return f._cache_size() > 0


def test_code_constants_and_scratch_memory_are_counted() -> None:
    f, table = closing_over(64)
    before = executables.total_bytes()
    f(1.0)
    ours = executables.total_bytes() - before
    assert table.nbytes < ours < table.nbytes + 64 * KIB
    (program,) = f._programs.values()
    assert executables.size_of(program.executable) == ours


def test_the_oldest_ones_go() -> None:
    pb.config.update("pullback_executables_bytes", 480 * KIB)
    functions = [closing_over(100, i)[0] for i in range(6)]
    for i, f in enumerate(functions):
        f(float(i))
        assert executables.total_bytes() <= 480 * KIB
    assert [kept(f) for f in functions] == [False, False, False, True, True, True]
    for i in range(6):  # what was forgotten is compiled again
        f, table = closing_over(100, i)
        np.testing.assert_array_equal(functions[i](2.0), table * np.float32(2))


def test_one_that_is_called_stays() -> None:
    """Calls on the native path are noticed as well."""
    pb.config.update("pullback_executables_bytes", 480 * KIB)
    hot, table = closing_over(100, 50)
    hot(1.0)
    for i in range(8):
        for _ in range(3):
            np.testing.assert_array_equal(hot(3.0), table * np.float32(3))
        closing_over(100, i)[0](1.0)
        assert kept(hot)
    cold = [closing_over(100, i)[0] for i in range(8)]
    for f in cold:
        f(1.0)
    assert not kept(hot)


def test_a_lower_limit_takes_effect_at_once() -> None:
    functions = [closing_over(100, i)[0] for i in range(3)]
    for f in functions:
        f(1.0)
    assert executables.total_bytes() > 400 * KIB
    pb.config.update("pullback_executables_bytes", 200 * KIB)
    assert executables.total_bytes() <= 200 * KIB
    assert [kept(f) for f in functions] == [False, False, True]
    with pytest.raises(ValueError, match="at least 0"):
        pb.config.update("pullback_executables_bytes", -1)


def test_one_that_is_too_large_is_kept_while_it_is_the_newest() -> None:
    pb.config.update("pullback_executables_bytes", 0)
    f, table = closing_over(10)
    np.testing.assert_array_equal(f(1.0), table)
    np.testing.assert_array_equal(f(2.0), table * np.float32(2))
    assert executables.count() == 1
    closing_over(10, 1)[0](1.0)
    assert executables.count() == 1


def test_eager_programs_are_counted() -> None:
    for n in (3, 4):
        lax.scan(lambda c, x: (c + x, c), 0.0, jnp.ones(n))
    assert executables.count() == 2
    pb.config.update("pullback_executables_bytes", 0)
    assert executables.count() == 0
    assert float(lax.scan(lambda c, x: (c + x, c), 0.0, jnp.ones(3))[0]) == 3.0


def test_clear_caches_frees_everything() -> None:
    f = pb.jit(lambda x: jnp.sin(x) + 1)
    for n in range(1, 4):
        f(jnp.ones(n))
    lax.scan(lambda c, x: (c + x, c), 0.0, jnp.ones(3))
    pb.grad(lambda x: jnp.sum(f(x)))(jnp.ones(2))
    programs = [weakref.ref(p.executable) for p in f._programs.values() if p.executable]
    assert len(programs) == 3
    assert executables.count() > 3
    pb.clear_caches()
    gc.collect()
    assert (executables.count(), executables.total_bytes(), f._cache_size()) == (0, 0, 0)
    assert [p() for p in programs] == [None] * 3
    assert f.entries == ()
    np.testing.assert_allclose(f(jnp.zeros(2)), [1, 1])


def test_a_function_that_is_gone_frees_its_programs() -> None:
    f, _ = closing_over(100)
    f(1.0)
    assert executables.total_bytes() > 100 * KIB
    del f
    gc.collect()
    assert executables.total_bytes() == 0


def test_equal_programs_are_one() -> None:
    """A body that is a new function each time, a backward pass that is a new jaxpr each time."""
    f = pb.jit(lambda x: jnp.sum(jnp.sin(x) * x))

    def step(scale: float) -> float:
        x = scale * jnp.ones(4)
        last = lax.scan(lambda c, y: (c + y, c), 0.0, x)[0]
        return float(last + pb.grad(f)(x)[0])

    expected = [float(4 * s + np.cos(s) * s + np.sin(s)) for s in (1.0, 2.0, 3.0)]
    first = step(1.0)
    count = executables.count()
    np.testing.assert_allclose([first, step(2.0), step(3.0)], expected, rtol=1e-6)
    assert executables.count() == count


def test_programs_that_differ_are_told_apart() -> None:
    def last(f: Any, x: Any) -> Any:
        return lax.scan(lambda c, y: (f(c, y), None), x[0], x)[0]

    x = jnp.arange(1.0, 4.0)
    table = jnp.asarray([5.0, 7.0])
    assert float(last(lambda c, y: c + y, x)) == 7.0
    assert float(last(lambda c, y: c * y, x)) == 6.0
    assert float(last(lambda c, y: c + y + 1, x)) == 10.0
    assert float(last(lambda c, y: c + y + 2, x)) == 13.0
    assert float(last(lambda c, y: c + y + table[0], x)) == 22.0
    assert float(last(lambda c, y: c + y + (table + 1)[0], x)) == 25.0
    assert last(lambda c, y: c + y, jnp.arange(1, 4)).dtype == jnp.int32
    seen: list[float] = []
    for k in (1.0, 2.0):
        last(lambda c, y, k=k: pb.debug.callback(lambda: seen.append(k)) or c + y, x)
    assert seen == [1.0] * 3 + [2.0] * 3

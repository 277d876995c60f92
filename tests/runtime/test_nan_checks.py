"""`debug_nans`, `debug_infs` and `checking_leaks`: errors name the operation and the line."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax


@pb.jit
def shifted_log(x: Any) -> Any:
    y = jnp.sin(x)
    z = jnp.log(x - 2)  # the line that errors name
    return y + z


LINE = shifted_log.__wrapped__.__code__.co_firstlineno + 3

CASES = {
    "eager": lambda: shifted_log.__wrapped__(1.0),
    "jit": lambda: shifted_log(1.0),
    "grad": lambda: pb.grad(shifted_log)(1.0),
    "vmap": lambda: pb.vmap(shifted_log)(jnp.array([1.0, 3.0])),
    "scan": lambda: lax.scan(lambda c, _: (shifted_log(c), c), 1.0, None, length=2),
    "jit of scan": lambda: pb.jit(
        lambda x: lax.scan(lambda c, _: (shifted_log(c), c), x, None, length=2)
    )(1.0),
    "cond": lambda: pb.jit(lambda x: lax.cond(x > 0, shifted_log, lambda x: x, x))(1.0),
}


CASES |= {
    "while": lambda: lax.while_loop(lambda c: c < 3, lambda c: c + 1 + 0 * shifted_log(c), 1.0),
    "jit of while": lambda: pb.jit(
        lambda x: lax.while_loop(lambda c: c < 3, lambda c: c + 1 + 0 * shifted_log(c), x)
    )(1.0),
    "checkpoint": lambda: pb.grad(pb.checkpoint(shifted_log))(1.0),
    "scan of scan": lambda: lax.scan(
        lambda c, _: (lax.scan(lambda d, _: (shifted_log(d), d), c, None, length=2)[0], c),
        1.0,
        None,
        length=2,
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_operation_and_the_line_are_named(case: str) -> None:
    with pb.debug_nans(True), pytest.raises(FloatingPointError) as caught:
        CASES[case]()
    text = str(caught.value)
    assert "nan" in text
    assert "encountered in log" in text
    assert f"{__file__}:{LINE}" in text
    CASES[case]()


def overflow(x: Any) -> Any:
    y = x + 80
    return jnp.exp(y)  # the line that errors name


@pytest.mark.parametrize(
    "call",
    [
        lambda: overflow(jnp.float32(20)),
        lambda: pb.jit(overflow)(20.0),
        lambda: pb.jit(lambda x: lax.scan(lambda c, _: (c + 20, overflow(c)), x, None, length=2))(
            0.0
        ),
        lambda: lax.fori_loop(0, 2, lambda i, c: overflow(c) / 1e30 + 20, jnp.float32(0)),
    ],
)
def test_infinities_name_the_operation_and_the_line(call: Any) -> None:
    call()
    with pb.debug_infs(True), pytest.raises(FloatingPointError) as caught:
        call()
    line = overflow.__code__.co_firstlineno + 2
    assert "(inf) encountered in exp" in str(caught.value)
    assert f"{__file__}:{line}" in str(caught.value)
    with pb.debug_nans(True):
        call()


def test_good_values_pass() -> None:
    with pb.debug_nans(True), pb.debug_infs(True):
        assert float(shifted_log(4.0)) == pytest.approx(-0.0636553)


@pytest.mark.parametrize(
    "call", [jnp.hypot, jnp.nanmax, jnp.nan_to_num], ids=lambda f: str(f.__name__)
)
@pytest.mark.parametrize("where", [pb.debug_nans, pb.debug_infs], ids=["nans", "infs"])
def test_constants_inside_library_functions_are_no_results(call: Any, where: Any) -> None:
    x = jnp.arange(3.0)
    operands = (x, x) if call is jnp.hypot else (x,)
    outside = call(*operands)
    with where(True):
        assert (call(*operands) == outside).all()


def test_threads_that_check_values_do_not_end_each_others_checks() -> None:
    steps = [threading.Event() for _ in range(4)]

    def trace() -> None:
        def f(x: Any) -> Any:
            steps[0].set()
            assert steps[1].wait(60)
            return x

        pb.make_jaxpr(f)(1.0)
        steps[2].set()

    def check_infinities() -> None:
        with pb.debug_infs(True):
            pass
        steps[3].set()

    threads = [threading.Thread(target=trace), threading.Thread(target=check_infinities)]
    threads[0].start()
    assert steps[0].wait(60)
    with pb.debug_nans(True):
        steps[1].set()
        assert steps[2].wait(60)
        threads[0].join()
        threads[1].start()
        assert steps[3].wait(60)
        threads[1].join()
        with pytest.raises(FloatingPointError, match="nan"):
            jnp.log(-jnp.ones(3))


def test_infinities_and_process_wide_settings() -> None:
    shifted_log(2.0)
    pb.config.update("jax_debug_infs", True)
    try:
        with pytest.raises(FloatingPointError, match="inf"):
            shifted_log(2.0)
        with pytest.raises(FloatingPointError, match="inf"):
            jnp.log(jnp.zeros(3))
    finally:
        pb.config.update("jax_debug_infs", False)
    assert float(shifted_log(2.0)) == -float("inf")


def test_leaks_are_found_when_tracing_ends() -> None:
    kept = []

    @pb.jit
    def leaks(x: Any) -> Any:
        kept.append(x * 2)
        return x

    with pb.checking_leaks(), pytest.raises(Exception, match="still referred to") as caught:
        leaks(1.0)
    assert __file__ in str(caught.value)
    kept.clear()
    with pb.checking_leaks():
        pb.jit(pb.grad(lambda x: lax.scan(lambda c, _: (c * x, c), x, None, length=3)[0]))(1.0)

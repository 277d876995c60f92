"""Python functions called by programs of a plugin whose memory is the host's."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import config, lax
from pullback import numpy as jnp
from pullback.errors import UnsupportedError
from pullback.experimental import io_callback
from pullback.hlo import pjrt
from pullback.passes.ordering import thread_order
from pullback.passes.simplify import simplify
from pullback.runtime import array, device_callbacks

pytestmark = pytest.mark.skipif(
    "xla_cpu" not in pjrt.find_plugins() or not pjrt.installed(),
    reason="no PJRT plugin for XLA:CPU is installed (extra pjrt-test)",
)


@pytest.fixture(autouse=True)
def _there() -> Iterator[None]:
    with config.platform.override("xla_cpu"):
        yield


def _sine(x: Any) -> Any:
    return pb.pure_callback(np.sin, pb.ShapeDtypeStruct(x.shape, x.dtype), x)


def test_values_and_types() -> None:
    @pb.jit
    def f(x: Any, n: Any, flag: Any) -> Any:
        def host(x: Any, n: Any, flag: Any) -> Any:
            return {"a": np.asarray(x) * int(n), "b": ~np.asarray(flag)}

        types = {"a": pb.ShapeDtypeStruct((2, 3), "float32"), "b": pb.ShapeDtypeStruct((2,), bool)}
        out = pb.pure_callback(host, types, x, n, flag)
        return out["a"] + 1, out["b"]

    a, b = f(jnp.arange(6.0).reshape(2, 3), 3, np.array([True, False]))
    assert not array.is_here(a)
    assert a.tolist() == [[1, 4, 7], [10, 13, 16]]
    assert b.tolist() == [False, True]


def test_in_loops_branches_and_lanes() -> None:
    @pb.jit
    def f(x: Any) -> Any:
        looped = lax.fori_loop(0, 3, lambda i, v: _sine(v), x)
        either = lax.cond(x[0] > 0, _sine, lambda v: -v, x)
        return looped, either

    x = np.linspace(0.1, 1, 5, dtype=np.float32)
    looped, either = f(x)
    np.testing.assert_allclose(looped, np.sin(np.sin(np.sin(x))), 1e-6)
    np.testing.assert_allclose(either, np.sin(x), 1e-6)


def test_effects_happen_before_the_call_returns() -> None:
    seen: list[float] = []

    @pb.jit
    def f(x: Any) -> Any:
        def body(c: Any, row: Any) -> Any:
            io_callback(lambda v: seen.append(float(v)), None, row, ordered=True)
            return c, None

        lax.scan(body, 0.0, x)

    f(jnp.arange(4.0))
    assert seen == [0, 1, 2, 3]


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    pb.jit(lambda x: pb.debug.print("x = {}", x))(jnp.float32(2))
    assert capsys.readouterr().out == "x = 2.0\n"


def test_exceptions_are_those_of_the_function() -> None:
    def fail(x: Any) -> Any:
        raise KeyError("no such thing")

    @pb.jit
    def f(x: Any) -> Any:
        return pb.pure_callback(fail, pb.ShapeDtypeStruct((), "float32"), x) + 1

    for _ in range(2):
        with pytest.raises(KeyError, match="no such thing"):
            f(1.0)


def test_functions_compute_on_the_host() -> None:
    def host(x: Any) -> Any:
        return pb.jit(lambda v: jnp.cumsum(v) * 2)(x)

    @pb.jit
    def f(x: Any) -> Any:
        return pb.pure_callback(host, pb.ShapeDtypeStruct((3,), "float32"), x)

    assert f(jnp.ones(3)).tolist() == [2, 4, 6]


def test_several_ordered_ones_in_loops_and_branches() -> None:
    seen: list[tuple[str, float]] = []

    def tell(name: str, x: Any) -> None:
        io_callback(lambda v: seen.append((name, float(v))), None, x, ordered=True)

    @pb.jit
    def f(x: Any) -> Any:
        def row(carry: Any, r: Any) -> tuple[Any, Any]:
            tell("row", r)
            pb.debug.callback(lambda v: seen.append(("shown", float(v))), carry, ordered=True)
            return lax.cond(r > 1, lambda c: (tell("big", c), c + 1)[1], lambda c: c, carry), r

        tell("first", x)
        y, _ = lax.scan(row, x, jnp.arange(3.0))
        y = pb.checkpoint(lambda y: (tell("inner", y), jnp.sin(y))[1])(y)

        def turn(i: Any) -> Any:
            tell("turn", i)
            given = io_callback(lambda v: v + 1, i, i, ordered=True)
            tell("more", given)
            return given

        lax.while_loop(lambda i: i < 2, turn, 0.0)
        tell("last", x)
        return y

    f(5.0)
    pb.effects_barrier()
    assert seen == [
        ("first", 5),
        *(("row", 0), ("shown", 5), ("row", 1), ("shown", 5)),
        *(("row", 2), ("shown", 5), ("big", 5)),
        ("inner", 6),
        *(("turn", 0), ("more", 1), ("turn", 1), ("more", 2)),
        ("last", 5),
    ]


def test_every_ordered_one_needs_the_one_before() -> None:
    """Marks go from call to call in the module, so that no compiler may exchange them."""

    @pb.jit
    def f(x: Any) -> Any:
        a = io_callback(lambda v: v, x, x, ordered=True)
        io_callback(lambda v: None, None, x, ordered=True)
        return a

    closed = pb.make_jaxpr(f)(1.0)
    calls = thread_order(simplify(closed)).jaxpr.eqns
    assert [eqn.primitive.name for eqn in calls] == ["io_callback", "io_callback"]
    assert calls[0].outvars[0] is calls[1].invars[0]


def test_an_ordered_one_in_a_condition_is_a_clear_error() -> None:
    @pb.jit
    def f(x: Any) -> Any:
        def going(x: Any) -> Any:
            io_callback(lambda v: None, None, x, ordered=True)
            return x < 3

        io_callback(lambda v: None, None, x, ordered=True)
        return lax.while_loop(going, lambda x: x + 1, x)

    with pytest.raises(UnsupportedError, match="condition of a while_loop"):
        f(1.0)


def test_functions_go_with_their_programs() -> None:
    before = len(device_callbacks._calls)
    f = pb.jit(lambda x: _sine(x) * 2)
    f(1.0 + jnp.zeros(()))
    assert len(device_callbacks._calls) == before + 1
    del f
    pb.clear_caches()
    gc.collect()
    assert len(device_callbacks._calls) <= before

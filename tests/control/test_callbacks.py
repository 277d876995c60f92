"""Callbacks from traced and compiled code: results, order, errors, transformations."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental import io_callback as jax_io_callback

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.experimental import io_callback
from pullback.runtime import cache

F32 = pb.ShapeDtypeStruct((), "float32")
MODES = {"eager": lambda f: f, "jit": pb.jit}
METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized")


@pytest.fixture(params=sorted(MODES))
def mode(request: pytest.FixtureRequest) -> Any:
    return MODES[request.param]


class Log:
    """Gathers what callbacks are given."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, *xs: Any) -> None:
        self.seen.append(tuple(np.asarray(x).tolist() for x in xs))


# --------------------------------------------------------------------------- values


def test_pure_callback_gives_values(mode: Any) -> None:
    def f(x: Any) -> Any:
        out = pb.pure_callback(np.cos, pb.ShapeDtypeStruct((3,), "float32"), x + 1)
        return 2 * out + x

    x = np.arange(3, dtype=np.float32)
    np.testing.assert_allclose(mode(f)(x), 2 * np.cos(x + 1) + x, rtol=1e-6)
    np.testing.assert_allclose(mode(f)(x), 2 * np.cos(x + 1) + x, rtol=1e-6)


def test_pytrees_and_dtypes(mode: Any) -> None:
    def host(tree: Any, *, scale: Any) -> Any:
        assert isinstance(tree["a"], pb.Array)
        return {"sum": np.asarray(tree["a"]).sum() * scale, "flag": tree["b"][0] > 0, "none": None}

    def f(a: Any, b: Any) -> Any:
        shapes = {
            "sum": pb.ShapeDtypeStruct((), "int32"),
            "flag": pb.ShapeDtypeStruct((2,), "bool"),
            "none": None,
        }
        return pb.pure_callback(host, shapes, {"a": a, "b": [b]}, scale=3)

    out = mode(f)(jnp.arange(4), jnp.array([-1.0, 1.0], jnp.bfloat16))
    assert int(out["sum"]) == 18
    assert out["flag"].tolist() == [False, True]
    assert out["none"] is None


def test_empty_arrays(mode: Any) -> None:
    f = mode(lambda x: pb.pure_callback(lambda v: v, pb.ShapeDtypeStruct((0, 2), "float32"), x + 1))
    assert f(jnp.zeros((0, 2))).shape == (0, 2)


def test_python_scalars_and_wide_results_are_converted(mode: Any) -> None:
    assert float(mode(lambda x: pb.pure_callback(lambda v: 3, F32, x))(1.0)) == 3.0
    assert float(mode(lambda x: pb.pure_callback(lambda v: np.float64(3), F32, x))(1.0)) == 3.0


def test_arrays_given_to_a_callback_may_be_kept() -> None:
    kept = []

    @pb.jit
    def f(x: Any) -> Any:
        io_callback(kept.append, None, x * 2)
        return x * 3

    for k in range(4):
        f(jnp.full(1000, float(k)))
    for k, x in enumerate(kept):
        np.testing.assert_array_equal(x, 2.0 * k)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (lambda v: np.ones(2, np.float32), "f32[2], result_shape_dtypes says f32[]"),
        (lambda v: np.int32(3), "i32[], result_shape_dtypes says f32[]"),
        (lambda v: (v, v), "another structure"),
        (lambda v: "text", "another type"),
    ],
)
def test_wrong_results_are_refused(mode: Any, host: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        mode(lambda x: pb.pure_callback(host, F32, x))(1.0)
    assert words in str(caught.value)


def test_wide_types_must_not_be_announced() -> None:
    with pytest.raises(ValueError, match="64-bit"):
        pb.pure_callback(np.sin, pb.ShapeDtypeStruct((), "float64"), 1.0)


def test_a_pure_callback_that_nobody_needs_is_dropped_and_equal_ones_are_merged() -> None:
    log = Log()

    def host(x: Any) -> Any:
        log(x)
        return np.asarray(x)

    @pb.jit
    def f(x: Any) -> Any:
        pb.pure_callback(host, F32, x + 5)
        return pb.pure_callback(host, F32, x) + pb.pure_callback(host, F32, x)

    assert float(f(1.0)) == 2.0
    assert log.seen == [(1.0,)]


# --------------------------------------------------------------------------- effects


def test_effects_stay_and_keep_their_order(mode: Any) -> None:
    log = Log()

    def f(x: Any) -> Any:
        io_callback(log, None, x, ordered=True)
        io_callback(log, None, x, ordered=True)
        pb.debug.callback(log, x + 1, ordered=True)
        y = x * 2
        io_callback(log, None, y, ordered=True)
        return jnp.float32(0)

    mode(f)(1.0)
    assert log.seen == [(1.0,), (1.0,), (2.0,), (2.0,)]


def test_effects_are_in_the_jaxpr() -> None:
    closed = pb.make_jaxpr(lambda x: io_callback(np.sin, F32, x, ordered=True))(1.0)
    assert {str(e) for e in closed.effects} == {"OrderedIO"}
    closed = pb.make_jaxpr(pb.jit(lambda x: pb.debug.print("{}", x)))(1.0)
    assert {str(e) for e in closed.effects} == {"Debug"}
    assert not pb.make_jaxpr(lambda x: pb.pure_callback(np.sin, F32, x))(1.0).effects


def test_in_loops_and_branches(mode: Any) -> None:
    log = Log()

    def f(x: Any) -> Any:
        def body(c: Any, t: Any) -> Any:
            io_callback(log, None, c, t, ordered=True)
            return c * t, c

        c, _ = lax.scan(body, x, jnp.arange(1.0, 4.0))
        c = lax.while_loop(
            lambda c: pb.pure_callback(
                lambda v: np.bool_(v < 50), pb.ShapeDtypeStruct((), "bool"), c
            ),
            lambda c: (io_callback(log, None, c, ordered=True), c * 2)[1],
            c,
        )
        return lax.cond(
            c > 0,
            lambda: (io_callback(log, None, c + 1, ordered=True), c)[1],
            lambda: (io_callback(log, None, c - 1, ordered=True), c)[1],
        )

    assert float(mode(f)(2.0)) == 96.0
    rows = [(2.0, 1.0), (2.0, 2.0), (4.0, 3.0)]
    assert log.seen == [*rows, (12.0,), (24.0,), (48.0,), (97.0,)]


def test_fori_loop_without_results(mode: Any) -> None:
    log = Log()
    mode(lambda n: lax.fori_loop(0, 3, lambda i, _: io_callback(log, None, i), None))(0)
    assert sorted(log.seen) == [(0,), (1,), (2,)]


# --------------------------------------------------------------------------- errors


def boom(*_: Any) -> Any:
    raise ZeroDivisionError("boom")


def test_exceptions_come_back_with_the_users_traceback(mode: Any) -> None:
    f = mode(lambda x: pb.pure_callback(boom, F32, x) * 2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="boom") as caught:
            f(1.0)
        assert "boom" in [frame.name for frame in traceback.extract_tb(caught.tb)]


def test_an_exception_ends_the_program_at_once() -> None:
    calls = []

    def host(x: Any) -> Any:
        calls.append(float(x))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.float32(x + 1)

    endless = pb.jit(
        lambda x: lax.while_loop(lambda c: c < 1e30, lambda c: pb.pure_callback(host, F32, c), x)
    )
    with pytest.raises(KeyboardInterrupt):
        endless(0.0)
    assert calls == [0.0, 1.0, 2.0]


def test_an_exception_within_a_nested_program() -> None:
    inner = pb.jit(lambda x: pb.pure_callback(boom, F32, x))

    def host(x: Any) -> Any:
        try:
            return inner(x)
        except ZeroDivisionError:
            return np.float32(7)

    assert float(pb.jit(lambda x: pb.pure_callback(host, F32, x))(1.0)) == 7.0


def test_callbacks_call_jitted_functions_and_transformations(mode: Any) -> None:
    inner = pb.jit(lambda x: jnp.sin(x) * 2)

    def host(x: Any) -> Any:
        return inner(x) + pb.grad(inner)(x) + pb.vmap(inner)(x[None])[0]

    f = mode(lambda x: pb.pure_callback(host, F32, x) + 1)
    for x in (0.5, 1.5):
        expected = 4 * np.sin(x) + 2 * np.cos(x) + 1
        np.testing.assert_allclose(f(x), expected, rtol=1e-5)


def test_a_callback_that_calls_its_own_function() -> None:
    @pb.jit
    def factorial(n: Any) -> Any:
        return lax.cond(
            n > 0,
            lambda: n * pb.pure_callback(lambda m: factorial(m), n.aval, n - 1),
            lambda: jnp.int32(1),
        )

    assert int(factorial(jnp.int32(6))) == 720


def test_from_several_threads() -> None:
    f = pb.jit(
        lambda x: pb.pure_callback(
            lambda v: np.asarray(v) * 2, pb.ShapeDtypeStruct((1000, 1000), "float32"), x @ x
        ).sum()
    )
    x = jnp.eye(1000)
    f(x)
    results: list[float] = []
    threads = [threading.Thread(target=lambda: results.append(float(f(x)))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [2000.0] * 4


# --------------------------------------------------------------------------- transformations


@pytest.mark.parametrize("method", METHODS)
def test_vmap_methods(mode: Any, method: str) -> None:
    shapes: list[Any] = []

    def host(x: Any, y: Any) -> Any:
        shapes.append((x.shape, y.shape))
        return np.asarray(x) * np.asarray(y).reshape(np.shape(y))

    def program(api: Any) -> Callable[..., Any]:
        spec = api.ShapeDtypeStruct((), "float32")
        return api.vmap(
            lambda x, y: api.pure_callback(host, spec, x, y, vmap_method=method),
            in_axes=(0, None),
        )

    x = np.arange(3, dtype=np.float32)
    ours = mode(program(pb))(x, np.float32(2))
    seen, shapes[:] = sorted(shapes), []
    np.testing.assert_array_equal(ours, jax.jit(program(jax))(x, np.float32(2)))
    assert seen == sorted(shapes)


def test_vmap_without_a_method() -> None:
    with pytest.raises(NotImplementedError, match="vmap_method"):
        pb.vmap(lambda x: pb.pure_callback(np.sin, F32, x))(jnp.ones(2))
    with pytest.raises(ValueError, match="vmap_method"):
        pb.pure_callback(np.sin, F32, 1.0, vmap_method="bogus")


def test_vmap_of_io(mode: Any) -> None:
    f = pb.vmap(lambda x: io_callback(lambda v: np.asarray(v) * 2, F32, x))
    assert mode(f)(jnp.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
    with pytest.raises(ValueError, match="ordered"):
        pb.vmap(lambda x: io_callback(np.sin, F32, x, ordered=True))(jnp.ones(2))
    with pytest.raises(NotImplementedError, match="vmap of cond"):
        pb.vmap(lambda p, x: lax.cond(p, lambda: io_callback(np.sin, F32, x), lambda: x))(
            jnp.array([True, False]), jnp.ones(2)
        )
    with pytest.raises(NotImplementedError, match="vmap of while_loop"):
        pb.vmap(
            lambda x: lax.while_loop(lambda c: c < 3, lambda c: io_callback(np.exp, F32, c), x)
        )(jnp.ones(2))


def test_zero_lanes(mode: Any) -> None:
    f = pb.vmap(lambda x: pb.pure_callback(np.sin, F32, x, vmap_method="sequential"))
    assert mode(f)(jnp.zeros((0,))).shape == (0,)


def test_derivatives() -> None:
    pure = lambda x: pb.pure_callback(np.sin, F32, x)  # noqa: E731
    with pytest.raises(ValueError, match="Pure callbacks do not support JVP"):
        pb.grad(pure)(1.0)
    with pytest.raises(ValueError, match="IO callbacks do not support JVP"):
        pb.grad(lambda x: io_callback(np.sin, F32, x))(1.0)

    @pb.custom_jvp
    def sine(x: Any) -> Any:
        return pure(x)

    sine.defjvp(lambda primals, tangents: (pure(primals[0]), jnp.cos(primals[0]) * tangents[0]))
    np.testing.assert_allclose(pb.jit(pb.grad(sine))(1.0), np.cos(1.0), rtol=1e-6)


@pytest.mark.parametrize("transform", ["jvp", "grad", "jit_grad", "vmap", "jit_vmap"])
def test_debug_callbacks_see_what_those_of_jax_see(transform: str) -> None:
    def program(api: Any, log: Log) -> Any:
        def f(x: Any) -> Any:
            def body(c: Any, t: Any) -> Any:
                api.debug.callback(log, c, t)
                return c * t, api.numpy.sin(c)

            c, ys = api.lax.scan(body, x, np.arange(1.0, 4.0, dtype=np.float32))
            return c + ys.sum()

        one, two = np.float32(1.5), np.array([0.5, 1.5], np.float32)
        run: dict[str, Callable[[], Any]] = {
            "jvp": lambda: api.jvp(f, (one,), (one,))[1],
            "grad": lambda: api.grad(f)(one),
            "jit_grad": lambda: api.jit(api.grad(f))(one),
            "vmap": lambda: api.vmap(f)(two),
            "jit_vmap": lambda: api.jit(api.vmap(f))(two),
        }
        return np.asarray(run[transform]())

    ours, theirs = Log(), Log()
    mine, other = program(pb, ours), program(jax, theirs)
    jax.effects_barrier()
    np.testing.assert_allclose(mine, other, rtol=1e-5)
    assert sorted(ours.seen) == sorted(theirs.seen)


@pytest.mark.parametrize("wrap", [pb.grad, lambda f: pb.jit(pb.grad(f)), lambda f: f])
def test_an_effect_in_a_loop_stays_in_the_loop(wrap: Any) -> None:
    log = Log()

    def f(x: Any) -> Any:
        def body(c: Any, _: Any) -> Any:
            pb.debug.callback(log)
            return c * x, None

        return lax.scan(body, x, None, length=3)[0]

    wrap(f)(1.5)
    assert log.seen == [()] * 3


def test_vmap_of_a_branch_reports_all_branches_as_jax_does() -> None:
    def program(api: Any, log: Log) -> Any:
        return api.vmap(
            lambda p, x: api.lax.cond(
                p,
                lambda: api.debug.callback(log, x),
                lambda: api.debug.callback(log, -x),
            )
        )(np.array([True, False]), np.array([1.0, 2.0], np.float32))

    ours, theirs = Log(), Log()
    program(pb, ours)
    program(jax, theirs)
    jax.effects_barrier()
    assert sorted(ours.seen) == sorted(theirs.seen)


def test_unordered_io_agrees_with_jax_on_results() -> None:
    def program(api: Any, io: Any) -> Any:
        spec = api.ShapeDtypeStruct((2,), "float32")
        return api.jit(lambda x: io(lambda v: np.asarray(v) + 1, spec, x) * 2)(
            np.ones(2, np.float32)
        )

    np.testing.assert_array_equal(program(pb, io_callback), program(jax, jax_io_callback))


def test_an_argument_that_a_callback_deletes_stays_until_the_end() -> None:
    x = jnp.ones(100_000)

    @pb.jit
    def f(v: Any) -> Any:
        io_callback(lambda: x.delete(), None)
        return v * 2

    f(jnp.ones(100_000))
    x = jnp.ones(100_000)
    np.testing.assert_array_equal(f(x), 2)
    assert x.is_deleted()


# --------------------------------------------------------------------------- the disk cache


def test_code_with_callbacks_is_shared_between_functions() -> None:
    def make(host: Any) -> Any:
        return pb.jit(lambda x: pb.pure_callback(host, F32, x * 3.25) + 17.5)

    assert float(make(lambda v: np.float32(1))(2.0)) == 18.5
    before = cache.stats().hits
    assert float(make(lambda v: np.float32(2) + np.asarray(v))(2.0)) == 26.0
    if cache.stats().directory is not None:
        assert cache.stats().hits > before


# --------------------------------------------------------------------------- reverse mode


def _while(body: Any, x: Any) -> Any:
    step = lambda c: (c[0] + 1, body(*c))  # noqa: E731
    return lax.while_loop(lambda c: c[0] < 3, step, (0, x))[1]


def _scan(body: Any, x: Any) -> Any:
    policy = pb.checkpoint_policies.binomial(2)
    return lax.scan(lambda c, i: (body(i, c), None), x, jnp.arange(3), remat=policy)[0]


@pytest.mark.parametrize("loop", [_while, _scan])
@pytest.mark.parametrize("kind", ["debug", "io", "inner"])
def test_effects_of_loops_happen_once_under_reverse_mode(loop: Any, kind: str) -> None:
    """The backward pass computes steps again, and the linear map runs the loop again."""
    seen: list[int] = []

    def note(i: Any) -> None:
        seen.append(int(i))

    def body(i: Any, y: Any) -> Any:
        if kind == "debug":
            pb.debug.callback(note, i, ordered=True)
        elif kind == "io":
            io_callback(note, None, i, ordered=True)
        else:
            lax.cond(i >= 0, lambda: pb.debug.callback(note, i), lambda: None)
        return y * y * 0.5

    def f(x: Any) -> Any:
        return loop(body, x)

    for run in (f, pb.jit(f), pb.grad(f), pb.jit(pb.grad(f)), pb.value_and_grad(pb.jit(f))):
        seen.clear()
        pb.block_until_ready(run(1.5))
        assert seen == [0, 1, 2]
    seen.clear()
    _, push = pb.linearize(f, 1.5)
    push(1.0), push(2.0)
    assert seen == [0, 1, 2]
    x, h = 1.5, 1e-3
    slope = (float(f(x + h)) - float(f(x - h))) / (2 * h)
    np.testing.assert_allclose(pb.grad(f)(x), slope, rtol=1e-3)


def test_results_of_io_that_reverse_mode_needs_again_are_refused() -> None:
    def body(c: Any) -> Any:
        z = io_callback(lambda v: np.float32(v), F32, lax.stop_gradient(c[1]))
        return c[0] + 1, c[1] * z

    with pytest.raises(NotImplementedError, match="results of an io_callback"):
        pb.grad(lambda x: lax.while_loop(lambda c: c[0] < 3, body, (0, x))[1])(1.5)


# --------------------------------------------------------------------------- calls back into us


@pb.jit
def _inner(x: Any) -> Any:
    return lax.scan(lambda c, r: (c + r * x, None), x, jnp.arange(4.0))[0]


def _reentrant(x: Any) -> Any:
    """A host function that traces, compiles, differentiates, maps and calls back again."""
    nested = pb.jit(lambda y: pb.pure_callback(lambda z: np.float32(_inner(z)), F32, y))
    total = nested(x) + pb.grad(_inner)(x) + pb.vmap(_inner)(jnp.stack([x, x])).sum()
    return np.float32(total)


def _called_again(x: Any) -> Any:
    return pb.pure_callback(_reentrant, F32, lax.stop_gradient(x), vmap_method="sequential")


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "plain": _called_again,
    "scan": lambda x: lax.scan(lambda c, _: (c + _called_again(c), None), x, None, length=2)[0],
    "while": lambda x: lax.while_loop(
        lambda c: c[0] + 0 * _called_again(c[1]) < 2,
        lambda c: (c[0] + 1, c[1] + _called_again(c[1])),
        (0, x),
    )[1],
    "cond": lambda x: lax.cond(x > 0, lambda y: y + _called_again(y), lambda y: y, x),
    "vmap": lambda x: pb.vmap(lambda y: y * _called_again(y))(jnp.stack([x, 2 * x])).sum(),
    "grad": lambda x: pb.grad(lambda y: y * _called_again(y))(x),
    "remat": lambda x: pb.grad(pb.checkpoint(lambda y: jnp.sin(y * _called_again(y))))(x),
}


def _by_hand(name: str, x: float) -> float:
    """The same in Python: `_inner(x)` is `7 x`, and `_reentrant` adds `7 + 2 * 7 x` to it."""

    def again(y: float) -> float:
        return 21 * y + 7

    if name == "plain":
        return again(x)
    if name in ("scan", "while"):
        y = x + again(x)
        return y + again(y)
    if name == "cond":
        return x + again(x)
    if name == "vmap":
        return x * again(x) + 2 * x * again(2 * x)
    slope = again(x)
    return slope if name == "grad" else float(np.cos(x * slope) * slope)


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_callback_may_call_us_again(name: str, mode: Any) -> None:
    np.testing.assert_allclose(mode(PROGRAMS[name])(0.25), _by_hand(name, 0.25), rtol=1e-4)


def test_a_callback_that_calls_the_program_it_is_called_from() -> None:
    depth: list[int] = []

    @pb.jit
    def f(n: Any) -> Any:
        def body(c: Any, i: Any) -> Any:
            return c + pb.pure_callback(host, pb.ShapeDtypeStruct((), "int32"), n - 1 - i), None

        return lax.scan(body, n, jnp.arange(2))[0]

    def host(n: Any) -> Any:
        depth.append(int(n))
        return np.int32(f(n) if n > 0 else 0)

    def plain(n: int) -> int:
        return n + sum(plain(n - 1 - i) if n - 1 - i > 0 else 0 for i in range(2))

    assert int(f(4)) == plain(4)
    assert len(depth) > 4


def test_ordered_io_keeps_its_order_through_loops_and_branches(mode: Any) -> None:
    log = Log()

    def note(*xs: Any) -> None:
        io_callback(log, None, *xs, ordered=True)

    def f(n: Any) -> Any:
        note(100)

        def step(c: Any, i: Any) -> Any:
            note(1, i)
            lax.cond(i % 2 == 0, lambda: note(2, i), lambda: note(3, i, c))
            inner = lax.while_loop(
                lambda k: k < i, lambda k: (note(4, i, k), k + 1)[1], jnp.int32(0)
            )
            note(5, inner)
            return c + 1, None

        c, _ = lax.scan(step, 0, jnp.arange(3))
        note(200)
        lax.fori_loop(0, n, lambda i, _: note(6, i), None)
        lax.switch(n, [lambda: note(7), lambda: note(8), lambda: note(9)])
        return c

    want: list[Any] = [(100,)]
    for i in range(3):
        want += [(1, i), (2, i) if i % 2 == 0 else (3, i, i)]
        want += [(4, i, k) for k in range(i)] + [(5, i)]
    want += [(200,), (6, 0), (6, 1), (9,)]
    assert int(mode(f)(2)) == 3
    assert log.seen == want


@pytest.mark.parametrize("wrap", [pb.grad, lambda f: pb.jit(pb.grad(f)), pb.checkpoint])
def test_ordered_io_under_derivatives(wrap: Any) -> None:
    """Once for each step, in order; also where the backward pass computes again."""
    log = Log()

    def f(x: Any) -> Any:
        def step(c: Any, i: Any) -> Any:
            io_callback(log, None, i, ordered=True)
            return jnp.sin(c), None

        return lax.scan(step, x, jnp.arange(4))[0]

    pb.block_until_ready(wrap(f)(0.5))
    assert log.seen == [(i,) for i in range(4)]

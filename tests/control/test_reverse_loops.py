"""Reverse mode through loops with a bounded number of stored states."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.checkpoint_policies import binomial
from pullback.experimental import checkify, jet

RNG = np.random.default_rng(0)
X = RNG.normal(size=3).astype(np.float32)
W = (0.3 * RNG.normal(size=(3, 3))).astype(np.float32)
XS = (0.4 * RNG.normal(size=(20, 3))).astype(np.float32)


def step(x: Any, w: Any) -> Any:
    return jnp.sin(x @ w) * 1.1 + x


def by_while(x: Any, w: Any, n: Any, slots: int | None = None, **options: Any) -> Any:
    remat = binomial(slots) if slots else None
    out = lax.while_loop(
        lambda s: s[0] < n, lambda s: (s[0] + 1, step(s[1], w)), (0, x), remat=remat, **options
    )
    return out[1].sum()


def by_hand(x: Any, w: Any, n: int) -> Any:
    for _ in range(n):
        x = step(x, w)
    return x.sum()


def by_scan(x: Any, w: Any, n: int) -> Any:
    return lax.scan(lambda c, _: (step(c, w), None), x, None, length=n)[0].sum()


def assert_close(got: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    for a, b in zip(pb.tree.leaves(got), pb.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@functools.cache
def gradient_by_slots(slots: int | None) -> Any:
    return pb.jit(pb.grad(lambda x, w, n: by_while(x, w, n, slots), (0, 1)))


@pytest.mark.parametrize("slots", [2, 3, 5, 16, None])
def test_gradients_of_while_for_any_number_of_steps(slots: int | None) -> None:
    for n in (0, 1, 2, 3, 4, 7, 23, 130):
        expected = pb.grad(by_scan, (0, 1))(X, W, n)
        assert_close(gradient_by_slots(slots)(X, W, n), expected, rtol=2e-3)


def test_finite_differences() -> None:
    def newton(a: Any) -> Any:
        """The square root; the number of steps depends on the argument."""
        return lax.while_loop(lambda x: abs(x * x - a) > 1e-9, lambda x: (x + a / x) / 2, a)

    with pb.enable_x64(True):
        for a in (2.0, 30.0, 1e4):
            slope = float(pb.grad(newton)(a))
            difference = float(newton(a * (1 + 1e-5)) - newton(a * (1 - 1e-5))) / (2e-5 * a)
            np.testing.assert_allclose(slope, difference, rtol=1e-6)
            np.testing.assert_allclose(slope, 0.5 / np.sqrt(a), rtol=1e-6)


def test_the_gradient_of_a_scan_of_jax() -> None:
    def theirs(x: Any, w: Any) -> Any:
        body = lambda c, _: (jax.numpy.sin(c @ w) * 1.1 + c, None)  # noqa: E731
        return jax.lax.scan(body, x, None, length=23)[0].sum()

    expected = jax.jit(jax.grad(theirs, (0, 1)))(X, W)
    for slots in (2, 5, None):
        assert_close(gradient_by_slots(slots)(X, W, 23), expected, rtol=2e-3)


def test_fori_loop_with_traced_bounds() -> None:
    @pb.jit
    def grad(x: Any, w: Any, first: Any, last: Any) -> Any:
        def run(x: Any, w: Any) -> Any:
            body = lambda i, c: step(c, w) * (1.0 + 0.01 * i)  # noqa: E731
            return lax.fori_loop(first, last, body, x).sum()

        return pb.grad(run, (0, 1))(x, w)

    def expected(x: Any, w: Any) -> Any:
        for i in range(3, 9):
            x = step(x, w) * (1.0 + 0.01 * i)
        return x.sum()

    assert_close(grad(X, W, 3, 9), pb.grad(expected, (0, 1))(X, W))


def test_max_steps_ends_the_loop() -> None:
    assert int(lax.while_loop(lambda n: n < 10, lambda n: n + 1, 0, max_steps=4)) == 4
    assert int(lax.while_loop(lambda n: n < 3, lambda n: n + 1, 0, max_steps=4)) == 3
    assert int(lax.fori_loop(2, 10, lambda i, n: n + i, 0, max_steps=3)) == 2 + 3 + 4
    limited = pb.jit(lambda n: lax.fori_loop(2, n, lambda i, n: n + i, 0, max_steps=3))
    assert (int(limited(10)), int(limited(4))) == (2 + 3 + 4, 2 + 3)
    with pb.disable_jit():
        assert int(lax.while_loop(lambda n: n < 10, lambda n: n + 1, 0, max_steps=4)) == 4
    for n, most in ((3, 10), (9, 4)):
        got = pb.grad(by_while, (0, 1))(X, W, n, max_steps=most)
        assert_close(got, pb.grad(by_hand, (0, 1))(X, W, min(n, most)))
    with pytest.raises(ValueError, match="max_steps"):
        lax.while_loop(lambda n: n < 10, lambda n: n + 1, 0, max_steps=-1)


def test_second_order() -> None:
    f = functools.partial(by_while, n=5, slots=2)
    expected = functools.partial(by_hand, n=5)
    vectors = (np.ones_like(X), np.ones_like(W))
    forward = pb.jvp(pb.grad(f, (0, 1)), (X, W), vectors)
    assert_close(forward, pb.jvp(pb.grad(expected, (0, 1)), (X, W), vectors))
    hessian = pb.hessian(expected, 1)(X, W)
    assert_close(pb.hessian(f, 1)(X, W), hessian)
    assert_close(pb.jit(pb.jacrev(pb.jacrev(f, 1), 1))(X, W), hessian)


def test_batches_whose_lanes_end_at_different_times() -> None:
    ns = np.array([0, 5, 2, 9])
    xs = RNG.normal(size=(4, 3)).astype(np.float32)
    rows = [pb.grad(by_hand, (0, 1))(x, W, int(n)) for x, n in zip(xs, ns, strict=True)]
    expected = [np.stack([np.asarray(r[k]) for r in rows]) for k in (0, 1)]
    for slots in (2, 4, None):
        f = lambda x, w, n, s=slots: by_while(x, w, n, s)  # noqa: E731
        lanes = pb.vmap(pb.grad(f, (0, 1)), (0, None, 0))(xs, W, ns)
        assert_close(lanes, expected)
        whole = pb.grad(lambda xs, w, f=f: pb.vmap(f, (0, None, 0))(xs, w, ns).sum(), (0, 1))(xs, W)
        assert_close(whole, (expected[0], expected[1].sum(0)))


def test_lanes_that_have_ended_take_no_steps_backwards() -> None:
    # After its end a lane would divide by zero, and zero times infinity is not a number.
    def f(x: Any) -> Any:
        return lax.while_loop(lambda y: y > 1.0, lambda y: 3.0 - 2.0 / y, x)

    def countdown(x: Any, n: Any) -> Any:
        body = lambda s: (s[0] - 1, s[1] * jnp.sqrt(s[0].astype(float)))  # noqa: E731
        return lax.while_loop(lambda s: s[0] > 0, body, (n, x))[1]

    got = pb.vmap(pb.grad(countdown))(jnp.ones(3), jnp.array([1, 4, 0]))
    np.testing.assert_allclose(got, [1.0, np.sqrt(24.0), 1.0], rtol=1e-6)
    assert np.isfinite(np.asarray(pb.vmap(pb.grad(f))(jnp.array([0.5, 0.0])))).all()


def test_loops_in_loops() -> None:
    def f(x: Any, n: Any) -> Any:
        def outer(s: Any) -> Any:
            inner = lax.while_loop(
                lambda t: t[0] < s[0], lambda t: (t[0] + 1, jnp.sin(t[1]) * 1.2), (0, s[1])
            )
            return s[0] + 1, inner[1] + 0.1 * s[1]

        return lax.while_loop(lambda s: s[0] < n, outer, (0, x), remat=binomial(2))[1]

    def expected(x: Any, n: int) -> Any:
        for k in range(n):
            y = x
            for _ in range(k):
                y = jnp.sin(y) * 1.2
            x = y + 0.1 * x
        return x

    assert_close(pb.jit(pb.grad(f))(0.7, 6), pb.grad(expected)(0.7, 6))
    scanned = lambda x: lax.scan(lambda c, _: (f(c, 3), None), x, None, length=3)[0]  # noqa: E731
    assert_close(pb.grad(scanned)(0.7), pb.grad(lambda x: _thrice(expected, x))(0.7))


def _thrice(f: Any, x: Any) -> Any:
    for _ in range(3):
        x = f(x, 3)
    return x


def test_linear_loops_and_their_transposes() -> None:
    def f(x: Any) -> Any:
        return lax.while_loop(
            lambda s: s[0] < 4, lambda s: (s[0] + 1, jnp.cumsum(s[1]) * s[0].astype(float)), (1, x)
        )[1]

    (ct,) = pb.linear_transpose(f, X)(X)
    matrix = np.asarray(pb.jacfwd(f)(X))
    np.testing.assert_allclose(ct, X @ matrix, rtol=1e-5)


def test_keys_among_the_carries() -> None:
    def f(x: Any, n: Any) -> Any:
        def body(s: Any) -> Any:
            i, key, y = s
            key, sub = pb.random.split(key)
            return i + 1, key, y * (1.0 + pb.random.uniform(sub))

        return lax.while_loop(lambda s: s[0] < n, body, (0, pb.random.key(0), x))[2]

    assert_close(pb.grad(f)(2.0, 6), f(2.0, 6) / 2.0)


def scanned(x: Any, w: Any, xs: Any, remat: Any, reverse: bool = False) -> Any:
    def body(c: Any, row: Any) -> Any:
        y, k = c
        return (jnp.sin(y @ w) + y * row, k + 1), (y * row, k.astype(float) * 0.5)

    (y, _), (ys, ks) = lax.scan(body, (x, 0), xs, reverse=reverse, remat=remat)
    return y.sum() + 0.1 * (ys**2).sum() + ks.sum()


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_scan_by_a_binomial_schedule(reverse: bool) -> None:
    expected = pb.grad(scanned, (0, 1, 2))(X, W, XS, None, reverse)
    for slots in (1, 2, 3, 30, None):
        grad = pb.jit(pb.grad(scanned, (0, 1, 2)), static_argnums=(3, 4))
        assert_close(grad(X, W, XS, binomial(slots), reverse), expected)
    hessian = pb.hessian(scanned, 1)(X, W, XS, None, reverse)
    assert_close(pb.hessian(scanned, 1)(X, W, XS, binomial(3), reverse), hessian, 1e-3, 1e-4)
    again = pb.jacrev(pb.grad(scanned, 1), 1)(X, W, XS, binomial(3), reverse)
    assert_close(again, hessian, 1e-3, 1e-4)
    batch = pb.vmap(pb.grad(scanned), (0, None, None, None, None))
    assert_close(batch(jnp.stack([X, X]), W, XS, binomial(3), reverse)[1], expected[0])


def test_only_policies_for_loops() -> None:
    with pytest.raises(TypeError, match="binomial"):
        lax.scan(lambda c, x: (c, x), 0.0, X, remat=pb.checkpoint_policies.nothing_saveable)
    with pytest.raises(ValueError, match="slots"):
        binomial(0)


@functools.cache
def fewest_steps(n: int, slots: int) -> int:
    """Of any schedule: how often a step must be computed to go back over `n` steps."""
    if n <= 1:
        return 0
    if slots == 1:
        return n * (n - 1) // 2
    return min(m + fewest_steps(n - m, slots - 1) + fewest_steps(m, slots) for m in range(1, n))


def counted_zero(calls: list[int], x: Any) -> Any:
    """Zero, computed by a function that counts how often the program asks for it."""

    def host(_: Any) -> Any:
        calls.append(1)
        return np.float32(0)

    return pb.pure_callback(host, pb.ShapeDtypeStruct((), "float32"), lax.stop_gradient(x))


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 40])
def test_the_schedule_is_optimal(slots: int) -> None:
    calls: list[int] = []

    def f(x: Any, length: int) -> Any:
        def body(c: Any, _: Any) -> Any:
            return jnp.sin(c + counted_zero(calls, c)), None

        return lax.scan(body, x, None, length=length, remat=binomial(slots))[0]

    for n in (1, 2, 5, 24):
        calls.clear()
        pb.grad(f)(0.5, n).block_until_ready()
        forward, backward = n, n  # the value, and one residual for each step backwards
        assert len(calls) - forward - backward == fewest_steps(n, slots)


def test_the_work_of_a_loop_without_known_end_grows_slowly() -> None:
    calls: list[int] = []

    def f(x: Any, n: Any) -> Any:
        def body(s: Any) -> Any:
            return s[0] + 1, jnp.sin(s[1] + counted_zero(calls, s[1]))

        return lax.while_loop(lambda s: s[0] < n, body, (0, x), remat=binomial(16))[1]

    grad = pb.jit(pb.value_and_grad(f))
    for n, times in ((6, 1.0), (12, 1.0), (100, 3.0), (400, 4.5)):
        calls.clear()
        grad(0.5, n)[1].block_until_ready()
        again = len(calls) - 2 * n
        assert n <= again <= times * n


def test_memory_is_slots_states_and_not_steps() -> None:
    def temporary(remat: Any, length: int) -> int:
        def f(x: Any) -> Any:
            body = lambda c, _: (jnp.sin(c) * jnp.cos(c), None)  # noqa: E731
            return lax.scan(body, x, None, length=length, remat=remat)[0].sum()

        compiled = pb.jit(pb.grad(f)).lower(np.ones(1000, np.float32)).compile()
        return int(compiled.memory_analysis().temp_size_in_bytes)

    state = 4000
    assert temporary(None, 512) > 512 * state
    few, more = temporary(binomial(8), 512), temporary(binomial(8), 4096)
    assert 9 * state <= few <= 16 * state
    assert more == few


def test_checks_and_taylor_series_of_gradients() -> None:
    def f(x: Any) -> Any:
        body = lambda s: (s[0] + 1, jnp.sqrt(s[1]) * 0.0 + 1.0)  # noqa: E731
        return lax.while_loop(lambda s: s[0] < 1, body, (0, x))[1]

    checked = checkify.checkify(pb.grad(f), errors=checkify.nan_checks)
    assert "nan" in checked(0.0)[0].get()  # zero times infinity, on the way back only
    assert checked(1.0)[0].get() is None
    slope = pb.grad(lambda x: lax.fori_loop(0, jnp.array(3), lambda i, c: jnp.sin(c), x))
    _, (first,) = jet.jet(slope, (0.5,), ([1.0],))
    np.testing.assert_allclose(first, pb.grad(slope)(0.5), rtol=1e-5)


def test_memory_of_many_lanes() -> None:
    def newton(a: Any) -> Any:
        return lax.while_loop(lambda x: abs(x * x - a) > 1e-3, lambda x: (x + a / x) / 2, a)

    lanes = np.linspace(1.0, 50.0, 100_000, dtype=np.float32)
    compiled = pb.jit(pb.vmap(pb.grad(newton))).lower(lanes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 64 * lanes.nbytes
    some = [0, 10, 5_000, 99_999]
    expected = [pb.grad(newton)(lanes[k]) for k in some]
    np.testing.assert_allclose(compiled(lanes)[np.array(some)], expected, rtol=1e-5)


def test_checkpoint_gives_the_policy_to_its_loops() -> None:
    f = lambda x, w, xs: scanned(x, w, xs, None)  # noqa: E731
    g = pb.checkpoint(lambda *args: pb.jit(f)(*args), policy=binomial(3))
    assert_close(pb.grad(g, (0, 1, 2))(X, W, XS), pb.grad(f, (0, 1, 2))(X, W, XS))
    text = str(pb.make_jaxpr(pb.grad(g))(X, W, XS))
    assert "backwards" in text
    assert "slots=3" in text

"""Mutable references in loops, derivatives and vmap: slopes, NumPy and JAX are the oracles."""

from __future__ import annotations

import re
from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from tests.control.references import array, modes, ref, ref_add, ref_set, ref_swap, run, update

oracle: Any = jax
oracle.config.update("jax_platforms", "cpu")


# --------------------------------------------------------------------------- loops and branches


@modes
def test_closures_of_loops(mode: str) -> None:
    def fun(r: Any, s: Any, n: Any) -> Any:
        def step(c: Any, i: Any) -> Any:
            r[i] = r[i - 1] + c + s[0]
            return c + 1.0, r[0]

        c, firsts = lax.scan(step, 1.0, jnp.arange(1, 5))
        lax.fori_loop(0, n, lambda i, _: ref_add(s, 1, r[i]), None)
        d = lax.while_loop(lambda c: s[1] < 100.0, lambda c: (ref_add(s, 1, c), c * 2)[1], c)
        return c, d, firsts

    r, s = ref(5), ref(2)
    c, d, firsts = run(mode, fun, r, s, 3)
    x, y = array(5), array(2)
    for i in range(1, 5):
        x[i] = x[i - 1] + i + y[0]
    y[1] += sum(x[:3])
    e = 5.0
    while y[1] < 100:
        y[1] += e
        e *= 2
    np.testing.assert_array_equal(r[...], x)
    np.testing.assert_array_equal(s[...], y)
    assert (float(c), float(d)) == (5.0, e)
    assert firsts.tolist() == [0, 0, 0, 0]


@modes
def test_rows_of_a_reference(mode: str) -> None:
    def fun(r: Any) -> Any:
        def step(c: Any, row: Any) -> Any:
            row[0] = c
            return c + row[1], None

        return lax.scan(step, 0.0, r)[0]

    r = ref(3, 2)
    assert float(run(mode, fun, r)) == 9.0
    np.testing.assert_array_equal(r[...], [[0, 1], [1, 3], [4, 5]])


@modes
def test_a_condition_may_write(mode: str) -> None:
    def fun(r: Any) -> Any:
        return lax.while_loop(lambda c: ref_swap(r, 0, c) < 3.0, lambda c: c + 1.0, 1.0)

    r = ref(2)
    value, state = 1.0, 0.0
    while True:
        state, before = value, state
        if not before < 3.0:
            break
        value += 1.0
    assert float(run(mode, fun, r)) == value
    assert float(r[0]) == state


@modes
def test_branches(mode: str) -> None:
    def fun(r: Any, s: Any, i: Any) -> Any:
        def first() -> Any:
            r[0] = s[1]
            return r[1]

        def second() -> Any:
            s[0], r[1] = r[2], 9.0
            return r[1] + 1.0

        out = lax.switch(i, [first, second, lambda: 0.0])
        lax.cond(i > 0, lambda a: ref_set(a, 2, 7.0), lambda a: None, r)
        return out

    for i, out, x, y in (
        (0, 1, [1, 1, 2], [0, 1]),
        (1, 10, [0, 9, 7], [2, 1]),
        (2, 0, [0, 1, 7], [0, 1]),
    ):
        r, s = ref(3), ref(2)
        assert float(run(mode, fun, r, s, i)) == out
        assert r[...].tolist() == x
        assert s[...].tolist() == y


def inside(fun: Any, header: str, *args: Any) -> str:
    """What the program does in the last loop with this header."""
    lines = str(pb.jit(fun).lower(*args).as_text("loops")).split("\n")
    start = max(i for i, line in enumerate(lines) if header in line)
    depth = len(lines[start]) - len(lines[start].lstrip())
    body = []
    for line in lines[start + 1 :]:
        if len(line) - len(line.lstrip()) <= depth:
            break
        body.append(line)
    return "\n".join(body)


def test_a_loop_writes_in_place() -> None:
    """No copy of the 1000 elements within the loop, nor a loop over them."""

    def scanned(r: Any, x: Any) -> Any:
        def step(c: Any, i: Any) -> Any:
            r[i] = r[i - 1] * 0.5 + c
            return c + 1.0, None

        return lax.scan(step, x, jnp.arange(1, 400))[0]

    def counted(r: Any, n: Any) -> Any:
        lax.fori_loop(0, n, lambda i, _: ref_set(r, (i, 2), r[i, 1] + 1.0), None)

    def local(x: Any) -> Any:
        r = pb.new_ref(jnp.zeros(1000))
        lax.fori_loop(0, 400, lambda i, _: ref_set(r, i, x), None)
        return pb.freeze(r)

    for body in (
        inside(scanned, "in 399", ref(1000), 1.0),
        inside(local, "in 400", 1.0),
        inside(counted, "while", ref(100, 10), 3),
    ):
        assert "[" in body
        assert not re.search(r"in (100|1000)\b|, 1000$", body, re.MULTILINE), body
    r = ref(1000)
    pb.jit(scanned)(r, 1.0)
    want = array(1000)
    for i in range(1, 400):
        want[i] = want[i - 1] * 0.5 + i
    np.testing.assert_allclose(r[...], want)


def test_the_backward_pass_of_a_loop_writes_in_place() -> None:
    """Cotangents of what is read and written step by step cost what the steps cost."""

    def by_elements(x: Any) -> Any:
        r = pb.new_ref(jnp.zeros(1000) + x[0])

        def step(_: Any, i: Any) -> Any:
            r[i] = jnp.sin(r[i - 1]) * x[1]
            return (), None

        lax.scan(step, (), jnp.arange(1, 400))
        return r[399] + r[7]

    def by_arrays_of_indices(x: Any) -> Any:
        r = pb.new_ref(jnp.zeros(1000) + x[0])

        def step(c: Any, i: Any) -> Any:
            return c + (jnp.sin(r[i]) * x[1]).sum(), None

        where = jnp.arange(800).reshape(400, 2)[:399]
        return lax.scan(step, 0.0, where)[0]

    x = np.array([0.7, 1.1], np.float32)
    for f in (by_elements, by_arrays_of_indices):
        body = inside(pb.grad(f), "in 399", x)
        assert "[" in body
        assert not re.search(r"in 1000\b|, 1000$", body, re.MULTILINE), body
        with pb.enable_x64(True):
            wide = np.asarray(x, np.float64)
            np.testing.assert_allclose(pb.jit(pb.grad(f))(wide), slopes(f, x), rtol=1e-5)


# --------------------------------------------------------------------------- derivatives


def local(x: Any) -> Any:
    r = pb.new_ref(x)
    r[0] = r[1] * r[2]
    r[1:] *= 2.0
    return (r[...] ** 2).sum() + jnp.sin(ref_swap(r, 1, 0.0)) * r[1]


def scanned(x: Any) -> Any:
    r = pb.new_ref(jnp.zeros(4))

    def step(c: Any, i: Any) -> Any:
        r[i] = jnp.sin(c) * x[0]
        ref_add(r, 0, c * x[1])
        return c * r[i] + r[0], None

    c, _ = lax.scan(step, x[2], jnp.arange(4))
    return (r[...] ** 2).sum() + c


def branched(x: Any) -> Any:
    r = pb.new_ref(x)
    lax.cond(x[0] > 0, lambda: ref_set(r, 0, r[0] ** 2), lambda: ref_set(r, 1, -r[0] * r[2]))
    return (r[...] * jnp.arange(1.0, 4.0)).sum()


def nested(x: Any) -> Any:
    r = pb.new_ref(x)
    pb.jit(lambda y: ref_set(r, 1, y * r[0]))(x[2])
    pb.checkpoint(lambda y: ref_add(r, 2, jnp.sin(y) * r[1]))(x[0])
    lax.fori_loop(0, 3, lambda i, _: ref_set(r, i, r[i] * r[0]), None)
    return (r[...] ** 2).sum()


def rematerialized(x: Any) -> Any:
    return pb.checkpoint(local)(x) + pb.checkpoint(scanned)(x)


FUNCTIONS = [local, scanned, branched, nested, rematerialized]
POINTS = [np.array([0.7, -0.4, 1.2], np.float32), np.array([-0.7, 0.4, 0.3], np.float32)]


def slopes(f: Any, x: Any) -> Any:
    """The gradient by central differences in double precision."""
    with pb.enable_x64(True):
        x = np.asarray(x, np.float64)
        step = 1e-5 * np.eye(len(x))
        return np.array([(float(f(x + h)) - float(f(x - h))) / 2e-5 for h in step])


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("x", POINTS, ids=["positive", "negative"])
def test_derivatives_are_slopes(f: Any, x: Any) -> None:
    with pb.enable_x64(True):
        want = slopes(f, x)
        wide = np.asarray(x, np.float64)
        direction = np.array([0.3, -1.0, 0.5])
        for g in (f, pb.jit(f)):
            np.testing.assert_allclose(pb.grad(g)(wide), want, rtol=1e-6, atol=1e-6)
            _, dot = pb.jvp(g, (wide,), (direction,))
            np.testing.assert_allclose(dot, want @ direction, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(pb.jit(pb.grad(f))(wide), want, rtol=1e-6, atol=1e-6)
        _, push = pb.linearize(f, wide)
        np.testing.assert_allclose(push(direction), want @ direction, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("f", [local, scanned, nested], ids=lambda f: f.__name__)
def test_second_derivatives(f: Any) -> None:
    with pb.enable_x64(True):
        x = np.asarray(POINTS[0], np.float64)
        want = np.stack([slopes(lambda y, i=i: pb.grad(f)(y)[i], x) for i in range(3)])
        direction = np.array([1.0, 0.5, -2.0])
        forward = pb.jvp(pb.grad(f), (x,), (direction,))[1]
        np.testing.assert_allclose(forward, want @ direction, rtol=1e-5, atol=1e-5)
        reverse = pb.grad(lambda y: (pb.grad(f)(y) * direction).sum())(x)
        np.testing.assert_allclose(reverse, want @ direction, rtol=1e-5, atol=1e-5)


def test_references_to_tangents() -> None:
    r, r_dot = ref(3), pb.new_ref(jnp.array([1.0, 10.0, 100.0]))
    out, dot = pb.jvp(update, (r, 2.0), (r_dot, 0.5))
    assert (float(out), float(dot)) == (6.0, 110.5)
    assert r[...].tolist() == [1, 3, 2]
    assert r_dot[...].tolist() == [0, 10.5, 100]


def in_a_loop(act: Any, x: Any) -> Any:
    return lax.fori_loop(0, 2, lambda i, _: act(x), None)


def test_references_from_outside_are_constants() -> None:
    r = ref(3)

    def reads(x: Any) -> Any:
        r[0] = lax.stop_gradient(x)
        return x * r[2] + x * r[0]

    assert float(pb.grad(reads)(3.0)) == 5.0
    assert float(r[0]) == 3.0
    assert float(pb.jit(pb.grad(reads))(4.0)) == 6.0
    assert float(r[0]) == 4.0
    for act in (lambda x: ref_set(r, 0, x), lambda x: ref_add(r, 0, x)):
        for fun in (
            act,
            pb.jit(act),
            lambda x, a=act: lax.fori_loop(0, 2, lambda i, _: a(x), None),
        ):
            with pytest.raises(ValueError, match="not differentiated"):
                pb.grad(lambda x, f=fun: (f(x), x)[1])(1.0)
    with pytest.raises(TypeError, match="with respect to a reference"):
        pb.grad(lambda a: a[0])(r)


@pb.custom_vjp
def tapped(r: Any, x: Any) -> Any:
    return x


def _tapped_bwd(r: Any, ct: Any) -> Any:
    ref_add(r, ..., ct)
    return None, ct


tapped.defvjp(lambda r, x: (x, r), _tapped_bwd)


def test_cotangents_are_plumbed_out_of_the_backward_pass() -> None:
    def chain(r: Any, x: Any) -> Any:
        return tapped(r, jnp.sin(tapped(r, x))) ** 2

    def loop(r: Any, x: Any) -> Any:
        return lax.scan(lambda c, _: (tapped(r, jnp.sin(c)), None), x, None, length=3)[0]

    s1 = np.sin(1.0)
    taps = 2 * s1 + 2 * s1 * np.cos(1.0)
    s2, s3 = np.sin(s1), np.sin(np.sin(s1))
    loop_taps = 1 + np.cos(s2) + np.cos(s2) * np.cos(s1)
    for fun, want in ((chain, taps), (loop, loop_taps)):
        for wrap in (lambda f: f, pb.jit):
            r = pb.new_ref(jnp.float32(0))
            gradient = wrap(lambda x, r, f=fun: pb.grad(lambda y: f(r, y))(x))(1.0, r)
            np.testing.assert_allclose(r[...], want, rtol=1e-5)
            again = pb.grad(lambda y, f=fun, r=r: f(r, y))(1.0)
            np.testing.assert_allclose(gradient, again, rtol=1e-5)
    r = pb.new_ref(jnp.float32(0))
    gradient = pb.grad(lambda x: pb.jit(chain)(r, x) + pb.checkpoint(chain)(r, x))(1.0)
    np.testing.assert_allclose(r[...], 2 * taps, rtol=1e-5)
    np.testing.assert_allclose(gradient, 4 * s1 * np.cos(1.0), rtol=1e-5)
    r = pb.new_ref(jnp.float32(0))
    pb.grad(lambda x: lax.cond(x > 0, lambda y: chain(r, y), lambda y: y, x))(1.0)
    np.testing.assert_allclose(r[...], taps, rtol=1e-5)
    assert s3 < s2


# --------------------------------------------------------------------------- batching


def test_batched_references() -> None:
    def fun(r: Any, x: Any, i: Any) -> Any:
        r[0] = x
        r[i] += 10.0
        ref_add(r, i, 1.0)
        row = r.at[1:]
        row[0] += x
        return ref_swap(r, 2, x), r[np.array([0, 2])]

    x, i = np.array([7.0, 8.0], np.float32), np.array([1, 2])
    for axis in (0, 1):
        for wrap in (lambda f: f, pb.jit):
            r = pb.new_ref(jnp.moveaxis(jnp.arange(6.0).reshape(2, 3), 0, axis))
            old, some = wrap(pb.vmap(fun, in_axes=(axis, 0, 0)))(r, x, i)
            want = array(2, 3)
            for k in range(2):
                single = pb.new_ref(jnp.asarray(want[k]))
                o, s = fun(single, float(x[k]), int(i[k]))
                np.testing.assert_array_equal(old[k], o)
                np.testing.assert_array_equal(some[k], s)
                want[k] = single[...]
            np.testing.assert_array_equal(np.moveaxis(np.asarray(r[...]), axis, 0), want)


def test_references_made_in_a_batched_function() -> None:
    def fun(x: Any, n: Any) -> Any:
        r = pb.new_ref(jnp.zeros(4))
        r[0] = 3.0
        lax.while_loop(lambda c: c < n, lambda c: (ref_set(r, c, x * r[0]), c + 1)[1], 1)
        lax.cond(n > 2, lambda: ref_set(r, 0, x), lambda: None)
        return pb.freeze(r)

    xs, ns = np.array([1.0, 2.0, 5.0], np.float32), np.array([2, 4, 1])
    want = np.stack([fun(float(x), int(n)) for x, n in zip(xs, ns, strict=True)])
    np.testing.assert_array_equal(pb.vmap(fun)(xs, ns), want)
    np.testing.assert_array_equal(pb.jit(pb.vmap(fun))(xs, ns), want)
    batched = pb.vmap(pb.grad(local))(np.stack(POINTS))
    for k, x in enumerate(POINTS):
        np.testing.assert_allclose(batched[k], pb.grad(local)(x), rtol=1e-6)
    np.testing.assert_allclose(
        pb.jacfwd(lambda x: pb.freeze(pb.new_ref(x)) ** 2)(POINTS[0]), np.diag(2 * POINTS[0])
    )


def test_a_shared_reference_is_read_but_not_written_with_lanes() -> None:
    r = ref(3)
    np.testing.assert_array_equal(pb.vmap(lambda i: r[i])(np.array([2, 0])), [2, 0])
    for act in (
        lambda x: ref_set(r, 0, x),
        lambda x: ref_add(r, 0, x),
        lambda x: ref_set(r, x.astype(int), 1.0),
        pb.jit(lambda x: ref_set(r, 0, x)),
        lambda x: lax.fori_loop(0, 2, lambda i, _: ref_set(r, i, x), None),
    ):
        with pytest.raises(ValueError, match="all lanes"):
            pb.vmap(act)(jnp.arange(2.0))
    with pytest.raises(ValueError, match="all lanes"):
        pb.vmap(lambda a, x: ref_set(a, 0, x), in_axes=(None, 0))(r, jnp.arange(2.0))
    assert r[...].tolist() == [0, 1, 2]


# --------------------------------------------------------------------------- JAX


def test_the_same_program_in_jax() -> None:
    def program(lib: Any, np_: Any) -> Any:
        def fun(r: Any, x: Any) -> Any:
            made = lib.new_ref(x)

            def step(c: Any, i: Any) -> Any:
                made[i] = np_.tanh(made[i - 1] * c) + r[i, 0]
                lib.ref.addupdate(r, (i, 1), made[i])
                return c + lib.ref.swap(r, (i, 2), c), made[0]

            c, ys = lib.lax.scan(step, 0.5, np_.arange(1, 4))
            lib.lax.cond(c > 0, lambda: lib.ref.set(r, (0, 0), c), lambda: None)
            return c, ys, lib.freeze(made)

        return fun

    x = np.linspace(0.1, 0.9, 4, dtype=np.float32)
    ours, theirs = ref(4, 3), oracle.new_ref(array(4, 3))
    got = pb.jit(program(pb, jnp))(ours, x)
    want = oracle.jit(program(oracle, oracle.numpy))(theirs, x)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_allclose(ours[...], theirs[...], rtol=1e-6)

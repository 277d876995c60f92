"""Mutable references: NumPy arrays written in loops, finite differences and JAX are the oracles."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.core.effects import AccumEffect, CreationEffect, ReadEffect, WriteEffect
from pullback.errors import UnexpectedTracerError
from pullback.ref import AbstractRef, Ref
from tests.control.references import (
    array,
    modes,
    ref,
    ref_add,
    ref_get,
    ref_set,
    ref_swap,
    run,
    update,
)

oracle: Any = jax
oracle.config.update("jax_platforms", "cpu")


# --------------------------------------------------------------------------- indices

INDICES: list[Any] = [
    ...,
    (),
    1,
    -1,
    slice(1, 3),
    slice(None, None, 2),
    (0, slice(1, None)),
    (..., 2),
    (slice(None), 1, slice(0, 4, 3)),
    np.array([2, 0]),
    np.array([-1, 1]),
    (slice(None), np.array([0, 1]), np.array([1, 2])),
    (np.array([0, 1]), slice(None), np.array([1, 2])),
    (np.array([[0], [1]]), np.array([1, 2])),
    (0, np.array([1, 2]), slice(1, 3)),
    np.array([True, False, True]),
    (slice(None), None, 1),
]


@modes
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_reads_and_writes_are_numpys(index: Any, mode: str) -> None:
    want = array(3, 3, 4)
    part = want[index]
    new = (np.arange(part.size) * 7.0 + 100).reshape(part.shape).astype(np.float32)

    def fun(r: Any, x: Any) -> Any:
        before = r[index]
        old = ref_swap(r, index, x)
        ref_add(r, index, x)
        return before, old

    r = ref(3, 3, 4)
    before, old = run(mode, fun, r, new)
    np.testing.assert_array_equal(before, part)
    np.testing.assert_array_equal(old, part)
    want[index] = new
    want[index] += new
    np.testing.assert_array_equal(r[...], want)


@modes
def test_repeated_indices_add_every_time(mode: str) -> None:
    r, where = ref(4), np.array([1, 1, 3])
    run(mode, lambda r, x: ref_add(r, where, x), r, np.ones(3, np.float32))
    want = array(4)
    np.add.at(want, where, 1)
    np.testing.assert_array_equal(r[...], want)


def test_traced_indices_count_from_the_end_and_are_clamped() -> None:
    @pb.jit
    def fun(r: Any, i: Any) -> Any:
        before = r[i]
        r[i] = 100.0
        ref_add(r, i, 1.0)
        return before

    for i, at in ((2, 2), (-1, 4), (9, 4), (-9, 0)):
        r = ref(5)
        assert float(fun(r, i)) == at
        want = array(5)
        want[at] = 101
        np.testing.assert_array_equal(r[...], want)


def test_windows_at_traced_starts() -> None:
    @pb.jit
    def fun(r: Any, i: Any) -> Any:
        r[pb.ds(i, 2)] = jnp.full(2, 9.0)
        return r[pb.ds(i, 3), 1] if r.ndim > 1 else r[pb.ds(i, 3)]

    r = ref(6)
    np.testing.assert_array_equal(fun(r, 2), [9, 9, 4])
    np.testing.assert_array_equal(r[pb.ds(1, 3)], [1, 9, 9])


def test_views() -> None:
    def fun(r: Any, i: Any) -> Any:
        r.at[1:3].at[i][...] = jnp.full((3, 4), 7.0)
        r.at[0].T[1, 0] = 50.0
        r.T[3, 2, 2] += 1000.0
        view = r.at[2].reshape(-1)
        view[2] = 60.0
        ref_add(r.at[0], (0, 0), 5.0)
        return view[:4], r.T[0], r.at[1:].shape, len(view)

    want = array(3, 3, 4)
    want[1:3][1] = 7
    want[0].T[1, 0] = 50
    want.T[3, 2, 2] += 1000
    want[2].reshape(-1)[2] = 60
    want[0, 0, 0] += 5
    for jitted in (False, True):
        r = ref(3, 3, 4)
        view, flipped, shape, length = (pb.jit(fun) if jitted else fun)(r, 1)
        np.testing.assert_array_equal(r[...], want)
        np.testing.assert_array_equal(view, want[2].reshape(-1)[:4])
        np.testing.assert_array_equal(flipped, want.T[0])
        assert tuple(map(int, shape)) == (2, 3, 4)
        assert int(length) == 12


# --------------------------------------------------------------------------- eager


def test_a_reference_shares_nothing_with_arrays() -> None:
    x = jnp.zeros(3)
    host = np.zeros(3, np.float32)
    r, s = pb.new_ref(x), pb.new_ref(host)
    whole = r[...]
    r[0] = 1.0
    s[0] = 1.0
    host[1] = 5.0
    later = r[...]
    r[1] = 2.0
    assert x.tolist() == whole.tolist() == [0, 0, 0]
    assert later.tolist() == [1, 0, 0]
    assert r[...].tolist() == [1, 2, 0]
    assert s[...].tolist() == [1, 0, 0]
    assert host.tolist() == [0, 5, 0]


def test_eager_writes_to_a_part_are_in_place() -> None:
    r = pb.new_ref(jnp.arange(1000.0) * 2)
    r[0] = 1.0
    address = r.unsafe_buffer_pointer()
    for i in range(5):
        r[i : i + 2] = jnp.full(2, float(i))
        r[np.array([7, 8])] = jnp.ones(2)
    assert r.unsafe_buffer_pointer() == address
    held = r[...]
    r[3] = -1.0
    assert r.unsafe_buffer_pointer() != address
    assert float(held[3]) == 3.0


def test_attributes_and_types() -> None:
    r = ref(2, 3)
    assert (r.shape, r.ndim, r.size, len(r), r.dtype) == ((2, 3), 2, 6, 2, np.float32)
    assert isinstance(r, Ref)
    assert isinstance(r, pb.Ref)
    assert not isinstance(r, pb.Array)
    assert repr(r.aval) == repr(pb.typeof(r)) == "Ref{float32[2,3]}"
    assert repr(r) == "Ref([[0., 1., 2.],\n       [3., 4., 5.]], dtype=float32)"
    assert AbstractRef(r.aval.inner_aval) == r.aval
    assert hash(r)
    assert r == r
    assert r != ref(2, 3)
    assert pb.tree.leaves({"a": r}) == [r]
    assert pb.new_ref(jnp.int32(3)).dtype == np.int32
    assert pb.new_ref(1.0, kind="no_grad_no_remat").aval.kind == "no_grad_no_remat"
    np.testing.assert_array_equal(pb.empty_ref(pb.ShapeDtypeStruct((2,), "int32"))[...], [0, 0])
    key = pb.new_ref(pb.random.key(3))
    assert pb.random.key_data(key[...]).tolist() == [0, 3]


def test_copies_and_pickles_have_a_buffer_of_their_own() -> None:
    r = ref(3)
    copies = [copy.copy(r), copy.deepcopy(r), pickle.loads(pickle.dumps(r))]
    r[0] = 9.0
    assert all(c[...].tolist() == [0, 1, 2] for c in copies)


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda r: r[7], ValueError, "Out of bound"),
        (lambda r: r[0, 0], ValueError, "`indices` must not be longer than `shape`"),
        (lambda r: ref_set(r, (0, 0), 1.0), ValueError, "`indices` must not be longer"),
        (lambda r: r[..., ...], ValueError, "Only one ellipsis is supported"),
        (lambda r: r[object()], TypeError, "only integers, slices"),
        (lambda r: r[np.ones((3, 2), bool)], IndexError, "Too many indices"),
        (lambda r: r["a"], TypeError, "string indexing"),
        (lambda r: ref_set(r, 0, jnp.int32(1)), ValueError, "Invalid dtype"),
        (lambda r: ref_set(r, 0, 1), ValueError, "Invalid dtype"),
        (lambda r: ref_set(r, 0, 1j), ValueError, "Invalid dtype"),
        (lambda r: ref_set(r, ..., 1.0), ValueError, "Invalid shape"),
        (lambda r: ref_add(r, ..., jnp.ones(3)), ValueError, "Invalid shape"),
        (lambda r: ref_set(r, 0, pb.new_ref(1.0)), ValueError, "cannot be stored"),
        (lambda r: pb.new_ref(r), TypeError, "itself a reference"),
        (lambda r: pb.new_ref([1.0]), TypeError, "new_ref"),
        (lambda r: jnp.sin(r), TypeError, "Ref"),
        (lambda r: r + 1, TypeError, "unsupported operand"),
        (lambda r: list(r), TypeError, "iterated"),
        (lambda r: pb.pure_callback(np.sin, pb.typeof(r[...]), r), TypeError, "eference"),
        (lambda r: ref_get(jnp.ones(3), 0), ValueError, "only be called on a Ref"),
        (lambda r: pb.freeze(jnp.ones(3)), TypeError, "freeze"),
    ],
)
@modes
def test_misuse_is_refused(act: Any, error: Any, words: str, mode: str) -> None:
    with pytest.raises(error, match=words):
        run(mode, lambda r: act(r) and None, ref(5))


@modes
def test_a_frozen_or_freed_reference_is_dead(mode: str) -> None:
    def made(x: Any) -> Any:
        r = pb.new_ref(x)
        r[0] = 5.0
        return r

    def frozen(x: Any) -> Any:
        return pb.freeze(made(x))

    np.testing.assert_array_equal(run(mode, frozen, jnp.zeros(2)), [5, 0])
    for end in (pb.freeze, pb.free_ref):
        for use in (lambda r: r[...], lambda r: ref_set(r, 0, 1.0), pb.freeze, pb.free_ref):

            def dead(x: Any, end: Any = end, use: Any = use) -> Any:
                r = made(x)
                end(r)
                use(r)
                return x

            with pytest.raises(ValueError, match="used after it was"):
                run(mode, dead, jnp.zeros(2))


# --------------------------------------------------------------------------- jit


def test_arguments_and_closures_of_jit() -> None:
    r = ref(4)
    f = pb.jit(update)
    assert float(f(r, 3.0)) == 10.0
    assert r[...].tolist() == [1, 4, 2, 3]
    assert float(f(r, 3.0)) == 13.0
    g = pb.jit(lambda x: update(r, x))
    assert float(g(1.0)) == 14.0
    assert float(g(1.0)) == 15.0
    assert r[...].tolist() == [1, 9, 2, 3]
    other = ref(4)
    f(other, 0.0)
    assert other[...].tolist() == [1, 1, 2, 3]
    assert r[...].tolist() == [1, 9, 2, 3]


def test_nested_jit_and_several_references() -> None:
    r, s, t = ref(3), ref(3), ref(2)

    @pb.jit
    def inner(a: Any, b: Any) -> Any:
        a[0], b[0] = b[1], a[1] * 3
        return a[0] + t[1]

    @pb.jit
    def outer(x: Any) -> Any:
        made = pb.new_ref(x)
        y = inner(r, made)
        z = inner(s, r)
        t[0] = y + z
        return made[...]

    made = outer(jnp.full(3, 10.0))
    np.testing.assert_array_equal(made, [3, 10, 10])
    np.testing.assert_array_equal(r[...], [3, 1, 2])
    np.testing.assert_array_equal(s[...], [1, 1, 2])
    np.testing.assert_array_equal(t[...], [13, 1])


def test_a_compiled_write_to_a_part_copies_nothing() -> None:
    r = pb.new_ref(jnp.arange(4096.0) + 0)
    f = pb.jit(lambda r, i, x: ref_set(r, i, x))
    f(r, 0, 5.0)
    address = r.unsafe_buffer_pointer()
    for i in range(1, 4):
        f(r, i, 5.0)
    assert r.unsafe_buffer_pointer() == address
    assert r[:5].tolist() == [5, 5, 5, 5, 4]
    held = r[...]
    f(r, 9, 1.0)
    assert float(held[9]) == 9.0
    assert float(r[9]) == 1.0


def test_stages() -> None:
    r = ref(4)
    traced = pb.jit(update).trace(pb.ShapeDtypeStruct((4,), "float32", is_ref=True), 1.0)
    compiled = traced.lower().compile()
    assert float(compiled(r, jnp.float32(2.0))) == 9.0
    assert r[...].tolist() == [1, 3, 2, 3]
    assert "->" in pb.jit(update).lower(r, 1.0).as_text()


def test_debug_nans_looks_at_what_references_hold() -> None:
    r = ref(3)
    with pb.debug_nans(True), pytest.raises(FloatingPointError, match="log"):
        pb.jit(lambda r: ref_set(r, 0, jnp.log(r[1] - 5.0)))(r)


def aliasing_cases() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    yield "passed twice", lambda r: pb.jit(lambda a, b: a[0] + b[0])(r, r)
    yield "passed twice", lambda r: pb.jit(lambda ab: ab[0][0])([r, r])
    yield "both closed over", lambda r: pb.jit(lambda a: a[0] + r[0])(r)
    yield "passed twice", lambda r: pb.vmap(lambda a, b: a[...])(r, r)
    yield (
        "both closed over",
        lambda r: pb.jit(lambda x: pb.jit(lambda a: ref_set(a, 0, r[1]))(r))(1.0),
    )
    yield "cannot be returned", lambda r: pb.jit(lambda a: a)(r)
    yield "cannot be returned", lambda r: pb.jit(pb.new_ref)(jnp.ones(2))
    yield "cannot be returned", lambda r: pb.make_jaxpr(pb.new_ref)(jnp.ones(2))
    yield "cannot be returned", lambda r: lax.scan(lambda c, _: (c, None), r, None, length=2)
    yield "cannot be returned", lambda r: lax.cond(True, lambda a: a, lambda a: a, r)
    yield "only the function that made it", lambda r: pb.jit(pb.freeze)(r)
    yield "only the function that made it", lambda r: pb.jit(lambda x: pb.free_ref(r))(1.0)
    yield (
        "several times",
        lambda r: pb.jit(lambda a, x: pb.checkpoint(lambda b: ref_set(b, 0, a[1]))(a))(r, 1.0),
    )


@pytest.mark.parametrize(("words", "act"), list(aliasing_cases()))
def test_aliases_and_escapes_are_refused(words: str, act: Any) -> None:
    r = ref(4)
    with pytest.raises(ValueError, match=words):
        act(r)
    assert r[...].tolist() == [0, 1, 2, 3]


def test_a_leaked_reference_is_an_error() -> None:
    leaked: list[Any] = []
    pb.jit(lambda x: leaked.append(pb.new_ref(x)))(jnp.ones(2))
    for act in (lambda r: r[...], lambda r: ref_set(r, 0, 1.0), lambda r: pb.jit(ref_get)(r)):
        with pytest.raises(UnexpectedTracerError):
            act(leaked[0])


# --------------------------------------------------------------------------- order and effects


@modes
def test_reads_and_writes_keep_their_order(mode: str) -> None:
    seen: list[Any] = []

    def fun(r: Any) -> Any:
        a = r[0]
        r[0] = 5.0
        b = r[0]
        pb.debug.callback(lambda *xs: seen.append(tuple(map(float, xs))), a, b, ordered=True)
        ref_add(r, 0, 1.0)
        c = r[0] + r[0]
        r[0] = c
        r[1]  # a read that nobody needs
        pb.debug.callback(lambda x: seen.append(float(x)), r[0], ordered=True)
        return a, b, c

    r = ref(3)
    assert list(map(float, run(mode, fun, r))) == [0, 5, 12]
    assert seen == [(0.0, 5.0), 12.0]
    assert r[...].tolist() == [12, 1, 2]


def test_effects_of_jaxprs() -> None:
    def fun(r: Any, x: Any) -> Any:
        y = r[0]
        r[1] = x
        ref_add(r, 2, y)
        made = pb.new_ref(x)
        made[...] = y
        return made[...]

    closed = pb.make_jaxpr(fun)(ref(3), 1.0)
    (v, _) = closed.jaxpr.invars
    assert closed.effects == {ReadEffect(v), WriteEffect(v), AccumEffect(v), CreationEffect()}
    inner = pb.make_jaxpr(lambda r, x: pb.jit(lambda a, x: ref_set(a, 0, x))(r, x))(ref(3), 1.0)
    assert inner.effects == {WriteEffect(inner.jaxpr.invars[0])}
    assert pb.make_jaxpr(lambda x: pb.new_ref(x)[...])(1.0).effects == {CreationEffect()}


def test_printed_as_jax_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    def fun(np_: Any, jnp_: Any) -> Any:
        def body(r: Any, i: Any) -> Any:
            made = np_.new_ref(r[1:3, 0])
            made[i] = r[0, i] * 2.0
            np_.ref.addupdate(made, 0, 1.0)
            np_.ref.swap(r, (slice(None), i), jnp_.zeros(4))
            old = np_.ref.swap(made, 1, 5.0)
            return old, np_.freeze(made)

        return body

    ours = pb.make_jaxpr(fun(pb, jnp))(ref(4, 3), np.int32(1))
    theirs = oracle.make_jaxpr(fun(oracle, oracle.numpy))(oracle.new_ref(array(4, 3)), np.int32(1))
    assert str(ours) == str(theirs)

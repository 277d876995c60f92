"""`check_indices`: an index out of bounds is an IndexError in eager code and in programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax

X = jnp.arange(4.0)


def picks(x: Any, i: Any) -> Any:
    y = jnp.sin(x)
    return y[i]  # the line that errors name


LINE = picks.__code__.co_firstlineno + 2


def int32_of(i: Any) -> Any:
    return picks(X, i).astype(jnp.int32)


CASES: dict[str, Callable[[Any], Any]] = {
    "eager": lambda i: picks(X, i),
    "jit": lambda i: pb.jit(picks)(X, i),
    "jit of jit": lambda i: pb.jit(lambda j: pb.jit(picks)(X, j))(i),
    "grad": lambda i: pb.grad(picks)(X, i),
    "grad of jit": lambda i: pb.grad(pb.jit(picks))(X, i),
    "vmap": lambda i: pb.vmap(picks, (None, 0))(X, jnp.array([0, i])),
    "scan": lambda i: lax.scan(lambda c, _: (c + 1, picks(X, c)), i, None, length=2),
    "while": lambda i: lax.while_loop(lambda c: c < 9, lambda c: c + 1 + 0 * int32_of(c), i),
    "cond": lambda i: lax.cond(i > 3, lambda j: picks(X, j), lambda j: X[0], i),
    "jit of scan": lambda i: pb.jit(
        lambda j: lax.scan(lambda c, _: (c, picks(X, c)), j, None, length=2)
    )(i),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_index_and_the_line_are_named(case: str) -> None:
    f, i = CASES[case], jnp.int32(7)
    f(i)  # JAX's semantics: clamped
    with pb.check_indices(True), pytest.raises(IndexError) as caught:
        f(i)
    assert "index 7 is out of bounds for axis 0 with size 4" in str(caught.value)
    assert f"{__file__}:{LINE}" in str(caught.value)
    f(i)


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda: X[9], "index 9 is out of bounds for axis 0 with size 4"),
        (lambda: X[-5], "index -1 is out of bounds for axis 0 with size 4"),
        (lambda: jnp.ones((2, 3))[1, 3], "index 3 is out of bounds for axis 1 with size 3"),
        (lambda: X[jnp.array([1, 5])], "index 5"),
        (lambda: X[np.array([1, 5])], "index 5"),
        (lambda: X.at[4].set(0), "index 4"),
        (lambda: X.at[jnp.array([0, 6])].add(1), "index 6"),
        (lambda: jnp.take(X, 5), "index 5"),
        (lambda: jnp.take_along_axis(X, jnp.array([5]), 0), "index 5"),
        (lambda: lax.dynamic_slice(X, (3,), (2,)), "index 3"),
        (lambda: lax.dynamic_update_slice(X, X[:2], (3,)), "index 3"),
    ],
)
def test_operations(f: Callable[[], Any], text: str) -> None:
    f()
    with pb.check_indices(True):
        with pytest.raises(IndexError, match=text):
            f()
        with pytest.raises(IndexError, match=text):
            pb.jit(f)()


def test_what_is_inside_is_computed() -> None:
    def f(x: Any, i: Any) -> Any:
        return lax.fori_loop(0, 3, lambda k, c: c + x[k] * x[i], jnp.float32(0))

    expected = float(f(X, 2)), float(pb.grad(f)(X, 2)[2])
    with pb.check_indices(True):
        assert (float(pb.jit(f)(X, 2)), float(pb.grad(f)(X, 2)[2])) == expected
        assert X[-1] == 3.0
        assert X[jnp.array([-4, 3])].tolist() == [0.0, 3.0]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.at[5].set(1.0, mode="drop"),
        lambda x: x.at[jnp.array([1, 6])].get(mode="fill"),
        lambda x: x.at[jnp.array([1, 6])].get(mode="clip"),
        lambda x: jnp.take(x, jnp.array([1, 6]), mode="clip"),
        lambda x: pb.vmap(lambda v: v.at[7].add(1.0, mode="drop"))(x[None]),
        lambda x: pb.grad(lambda v: jnp.sum(v.at[jnp.array([1, 6])].get(mode="fill")))(x),
        lambda x: jnp.nonzero(x, size=6)[0],
        lambda x: jnp.bincount(x.astype(jnp.int32), length=2),
        lambda x: jnp.unique(x, size=6),
        lambda x: jnp.histogram(x, bins=2, range=(1, 2))[0],
        lambda x: jnp.sort(x)[jnp.argsort(x)],
        lambda x: pb.random.permutation(pb.random.key(0), x),
        lambda x: pb.random.choice(pb.random.key(0), x, (3,)),
        lambda x: jnp.interp(x, x, x),
        lambda x: jnp.median(x) + jnp.quantile(x, 0.3),
        lambda x: jnp.linalg.solve(jnp.diag(x + 1), x),
    ],
)
def test_what_was_chosen_is_no_error(f: Callable[[Any], Any]) -> None:
    expected = np.asarray(f(X))
    with pb.check_indices(True):
        np.testing.assert_array_equal(f(X), expected)
        np.testing.assert_allclose(pb.jit(f)(X), expected, rtol=1e-6)


def test_for_the_whole_process() -> None:
    f = pb.jit(picks)
    f(X, 9)
    f(X, 9)
    pb.config.update("pullback_check_indices", True)
    try:
        for _ in range(3):
            with pytest.raises(IndexError, match="index 9"):
                f(X, 9)
            f(X, 2)
        with pytest.raises(IndexError, match="index 9"):
            picks(X, 9)
    finally:
        pb.config.update("pullback_check_indices", False)
    assert f(X, 9) == f(X, 3)


def test_together_with_nan_checks() -> None:
    with pb.check_indices(True), pb.debug_nans(True):
        with pytest.raises(FloatingPointError):
            pb.jit(lambda x, i: jnp.log(x[i] - 9))(X, 1)
        with pytest.raises(IndexError):
            pb.jit(lambda x, i: jnp.log(x[i] - 9))(X, 10)


def test_positions_in_references() -> None:
    def read(i: Any) -> Any:
        return ref[i]

    def write(i: Any) -> None:
        ref[i] = jnp.full((2,), 9.0)

    def inside(x: Any, i: Any) -> Any:
        own = pb.new_ref(x)
        own[i] = 3.0
        return own[i - 1]

    ref = pb.new_ref(jnp.arange(4.0))
    with pb.check_indices(True):
        for call in (read, write, pb.jit(read), pb.jit(write)):
            call(jnp.array([1, 3]))
            before = ref[...]
            with pytest.raises(IndexError, match="index 7 is out of bounds for axis 0 with size 4"):
                call(jnp.array([1, 7]))
            assert ref[...].tolist() == before.tolist()
        assert pb.jit(inside)(jnp.arange(4.0), 2) == 1.0
        with pytest.raises(IndexError, match="index 7 is out of bounds"):
            pb.jit(inside)(jnp.arange(4.0), 7)

"""`lax` functions that read and write parts of arrays, and that sort, agree with JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import pullback
from pullback import lax, random

X = np.arange(12, dtype=np.float32).reshape(3, 4)
U = np.full((1, 2), 9, np.float32)
I = np.array([[2], [0], [5], [-1]], np.int32)  # noqa: E741
ROWS = np.arange(16, dtype=np.float32).reshape(4, 4)
SPECIAL = np.array([0.0, -0.0, np.nan, -np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0], np.float32)


def rows(lax: Any) -> Any:
    """The numbers of a gather of rows."""
    return lax.GatherDimensionNumbers((1,), (0,), (0,))


def into_rows(lax: Any) -> Any:
    """The numbers of a scatter into rows."""
    return lax.ScatterDimensionNumbers((1,), (0,), (0,))


CASES: dict[str, Callable[[Any], Any]] = {
    "slice": lambda lax: lax.slice(X, (0, 1), (2, 4), (1, 2)),
    "slice_in_dim": lambda lax: lax.slice_in_dim(X, -3, -1, axis=-1),
    "index_in_dim": lambda lax: lax.index_in_dim(X, -1, 1, keepdims=False),
    "dynamic_slice": lambda lax: lax.dynamic_slice(X, (1, -2), (1, 2)),
    "dynamic_slice_array": lambda lax: lax.dynamic_slice(X, np.array([9, 1]), (2, 2)),
    "dynamic_slice_unwrapped": lambda lax: lax.dynamic_slice(
        X, (1, 2), (1, 2), allow_negative_indices=False
    ),
    "dynamic_slice_in_dim": lambda lax: lax.dynamic_slice_in_dim(X, np.int8(-2), 2, 1),
    "dynamic_index_in_dim": lambda lax: lax.dynamic_index_in_dim(X, -1, keepdims=False),
    "dynamic_update_slice": lambda lax: lax.dynamic_update_slice(X, U, (2, -1)),
    "dynamic_update_slice_in_dim": lambda lax: lax.dynamic_update_slice_in_dim(X, X[:1], 1, 0),
    "dynamic_update_index_in_dim": lambda lax: lax.dynamic_update_index_in_dim(X, X[0], -1, 0),
    "index_take": lambda lax: lax.index_take(X, (np.array([0, -1]), np.array([-2, 1])), (0, 1)),
    "gather": lambda lax: lax.gather(X, I, rows(lax), (1, 4)),
    "gather_fill": lambda lax: lax.gather(X, I, rows(lax), (1, 4), mode="fill"),
    "gather_value": lambda lax: lax.gather(X, I, rows(lax), (1, 3), mode="fill", fill_value=7),
    "gather_clip": lambda lax: lax.gather(X, I, rows(lax), (1, 4), mode="clip"),
    "gather_int": lambda lax: lax.gather(X.astype(np.int8), I, rows(lax), (1, 4), mode="fill"),
    "scatter": lambda lax: lax.scatter(X, I, ROWS, into_rows(lax)),
    "scatter_clip": lambda lax: lax.scatter(X, I, ROWS, into_rows(lax), mode="clip"),
    "scatter_add": lambda lax: lax.scatter_add(X, I, ROWS, into_rows(lax), mode="clip"),
    "scatter_sub": lambda lax: lax.scatter_sub(X, I, ROWS, into_rows(lax), mode="clip"),
    "scatter_mul": lambda lax: lax.scatter_mul(X, I, ROWS, into_rows(lax), mode="clip"),
    "scatter_min": lambda lax: lax.scatter_min(X, I, ROWS, into_rows(lax), mode="clip"),
    "scatter_max": lambda lax: lax.scatter_max(X, I, ROWS, into_rows(lax), mode="clip"),
    "scatter_apply": lambda lax: lax.scatter_apply(
        X, I, lambda x: x * 2 + 1, into_rows(lax), update_shape=(4, 4), mode="clip"
    ),
    "sort": lambda lax: lax.sort(SPECIAL),
    "sort_axis": lambda lax: lax.sort(np.sin(X), 0),
    "sort_keys": lambda lax: lax.sort((X // 5, np.sin(X), X), num_keys=2),
    "sort_pairs": lambda lax: lax.sort((SPECIAL, np.arange(9, dtype=np.int32))),
    "sort_key_val": lambda lax: lax.sort_key_val(np.cos(X), X),
    "sort_complex": lambda lax: lax.sort(np.array([1 + 1j, 2 - 1j, 1 - 1j, 0], np.complex64)),
    "top_k": lambda lax: lax.top_k(np.sin(X), 2),
    "top_k_axis": lambda lax: lax.top_k(np.sin(X), 2, axis=0),
    "top_k_special": lambda lax: lax.top_k(SPECIAL, 9),
    "approx_max_k": lambda lax: lax.approx_max_k(np.sin(X), 2),
    "approx_min_k": lambda lax: lax.approx_min_k(np.sin(X), 2),
}


def agree(ours: Any, theirs: Any) -> None:
    """Results of ours and of JAX: equal bits, shapes and dtypes."""
    ours, theirs = pullback.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        if a.dtype.kind == "f":
            signs = np.signbit(np.asarray(a)), np.signbit(np.asarray(b))
            np.testing.assert_array_equal(*signs)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_jax(name: str) -> None:
    theirs = CASES[name](jax.lax)
    agree(CASES[name](lax), theirs)
    agree(pullback.jit(lambda: CASES[name](lax))(), theirs)


def test_traced_indices_wrap_and_clamp() -> None:
    for i in (-4, -3, -1, 0, 2, 3, 100):
        agree(
            pullback.jit(lambda i: lax.dynamic_index_in_dim(X, i))(i),
            jax.jit(lambda i: jax.lax.dynamic_index_in_dim(X, i))(i),
        )
        agree(
            pullback.jit(lambda i: lax.dynamic_update_slice(X, U, (i, i)))(i),
            jax.jit(lambda i: jax.lax.dynamic_update_slice(X, U, (i, i)))(i),
        )


def test_an_update_that_reads_its_operand() -> None:
    """The buffer is updated in place: the update must see the operand as it was."""

    def shifted(x: Any) -> Any:
        return lax.dynamic_update_slice(x, lax.slice(x, (0,), (5,)), (1,))

    x = np.arange(6, dtype=np.float32)
    for f in (shifted, pullback.jit(shifted)):
        np.testing.assert_array_equal(np.asarray(f(x)), [0, 0, 1, 2, 3, 4])


def test_the_operand_of_a_scatter_survives() -> None:
    def both(x: Any) -> Any:
        return x, lax.scatter_add(x, I, ROWS, into_rows(lax)), x

    before, after, still = pullback.jit(both)(X)
    np.testing.assert_array_equal(np.asarray(before), X)
    np.testing.assert_array_equal(np.asarray(still), X)
    assert not np.array_equal(np.asarray(after), X)


def test_keys_are_gathered_and_sliced() -> None:
    keys = random.split(random.key(0), 4)
    numbers = lax.GatherDimensionNumbers((), (0,), (0,))
    taken = lax.gather(keys, np.array([[2], [0]]), numbers, (1,), mode="clip")
    data = np.asarray(random.key_data(keys))
    np.testing.assert_array_equal(np.asarray(random.key_data(taken)), data[[2, 0]])
    part = lax.dynamic_slice(keys, (1,), (2,))
    np.testing.assert_array_equal(np.asarray(random.key_data(part)), data[1:3])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: lax.slice(X, (0, 0), (4, 4)), TypeError, "less than or equal to operand"),
        (lambda: lax.index_in_dim(X, 3), IndexError, "out of bounds"),
        (lambda: lax.dynamic_slice(X, (0,), (1, 1)), ValueError, "Length of slice indices"),
        (lambda: lax.dynamic_slice(X, (0, 0), (9, 1)), TypeError, "slice_sizes"),
        (
            lambda: lax.dynamic_slice(X, (0, -1), (1, 1), allow_negative_indices=False),
            ValueError,
            "out of bounds",
        ),
        (lambda: lax.dynamic_slice(X, (0.5, 0), (1, 1)), TypeError, "integer"),
        (lambda: lax.dynamic_update_slice(X, X[0], (0, 0)), TypeError, "must have the same rank"),
        (lambda: lax.gather(X, I, rows(lax), (2, 4)), TypeError, "slice size 1"),
        (lambda: lax.gather(X, I, rows(lax), (1, 4), mode="wrap"), ValueError, "Unknown gather"),
        (lambda: lax.scatter(X, I, X, into_rows(lax)), TypeError, "equal lengths"),
        (lambda: lax.sort(np.float32(1)), ValueError, "out of bounds"),
        (lambda: lax.sort(random.split(random.key(0))), TypeError, "no order"),
        (lambda: lax.top_k(X, 9), ValueError, "no larger"),
        (lambda: lax.top_k(X.astype(np.complex64), 1), ValueError, "no order"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()

"""`lax` functions that move elements agree with JAX in value, dtype and weak type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import pullback
from pullback import lax, random

X = np.arange(12, dtype=np.float32).reshape(3, 4)
CASES: dict[str, Callable[[Any], Any]] = {
    "broadcast": lambda lax: lax.broadcast(X, (2, 1)),
    "broadcast_in_dim": lambda lax: lax.broadcast_in_dim(X, (3, 2, 4), (0, 2)),
    "broadcast_scalar": lambda lax: lax.broadcast_in_dim(2.0, (2, 2), ()),
    "broadcast_to_rank": lambda lax: lax.broadcast_to_rank(X, 4),
    "broadcast_like": lambda lax: lax.broadcast_like(np.float32(3), X),
    "broadcast_shapes": lambda lax: lax.broadcast_shapes((2, 1), (3,), ()),
    "broadcasted_iota": lambda lax: lax.broadcasted_iota(np.int8, (2, 3), 1),
    "collapse": lambda lax: lax.collapse(X, 0),
    "collapse_part": lambda lax: lax.collapse(X[None], 0, -1),
    "concatenate": lambda lax: lax.concatenate([X, X[:1], X[:0]], 0),
    "empty": lambda lax: lax.empty((2,), np.int32),
    "expand_dims": lambda lax: lax.expand_dims(X, (0, -1)),
    "full": lambda lax: lax.full((2, 3), 1.5),
    "full_int": lambda lax: lax.full((2,), 3),
    "full_dtype": lambda lax: lax.full((2,), 3, np.float32),
    "full_like": lambda lax: lax.full_like(X, 2),
    "full_like_weak": lambda lax: lax.full_like(3.0, 2),
    "full_like_other": lambda lax: lax.full_like(X, 2, np.int32, (5,)),
    "iota": lambda lax: lax.iota(np.float32, 4),
    "pad": lambda lax: lax.pad(X, 9.0, [(1, 0, 2), (-1, 2, 0)]),
    "pad_cut": lambda lax: lax.pad(X, np.float32(9), [(-2, -1, 1), (3, -2, 2)]),
    "reshape": lambda lax: lax.reshape(X, (2, 6)),
    "reshape_order": lambda lax: lax.reshape(X, (12,), (1, 0)),
    "reshape_scalar": lambda lax: lax.reshape(3, (1, 1)),
    "rev": lambda lax: lax.rev(X, (0, 1)),
    "shape_as_value": lambda lax: lax.shape_as_value((2, 3)),
    "split": lambda lax: lax.split(X, (1, 3), axis=-1),
    "squeeze": lambda lax: lax.squeeze(X[:, None], (-2,)),
    "stack": lambda lax: lax.stack([X, X + 1], -1),
    "tile": lambda lax: lax.tile(X, (2, 3)),
    "transpose": lambda lax: lax.transpose(X, (1, 0)),
    "unstack": lambda lax: lax.unstack(X, -1),
}


def leaves(x: Any) -> list[Any]:
    """The results of a function as a flat list."""
    return [y for part in x for y in leaves(part)] if isinstance(x, (list, tuple)) else [x]


def agree(ours: Any, theirs: Any) -> None:
    """Results of ours and of JAX, equal in every respect."""
    assert len(leaves(ours)) == len(leaves(theirs))
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        if isinstance(b, jax.Array):
            assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_jax(name: str) -> None:
    agree(CASES[name](lax), CASES[name](jax.lax))


@pytest.mark.parametrize("name", ["pad", "pad_cut", "rev", "tile", "stack", "concatenate"])
def test_compiled(name: str) -> None:
    agree(pullback.jit(lambda: CASES[name](lax))(), CASES[name](jax.lax))


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.bool_, np.complex64, ml_dtypes.bfloat16])
def test_dtypes(dtype: Any) -> None:
    x = (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    with pullback.enable_x64(), jax.enable_x64():
        for f in (
            lambda lax: lax.transpose(x, (1, 0)),
            lambda lax: lax.pad(x, np.zeros((), dtype), [(1, 0, 1), (0, 1, 0)]),
            lambda lax: lax.concatenate([x, x], 1),
            lambda lax: lax.tile(lax.rev(x, (1,)), (2, 1)),
        ):
            agree(f(lax), f(jax.lax))
            agree(pullback.jit(lambda f=f: f(lax))(), f(jax.lax))


def test_keys_move_like_any_elements() -> None:
    keys = random.split(random.key(0), 6)
    moved = lax.rev(lax.transpose(lax.reshape(keys, (2, 3)), (1, 0)), (0,))
    assert moved.dtype is keys.dtype
    expected = np.asarray(random.key_data(keys)).reshape(2, 3, 2).transpose(1, 0, 2)[::-1]
    np.testing.assert_array_equal(np.asarray(random.key_data(moved)), expected)


def test_what_does_nothing_returns_its_operand() -> None:
    x = lax.full((2, 3), 1.0)
    assert lax.reshape(x, (2, 3)) is x
    assert lax.transpose(x, (0, 1)) is x
    assert lax.squeeze(x, ()) is x
    assert lax.broadcast(x, ()) is x
    assert lax.concatenate([x], 0) is x


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: lax.reshape(X, (5,)), TypeError, "12 elements"),
        (lambda: lax.reshape(X, (-1,)), TypeError, "positive"),
        (lambda: lax.transpose(X, (0, 0)), TypeError, "permutation"),
        (lambda: lax.squeeze(X, (0,)), ValueError, "squeeze"),
        (lambda: lax.broadcast_in_dim(X, (4, 4), (0, 1)), TypeError, "broadcast"),
        (lambda: lax.broadcast_shapes((2,), (3,)), ValueError, "Incompatible shapes"),
        (lambda: lax.concatenate([X, X.astype(np.int32)], 0), TypeError, "same dtypes"),
        (lambda: lax.concatenate([X, X[:, :2]], 0), TypeError, "shapes that differ in dimensions"),
        (lambda: lax.pad(X, np.int32(0), [(0, 0, 0)] * 2), TypeError, "same dtype"),
        (lambda: lax.full((2,), X), TypeError, "scalar"),
        (lambda: lax.full((2.5,), 1.0), TypeError, r"1D sequences of concrete .* got \(2.5,\)"),
        (lambda: random.normal(random.key(0), (2, "a")), TypeError, "1D sequences of concrete"),
        (
            lambda: pullback.jit(lambda n: random.normal(random.key(0), (n,)))(3),
            pullback.errors.TracerIntegerConversionError,
            "traced",
        ),
        (lambda: lax.split(X, (1, 1), 1), ValueError, "Sum of sizes"),
        (lambda: lax.tile(X, (2,)), TypeError, "repetition"),
        (lambda: lax.expand_dims(X, (0, 0)), ValueError, "repeated axis"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("value", [2166136261, 2**32 - 1, 2**63, 300, -1])
@pytest.mark.parametrize("dtype", ["uint32", "int32", "uint8", "float32"])
def test_full_of_an_integer_beyond_the_default_dtype(value: int, dtype: str) -> None:
    want = np.full(2, np.asarray(value).astype(dtype))
    np.testing.assert_array_equal(lax.full((2,), value, dtype), want)
    np.testing.assert_array_equal(pullback.numpy.full(2, value, dtype), want)
    np.testing.assert_array_equal(pullback.jit(lambda: lax.full((2,), value, dtype))(), want)

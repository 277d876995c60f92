"""LSTM networks against JAX's reference implementation, and their gradients."""

from typing import Any

import jax as real_jax
import jax.experimental.rnn
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.experimental import rnn

THEIRS = real_jax.experimental.rnn
RNG = np.random.default_rng(0)
SIZES = (3, 2, 2)


def problem(bidirectional: bool) -> tuple[Any, ...]:
    count = rnn.get_num_params_in_lstm(*SIZES, bidirectional)
    states = RNG.normal(size=(2, 4 if bidirectional else 2, 3, 2)).astype(np.float32)
    x = RNG.normal(size=(3, 5, 3)).astype(np.float32)
    lengths = np.array([5, 3, 1], np.int32)
    return x, states[0], states[1], RNG.normal(size=count).astype(np.float32), lengths


@pytest.mark.parametrize("bidirectional", [False, True])
def test_results_and_gradients(bidirectional: bool) -> None:
    x, h, c, w, lengths = problem(bidirectional)
    ct = RNG.normal(size=(3, 5, 4 if bidirectional else 2)).astype(np.float32)

    def ours(x: Any, h: Any, c: Any, w: Any) -> Any:
        return rnn.lstm(x, h, c, w, lengths, *SIZES, 0.0, bidirectional)

    def theirs(x: Any, h: Any, c: Any, w: Any) -> Any:
        parts = THEIRS.unpack_lstm_weights(w, *SIZES, bidirectional)
        return THEIRS.lstm_ref(x, h, c, *parts, lengths, *SIZES, 0.0, bidirectional)

    def slopes(root: Any, f: Any) -> Any:
        def loss(*args: Any) -> Any:
            y, h, c = f(*args)
            return (y * ct).sum() + h.sum() + (c**2).sum()

        return root.jit(root.grad(loss, argnums=(0, 1, 2, 3)))(x, h, c, w)

    for f in (ours, pb.jit(ours)):
        for a, b in zip(f(x, h, c, w), theirs(x, h, c, w), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)
    found = slopes(pb, ours)
    for a, b in zip(found, slopes(real_jax, theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    out, residuals = rnn.lstm_fwd(x, h, c, w, lengths, *SIZES, 0.0, bidirectional, None)
    grads = (jnp.asarray(ct), jnp.ones_like(h), 2 * out[2])
    back = rnn.lstm_bwd(*SIZES, 0.0, bidirectional, None, residuals, grads)
    for a, b in zip(back, found, strict=False):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_weights(bidirectional: bool) -> None:
    count = THEIRS.get_num_params_in_lstm(*SIZES, bidirectional)
    assert rnn.get_num_params_in_lstm(*SIZES, bidirectional) == count
    w = np.arange(count, dtype=np.float32)
    for a, b in zip(
        rnn.unpack_lstm_weights(w, *SIZES, bidirectional),
        THEIRS.unpack_lstm_weights(w, *SIZES, bidirectional),
        strict=True,
    ):
        for k in b:
            np.testing.assert_array_equal(a[k], b[k])
    swapped = rnn.swap_lstm_gates(w, *SIZES, bidirectional)
    np.testing.assert_array_equal(swapped, THEIRS.swap_lstm_gates(w, *SIZES, bidirectional))
    drawn = [
        root.init_lstm_weight(key(7), *SIZES, bidirectional)
        for root, key in ((rnn, pb.random.key), (THEIRS, real_jax.random.key))
    ]
    np.testing.assert_array_equal(*drawn)


def test_dropout_is_refused() -> None:
    x, h, c, w, lengths = problem(False)
    with pytest.raises(NotImplementedError, match="dropout"):
        rnn.lstm(x, h, c, w, lengths, *SIZES, 0.1, False)

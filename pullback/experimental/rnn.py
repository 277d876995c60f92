"""`jax.experimental.rnn`: long short-term memory networks on flat weights in cuDNN's layout.

The network is array code: the products of all inputs with the weights come first, then one `scan` a
layer and direction, which compiles to a loop of small matrix products in place.  Weights are, layer
by layer and direction by direction, W_ih and W_hh, then all biases; gates are i, f, g, o.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pullback import lax, random
from pullback import numpy as jnp
from pullback.nn import sigmoid
from pullback.transforms.derivatives import vjp

__all__ = [
    "get_num_params_in_lstm",
    "init_lstm_weight",
    "lstm",
    "lstm_bwd",
    "lstm_fwd",
    "lstm_ref",
    "swap_lstm_gates",
    "unpack_lstm_weights",
]

_GATES: Final = 4


def _shapes(
    input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The shapes of W_ih and W_hh of every layer and direction."""
    directions = 2 if bidirectional else 1
    out = []
    for layer in range(num_layers):
        width = input_size if layer == 0 else hidden_size * directions
        rows = _GATES * hidden_size
        out += [((rows, width), (rows, hidden_size))] * directions
    return out


def get_num_params_in_lstm(
    input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> int:
    """How many weights there are.

    >>> get_num_params_in_lstm(3, 2, 1, False)
    56
    """
    shapes = _shapes(input_size, hidden_size, num_layers, bidirectional)
    matrices = sum(math.prod(a) + math.prod(b) for a, b in shapes)
    return matrices + 2 * _GATES * hidden_size * len(shapes)


def init_lstm_weight(
    rng: Any, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> Any:
    """Weights drawn uniformly between -k and k, k = sqrt(1 / hidden_size).

    >>> import pullback as pb
    >>> init_lstm_weight(pb.random.key(0), 3, 2, 1, False).shape
    (56,)
    """
    count = get_num_params_in_lstm(input_size, hidden_size, num_layers, bidirectional)
    k = math.sqrt(1.0 / hidden_size)
    return random.uniform(rng, (count,), jnp.float32, minval=-k, maxval=k)


def unpack_lstm_weights(
    weights: Any, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any], dict[int, Any]]:
    """W_ih, W_hh, b_ih and b_hh, each by the number of a layer and direction.

    >>> import pullback.numpy as jnp
    >>> [w[0].shape for w in unpack_lstm_weights(jnp.zeros(56), 3, 2, 1, False)]
    [(8, 3), (8, 2), (8,), (8,)]
    """
    shapes = _shapes(input_size, hidden_size, num_layers, bidirectional)
    bias = (_GATES * hidden_size,)
    found: tuple[dict[int, Any], ...] = ({}, {}, {}, {})
    at = 0
    rows = [(k, i, s) for k, pair in enumerate(shapes) for i, s in enumerate(pair)]
    rows += [(k, i, bias) for k in range(len(shapes)) for i in (2, 3)]  # type: ignore[misc]
    for k, i, shape in rows:
        size = math.prod(shape)
        found[i][k] = weights[at : at + size].reshape(shape)
        at += size
    return found[0], found[1], found[2], found[3]


def swap_lstm_gates(
    weights: Any, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> Any:
    """The weights with the rows of the gates g and o in each other's places.

    >>> import pullback.numpy as jnp
    >>> swap_lstm_gates(jnp.arange(12), 1, 1, 1, False)[:4]
    Array([0, 1, 3, 2], dtype=int32)
    """
    shapes = _shapes(input_size, hidden_size, num_layers, bidirectional)
    bias = (_GATES * hidden_size, 1)
    rows = [s for pair in shapes for s in pair] + [bias] * (2 * len(shapes))
    order, at = [], 0
    for _, width in rows:
        block = np.arange(_GATES * hidden_size * width).reshape(_GATES, -1) + at
        order.append(block[[0, 1, 3, 2]].reshape(-1))
        at += block.size
    return jnp.asarray(weights)[np.concatenate(order)]


# --------------------------------------------------------------------------- the network


def _reversed(x: Any, lengths: Any) -> Any:
    """Every sequence of (time, batch, ...) turned around within its own length."""
    steps = jnp.arange(x.shape[0])[:, None]
    index = jnp.where(steps < lengths, lengths - 1 - steps, steps)
    return jnp.take_along_axis(x, index.reshape(*index.shape, *(1,) * (x.ndim - 2)), axis=0)


def _direction(
    x: Any, h0: Any, c0: Any, weights: tuple[Any, ...], lengths: Any, precision: Any
) -> tuple[Any, Any, Any]:
    """One layer in one direction on inputs (time, batch, width)."""
    w_ih, w_hh, b_ih, b_hh = weights
    inputs = jnp.matmul(x, w_ih.T, precision=precision) + (b_ih + b_hh)
    alive = jnp.arange(x.shape[0])[:, None, None] < lengths[:, None]
    recurrent = w_hh.T

    def step(state: Any, given: Any) -> Any:
        (h, c), (z, going) = state, given
        i, f, g, o = jnp.split(z + jnp.matmul(h, recurrent, precision=precision), _GATES, axis=-1)
        new_c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        new_h = sigmoid(o) * jnp.tanh(new_c)
        out = jnp.where(going, new_h, 0)
        return (jnp.where(going, new_h, h), jnp.where(going, new_c, c)), out

    (h, c), y = lax.scan(step, (h0, c0), (inputs, alive))
    return y, h, c


def _network(
    x: Any,
    h_0: Any,
    c_0: Any,
    weights: list[tuple[Any, ...]],
    lengths: Any,
    bidirectional: bool,
    precision: Any,
) -> tuple[Any, Any, Any]:
    directions = 2 if bidirectional else 1
    y = jnp.swapaxes(x, 0, 1)
    hs, cs = [], []
    for layer in range(len(weights) // directions):
        outs = []
        for d in range(directions):
            k = layer * directions + d
            given = _reversed(y, lengths) if d else y
            out, h, c = _direction(given, h_0[k], c_0[k], weights[k], lengths, precision)
            outs.append(_reversed(out, lengths) if d else out)
            hs.append(h)
            cs.append(c)
        y = jnp.concatenate(outs, axis=-1)
    return jnp.swapaxes(y, 0, 1), jnp.stack(hs), jnp.stack(cs)


def _check(dropout: float) -> None:
    if dropout:
        raise NotImplementedError(
            "dropout between the layers of an LSTM, whose mask cuDNN draws, is not supported; "
            "apply it between networks of one layer"
        )


def lstm_ref(
    x: Any,
    h_0: Any,
    c_0: Any,
    W_ih: dict[int, Any],
    W_hh: dict[int, Any],
    b_ih: dict[int, Any],
    b_hh: dict[int, Any],
    seq_lengths: Any,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
) -> tuple[Any, Any, Any]:
    """`lstm` on the weights that `unpack_lstm_weights` gives."""
    _check(dropout)
    weights = [(W_ih[k], W_hh[k], b_ih[k], b_hh[k]) for k in range(len(W_ih))]
    return _network(x, h_0, c_0, weights, jnp.asarray(seq_lengths), bidirectional, None)


def lstm(
    x: Any,
    h_0: Any,
    c_0: Any,
    weights: Any,
    seq_lengths: Any,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
    precision: Any = None,
) -> tuple[Any, Any, Any]:
    """Outputs (batch, time, directions * hidden) and last states h and c of an LSTM.

    `x` is (batch, time, input_size), `h_0` and `c_0` (layers * directions, batch, hidden_size),
    `seq_lengths` (batch,): outputs beyond a sequence's length are 0, and its states those at its
    end.  `dropout` must be 0.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> w = init_lstm_weight(pb.random.key(0), 3, 2, 1, False)
    >>> zero = jnp.zeros((1, 4, 2))
    >>> y, h, c = lstm(jnp.ones((4, 5, 3)), zero, zero, w, jnp.full(4, 5), 3, 2, 1, 0.0, False)
    >>> y.shape, h.shape
    ((4, 5, 2), (1, 4, 2))
    """
    _check(dropout)
    parts = unpack_lstm_weights(weights, input_size, hidden_size, num_layers, bidirectional)
    rows = [tuple(p[k] for p in parts) for k in range(len(parts[0]))]
    return _network(x, h_0, c_0, rows, jnp.asarray(seq_lengths), bidirectional, precision)


def lstm_fwd(
    x: Any,
    h_0: Any,
    c_0: Any,
    w: Any,
    seq_lengths: Any,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
    precision: Any,
) -> tuple[Any, Any]:
    """The results of `lstm`, and what `lstm_bwd` needs."""

    def run(x: Any, h_0: Any, c_0: Any, w: Any) -> Any:
        return lstm(
            x, h_0, c_0, w, seq_lengths, input_size, hidden_size, num_layers, dropout,
            bidirectional, precision,
        )  # fmt: skip

    found: tuple[Any, Any] = vjp(run, x, h_0, c_0, w)
    return found


def lstm_bwd(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
    precision: Any,
    residuals: Any,
    gradients: Any,
) -> tuple[Any, ...]:
    """Cotangents of x, h_0, c_0 and the weights, and None for the lengths."""
    return (*residuals(tuple(gradients)), None)

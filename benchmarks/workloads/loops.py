"""Sequential programs whose steps are small: what a step costs beside its arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import integers, normal
from benchmarks.frameworks import jax, jnp, lax, torch
from benchmarks.registry import workload

STEPS, WIDTH = 1000, 64


def _recurrent() -> list[Any]:
    return [normal(STEPS, WIDTH, scale=0.5), normal(WIDTH, WIDTH, seed=1, scale=0.1), normal(WIDTH)]


def _rnn(xs: Any, w: Any, h: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(h @ w + x)
        return h, None

    return lax.scan(step, h, xs)[0]


@workload("RNN, 1,000 steps × 64", _recurrent, flops=2.0 * STEPS * WIDTH**2)
def rnn(xs: Any, w: Any, h: Any) -> Any:
    return _rnn(xs, w, h)


@rnn.torch()
def _(xs: Any, w: Any, h: Any) -> Any:
    for x in xs:
        h = torch.tanh(h @ w + x)
    return h


@rnn.numpy()
def _(xs: Any, w: Any, h: Any) -> Any:
    for x in xs:
        h = np.tanh(h @ w + x)
    return h


@workload("RNN gradient", _recurrent, flops=6.0 * STEPS * WIDTH**2)
def rnn_gradient(xs: Any, w: Any, h: Any) -> Any:
    return jax.grad(lambda w: jnp.sum(_rnn(xs, w, h) ** 2))(w)


@rnn_gradient.torch()
def _(xs: Any, w: Any, h: Any) -> Any:
    w = w.detach().requires_grad_()
    for x in xs:
        h = torch.tanh(h @ w + x)
    return torch.autograd.grad((h**2).sum(), w)[0]


BATCH, LENGTH, HIDDEN = 32, 100, 128


def _lstm_inputs() -> list[Any]:
    return [
        normal(LENGTH, BATCH, HIDDEN, scale=0.5),
        normal(HIDDEN, 4 * HIDDEN, seed=1, scale=0.08),
        normal(HIDDEN, 4 * HIDDEN, seed=2, scale=0.08),
        normal(4 * HIDDEN, seed=3, scale=0.1),
    ]


def _lstm(xs: Any, wx: Any, wh: Any, b: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(x @ wx + h @ wh + b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((BATCH, HIDDEN))
    return lax.scan(step, (zeros, zeros), xs)[1]


_LSTM_FLOPS = 2.0 * LENGTH * BATCH * 8 * HIDDEN**2


def _torch_lstm(xs: Any, wx: Any, wh: Any, b: Any) -> Any:
    zeros = torch.zeros(1, BATCH, HIDDEN)
    weights = [wx.T, wh.T, b, torch.zeros_like(b)]
    return torch._VF.lstm(xs, (zeros, zeros), weights, True, 1, 0.0, True, False, False)[0]


@workload("LSTM, 100 steps, 32 × 128", _lstm_inputs, flops=_LSTM_FLOPS)
def lstm(xs: Any, wx: Any, wh: Any, b: Any) -> Any:
    return _lstm(xs, wx, wh, b)


lstm.torch()(_torch_lstm)


@workload("LSTM gradient", _lstm_inputs, flops=3 * _LSTM_FLOPS)
def lstm_gradient(xs: Any, wx: Any, wh: Any, b: Any) -> Any:
    def loss(wx: Any, wh: Any, b: Any) -> Any:
        return jnp.mean(_lstm(xs, wx, wh, b) ** 2)

    return jax.grad(loss, argnums=(0, 1, 2))(wx, wh, b)


@lstm_gradient.torch()
def _(xs: Any, wx: Any, wh: Any, b: Any) -> Any:
    weights = [w.detach().requires_grad_() for w in (wx, wh, b)]
    return torch.autograd.grad((_torch_lstm(xs, *weights) ** 2).mean(), weights)


@workload("scalar fori_loop, 100,000 steps", lambda: [np.float32(0.5)])
def scalar_loop(x: Any) -> Any:
    return lax.fori_loop(0, 100_000, lambda i, x: x * 0.999 + 0.001 * (1.0 - x), x)


@workload("Collatz, vmapped while_loop over 4,096", lambda: [integers(4096, high=100_000)])
def collatz(n: Any) -> Any:
    def length(n: Any) -> Any:
        def body(state: Any) -> Any:
            n, steps = state
            return jnp.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

        return lax.while_loop(lambda state: state[0] > 1, body, (n, 0))[1]

    return jax.vmap(length)(n)


@workload(
    "counts by .at[].add in a loop, 100,000",
    lambda: [integers(100_000, high=1000), normal(100_000)],
    tolerance=1e-3,
)
def sparse_updates(ids: Any, values: Any) -> Any:
    def body(i: Any, table: Any) -> Any:
        return table.at[ids[i]].add(values[i])

    return lax.fori_loop(0, 100_000, body, jnp.zeros(1000))


@sparse_updates.numpy()
def _(ids: Any, values: Any) -> Any:
    table = np.zeros(1000, np.float32)
    for i, value in zip(ids, values, strict=True):
        table[i] += value
    return table


@workload(
    "rows written in a scan, 1,000 of 1,000 × 1,000", lambda: [normal(1000)], bytes=4 * 1_000_000
)
def rows_in_a_scan(x: Any) -> Any:
    def step(buffer: Any, i: Any) -> Any:
        return buffer.at[i].set(x * i), None

    return lax.scan(step, jnp.zeros((1000, 1000)), jnp.arange(1000))[0]


@workload(
    "edit distance by scan, 512 × 512",
    lambda: [integers(512, high=4), integers(512, high=4, seed=1)],
)
def edit_distance(a: Any, b: Any) -> Any:
    def row(previous: Any, symbol: Any) -> Any:
        replaced = previous[:-1] + (b != symbol)
        best = jnp.minimum(replaced, previous[1:] + 1)

        def cell(left: Any, candidate: Any) -> Any:
            value = jnp.minimum(candidate, left + 1)
            return value, value

        first = previous[0] + 1
        _, rest = lax.scan(cell, first, best)
        return jnp.concatenate([first[None], rest]), None

    return lax.scan(row, jnp.arange(513), a)[0][-1]


def _chain_of_states() -> list[Any]:
    return [normal(2000, 32), normal(32, 32, seed=1)]


@workload("Viterbi, 2,000 steps × 32 states", _chain_of_states, flops=2.0 * 2000 * 32 * 32)
def viterbi(emissions: Any, transitions: Any) -> Any:
    def forward(score: Any, emission: Any) -> Any:
        ways = score[:, None] + transitions
        return ways.max(axis=0) + emission, ways.argmax(axis=0)

    score, pointers = lax.scan(forward, emissions[0], emissions[1:])

    def back(state: Any, pointer: Any) -> Any:
        return pointer[state], state

    last = jnp.argmax(score)
    first, path = lax.scan(back, last, pointers, reverse=True)
    return jnp.concatenate([first[None], path])


@viterbi.numpy()
def _(emissions: Any, transitions: Any) -> Any:
    score, pointers = emissions[0], []
    for emission in emissions[1:]:
        ways = score[:, None] + transitions
        pointers.append(ways.argmax(axis=0))
        score = ways.max(axis=0) + emission
    path = [int(score.argmax())]
    for pointer in reversed(pointers):
        path.append(int(pointer[path[-1]]))
    return np.array(path[::-1], np.int32)

"""Recurrent networks, attention, embeddings, decoding."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.parity.programs.registry import program


@program()
def vanilla_rnn(jax: Any) -> Any:
    """An RNN as a scan, the gradient through time."""
    jnp, lax = jax.numpy, jax.lax
    k1, k2, k3 = jax.random.split(jax.random.key(0), 3)
    params = (
        0.5 * jax.random.normal(k1, (8, 8)),
        0.5 * jax.random.normal(k2, (3, 8)),
        jnp.zeros(8),
    )
    xs = jax.random.normal(k3, (12, 3))

    @jax.jit
    def run(params: Any, xs: Any) -> Any:
        def cell(h: Any, x: Any) -> Any:
            w, u, b = params
            h = jnp.tanh(h @ w + x @ u + b)
            return h, h[0]

        return lax.scan(cell, jnp.zeros(8), xs)

    def loss(params: Any) -> Any:
        final, firsts = run(params, xs)
        return jnp.sum(final**2) + jnp.mean(firsts)

    return run(params, xs), jax.grad(loss)(params)


class LSTMState(NamedTuple):
    """Hidden and cell state."""

    h: Any
    c: Any


@program()
def lstm_batch(jax: Any) -> Any:
    """An LSTM over a batch of sequences with a namedtuple carry; vmap outside, scan inside."""
    jnp, lax = jax.numpy, jax.lax
    key = jax.random.PRNGKey(2)
    k1, k2, k3 = jax.random.split(key, 3)
    w = 0.4 * jax.random.normal(k1, (3 + 5, 20))
    readout = jax.random.normal(k2, (5,))
    xs = jax.random.normal(k3, (4, 9, 3))

    def cell(w: Any, state: LSTMState, x: Any) -> Any:
        gates = jnp.concatenate([x, state.h]) @ w
        i, f, g, o = jnp.split(gates, 4)
        c = jax.nn.sigmoid(f + 1.0) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return LSTMState(h, c), h

    def sequence(w: Any, readout: Any, xs: Any) -> Any:
        init = LSTMState(jnp.zeros(5), jnp.zeros(5))
        final, hs = lax.scan(lambda s, x: cell(w, s, x), init, xs, unroll=3)
        return final, hs @ readout

    @jax.jit
    def loss(w: Any, readout: Any) -> Any:
        final, ys = jax.vmap(sequence, (None, None, 0))(w, readout, xs)
        return jnp.mean(ys**2) + jnp.sum(final.c)

    return loss(w, readout), jax.grad(loss, (0, 1))(w, readout)


@program()
def gru_reverse(jax: Any) -> Any:
    """A bidirectional GRU with masks for padded steps."""
    jnp, lax = jax.numpy, jax.lax
    keys = jax.random.split(jax.random.key(4), 4)
    wz, wr, wh = (0.5 * jax.random.normal(k, (7, 4)) for k in keys[:3])
    xs = jax.random.normal(keys[3], (6, 2, 3))
    lengths = jnp.array([6, 4])

    def gru(ws: Any, xs: Any, reverse: bool) -> Any:
        wz, wr, wh = ws

        def cell(h: Any, inputs: Any) -> Any:
            t, x = inputs
            both = jnp.concatenate([x, h], axis=-1)
            z, r = jax.nn.sigmoid(both @ wz), jax.nn.sigmoid(both @ wr)
            candidate = jnp.tanh(jnp.concatenate([x, r * h], axis=-1) @ wh)
            new = (1 - z) * h + z * candidate
            h = jnp.where((t < lengths)[:, None], new, h)
            return h, h

        return lax.scan(cell, jnp.zeros((2, 4)), (jnp.arange(6), xs), reverse=reverse)

    def both_ways(ws: Any) -> Any:
        (last, forward), (first, backward) = gru(ws, xs, False), gru(ws, xs, True)
        return jnp.concatenate([last, first], -1), jnp.stack([forward, backward])

    grads = jax.jit(jax.grad(lambda ws: both_ways(ws)[0].sum() ** 2))((wz, wr, wh))
    return both_ways((wz, wr, wh)), grads


def _layer_norm(jnp: Any, x: Any, scale: Any, bias: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias


@program(rtol=1e-4)
def transformer_block(jax: Any) -> Any:
    """A causal transformer block with pre-norm and rotary-free positions, loss and gradient."""
    jnp = jax.numpy
    d, heads, length, vocabulary = 16, 4, 10, 11
    keys = iter(jax.random.split(jax.random.key(9), 8))
    init = jax.nn.initializers.lecun_normal()
    params = {
        "embed": jax.random.normal(next(keys), (vocabulary, d)),
        "position": 0.1 * jax.random.normal(next(keys), (length, d)),
        "qkv": init(next(keys), (d, 3 * d)),
        "out": init(next(keys), (d, d)),
        "up": init(next(keys), (d, 4 * d)),
        "down": init(next(keys), (4 * d, d)),
        "ln": [(jnp.ones(d), jnp.zeros(d)) for _ in range(3)],
    }
    tokens = jax.random.randint(next(keys), (3, length), 0, vocabulary)

    def attention(p: Any, x: Any) -> Any:
        q, k, v = jnp.split(x @ p["qkv"], 3, axis=-1)
        q, k, v = (a.reshape(length, heads, d // heads).transpose(1, 0, 2) for a in (q, k, v))
        scores = jnp.einsum("hqd,hkd->hqk", q, k) / jnp.sqrt(d / heads)
        mask = jnp.tril(jnp.ones((length, length), dtype=bool))
        weights = jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1)
        return jnp.einsum("hqk,hkd->qhd", weights, v).reshape(length, d) @ p["out"]

    def model(p: Any, tokens: Any) -> Any:
        x = p["embed"][tokens] + p["position"]
        x = x + attention(p, _layer_norm(jnp, x, *p["ln"][0]))
        x = x + jax.nn.gelu(_layer_norm(jnp, x, *p["ln"][1]) @ p["up"]) @ p["down"]
        return _layer_norm(jnp, x, *p["ln"][2]) @ p["embed"].T

    @jax.jit
    def loss(p: Any, tokens: Any) -> Any:
        logits = jax.vmap(model, (None, 0))(p, tokens)[:, :-1]
        log_p = jax.nn.log_softmax(logits, axis=-1)
        return -jnp.take_along_axis(log_p, tokens[:, 1:, None], axis=-1).mean()

    value, grads = jax.value_and_grad(loss)(params, tokens)
    return value, grads


@program()
def library_attention(jax: Any) -> Any:
    """jax.nn.dot_product_attention against attention by hand, causal and with a bias."""
    jnp = jax.numpy
    q, k, v = (jax.random.normal(jax.random.key(i), (2, 5, 3, 4)) for i in range(3))
    causal = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    bias = jnp.linspace(-1, 1, 25).reshape(1, 1, 5, 5)
    biased = jax.nn.dot_product_attention(q, k, v, bias=bias)

    def by_hand(q: Any) -> Any:
        scores = jnp.einsum("btnh,bsnh->bnts", q, k) / 2.0
        scores = jnp.where(jnp.arange(5)[:, None] >= jnp.arange(5), scores, -jnp.inf)
        return jnp.einsum("bnts,bsnh->btnh", jax.nn.softmax(scores), v)

    return (
        causal,
        biased,
        jnp.abs(causal - by_hand(q)).max() < 1e-5,
        jax.grad(lambda q: by_hand(q).sum())(q),
    )


@program()
def word2vec(jax: Any) -> Any:
    """Skip-gram with negative sampling: gathers forward, scatter-adds in explicit updates."""
    jnp = jax.numpy
    vocabulary, d = 20, 6
    k1, k2, k3 = jax.random.split(jax.random.key(1), 3)
    center = jax.random.normal(k1, (vocabulary, d))
    context = jnp.zeros((vocabulary, d))
    pairs = jax.random.randint(k2, (40, 2), 0, vocabulary)
    negatives = jax.random.choice(k3, vocabulary, (40, 3))

    def loss(c: Any, pos: Any, neg: Any) -> Any:
        good = jax.nn.log_sigmoid(jnp.sum(c * pos, -1))
        bad = jax.nn.log_sigmoid(-jnp.einsum("bd,bnd->bn", c, neg)).sum(-1)
        return -(good + bad).sum()

    @jax.jit
    def step(center: Any, context: Any) -> Any:
        c, p = pairs.T
        rows = (center[c], context[p], context[negatives])
        gc, gp, gn = jax.grad(loss, (0, 1, 2))(*rows)
        center = center.at[c].add(-0.1 * gc)
        return center, context.at[p].add(-0.1 * gp).at[negatives].add(-0.1 * gn)

    for _ in range(3):
        center, context = step(center, context)
    similar = center @ center.T
    return center, context, jnp.argsort(-similar, axis=1)[:, :3]


@program()
def beam_search(jax: Any) -> Any:
    """Beam search over a Markov model with top_k; the beams' histories are gathered."""
    jnp, lax = jax.numpy, jax.lax
    vocabulary, beam = 7, 3
    log_p = jax.nn.log_softmax(2.0 * jax.random.normal(jax.random.key(8), (vocabulary, vocabulary)))

    def step(state: Any, t: Any) -> Any:
        scores, sequences = state
        last = sequences[:, t]
        total = (scores[:, None] + log_p[last]).reshape(-1)
        scores, flat = lax.top_k(total, beam)
        parent, token = flat // vocabulary, flat % vocabulary
        sequences = sequences[parent].at[:, t + 1].set(token)
        return (scores, sequences), parent

    @jax.jit
    def search(start: Any) -> Any:
        scores = jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf)
        sequences = jnp.zeros((beam, 9), jnp.int32).at[:, 0].set(start)
        return lax.scan(step, (scores, sequences), jnp.arange(8))

    (scores, sequences), parents = search(2)
    return scores, sequences, parents


@program()
def sampled_decoding(jax: Any) -> Any:
    """Temperature, top-k and nucleus sampling with categorical, in a while_loop with a key."""
    jnp, lax = jax.numpy, jax.lax
    table = 1.5 * jax.random.normal(jax.random.key(13), (9, 9))

    def nucleus(logits: Any, p: float) -> Any:
        order = jnp.argsort(-logits)
        cumulative = jnp.cumsum(jax.nn.softmax(logits[order]))
        keep = jnp.concatenate([jnp.array([True]), cumulative[:-1] < p])
        return jnp.where(jnp.zeros(9, bool).at[order].set(keep), logits, -jnp.inf)

    def body(state: Any) -> Any:
        key, i, tokens = state
        key, sub = jax.random.split(key)
        logits = nucleus(table[tokens[i]] / 0.8, 0.9)
        top, _ = lax.top_k(logits, 5)
        logits = jnp.where(logits < top[-1], -jnp.inf, logits)
        return key, i + 1, tokens.at[i + 1].set(jax.random.categorical(sub, logits))

    def going(state: Any) -> Any:
        _, i, tokens = state
        return (i < 15) & (tokens[i] != 3)

    @jax.jit
    def sample(key: Any) -> Any:
        return lax.while_loop(going, body, (key, 0, jnp.zeros(16, jnp.int32)))[1:]

    keys = jax.random.split(jax.random.key(99), 5)
    return jax.vmap(sample)(keys), sample(keys[0])


@program()
def edit_distance(jax: Any) -> Any:
    """Levenshtein distance: a scan of scans over rows of the dynamic program."""
    jnp, lax = jax.numpy, jax.lax
    a = jnp.array([ord(c) for c in "intention"])
    b = jnp.array([ord(c) for c in "execution!"])

    def row(previous: Any, inputs: Any) -> Any:
        i, letter = inputs

        def cell(left: Any, js: Any) -> Any:
            above, diagonal, other = js
            new = jnp.minimum(jnp.minimum(left, above) + 1, diagonal + (letter != other))
            return new, new

        _, rest = lax.scan(cell, i, (previous[1:], previous[:-1], b))
        return jnp.concatenate([i[None], rest]), None

    first = jnp.arange(len(b) + 1)
    last, _ = lax.scan(row, first, (jnp.arange(1, len(a) + 1), a))
    return last[-1], last


@program(rtol=1e-4)
def linear_recurrence(jax: Any) -> Any:
    """A diagonal state-space layer by associative_scan equals the one by scan."""
    jnp, lax = jax.numpy, jax.lax
    a = jax.nn.sigmoid(jax.random.normal(jax.random.key(0), (16, 3)))
    x = jax.random.normal(jax.random.key(1), (16, 3))

    def combine(left: Any, right: Any) -> Any:
        return left[0] * right[0], right[0] * left[1] + right[1]

    _, parallel = lax.associative_scan(combine, (a, x))
    _, serial = lax.scan(lambda h, ax: (ax[0] * h + ax[1],) * 2, jnp.zeros(3), (a, x))
    gradient = jax.grad(lambda x: lax.associative_scan(combine, (a, x))[1].sum())(x)
    return parallel, serial, gradient

"""Neural networks and their training steps, written by hand."""

from __future__ import annotations

import functools
from typing import Any

from tests.parity.programs.registry import program


def _dense(jax: Any, key: Any, n: int, m: int) -> dict[str, Any]:
    scale = jax.numpy.sqrt(2.0 / n)
    return {"w": scale * jax.random.normal(key, (n, m)), "b": jax.numpy.zeros(m)}


@program()
def mlp_sgd(jax: Any) -> Any:
    """A multilayer perceptron on a toy problem, plain gradient descent."""
    jnp = jax.numpy
    sizes = [2, 16, 16, 1]
    keys = jax.random.split(jax.random.key(0), len(sizes))
    params = [_dense(jax, k, n, m) for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=False)]
    x = jax.random.uniform(keys[-1], (64, 2), minval=-1.0, maxval=1.0)
    y = jnp.sin(3.0 * x[:, :1]) * x[:, 1:]

    def predict(params: Any, x: Any) -> Any:
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer["w"] + layer["b"])
        return x @ params[-1]["w"] + params[-1]["b"]

    def loss(params: Any, x: Any, y: Any) -> Any:
        return jnp.mean(jnp.square(predict(params, x) - y))

    @jax.jit
    def step(params: Any, x: Any, y: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, y)
        return value, jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, params, grads)

    losses = []
    for _ in range(5):
        value, params = step(params, x, y)
        losses.append(value)
    return losses, params


@program(rtol=1e-4)
def cnn_adam(jax: Any) -> Any:
    """Convolution, pooling, dense; Adam; labels as one-hot vectors."""
    jnp, lax = jax.numpy, jax.lax
    k1, k2, k3, k4 = jax.random.split(jax.random.PRNGKey(1), 4)
    params = {
        "conv": 0.3 * jax.random.normal(k1, (3, 3, 1, 4)),
        "bias": jnp.zeros((4,)),
        "out": _dense(jax, k2, 4 * 4 * 4, 10),
    }
    images = jax.random.normal(k3, (16, 8, 8, 1))
    labels = jax.random.randint(k4, (16,), 0, 10)

    def logits(params: Any, x: Any) -> Any:
        dims = ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(x, params["conv"], (1, 1), "SAME", dimension_numbers=dims)
        x = jax.nn.relu(x + params["bias"])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return x.reshape(x.shape[0], -1) @ params["out"]["w"] + params["out"]["b"]

    def loss(params: Any) -> Any:
        log_p = jax.nn.log_softmax(logits(params, images))
        return -jnp.mean(jnp.sum(log_p * jax.nn.one_hot(labels, 10), axis=-1))

    @jax.jit
    def step(i: Any, params: Any, m: Any, v: Any) -> Any:
        grads = jax.grad(loss)(params)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, grads)
        m_hat = jax.tree.map(lambda m: m / (1 - 0.9 ** (i + 1)), m)
        v_hat = jax.tree.map(lambda v: v / (1 - 0.999 ** (i + 1)), v)
        update = jax.tree.map(lambda m, v: 1e-2 * m / (jnp.sqrt(v) + 1e-6), m_hat, v_hat)
        return jax.tree.map(jnp.subtract, params, update), m, v

    m = v = jax.tree.map(jnp.zeros_like, params)
    for i in range(3):
        params, m, v = step(i, params, m, v)
    return loss(params), logits(params, images).argmax(-1), m


@program()
def momentum_with_schedule(jax: Any) -> Any:
    """Nesterov momentum, cosine schedule, clipping by global norm, weight decay, in a fori_loop."""
    jnp, lax = jax.numpy, jax.lax
    key_w, key_x = jax.random.split(jax.random.key(3))
    w, x = jax.random.normal(key_w, (5, 3)), jax.random.normal(key_x, (20, 5))
    y = jnp.cumsum(x[:, :3], axis=1)

    def loss(p: Any) -> Any:
        residual = x @ p["w"] + p["b"] - y
        return 0.5 * jnp.mean(jnp.sum(residual**2, axis=1)) + 1e-3 * jnp.vdot(p["w"], p["w"])

    def step(i: Any, state: Any) -> Any:
        params, velocity = state
        rate = 0.05 * (1.0 + jnp.cos(jnp.pi * i / 30.0))
        ahead = jax.tree.map(lambda p, v: p + 0.9 * v, params, velocity)
        grads = jax.grad(loss)(ahead)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / norm), grads)
        velocity = jax.tree.map(lambda v, g: 0.9 * v - rate * g, velocity, grads)
        return jax.tree.map(jnp.add, params, velocity), velocity

    params = {"w": w, "b": jnp.zeros(3)}
    params, _ = lax.fori_loop(0, 30, step, (params, jax.tree.map(jnp.zeros_like, params)))
    return params, loss(params)


@program()
def softmax_regression(jax: Any) -> Any:
    """Multinomial logistic regression, labels picked with take_along_axis, accuracy."""
    jnp = jax.numpy
    key = jax.random.PRNGKey(42)
    key, sub = jax.random.split(key)
    x = jax.random.normal(sub, (60, 4))
    key, sub = jax.random.split(key)
    y = jnp.argmax(x @ jax.random.normal(sub, (4, 3)), axis=1)

    def loss(w: Any, b: Any) -> Any:
        scores = x @ w + b
        picked = jnp.take_along_axis(scores, y[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(scores, axis=1) - picked)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1)))
    w, b = jnp.zeros((4, 3)), jnp.zeros(3)
    for _ in range(20):
        gw, gb = grad(w, b)
        w, b = w - gw, b - gb
    accuracy = (jnp.argmax(x @ w + b, axis=1) == y).mean()
    return w, b, loss(w, b), accuracy


@program()
def dropout_network(jax: Any) -> Any:
    """Dropout with a key per layer and per example, through vmap."""
    jnp = jax.numpy

    def dropout(key: Any, x: Any, rate: float) -> Any:
        keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
        return jnp.where(keep, x / (1.0 - rate), 0.0)

    def apply(params: Any, key: Any, x: Any) -> Any:
        for w in params:
            key, sub = jax.random.split(key)
            x = dropout(sub, jax.nn.gelu(x @ w), 0.25)
        return x.sum()

    key = jax.random.key(7)
    init = jax.nn.initializers.glorot_uniform()
    params = [init(jax.random.fold_in(key, i), (6, 6)) for i in range(3)]
    x = jnp.linspace(-1.0, 1.0, 24).reshape(4, 6)
    keys = jax.random.split(key, 4)
    outs = jax.vmap(apply, in_axes=(None, 0, 0))(params, keys, x)
    grads = jax.jit(jax.grad(lambda p: jax.vmap(apply, (None, 0, 0))(p, keys, x).mean()))(params)
    return outs, grads


@program()
def batch_norm_network(jax: Any) -> Any:
    """Batch normalization with running statistics as auxiliary output of value_and_grad."""
    jnp = jax.numpy

    def norm(x: Any, scale: Any, shift: Any, eps: float = 1e-5) -> Any:
        mean, var = jnp.mean(x, axis=0), jnp.var(x, axis=0)
        return (x - mean) / jnp.sqrt(var + eps) * scale + shift, (mean, var)

    def loss(params: Any, state: Any, x: Any, y: Any) -> Any:
        h, stats = norm(x @ params["w1"], params["scale"], params["shift"])
        out = jax.nn.leaky_relu(h, 0.1) @ params["w2"]
        state = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, state, stats)
        return jnp.mean((out[:, 0] - y) ** 2), state

    k1, k2, k3 = jax.random.split(jax.random.key(0), 3)
    params = {
        "w1": jax.random.normal(k1, (3, 8)),
        "w2": jax.random.normal(k2, (8, 1)),
        "scale": jnp.ones(8),
        "shift": jnp.zeros(8),
    }
    state = (jnp.zeros(8), jnp.ones(8))
    x = jax.random.normal(k3, (32, 3))
    y = x.sum(1) ** 2
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for _ in range(4):
        (value, state), grads = step(params, state, x, y)
        params = jax.tree.map(lambda p, g: p - 0.05 * g, params, grads)
    return value, state, params


@program(rtol=2e-2)
def mixed_precision_step(jax: Any) -> Any:
    """Weights in float32, arithmetic in bfloat16, loss scaling, checks for infinities."""
    jnp = jax.numpy
    k1, k2, k3 = jax.random.split(jax.random.key(11), 3)
    params = {"w1": jax.random.normal(k1, (8, 16)), "w2": jax.random.normal(k2, (16, 2))}
    x = jax.random.normal(k3, (12, 8))

    def forward(params: Any, x: Any) -> Any:
        low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
        h = jax.nn.silu(x.astype(jnp.bfloat16) @ low["w1"])
        return (h @ low["w2"]).astype(jnp.float32)

    @jax.jit
    def step(params: Any, scale: Any) -> Any:
        grads = jax.grad(lambda p: scale * jnp.mean(forward(p, x) ** 2))(params)
        grads = jax.tree.map(lambda g: g / scale, grads)
        finite = jnp.all(jnp.array([jnp.isfinite(g).all() for g in jax.tree.leaves(grads)]))
        new = jax.tree.map(lambda p, g: jnp.where(finite, p - 0.01 * g, p), params, grads)
        return new, jnp.where(finite, scale * 2.0, scale * 0.5)

    scale = jnp.float32(128.0)
    for _ in range(2):
        params, scale = step(params, scale)
    out = forward(params, x)
    return params, scale, out, out.astype(jnp.bfloat16)


@program()
def autoencoder_with_static_layers(jax: Any) -> Any:
    """functools.partial decorators, static arguments, layers applied by reduce."""
    jnp = jax.numpy
    activations = {"relu": jax.nn.relu, "tanh": jnp.tanh, "elu": jax.nn.elu}

    @functools.partial(jax.jit, static_argnums=(0,), static_argnames=("depth",))
    def encode(kind: str, w: Any, x: Any, *, depth: int = 2) -> Any:
        f = activations[kind]
        return functools.reduce(lambda h, _: f(h @ w), range(depth), x)

    @functools.partial(jax.vmap, in_axes=(None, 0))
    def decode(w: Any, code: Any) -> Any:
        return jax.nn.sigmoid(w.T @ code)

    w = jax.random.orthogonal(jax.random.key(5), 6)
    x = jax.random.truncated_normal(jax.random.key(6), -1.5, 1.5, (10, 6))
    codes = [encode(kind, w, x, depth=d) for kind in activations for d in (1, 3)]

    def loss(w: Any) -> Any:
        return jnp.mean((decode(w, encode("tanh", w, x)) - x) ** 2)

    return codes, loss(w), jax.grad(loss)(w)


@program()
def group_convolutions(jax: Any) -> Any:
    """Depthwise, strided, dilated and transposed convolutions, with gradients."""
    jnp, lax = jax.numpy, jax.lax
    x = jax.random.normal(jax.random.key(0), (2, 9, 9, 4))
    depthwise = jax.random.normal(jax.random.key(1), (3, 3, 1, 8))
    up = jax.random.normal(jax.random.key(2), (2, 2, 8, 3))
    dims = ("NHWC", "HWIO", "NHWC")

    def net(depthwise: Any, up: Any) -> Any:
        h = lax.conv_general_dilated(
            x, depthwise, (2, 2), ((1, 1), (1, 1)), dimension_numbers=dims, feature_group_count=4
        )
        h = lax.conv_general_dilated(
            h,
            depthwise[..., :8],
            (1, 1),
            "SAME",
            rhs_dilation=(2, 2),
            dimension_numbers=dims,
            feature_group_count=8,
        )
        pooled = lax.reduce_window(h, 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "SAME") / 4.0
        return lax.conv_transpose(pooled, up, (2, 2), "VALID", dimension_numbers=dims)

    def loss(depthwise: Any, up: Any) -> Any:
        return jnp.mean(net(depthwise, up) ** 2)

    return net(depthwise, up), jax.jit(jax.grad(loss, (0, 1)))(depthwise, up)

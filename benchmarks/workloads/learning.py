"""Networks: forward passes, gradients and training steps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.data import integers, normal
from benchmarks.frameworks import jax, jnp, lax, torch
from benchmarks.registry import workload


def _layers(*sizes: int) -> list[Any]:
    pairs = list(itertools.pairwise(sizes))
    return [
        {"w": normal(m, n, seed=i, scale=(2.0 / m) ** 0.5), "b": normal(n, seed=i, scale=0.1)}
        for i, (m, n) in enumerate(pairs)
    ]


def _mlp_inputs(batch: int, *sizes: int) -> list[Any]:
    return [_layers(*sizes), normal(batch, sizes[0]), integers(batch, high=sizes[-1])]


def _mlp_step(layers: Any, x: Any, labels: Any) -> Any:
    def loss(layers: Any) -> Any:
        h = x
        for layer in layers[:-1]:
            h = jax.nn.relu(h @ layer["w"] + layer["b"])
        logits = h @ layers[-1]["w"] + layers[-1]["b"]
        scores = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=-1))

    value, slope = jax.value_and_grad(loss)(layers)
    return value, jax.tree.map(lambda p, g: p - 0.1 * g, layers, slope)


def _torch_mlp_step(layers: Any, x: Any, labels: Any) -> Any:
    flat = [p.detach().requires_grad_() for layer in layers for p in (layer["w"], layer["b"])]
    h = x
    for w, b in zip(flat[:-2:2], flat[1:-2:2], strict=True):
        h = torch.relu(torch.addmm(b, h, w))
    value = torch.nn.functional.cross_entropy(torch.addmm(flat[-1], h, flat[-2]), labels)
    slope = torch.autograd.grad(value, flat)
    new = [(p - 0.1 * g).detach() for p, g in zip(flat, slope, strict=True)]
    return value.detach(), [{"w": w, "b": b} for w, b in zip(new[::2], new[1::2], strict=True)]


def _long_labels(layers: Any, x: Any, labels: Any) -> list[Any]:
    return [layers, x, labels.long()]


_MLP_WEIGHTS = 784 * 512 + 512 * 512 + 512 * 10


@workload(
    "MLP training step, 784-512-512-10 at 128",
    lambda: _mlp_inputs(128, 784, 512, 512, 10),
    flops=6.0 * 128 * _MLP_WEIGHTS,
)
def mlp_step(layers: Any, x: Any, labels: Any) -> Any:
    return _mlp_step(layers, x, labels)


mlp_step.torch(_long_labels)(_torch_mlp_step)


@workload("tiny MLP training step, 8-16-4 at 16", lambda: _mlp_inputs(16, 8, 16, 4))
def tiny_mlp_step(layers: Any, x: Any, labels: Any) -> Any:
    return _mlp_step(layers, x, labels)


tiny_mlp_step.torch(_long_labels)(_torch_mlp_step)


@workload(
    "per-example gradients, 64-64-10 at 256",
    lambda: _mlp_inputs(256, 64, 64, 10),
    bytes=4 * 256 * (64 * 64 + 64 * 10),
)
def per_example_gradients(layers: Any, x: Any, labels: Any) -> Any:
    def loss(layers: Any, x: Any, label: Any) -> Any:
        h = jnp.tanh(x @ layers[0]["w"] + layers[0]["b"])
        return -jax.nn.log_softmax(h @ layers[1]["w"] + layers[1]["b"])[label]

    return jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(layers, x, labels)


@workload(
    "Hessian of a small network, 8-16-1", lambda: [_layers(8, 16, 1), normal(32, 8)], tolerance=1e-3
)
def hessian(layers: Any, x: Any) -> Any:
    def loss(w: Any) -> Any:
        h = jnp.tanh(x @ w + layers[0]["b"])
        return jnp.mean((h @ layers[1]["w"] + layers[1]["b"]) ** 2)

    return jax.hessian(loss)(layers[0]["w"])


# ------------------------------------------------------------------------------------ transformer

DEPTH, BATCH, TOKENS, WIDTH, HEADS = 4, 4, 256, 256, 8


def _block(seed: int) -> dict[str, Any]:
    scale = WIDTH**-0.5
    return {
        "qkv": normal(WIDTH, 3 * WIDTH, seed=seed, scale=scale),
        "out": normal(WIDTH, WIDTH, seed=seed + 1, scale=scale),
        "up": normal(WIDTH, 4 * WIDTH, seed=seed + 2, scale=scale),
        "down": normal(4 * WIDTH, WIDTH, seed=seed + 3, scale=scale / 2),
        "norm1": np.ones(WIDTH, np.float32),
        "norm2": np.ones(WIDTH, np.float32),
    }


def _transformer_inputs() -> list[Any]:
    return [[_block(10 * i) for i in range(DEPTH)], normal(BATCH, TOKENS, WIDTH, seed=99)]


_TRANSFORMER_FLOPS = 2.0 * BATCH * TOKENS * DEPTH * (12 * WIDTH**2 + 2 * TOKENS * WIDTH)


def _normed(x: Any, scale: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * scale


def _attention(x: Any, block: Any) -> Any:
    q, k, v = jnp.split(x @ block["qkv"], 3, axis=-1)
    shape = (*x.shape[:2], HEADS, WIDTH // HEADS)
    q, k, v = (y.reshape(shape).transpose(0, 2, 1, 3) for y in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / (WIDTH // HEADS) ** 0.5
    causal = jnp.tril(jnp.ones((TOKENS, TOKENS), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
    return (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape) @ block["out"]


def _transformer(blocks: Any, x: Any) -> Any:
    for block in blocks:
        x = x + _attention(_normed(x, block["norm1"]), block)
        h = _normed(x, block["norm2"])
        x = x + jax.nn.gelu(h @ block["up"]) @ block["down"]
    return x


def _torch_transformer(blocks: Any, x: Any) -> Any:
    functional = torch.nn.functional
    for block in blocks:
        h = functional.layer_norm(x, (WIDTH,), block["norm1"])
        q, k, v = (h @ block["qkv"]).chunk(3, -1)
        shape = (*x.shape[:2], HEADS, WIDTH // HEADS)
        q, k, v = (y.reshape(shape).transpose(1, 2) for y in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + y.transpose(1, 2).reshape(x.shape) @ block["out"]
        h = functional.layer_norm(x, (WIDTH,), block["norm2"])
        x = x + functional.gelu(h @ block["up"], approximate="tanh") @ block["down"]
    return x


@workload(
    "transformer, 4 layers, 4 × 256 tokens, width 256",
    _transformer_inputs,
    flops=_TRANSFORMER_FLOPS,
    tolerance=1e-3,
)
def transformer(blocks: Any, x: Any) -> Any:
    return _transformer(blocks, x)


transformer.torch(compiled=True)(_torch_transformer)


@workload("transformer gradient", _transformer_inputs, flops=3 * _TRANSFORMER_FLOPS, tolerance=1e-3)
def transformer_gradient(blocks: Any, x: Any) -> Any:
    return jax.grad(lambda blocks: jnp.mean(_transformer(blocks, x) ** 2))(blocks)


@transformer_gradient.torch(compiled=True)
def _(blocks: Any, x: Any) -> Any:
    leaves = [{k: v.detach().requires_grad_() for k, v in b.items()} for b in blocks]
    loss = (_torch_transformer(leaves, x) ** 2).mean()
    flat = [b[k] for b in leaves for k in sorted(b)]
    found = iter(torch.autograd.grad(loss, flat))
    return [{k: next(found) for k in sorted(b)} for b in leaves]


LONG = 4096


@workload(
    "causal attention, 4 heads × 4,096 tokens × 64",
    lambda: [normal(1, LONG, 4, 64, seed=i) for i in range(3)],
    flops=4.0 * 4 * LONG * LONG * 64,
)
def long_attention(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


@long_attention.torch(lambda *xs: [x.transpose(1, 2) for x in xs])
def _(q: Any, k: Any, v: Any) -> Any:
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q, k, v, is_causal=True).transpose(1, 2)


# --------------------------------------------------------------------------------------- ResNet-50

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
IMAGES, PIXELS = 4, 64


def _kernel(size: int, m: int, n: int, seed: int) -> Any:
    return normal(size, size, m, n, seed=seed, scale=(1.0 / (size * size * m)) ** 0.5)


def _unit(m: int, n: int, seed: int, *, project: bool) -> dict[str, Any]:
    unit = {
        "a": _kernel(1, m, n, seed),
        "b": _kernel(3, n, n, seed + 1),
        "c": _kernel(1, n, 4 * n, seed + 2),
        "scales": np.ones((3, 4 * n), np.float32),
    }
    return unit | ({"p": _kernel(1, m, 4 * n, seed + 3)} if project else {})


def _resnet_parameters() -> dict[str, Any]:
    units, channels, seed = [], 64, 10
    for count, n in STAGES:
        for i in range(count):
            units.append(_unit(channels, n, seed, project=i == 0))
            channels, seed = 4 * n, seed + 10
    return {
        "stem": _kernel(7, 3, 64, 1),
        "stem_scale": np.ones(64, np.float32),
        "units": units,
        "head": normal(2048, 1000, seed=2, scale=0.02),
    }


def _resnet_inputs() -> list[Any]:
    return [_resnet_parameters(), normal(IMAGES, PIXELS, PIXELS, 3), integers(IMAGES, high=1000)]


def _strides() -> list[int]:
    return [2 if i == 0 and stage else 1 for stage, (n, _) in enumerate(STAGES) for i in range(n)]


def _conv(x: Any, w: Any, stride: int = 1) -> Any:
    pad = [((k - 1) // 2, (k - 1) // 2) for k in w.shape[:2]]
    return lax.conv_general_dilated(
        x, w, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _batch_norm(x: Any, scale: Any) -> Any:
    mean = x.mean(axis=(0, 1, 2))
    variance = (x * x).mean(axis=(0, 1, 2)) - mean * mean
    return (x - mean) * (scale * lax.rsqrt(variance + 1e-3))


def _resnet(p: Any, x: Any) -> Any:
    x = jax.nn.relu(_batch_norm(_conv(x, p["stem"], 2), p["stem_scale"]))
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), around)
    for unit, stride in zip(p["units"], _strides(), strict=True):
        n = unit["a"].shape[-1]
        s = unit["scales"]
        y = jax.nn.relu(_batch_norm(_conv(x, unit["a"]), s[0, :n]))
        y = jax.nn.relu(_batch_norm(_conv(y, unit["b"], stride), s[1, :n]))
        y = _batch_norm(_conv(y, unit["c"]), s[2])
        x = jax.nn.relu(y + (_conv(x, unit["p"], stride) if "p" in unit else x))
    return x.mean(axis=(1, 2)) @ p["head"]


@workload(
    "ResNet-50 training step, 4 × 64 × 64 × 3",
    _resnet_inputs,
    tolerance=5e-2,
    flops=3 * 2 * IMAGES * 4.1e9 * (PIXELS / 224) ** 2,
)
def resnet_step(p: Any, x: Any, labels: Any) -> Any:
    def loss(p: Any) -> Any:
        scores = jax.nn.log_softmax(_resnet(p, x))
        return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=-1))

    value, slope = jax.value_and_grad(loss)(p)
    return value, jax.tree.map(lambda p, g: p - 0.1 * g, p, slope)["head"]


def _torch_resnet_inputs(p: Any, x: Any, labels: Any) -> list[Any]:
    def leaf(w: Any) -> Any:
        if w.ndim != 4:
            return w.requires_grad_()
        kernel = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        return kernel.requires_grad_()

    units = [{k: leaf(w) for k, w in unit.items()} for unit in p["units"]]
    rest = {k: leaf(w) for k, w in p.items() if k != "units"}
    image = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return [rest | {"units": units}, image, labels.long()]


@resnet_step.torch(_torch_resnet_inputs)
def _(p: Any, x: Any, labels: Any) -> Any:
    functional = torch.nn.functional

    def norm(x: Any, scale: Any) -> Any:
        return functional.batch_norm(x, None, None, scale, None, True, 0.0, 1e-3)

    def conv(x: Any, w: Any, stride: int = 1) -> Any:
        return functional.conv2d(x, w, stride=stride, padding=(w.shape[-1] - 1) // 2)

    x = torch.relu(norm(conv(x, p["stem"], 2), p["stem_scale"]))
    x = functional.max_pool2d(x, 3, 2, padding=1)
    for unit, stride in zip(p["units"], _strides(), strict=True):
        n, s = unit["a"].shape[0], unit["scales"]
        y = torch.relu(norm(conv(x, unit["a"]), s[0, :n]))
        y = torch.relu(norm(conv(y, unit["b"], stride), s[1, :n]))
        y = norm(conv(y, unit["c"]), s[2])
        x = torch.relu(y + (conv(x, unit["p"], stride) if "p" in unit else x))
    value = functional.cross_entropy(x.mean(dim=(2, 3)) @ p["head"], labels)
    leaves = [p["stem"], p["stem_scale"], p["head"]]
    leaves += [w for unit in p["units"] for w in unit.values()]
    slope = torch.autograd.grad(value, leaves)
    new = [(w - 0.1 * g).detach() for w, g in zip(leaves, slope, strict=True)]
    return value.detach(), new[2]


# ----------------------------------------------------------------------------------------- graphs

NODES, EDGES, FEATURES = 10_000, 100_000, 64


def _graph() -> list[Any]:
    return [
        normal(NODES, FEATURES),
        integers(EDGES, high=NODES),
        integers(EDGES, high=NODES, seed=1),
        normal(FEATURES, FEATURES, seed=2, scale=0.1),
        normal(FEATURES, FEATURES, seed=3, scale=0.1),
    ]


@workload("graph network by segment_sum, 10 k nodes, 100 k edges, gradient", _graph, tolerance=1e-3)
def graph_network(x: Any, source: Any, target: Any, w: Any, v: Any) -> Any:
    def loss(w: Any, v: Any) -> Any:
        h = x
        for _ in range(2):
            messages = jax.nn.relu(h @ w)[source]
            h = jnp.tanh(jax.ops.segment_sum(messages, target, num_segments=NODES) + h @ v)
        return jnp.mean(h**2)

    return jax.grad(loss, argnums=(0, 1))(w, v)


@graph_network.torch(lambda x, s, t, w, v: [x, s.long(), t.long(), w, v])
def _(x: Any, source: Any, target: Any, w: Any, v: Any) -> Any:
    w, v = w.detach().requires_grad_(), v.detach().requires_grad_()
    h = x
    for _ in range(2):
        messages = torch.relu(h @ w)[source]
        h = torch.tanh(torch.zeros_like(h).index_add(0, target, messages) + h @ v)
    return torch.autograd.grad((h**2).mean(), (w, v))

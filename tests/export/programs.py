"""Programs that are exported by us and by JAX: written once, in terms of either's modules.

`python -m tests.export.programs` writes the files of JAX (it needs `jax` and `flatbuffers`), which
`test_files.py` reads without either.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

FILES = Path(__file__).parent / "files"
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
PLACES = np.asarray([0, 2], np.int32)
Program = tuple[Callable[..., Any], tuple[Any, ...]]


def modules_of_jax() -> Any:
    """What programs use, of JAX."""
    import jax
    from jax import export, lax, nn, random
    from jax import numpy as jnp

    return SimpleNamespace(top=jax, np=jnp, lax=lax, nn=nn, random=random, export=export)


def modules_of_ours() -> Any:
    """What programs use, of ours."""
    import pullback
    from pullback import export, lax, nn, random
    from pullback import numpy as jnp

    return SimpleNamespace(top=pullback, np=jnp, lax=lax, nn=nn, random=random, export=export)


def programs(m: Any) -> dict[str, Program]:
    """Functions with their arguments, by name."""
    jnp, lax, nn = m.np, m.lax, m.nn
    params = {"w": np.eye(3, 5, dtype=np.float32), "b": np.zeros(5, np.float32)}
    image = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    kernel = np.random.default_rng(2).normal(size=(3, 3, 3, 4)).astype(np.float32)
    square = X.T @ X + np.eye(3, dtype=np.float32)

    def conv(x: Any, w: Any) -> Any:
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, w, (1, 2), "SAME", dimension_numbers=numbers)

    def types(a: Any, b: Any, c: Any, d: Any) -> Any:
        return a + a, b * b, c - 1, d * d, a.astype(np.float32), jnp.abs(d), d.real

    def structure(x: Any) -> Any:
        return (
            *(x.T, x.reshape(6, 2), jnp.concatenate([x, x], 1), x[::2, 1:], x[::-1]),
            *(jnp.pad(x, ((1, 2), (0, 1))), jnp.where(x > 0, x, 2.0), jnp.clip(x, 0, 1)),
            *(lax.dynamic_slice(x, (1, 1), (2, 2)), jnp.arange(5), jnp.eye(3)),
        )

    def windows(x: Any) -> Any:
        pool = lax.reduce_window(x, -np.inf, lax.max, (2, 2), (1, 1), "SAME")
        return pool, jnp.cumsum(x, axis=0), lax.cummax(x, axis=1)

    def special(x: Any) -> Any:
        return lax.erf(x), lax.lgamma(x + 3), lax.digamma(x + 3), jnp.arcsin(x / 3), jnp.tan(x)

    def linear(a: Any) -> Any:
        return (
            jnp.linalg.cholesky(a),
            jnp.linalg.solve(a, a),
            jnp.linalg.eigh(a)[0],
            jnp.linalg.det(a),
        )

    def integers(i: Any) -> Any:
        return i // 3, i % 3, i << 1, i >> 1, ~i, lax.population_count(i), i == 2

    def indexed(x: Any, i: Any) -> Any:
        return x[i], x.at[i].add(1.0), x.at[i].set(2.0), x.at[:, i].mul(3.0), jnp.take(x, i, axis=0)

    def keys(k: Any) -> Any:
        return m.random.normal(k, (3,)), m.random.bits(m.random.split(k)[1], (2,))

    return {
        "mlp": (lambda p, x: nn.softmax(jnp.tanh(x @ p["w"] + p["b"])), (params, X)),
        "conv": (conv, (image, kernel)),
        "scan": (lambda x: lax.scan(lambda c, r: (c + r.sum(), c * r), 0.0, x), (X,)),
        "while": (
            lambda x: lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 2), (0, x)),
            (X,),
        ),
        "cond": (lambda p, x: lax.cond(p, jnp.sin, jnp.cos, x), (np.bool_(True), X)),
        "sort": (lambda x: (jnp.sort(x, axis=1), jnp.argsort(x, axis=0), lax.top_k(x, 2)), (X,)),
        "fft": (lambda x: (jnp.fft.fft(x), jnp.fft.irfft(jnp.fft.rfft(x), n=3)), (X,)),
        "indexed": (indexed, (X, PLACES)),
        "keys": (keys, (m.random.key(3),)),
        "types": (
            types,
            (
                np.ones(3, np.float16),
                jnp.ones(3, "bfloat16"),
                np.ones(3, np.int8),
                np.ones(3, np.complex64) * (1 + 2j),
            ),
        ),
        "weak": (lambda a: a + 1, (2.0,)),
        "donated": (m.top.jit(lambda x: x + 1, donate_argnums=0), (X,)),
        "structure": (structure, (X,)),
        "windows": (windows, (X,)),
        "special": (special, (X,)),
        "linear": (linear, (square,)),
        "integers": (integers, (np.arange(-4, 4, dtype=np.int32),)),
        "unused": (lambda x, y: y, (X, X + 1)),
        "nested": (lambda x: {"a": [x, (x, None)], "b": {}}, (X,)),
    }


def symbolic_programs(m: Any) -> dict[str, tuple[Callable[..., Any], tuple[str, ...]]]:
    """Functions of float32 arrays with the symbolic shapes of their arguments."""
    jnp, lax, nn = m.np, m.lax, m.nn

    def structure(x: Any) -> Any:
        return (
            *(x.reshape(-1), x.reshape(x.shape[0] * 3), jnp.concatenate([x, x]), x[1:], x[::-1]),
            *(x[0], x[-1], x[:, 0], jnp.pad(x, ((1, 1), (0, 0))), jnp.stack([x, x])),
        )

    def numbers(x: Any) -> Any:
        n = x.shape[0]
        return jnp.arange(n), jnp.ones((2 * n, 2)), x * n, n + 1.5, jnp.tril(x @ x.T)

    def statistics(x: Any) -> Any:
        return x.mean(), x.var(), x.std(0), x.max(0), (x - x.mean(-1, keepdims=True)) / 2

    return {
        "layer": (lambda x, w: nn.softmax(jnp.tanh(x @ w) + w[0]), ("b, 3", "3, 3")),
        "matmul": (lambda x, y: (x @ y, x @ x.T), ("b, c", "c, 3")),
        "structure": (structure, ("b, 3",)),
        "numbers": (numbers, ("b, 3",)),
        "statistics": (statistics, ("b, c",)),
        "sort": (lambda x: (jnp.sort(x, axis=0), jnp.argmax(x, axis=0)), ("b, 3",)),
        "cumsum": (lambda x: jnp.cumsum(x, axis=0), ("b, 3",)),
        "scan": (lambda x: lax.scan(lambda c, r: (c + r, c), jnp.zeros(x.shape[1]), x), ("b, c",)),
        "loop": (
            lambda x: lax.fori_loop(0, x.shape[0], lambda i, a: a + x[i], jnp.zeros(3)),
            ("b, 3",),
        ),
        "attention": (
            lambda q: nn.softmax(jnp.einsum("btd,bsd->bts", q, q)) @ q,
            ("b, c, 4",),
        ),
        "halves": (lambda x: x.reshape(2, x.shape[0] // 2, 3), ("2*b, 3",)),
        "random": (lambda x: x + m.random.normal(m.random.key(0), x.shape), ("b, 3",)),
        "gradient": (m.top.grad(lambda x: (jnp.tanh(x) @ jnp.ones(3)).mean()), ("b, 3",)),
    }


def sample(spec: str, sizes: dict[str, int]) -> np.ndarray[Any, Any]:
    """An argument for values of the variables."""
    shape = [eval(part, {}, sizes) for part in spec.split(",")]
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def words(x: Any) -> np.ndarray[Any, Any]:
    """Elements, of keys their words."""
    if str(getattr(x, "dtype", "")).startswith("key"):
        from pullback import random

        return np.asarray(random.key_data(x))
    return np.asarray(x)


def _write() -> None:
    """Write JAX's files, with the results that JAX has for them."""
    m = modules_of_jax()
    m.top.config.update("jax_traceback_in_locations_limit", 0)  # no paths in files
    FILES.mkdir(exist_ok=True)
    results: dict[str, Any] = {}
    for name, (fun, args) in programs(m).items():
        jitted = fun if hasattr(fun, "lower") else m.top.jit(fun)
        exported = m.export.export(jitted)(*args)
        differentiable = name in ("mlp", "conv", "scan")
        blob = exported.serialize(vjp_order=1 if differentiable else 0)
        (FILES / f"{name}.jax").write_bytes(bytes(blob))
        outs = m.top.tree.leaves(exported.call(*args))
        results |= {f"{name}.{k}": np.asarray(x) for k, x in enumerate(outs)}
    for name, (fun, specs) in symbolic_programs(m).items():
        scope = m.export.SymbolicScope()
        shapes = [m.export.symbolic_shape(s, scope=scope) for s in specs]
        types = [m.top.ShapeDtypeStruct(s, "float32") for s in shapes]
        exported = m.export.export(m.top.jit(fun))(*types)
        (FILES / f"symbolic_{name}.jax").write_bytes(bytes(exported.serialize()))
        outs = m.top.tree.leaves(exported.call(*(sample(s, {"b": 4, "c": 3}) for s in specs)))
        results |= {f"symbolic_{name}.{k}": np.asarray(x) for k, x in enumerate(outs)}
    widened = {k: v.astype(np.float32) if v.dtype.kind == "V" else v for k, v in results.items()}
    np.savez_compressed(FILES / "results.npz", **widened)


if __name__ == "__main__":
    _write()

"""Arrays as NumPy users handle them: indexing, updates, sorting, sets, interoperation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.parity.programs.registry import program


@program(whole_jit=False)
def functional_updates(jax: Any) -> Any:
    """Every .at method, with scalars, slices, masks, repeated indices, and out of bounds modes."""
    jnp = jax.numpy
    x = jnp.arange(12.0).reshape(3, 4)
    index = jnp.array([0, 2, 0])
    return [
        x.at[1, 2].set(9.0),
        x.at[1].set(jnp.arange(4)),
        x.at[:, ::-2].multiply(2.0),
        x.at[index].add(1.0),
        x.at[index, jnp.array([1, 1, 1])].add(jnp.array([1.0, 10.0, 100.0])),
        x.at[x > 5].set(-1.0),
        x.at[..., 0].min(3.0),
        x.at[0].max(jnp.full(4, 2.5)),
        x.at[1:, 1:3].divide(4.0),
        x.at[2].power(2.0),
        x.at[7].set(5.0),
        x.at[7].set(5.0, mode="clip"),
        x.at[7, 0].get(mode="fill", fill_value=-7.0),
        x.at[-1, -1].get(),
        x.at[0, 1:].apply(jnp.exp),
        x.at[None, 1].subtract(3.0),
        jnp.zeros(5, jnp.int32).at[jnp.array([4, 1, 1])].add(jnp.array([1, 2, 3])),
    ]


@program(whole_jit=False)
def slicing(jax: Any) -> Any:
    """Negative steps, newaxis, ellipsis, integer arrays and their mixtures."""
    jnp = jax.numpy
    x = jnp.arange(60).reshape(3, 4, 5)
    i, j = jnp.array([2, 0]), jnp.array([[1], [3]])
    return [
        x[::-1],
        x[:, ::-2, 1:4],
        x[-1],
        x[..., -1],
        x[:, None, 2],
        x[1, :, ::2],
        x[i],
        x[:, i],
        x[i, j],
        x[i, :, 2],
        x[:, i, j],
        x[0, i, ::-1],
        x[..., i],
        x[jnp.newaxis, ..., 0],
        x[-2:, 3:0:-1],
        x[i[0]],
        x[2, 3, 4],
        x[[0, 1]] if False else x[jnp.array([0, 1])],
        x[:, jnp.array([True, False, True, True])],
        x[jnp.arange(3), jnp.arange(3), -1],
        jnp.take(x, i, axis=1),
        jnp.take_along_axis(x[0], x[0] % 4, axis=0),
        x[5:, :2].shape,
        jax.lax.dynamic_slice(x, (1, 2, 9), (2, 2, 2)),
        jax.lax.dynamic_update_slice(x, jnp.zeros((1, 2, 2), x.dtype), (2, 3, 1)),
    ]


@program(whole_jit=False)
def boolean_masks(jax: Any) -> Any:
    """Masks whose size depends on values; nonzero, where, extract, compress; only eagerly."""
    jnp = jax.numpy
    x = jax.random.normal(jax.random.key(0), (5, 4))
    keep = x[:, 0] > 0
    return (
        x[x > 0.5],
        x[keep],
        x[keep][:, jnp.array([True, False, True, False])],
        jnp.nonzero(x > 1.0),
        jnp.where(x < -1.0),
        jnp.argwhere(x > 1.0),
        jnp.flatnonzero(keep),
        jnp.extract(x > 0, x),
        jnp.compress(np.array([True, False, True, False]), x, axis=1),
        jnp.unique(jnp.array([3, 1, 3, 2]), return_counts=True, return_inverse=True),
        jnp.delete(jnp.arange(5), 2),
        jnp.insert(jnp.arange(3), 1, 9),
    )


@program()
def sorting_and_searching(jax: Any) -> Any:
    """Sorts, stable argsorts, lexsort, partition, searchsorted, digitize, histogram, unique."""
    jnp, lax = jax.numpy, jax.lax
    x = jnp.array([3.0, -1.0, jnp.nan, 2.0, -0.0, 0.0, 2.0, jnp.inf])
    k = jnp.array([2, 1, 2, 0, 1, 1, 0, 2])
    edges = jnp.array([0.0, 1.0, 2.0, 4.0])
    data = jnp.abs(jnp.sin(jnp.arange(20.0))) * 4
    return {
        "sort": jnp.sort(x),
        "descending": jnp.sort(x, descending=True),
        "argsort": jnp.argsort(k),
        "argsort descending": jnp.argsort(k, descending=True),
        "axis": jnp.sort(jnp.sin(jnp.arange(12.0)).reshape(3, 4), axis=0),
        "lexsort": jnp.lexsort((jnp.arange(8)[::-1], k)),
        "by key": lax.sort_key_val(k, jnp.arange(8)),
        "operands": lax.sort((k, x[::-1]), num_keys=2),
        "searchsorted": jnp.searchsorted(edges, data),
        "right": jnp.searchsorted(edges, jnp.array([1.0, 2.0]), side="right"),
        "digitize": jnp.digitize(data, edges),
        "histogram": jnp.histogram(data, bins=5),
        "edges": jnp.histogram(data, bins=edges)[0],
        "unique": jnp.unique(k, size=4, fill_value=-1),
        "unique counts": jnp.unique(k, return_counts=True, size=3),
        "top_k": lax.top_k(data, 3),
        "median": jnp.median(data),
        "percentile": jnp.percentile(data, jnp.array([10.0, 50.0, 99.0])),
        "argpartition": jnp.sort(jnp.argpartition(data, 4)[:4]),
        "rank": jnp.argsort(jnp.argsort(data)),
        "isin": jnp.isin(k, jnp.array([0, 2])),
        "argmax": (jnp.argmax(data), jnp.argmin(data), jnp.nanargmax(x), jnp.argmax(x)),
    }


@program(whole_jit=False)
def numpy_interoperation(jax: Any) -> Any:
    """Results go to NumPy, floats, formats, loops, unpacking; NumPy arrays come in."""
    jnp = jax.numpy
    x = jnp.linspace(0.0, 1.0, 5)
    a, *rest = x
    rows = [row.sum() for row in jnp.arange(6.0).reshape(3, 2)]
    host = np.asarray(x)
    texts = [f"{x[1]:.2f}", f"{float(a)}", f"{x.mean():8.3f}", f"{x.sum()!s}", str(x), repr(x[:2])]
    texts += [repr(x.dtype), str(x.shape), repr(jnp.arange(3)), f"{jnp.int32(7)}", repr(x.mean())]
    indexed = [10, 20, 30][jnp.array(1)]
    return (
        a,
        rest,
        rows,
        indexed,
        texts,
        len(x),
        x.tolist(),
        x[3].item(),
        int(x[4]),
        bool(x[0]),
        np.sum(host),
        host + x,
        np.ones(5, np.float32) * x,
        x @ host,
        np.sin(x).dtype.name,
        sum(x),
        max(rows),
        min(x),
        list(range(jnp.int32(3))),
        math.sqrt(x[4]),
        complex(x[1]),
        [float(v) for v in x],
        dict(zip("abcde", x, strict=True))["c"],
        round(float(x[1]), 1),
        jnp.asarray(np.float64(0.1)).dtype.name,
        jnp.asarray([1, 2.5]).dtype.name,
        np.array([x, x]).shape,
        x.size,
        x.nbytes,
        x.itemsize,
        x.ndim,
        x.T.shape,
        0.3 in x.round(1),
        (x == host).all(),
        x.astype(int),
        x.view(jnp.int32),
        jnp.array(x, copy=True),
        jax.device_get({"x": x})["x"].dtype.name,
        isinstance(x, jax.Array),
        np.float32(3) * x[1],
        np.testing.assert_allclose(x, host) is None,
        enumerate(x).__next__()[0],
        2**x,
        1 - x,
        7 // (x + 1),
        divmod(x, 0.3),
        -x,
        +x,
        abs(-x),
        x**2,
        2 % (x + 1),
        (x > 0.4) & (x < 0.9),
        ~(x > 0.5),
    )


@program(rtol=1e-4)
def einsums(jax: Any) -> Any:
    """Contractions of many forms: traces, outer, batches, three operands, ellipsis; gradient."""
    jnp = jax.numpy
    a, b, c = (
        jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(3, 4), (4, 5), (5, 3)])
    )
    s = jax.random.normal(jax.random.key(4), (4, 4))
    t = jax.random.normal(jax.random.key(5), (2, 3, 4))
    chain = jnp.einsum("ij,jk,kl->il", a, b, c)
    return [
        chain,
        jnp.einsum("ij,jk,ki", a, b, c),
        jnp.einsum("ii", s),
        jnp.einsum("ii->i", s),
        jnp.einsum("i,j->ij", a[:, 0], b[0]),
        jnp.einsum("...ij,jk->...ik", t, b),
        jnp.einsum("bij,bkj->bik", t, t),
        jnp.einsum("bij->jb", t),
        jnp.einsum("ij,ij->", a, a),
        jnp.einsum("bij,ij,b->i", t, a, jnp.array([1.0, -1.0])),
        jnp.tensordot(t, b, axes=1),
        jnp.tensordot(t, a, axes=([1, 2], [0, 1])),
        jnp.matmul(t, b),
        jnp.inner(a, s),
        jnp.outer(a[0], b[0]),
        jnp.kron(s[:2, :2], a[:2, :2]),
        jnp.vecdot(t, a),
        jax.jit(jax.grad(lambda a: jnp.einsum("ij,jk,kl,lm->im", a, b, c, a).sum()))(a),
    ]


@program()
def moving_averages(jax: Any) -> Any:
    """Windows by cumsum, by convolve, exponential by scan, and strided views by vmap of slices."""
    jnp, lax = jax.numpy, jax.lax
    x = jnp.sin(jnp.arange(30.0)) + jnp.arange(30.0) / 10
    c = jnp.cumsum(jnp.concatenate([jnp.zeros(1), x]))
    windows = jax.vmap(lambda i: lax.dynamic_slice(x, (i,), (5,)))(jnp.arange(26))
    _, ema = lax.scan(lambda m, v: (0.9 * m + 0.1 * v,) * 2, x[0], x)
    drawdown = jnp.max(lax.cummax(x) - x)
    return [
        (c[5:] - c[:-5]) / 5,
        jnp.convolve(x, jnp.ones(5) / 5, mode="valid"),
        windows.mean(1),
        windows.std(1),
        ema,
        drawdown,
        lax.cumprod(1.0 + x / 100, axis=0, reverse=True),
        lax.cumlogsumexp(x),
        jnp.diff(x, n=2),
        jnp.correlate(x[:10], jnp.array([1.0, -1.0])),
        jnp.interp(jnp.array([0.5, 3.3, 40.0]), jnp.arange(30.0), x),
        jnp.gradient(x),
        jnp.trapezoid(x),
        lax.cummin(x[::-1])[::7],
        jnp.cumsum(jnp.arange(12).reshape(3, 4), axis=1),
    ]


@program()
def segment_operations(jax: Any) -> Any:
    """Sums, means, maxima over segments; a graph network layer with scatter-adds and softmax."""
    jnp = jax.numpy
    source = jnp.array([0, 1, 2, 3, 0, 2])
    target = jnp.array([1, 2, 3, 0, 2, 1])
    x = jax.random.normal(jax.random.key(0), (4, 3))
    w = jax.random.normal(jax.random.key(1), (3, 3))

    def layer(w: Any, x: Any) -> Any:
        messages = jnp.tanh(x[source] @ w)
        score = jnp.sum(messages * x[target], -1)
        top = jnp.full(4, -jnp.inf).at[target].max(score)
        e = jnp.exp(score - top[target])
        weights = e / jnp.zeros(4).at[target].add(e)[target]
        return jnp.zeros_like(x).at[target].add(weights[:, None] * messages)

    total = jax.ops.segment_sum(x[source], target, num_segments=4)
    count = jax.ops.segment_sum(jnp.ones(6), target, 4)
    grads = jax.jit(jax.grad(lambda w: (layer(w, x) ** 2).sum()))(w)
    return layer(w, x), total / count[:, None], jax.ops.segment_max(source, target, 4), grads


@program(rtol=1e-4)
def page_rank(jax: Any) -> Any:
    """Power iteration until convergence on a sparse graph kept as edges."""
    jnp, lax = jax.numpy, jax.lax
    edges = jnp.array([[0, 1], [0, 2], [1, 2], [2, 0], [3, 2], [3, 0], [4, 3], [1, 4]])
    n = 5
    source, target = edges[:, 0], edges[:, 1]
    degree = jnp.bincount(source, length=n)

    def step(rank: Any) -> Any:
        share = jnp.where(degree[source] > 0, rank[source] / degree[source], 0.0)
        return 0.15 / n + 0.85 * jnp.zeros(n).at[target].add(share)

    def body(state: Any) -> Any:
        _, rank, i = state
        return rank, step(rank), i + 1

    def going(state: Any) -> Any:
        old, new, i = state
        return (jnp.sum(jnp.abs(old - new)) > 1e-6) & (i < 100)

    start = jnp.full(n, 1.0 / n)
    _, rank, steps = jax.jit(lambda r: lax.while_loop(going, body, (r, step(r), 0)))(start)
    return rank, steps, jnp.argsort(-rank)


@program()
def shapes_and_joins(jax: Any) -> Any:
    """stack, tile, repeat, pad, split, block, moveaxis, broadcasting, meshgrid, tri and friends."""
    jnp = jax.numpy
    x = jnp.arange(6).reshape(2, 3)
    return [
        jnp.stack([x, x + 1], axis=-1),
        jnp.hstack([x, x]),
        jnp.vstack([x, x[:1]]),
        jnp.tile(x, (2, 1)),
        jnp.repeat(x, 2, axis=1),
        jnp.repeat(x, jnp.array([1, 2]), axis=0, total_repeat_length=3),
        jnp.pad(x, ((1, 0), (0, 2))),
        jnp.pad(x, 1, mode="reflect"),
        jnp.pad(x, 1, mode="edge"),
        jnp.split(x, 3, axis=1),
        jnp.array_split(jnp.arange(7), 3),
        jnp.moveaxis(x[None], 0, -1),
        jnp.block([[x, x], [x, x]]),
        jnp.broadcast_to(x[0], (4, 3)),
        jnp.tri(3, k=-1),
        jnp.flip(x, 1),
        jnp.rot90(x),
        jnp.expand_dims(x, (0, 3)).squeeze(),
        x.ravel(order="F"),
        x.reshape(-1, order="C"),
        jnp.eye(3, 4, 1),
        jnp.diag(jnp.arange(3)),
        jnp.diag(x[:, :2]),
        jnp.trace(x),
        jnp.triu(x, 1),
        jnp.column_stack([x[0], x[1]]),
        jnp.swapaxes(x, 0, 1),
        jnp.atleast_2d(3.0),
        jnp.concatenate([x, x]),
        jnp.fliplr(x),
        jnp.roll(x, 2),
        jnp.linspace(0, 1, 4, endpoint=False),
        jnp.geomspace(1.0, 8.0, 4),
        jnp.logspace(0, 2, 3),
        jnp.full((2,), 3),
        jnp.full_like(x, 2.7),
        jnp.arange(5, 0, -2),
        jnp.arange(0, 1, 0.25),
        jnp.unravel_index(jnp.array([3, 5]), (2, 3)),
        jnp.ravel_multi_index((1, 2), (2, 3)),
        jnp.ix_(jnp.arange(2), jnp.arange(3)),
        jnp.select([x < 2, x < 4], [x, 10 * x], -1),
        jnp.piecewise(1.0 * x, [x < 2, x >= 4], [lambda v: -v, 5.0, 7.0]),
        jnp.choose(jnp.array([0, 1, 0]), [x[0], x[1]]),
        jnp.vander(jnp.arange(3.0), 3),
        jnp.polyval(jnp.array([1.0, 0.0, 2.0]), 1.0 * x),
        jnp.clip(x, 1, 4),
        jnp.where(x % 2 == 0, x, -x),
        jnp.ptp(x),
        jnp.average(x, axis=0, weights=jnp.array([1.0, 3.0])),
        jnp.cov(1.0 * x),
        jnp.outer(x[0], x[1]),
        jnp.cross(jnp.array([1.0, 0, 0]), jnp.array([0, 1.0, 0])),
        jnp.count_nonzero(x),
        jnp.einsum("ij->j", x),
    ]


@program(whole_jit=False)
def dtypes_and_promotion(jax: Any) -> Any:
    """What weak types, integers, bools, halves and unsigned numbers become when they meet."""
    jnp = jax.numpy
    i8, u8, f16 = jnp.int8(5), jnp.uint8(250), jnp.float16(1.5)
    i, f, b = jnp.arange(3), jnp.arange(3.0), jnp.array([True, False, True])
    bf = jnp.bfloat16(2.5)
    results = [
        i8 + 1,
        u8 + 10,
        f16 * 2,
        i + 1.5,
        i / 2,
        i // 2,
        i % 2,
        b + b,
        b * 1.0,
        -i,
        i8 + u8,
        f16 + bf,
        i + f16,
        bf * 3,
        u8 // 7,
        i8 << 2,
        i ^ 3,
        ~i,
        b & True,
        f > 1,
        i == 1,
        jnp.sum(b),
        jnp.mean(i),
        jnp.prod(i8 * b),
        jnp.sum(u8 * jnp.ones(3, jnp.uint8)),
        jnp.exp(i),
        jnp.sqrt(4),
        jnp.float32(1) + 1j,
        jnp.add(1, 2),
        jnp.maximum(i, 1.5),
        jnp.where(b, i, f),
        jnp.where(b, 1, 2.0),
        jnp.array([1, 2.0]),
        jnp.array([True, 2]),
        jnp.asarray(3),
        jnp.ones(2, int),
        jnp.zeros(2, bool),
        i.astype("float16"),
        f.astype(bool),
        jnp.array([300, -1]).astype(jnp.uint8),
        jnp.cumsum(b),
        jnp.float32(3.9).astype(int),
        jnp.dot(i, i),
        jnp.power(2, i),
        2.0**i,
        i**2,
        jnp.left_shift(1, i),
        jnp.round(f / 3, 2),
        jnp.result_type(i8, 2.0).name,
        jnp.promote_types("int8", "uint8").name,
        jnp.issubdtype(bf.dtype, jnp.floating),
        jnp.finfo(jnp.bfloat16).eps,
        jnp.iinfo(jnp.int8).max,
    ]
    return results, [str(getattr(r, "dtype", "")) for r in results]

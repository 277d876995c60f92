"""Attention found in jaxprs, and the kernel behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import numpy as jnp
from pullback.core.jaxpr import ClosedJaxpr, Literal, subjaxprs
from pullback.llvm import library
from pullback.llvm.pool import set_num_threads
from pullback.passes.attention import SCORES, fuse_attention
from pullback.passes.simplify import simplify

T, S = 300, 450


def draw(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def simple(function: Callable[..., Any], *args: Any) -> ClosedJaxpr:
    return simplify(pb.make_jaxpr(function)(*args))


def names(closed: Any) -> list[str]:
    """The primitives of a jaxpr, those of inner ones included."""
    found = []
    jaxpr = getattr(closed, "jaxpr", closed)
    for eqn in jaxpr.eqns:
        found += [eqn.primitive.name, *(n for inner in subjaxprs(eqn) for n in names(inner))]
    return found


def by_numpy(closed: ClosedJaxpr, *args: Any) -> Any:
    """The first result, one operation after the other."""
    env: dict[Any, Any] = dict(zip(closed.jaxpr.invars, args, strict=True))
    env.update(zip(closed.jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
    with np.errstate(all="ignore"):
        for eqn in closed.jaxpr.eqns:
            xs = [
                np.asarray(v.val, v.aval.dtype) if type(v) is Literal else env[v]
                for v in eqn.invars
            ]
            env[eqn.outvars[0]] = eqn.primitive.reference(*xs, **eqn.params)
    return env[closed.jaxpr.outvars[0]]


# --------------------------------------------------------------------------- ways to spell it


def library_causal(q: Any, k: Any, v: Any) -> Any:
    return pb.nn.dot_product_attention(q, k, v, is_causal=True)


def library_full(q: Any, k: Any, v: Any) -> Any:
    return pb.nn.dot_product_attention(q, k, v, scale=0.3)


def heads_first(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (y.transpose(0, 2, 1, 3) for y in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / 4.0
    causal = jnp.tril(jnp.ones((T, T), bool))
    weights = pb.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
    return (weights @ v).transpose(0, 2, 1, 3)


def hidden_first(q: Any, k: Any, v: Any) -> Any:
    scores = 0.25 * jnp.einsum("bthd,bshd->bhts", q, k)
    i = jnp.arange(T)
    scores = jnp.where(i[:, None] + 2 < i[None, :], -1e9, scores)
    powers = jnp.exp(scores - scores.max(-1, keepdims=True))
    return jnp.einsum("bhts,bshd->bthd", powers / powers.sum(-1, keepdims=True), v)


def plain(q: Any, k: Any, v: Any) -> Any:
    return pb.nn.softmax(q @ k.T) @ v


def keys_first(q: Any, k: Any, v: Any) -> Any:
    scores = jnp.einsum("bsd,btd->bst", k, q)
    return jnp.einsum("bse,bst->bet", v, pb.nn.softmax(scores, axis=1))


FORMS: list[tuple[Callable[..., Any], list[Any], int]] = [
    (library_causal, [draw(2, T, 4, 16, seed=i) for i in range(3)], 0),
    (library_causal, [draw(1, T, 4, 16, seed=i) for i in range(3)], 0),
    (library_causal, [draw(2, T, 6, 8), draw(2, S, 2, 8), draw(2, S, 2, 20)[..., :8]], 0),
    (library_full, [draw(2, T, 4, 16), draw(2, S, 4, 16), draw(2, S, 4, 16, seed=1)], S),
    (heads_first, [draw(2, T, 4, 16, seed=i) for i in range(3)], 0),
    (heads_first, [draw(1, T, 4, 16, seed=i) for i in range(3)], 0),
    (hidden_first, [draw(2, T, 4, 16, seed=i) for i in range(3)], 2),
    (plain, [draw(700, 24), draw(900, 24), draw(900, 5)], 900),
    (plain, [draw(700, 3, dtype=float), draw(900, 3, dtype=float), draw(900, 9, dtype=float)], 900),
    (keys_first, [draw(3, T, 16), draw(3, S, 16), draw(3, S, 24)], S),
    (pb.vmap(plain), [draw(3, T, 16), draw(3, S, 16), draw(3, S, 24)], S),
]


@pytest.mark.parametrize(("function", "args", "offset"), FORMS)
def test_attention_is_found(function: Callable[..., Any], args: list[Any], offset: int) -> None:
    with pb.enable_x64(args[0].dtype == np.float64):
        closed = simple(function, *args)
        fused = fuse_attention(closed)
        (eqn,) = [e for e in fused.jaxpr.eqns if e.primitive.name == "attention"]
        assert not {"dot_general", "exp", "reduce_max"} & set(names(fused))
        assert eqn.params["offset"] == offset
        expected = by_numpy(closed, *args)
        tolerance = 1e-12 if args[0].dtype == np.float64 else 2e-5
        np.testing.assert_allclose(by_numpy(fused, *args), expected, tolerance, tolerance)
        np.testing.assert_allclose(pb.jit(function)(*args), expected, tolerance, tolerance)


def weights_too(q: Any, k: Any, v: Any) -> Any:
    weights = pb.nn.softmax(q @ k.T)
    return weights @ v, weights[0]


def band(q: Any, k: Any, v: Any) -> Any:
    i = jnp.arange(600)
    near = abs(i[:, None] - i[None, :]) < 5
    return pb.nn.softmax(jnp.where(near, q @ k.T, -jnp.inf)) @ v


def weak_mask(q: Any, k: Any, v: Any) -> Any:
    seen = jnp.tril(jnp.ones((600, 600), bool))
    return pb.nn.softmax(jnp.where(seen, q @ k.T, 0.0)) @ v


def by_rows(q: Any, k: Any, v: Any) -> Any:
    return pb.nn.softmax(q @ k.T, axis=0) @ v


def other_sum(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.T
    powers = jnp.exp(scores - scores.max(1, keepdims=True))
    return powers / (powers + 1.0).sum(1, keepdims=True) @ v


@pytest.mark.parametrize("function", [weights_too, band, weak_mask, by_rows, other_sum])
def test_what_is_not_attention_stays(function: Callable[..., Any]) -> None:
    args = [draw(600, 16, seed=i) for i in range(3)]
    closed = simple(function, *args)
    assert fuse_attention(closed) is closed
    found = pb.tree.leaves(pb.jit(function)(*args))[0]
    np.testing.assert_allclose(found, by_numpy(closed, *args), 2e-5, 2e-5)


def test_few_scores_stay() -> None:
    side = int(SCORES**0.5)
    for n, fused in ((side, True), (side - 1, False)):
        closed = simple(plain, *(draw(n, 8) for _ in range(3)))
        assert ("attention" in names(fuse_attention(closed))) is fused
    many = simple(pb.vmap(plain), *(draw(64, 128, 8) for _ in range(3)))
    assert "attention" not in names(fuse_attention(many))


def test_derivatives_keep_the_weights() -> None:
    args = [draw(600, 8, seed=i) for i in range(3)]
    gradient = pb.grad(lambda *xs: plain(*xs).sum())
    assert "attention" not in names(fuse_attention(simple(gradient, *args)))


def test_attention_in_a_loop_is_found() -> None:
    def layers(x: Any, ks: Any) -> Any:
        return pb.lax.scan(lambda h, k: (plain(h, k, k), None), x, ks)[0]

    args = draw(600, 8), draw(3, 600, 8)
    assert "attention" in names(fuse_attention(simple(layers, *args)))
    expected = args[0]
    for k in args[1]:
        expected = by_numpy(simple(plain, expected, k, k), expected, k, k)
    np.testing.assert_allclose(pb.jit(layers)(*args), expected, 2e-5, 2e-5)


# --------------------------------------------------------------------------- the kernel


def test_scores_are_not_stored() -> None:
    args = [draw(1, 2048, 4, 16, seed=i) for i in range(3)]
    used = pb.jit(library_causal).lower(*args).compile().memory_analysis()
    assert used.temp_size_in_bytes <= 4 * args[0].nbytes  # the scores would take 67 MB


def test_threads_do_not_change_bits() -> None:
    args = [draw(2, 700, 3, 20, seed=i) for i in range(3)]
    found = []
    try:
        for threads in (1, 2, 3, 4):
            set_num_threads(threads)
            found.append(np.asarray(pb.jit(library_causal)(*args)).tobytes())
    finally:
        set_num_threads(None)
    assert len(set(found)) == 1


def masked(offset: int, fill: float) -> Callable[..., Any]:
    def function(q: Any, k: Any, v: Any) -> Any:
        i, j = jnp.arange(q.shape[0])[:, None], jnp.arange(k.shape[0])[None]
        return pb.nn.softmax(jnp.where(j <= i + offset, q @ k.T, fill)) @ v

    return function


@pytest.mark.parametrize("offset", [-20, 0, 7, 400, 2000])
@pytest.mark.parametrize("fill", [-np.inf, -1e30, -1e4])
@pytest.mark.parametrize("far", [1.0, 2e4])
def test_rows_that_see_little(offset: int, fill: float, far: float) -> None:
    """Rows that see nothing, and rows whose scores are no larger than what hides others."""
    q, k, v = draw(500, 1), draw(700, 1, seed=1), draw(700, 6)
    q, k = abs(q) * np.float32(far), -abs(k)
    function = masked(offset, fill)
    closed = simple(function, q, k, v)
    assert "attention" in names(fuse_attention(closed))
    expected = by_numpy(closed, q, k, v)
    assert np.isnan(expected).any() == (fill == -np.inf and offset < 0)
    np.testing.assert_allclose(pb.jit(function)(q, k, v), expected, 3e-5, 3e-5)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_scores(special: float) -> None:
    q, k, v = draw(600, 4), draw(600, 4, seed=1), draw(600, 6)
    q[5, 1] = q[100, 0] = special
    k[:300, 0] = 1.0
    for function in (plain, masked(0, -np.inf)):
        expected = by_numpy(simple(function, q, k, v), q, k, v)
        np.testing.assert_allclose(pb.jit(function)(q, k, v), expected, 3e-5, 3e-5)


def test_keys_that_no_row_of_a_block_sees_are_not_read() -> None:
    q, k, v = draw(4096, 4), draw(4096, 4, seed=1), draw(4096, 6)
    v[-1] = k[-1] = np.nan
    found = np.asarray(pb.jit(masked(0, -np.inf))(q, k, v))
    assert np.isfinite(found[:3900]).all()
    assert np.isnan(found[-1]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("t", "s", "d", "e"), [(2, 131072, 1, 2), (513, 520, 40, 256), (520, 513, 9, 37)]
)
def test_shapes(dtype: Any, t: int, s: int, d: int, e: int) -> None:
    q, k, v = draw(t, d, dtype=dtype), draw(s, d, dtype=dtype, seed=1), draw(s, e, dtype=dtype)
    with pb.enable_x64(dtype == np.float64):
        closed = simple(plain, q, k, v)
        assert "attention" in names(fuse_attention(closed))
        tolerance = 1e-12 if dtype == np.float64 else 5e-5
        np.testing.assert_allclose(
            pb.jit(plain)(q, k, v), by_numpy(closed, q, k, v), tolerance, tolerance
        )


def test_a_program_for_c_has_the_kernel() -> None:
    found = library.kernel_text("pb_attention_f32", 256)
    assert found is not None
    text, needed = found
    assert "@pb_attention_f32(" in text
    assert {"pb_parallel_for"} <= set(needed)

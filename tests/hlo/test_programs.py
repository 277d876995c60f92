"""Programs on a plugin's device, and the text that users see."""

from __future__ import annotations

import dataclasses
import gc
import importlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.export
import numpy as np
import pytest

import pullback as pb
from pullback import config, lax, random
from pullback import numpy as jnp
from pullback.errors import UnsupportedError
from pullback.hlo import pjrt
from pullback.runtime import array, stages
from pullback.runtime.residence import REMOTE
from tests.hlo.structure import check_text

needs_plugin = pytest.mark.skipif(
    "xla_cpu" not in pjrt.find_plugins() or not pjrt.installed(),
    reason="no PJRT plugin for XLA:CPU is installed (extra pjrt-test)",
)


@pytest.fixture
def on_device() -> Iterator[None]:
    with config.platform.override("xla_cpu"):
        yield


def _looped(x: Any, n: Any) -> Any:
    def step(c: Any, row: Any) -> Any:
        return jnp.tanh(c + row), c.sum()

    last, sums = lax.scan(step, x, jnp.arange(12.0).reshape(4, 3))
    grown = lax.while_loop(lambda v: v.sum() < n, lambda v: v * 2, jnp.ones(3))
    either = lax.cond(n > 5, lambda v: v, lambda v: -v, last)
    chosen = lax.switch(n.astype(int) % 3, [jnp.sin, jnp.cos, jnp.exp], x)
    return {"last": last, "sums": sums, "grown": grown, "either": either, "chosen": chosen}


def _network(x: Any, w: Any) -> Any:
    @pb.checkpoint
    def layer(v: Any) -> Any:
        return pb.nn.gelu(v @ w)

    return jnp.sum(pb.nn.softmax(layer(layer(x)), axis=-1)[:, 0])


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
W = np.linspace(0.5, -1, 9, dtype=np.float32).reshape(3, 3)
PROGRAMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "loops": (_looped, (X[0], np.float32(7))),
    "gradient": (pb.value_and_grad(_network, argnums=(0, 1)), (X, W)),
    "second": (pb.hessian(_network), (X, W)),
    "lanes": (pb.vmap(lambda x: lax.fori_loop(0, 3, lambda i, v: v * x + i, x)), (X,)),
    "random": (lambda s: random.normal(random.split(random.key(s), 3)[1], (5,)), (np.int32(3),)),
    "gamma": (
        pb.value_and_grad(lambda a: random.gamma(random.key(3), a, (3, 4)).sum()),
        (np.linspace(0.2, 5, 4, dtype=np.float32),),
    ),
    "solve": (lambda x: jnp.linalg.solve(x[:3] + 3 * jnp.eye(3), x[3]), (X,)),
    "reverse": (
        pb.grad(lambda x: lax.scan(lambda c, r: (jnp.sin(c) * r, c), x, jnp.ones((6, 3)))[0].sum()),
        (X[0],),
    ),
    "index": (lambda x: x.at[jnp.array([0, 2, 9])].add(2.0, mode="drop")[::-1, 1:], (X,)),
}


def _same(got: Any, want: Any) -> None:
    for a, b in zip(pb.tree.leaves(got), pb.tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), 2e-5, 2e-6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_text_of_programs_is_well_formed(name: str) -> None:
    fun, args = PROGRAMS[name]
    text = pb.jit(fun).lower(*args).as_text()
    results = len(pb.tree.leaves(pb.eval_shape(fun, *args)))
    check_text(text, len(args), results)


@needs_plugin
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_agree_with_our_own_compiler(name: str) -> None:
    fun, args = PROGRAMS[name]
    want = pb.jit(fun)(*args)
    with config.platform.override("xla_cpu"):
        _same(pb.jit(fun)(*args), want)


@needs_plugin
def test_results_stay_on_the_device(on_device: None) -> None:
    f = pb.jit(lambda x: x + 1)
    x = f(jnp.zeros(3))
    device = pb.devices("xla_cpu")[0]
    assert x.device is f(x).device is device
    assert not array.is_here(x)
    assert not array.is_here(f(x))
    assert x.block_until_ready() is x
    assert x.tolist() == [1, 1, 1]


@needs_plugin
def test_buffers_die_with_their_arrays(on_device: None) -> None:
    f = pb.jit(lambda x: x * 2)
    x = f(jnp.ones(3))
    before = len(REMOTE)
    for _ in range(5):
        x = f(x)
    gc.collect()
    assert len(REMOTE) <= before + 1
    assert x.tolist() == [64, 64, 64]


@needs_plugin
def test_donated_arguments_are_deleted_and_aliased(on_device: None) -> None:
    f = pb.jit(lambda x, y: (x + y, y), donate_argnums=0)
    x, y = pb.jit(jnp.ones_like)(jnp.zeros(4)), jnp.ones(4)
    out, same = f(x, y)
    assert x.is_deleted()
    assert same is y
    assert out.tolist() == [2, 2, 2, 2]
    with pytest.raises(RuntimeError, match="deleted"):
        f(x, y)
    assert "tf.aliasing_output = 0" in f.lower(y, y).as_text()


@needs_plugin
def test_large_constants_are_arguments(on_device: None) -> None:
    table = jnp.asarray(np.arange(20_000, dtype=np.float32))
    assert float(pb.jit(lambda i: table[i])(7)) == 7.0


@needs_plugin
def test_keys_are_constants(on_device: None) -> None:
    key = random.key(3)
    want = random.normal(key, (2,)).tolist()
    assert pb.jit(lambda: random.normal(key, (2,)))().tolist() == pytest.approx(want)


@needs_plugin
def test_programs_are_kept_on_disk(on_device: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return jnp.cos(x) * 1.23456

    assert float(pb.jit(f)(0.0)) == pytest.approx(1.23456)
    pb.clear_caches()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("compiled a second time")

    monkeypatch.setattr(pjrt.Backend, "compile", refuse)
    assert float(pb.jit(f)(0.0)) == pytest.approx(1.23456)


def test_callbacks_of_other_platforms_are_a_clear_error() -> None:
    def f(x: Any) -> Any:
        return pb.pure_callback(np.sin, pb.ShapeDtypeStruct((), "float32"), x)

    traced = pb.jit(f).trace(1.0)
    assert "pullback_host_call" in traced.lower().as_text()
    with pytest.raises(UnsupportedError, match="callbacks on cuda"):
        traced.lower(lowering_platforms=("cuda",)).as_text()


def test_a_platform_without_a_plugin_is_a_clear_error() -> None:
    with config.platform.override("nowhere"), pytest.raises(RuntimeError, match=r"pjrt|plugin"):
        pb.jit(lambda x: x + 1)(1.0)


def test_calls_are_functions_and_lines_are_locations() -> None:
    inner = pb.jit(lambda x: jnp.sin(x) * 2)
    lowered = pb.jit(lambda x: inner(x) + inner(x + 1)).lower(1.0)
    assert isinstance(lowered, stages.Lowered)
    text = lowered.as_text()
    assert text.count("func.func private") == 1
    assert text.count('"func.call"') == 2
    assert "loc(" not in text
    assert "test_programs.py" in lowered.as_text(debug_info=True)


@pytest.mark.parametrize("name", ["loops", "gradient", "random", "index"])
def test_text_runs_in_jax(name: str) -> None:
    """JAX's own MLIR verifies our text, and JAX runs it as an exported program."""
    fun, args = PROGRAMS[name]
    dialect = importlib.import_module("jax.extend.mlir.dialects.stablehlo")
    text = pb.jit(fun).lower(*args).as_text()
    blob = dialect.serialize_portable_artifact_str(text, "1.8.0")
    want = pb.tree.leaves(pb.jit(fun)(*args))

    def typed(*xs: Any) -> Any:  # a program of these types, whose module is then exchanged
        return [jax.numpy.zeros(w.shape, w.dtype) for w in want]

    exported = jax.export.export(jax.jit(typed, keep_unused=True))(*args)
    ours = dataclasses.replace(exported, mlir_module_serialized=blob)
    _same(list(ours.call(*args)), want)

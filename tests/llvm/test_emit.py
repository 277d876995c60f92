"""Compiled primitives against their NumPy references, over the samples of the whole registry."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest

import pullback.ops
from pullback import config
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.primitive import Sample, registry
from tests.loops.harness import compile_function, run

for module in pkgutil.iter_modules(pullback.ops.__path__):
    importlib.import_module(f"pullback.ops.{module.name}")

FIRST_ORDER = sorted(name for name, p in registry.items() if p.samples())


def tolerance(dtype: Any) -> float:
    """A relative error that differences in order and rounding explain."""
    if dtypes.kind_of(dtype) not in "fc":
        return 0.0
    size = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    return {8: 1e-11, 4: 3e-5, 2: 2e-2}.get(size, 0.25)


def compare(actual: Any, expected: Any, scale: float) -> None:
    tol = tolerance(actual.dtype) * scale
    if not tol:
        np.testing.assert_array_equal(actual, expected)
        return
    wide = np.complex128 if actual.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(actual.astype(wide), expected.astype(wide), rtol=tol, atol=tol)


def check(name: str, sample: Sample) -> None:
    primitive = registry[name]
    args = [np.asarray(getattr(a, "_data", a)) for a in sample.args]
    program = compile_function(
        lambda *xs: primitive.bind(*xs, **sample.params), *map(aval_of, sample.args)
    )
    with np.errstate(all="ignore"):
        expected = primitive.reference(*args, **sample.params)
    results = expected if primitive.multiple_results else [expected]
    for got, want in zip(program(*args), results, strict=True):
        compare(got, np.asarray(want), sample.tol)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_compiled_agrees_with_the_reference(name: str) -> None:
    with config.x64.override(True):
        samples = list(registry[name].samples())
        for sample in samples[:: max(1, len(samples) // 12)]:
            check(name, sample)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1000])
def test_every_length_of_a_vector_loop(n: int) -> None:
    x = np.linspace(-2, 2, n).astype(np.float32)
    (y,) = run(lambda x: registry["mul"].bind(x, x), x)
    np.testing.assert_array_equal(y, x * x)
    (total,) = run(lambda x: registry["reduce_sum"].bind(x, axes=(0,), out_sharding=None), x)
    np.testing.assert_allclose(total, x.sum(), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "bool", "complex64"])
@pytest.mark.parametrize("n", [1, 7, 40, 129])
def test_every_storage_type(dtype: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.uniform(-3, 3, n).astype(dtypes.as_dtype(dtype))
    (y,) = run(lambda x: registry["rev"].bind(x, dimensions=(0,)), x)
    assert y.tobytes() == x[::-1].tobytes()
    (z,) = run(lambda x: registry["select_n"].bind(registry["eq"].bind(x, x), x, x), x)
    assert z.tobytes() == x.tobytes()


def test_equal_kernels_are_written_once() -> None:
    def layers(x: Any) -> Any:
        for _ in range(10):
            x = registry["reduce_sum"].bind(
                registry["tanh"].bind(x, accuracy=None), axes=(1,), out_sharding=None
            )
            x = registry["broadcast_in_dim"].bind(
                x, shape=(300, 300), broadcast_dimensions=(0,), sharding=None
            )
        return x

    x = np.ones((300, 300), np.float32)
    program = compile_function(layers, x)
    assert program.module.text.count("define internal void @kernel") <= 4

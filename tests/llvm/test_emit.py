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
from pullback.llvm import pool
from tests.loops.harness import compile_function, run

for module in pkgutil.iter_modules(pullback.ops.__path__):
    importlib.import_module(f"pullback.ops.{module.name}")

BYTE_FLOATS = [
    d
    for d in dtypes.SUPPORTED
    if dtypes.kind_of(d) == "f" and d.itemsize == 1 and d.name != "float8_e8m0fnu"
]
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


@pytest.mark.parametrize("dtype", BYTE_FLOATS, ids=str)
def test_narrow_types_round_and_pack_as_ml_dtypes_does(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    spread = rng.standard_normal(1000) * 10.0 ** rng.integers(-6, 7, 1000)
    x = np.concatenate([spread, [0.0, -0.0, np.inf, -np.inf, np.nan, 448.0, 464.0, 465.0]])
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(dtype)
    convert = registry["convert_element_type"]

    def down(x: Any) -> Any:
        return convert.bind(x, new_dtype=dtype, weak_type=False, sharding=None)

    def up(x: Any) -> Any:
        return convert.bind(x, new_dtype=np.dtype("float32"), weak_type=False, sharding=None)

    np.testing.assert_array_equal(run(down, x)[0].astype(np.float32), expected.astype(np.float32))
    np.testing.assert_array_equal(run(up, expected)[0], expected.astype(np.float32))


def test_deep_programs_compile_without_recursion() -> None:
    def chain(x: Any) -> Any:
        for _ in range(1500):
            x = registry["add"].bind(registry["mul"].bind(x, np.float32(0.5)), np.float32(0.25))
        return x

    x = np.linspace(0, 1, 37).astype(np.float32)
    np.testing.assert_allclose(run(chain, x)[0], 0.5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1 << 18,), (700, 700), (3, 90001), (90001, 3)])
def test_the_same_bits_at_any_number_of_threads(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)

    def sums(x: Any) -> list[Any]:
        total = registry["reduce_sum"]
        square = registry["mul"].bind(x, x)
        axes = range(len(shape))
        return [total.bind(square, axes=(a,), out_sharding=None) for a in axes] + [
            total.bind(x, axes=tuple(axes), out_sharding=None)
        ]

    program = compile_function(sums, x)
    before = pool.num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            pool.set_num_threads(threads)
            results.append([r.tobytes() for r in program(x)])
    finally:
        pool.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_transposes_of_complex_numbers_move_whole_vectors(dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(64, 48, 2)).view(np.complex128)[..., 0].astype(dtype)
    with config.x64.override(True):
        program = compile_function(lambda x: registry["conj"].bind(x.T, input_dtype=x.dtype), x)
    assert "masked.gather" not in program.module.text
    assert "masked.scatter" not in program.module.text
    assert program(x)[0].tobytes() == np.ascontiguousarray(x.T.conj()).tobytes()


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int8", "complex64", "complex128", "bfloat16"]
)
@pytest.mark.parametrize("shape", [(40, 40), (16, 100), (33, 70), (3, 50, 66), (100, 8)])
def test_transposes_in_tiles(shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(0).uniform(-9, 9, shape).astype(dtypes.as_dtype(dtype))
    order = tuple(reversed(range(len(shape))))
    with config.x64.override(True):
        (y,) = run(lambda x: registry["transpose"].bind(x, permutation=order), x)
    assert y.tobytes() == np.ascontiguousarray(x.transpose(order)).tobytes()

"""Compiled conversions of floats to integers saturate, in whole vectors."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
from pullback import config, lax
from pullback import numpy as pnp
from pullback.llvm import emit, jit
from pullback.loops.program import lower_program
from tests.loops.harness import compile_function


def _numbers(dtype: Any) -> Any:
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 0.99, -0.99, -1.0, -1.5]
    ends = [
        s * (2.0**b + d) for s in (1, -1) for b in (7, 8, 15, 16) for d in (-1.5, -1, -0.5, 0, 1)
    ]
    middle = np.random.default_rng(0).normal(0, 300, 70)
    return np.concatenate([special, ends, middle]).astype(dtype)


@pytest.mark.parametrize("target", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("source", ["float64", "float32", "float16", ml_dtypes.bfloat16])
def test_saturation(source: Any, target: str) -> None:
    with np.errstate(over="ignore"):
        x = _numbers(source)
    info, wide = np.iinfo(target), np.nan_to_num(x.astype(np.float64), nan=0.0)
    expected = np.trunc(np.clip(wide, info.min, info.max)).astype(target)
    with pb.enable_x64(True):
        found = np.asarray(pb.jit(lambda x: x.astype(target))(x))
    assert found.dtype == np.dtype(target)
    assert np.array_equal(found, expected)


def test_vectors_stay_whole() -> None:
    x = np.zeros(4096, np.float32)
    closed = pb.make_jaxpr(lambda x: pnp.round(x).astype(np.int8))(x)
    module = emit.emit_module(
        lower_program(closed, vector_bits=jit.vector_bits()), jit.vector_bits()
    )
    assert "fptosi.sat" not in module.text
    assert "fptosi <" in module.text


@pytest.mark.parametrize("target", ["int8", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_floats_saturate_in_vectors(source: str, target: str) -> None:
    """Truncated, NaN as 0, beyond the ends the ends; no intrinsic that is done lane by lane."""
    info = np.iinfo(target)
    edges = [float(info.min), float(info.max), 2.0**31, 2.0**32, 2.0**63, 2.0**64, 0.0]
    around = [np.nextafter(np.array(e, source), np.array(to, source)) for e in edges for to in (
        -np.inf, np.inf)]  # fmt: skip
    x = np.array([*edges, *around, -0.7, 1.9, -5.5, np.nan, np.inf, -np.inf, 1e30], source)
    with config.x64.override(True):
        program = compile_function(lambda x: lax.convert_element_type(x, target), x)
    assert ".sat" not in program.module.text
    expected = []
    for number in x.tolist():
        whole = 0 if math.isnan(number) else number
        clipped = min(max(whole, info.min), info.max)
        expected.append(int(clipped))
    np.testing.assert_array_equal(program(x)[0], np.array(expected, target))

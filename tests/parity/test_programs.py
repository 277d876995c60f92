"""Programs as people write them, on JAX and on us: the same values, dtypes and shapes."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

import jax
import jax.flatten_util
import jax.scipy.special
import jax.scipy.stats
import numpy as np
import pytest

import pullback
from pullback.core.array import Array
from pullback.dropin.shims import ops
from tests.parity.programs import (
    arrays,
    calculus,
    inference,
    networks,
    physics,
    sequences,
    structure,
)
from tests.parity.programs.registry import PROGRAMS, Program


class _Namespace:
    """Pullback under the layout of JAX, in a process where JAX itself is imported too."""

    ops = ops

    def __getattr__(self, name: str) -> Any:
        return getattr(pullback, name)


OURS = _Namespace()
FIELDS = [arrays, calculus, inference, networks, physics, sequences, structure]


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """The parts of a result that are not containers, with their paths."""
    if isinstance(value, dict):
        return [leaf for k in value for leaf in _leaves(value[k], f"{path}.{k}")]
    if isinstance(value, (tuple, list)):
        return [leaf for i, part in enumerate(value) for leaf in _leaves(part, f"{path}[{i}]")]
    return [(path, value)]


def _is_array(value: Any) -> bool:
    return isinstance(value, (jax.Array, Array, np.ndarray, np.generic))


def _compare(ours: Any, theirs: Any, rtol: float, path: str) -> None:
    assert _is_array(ours) == _is_array(theirs), f"{path}: {type(ours)} for {type(theirs)}"
    if not _is_array(theirs):
        assert type(ours) is type(theirs), path
        if not isinstance(theirs, float):
            assert ours == theirs, path
    else:
        assert (ours.shape, str(ours.dtype)) == (theirs.shape, str(theirs.dtype)), path
    a, b = np.asarray(ours), np.asarray(theirs)
    if b.dtype.kind in "biuSU":
        np.testing.assert_array_equal(a, b, err_msg=path)
        return
    kind = np.complex128 if b.dtype.kind == "c" else np.float64
    a, b = a.astype(kind), b.astype(kind)
    finite = b[np.isfinite(b)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * largest, err_msg=path)


def check(ours: Any, theirs: Any, rtol: float) -> None:
    """Raise AssertionError where two results differ."""
    mine, others = _leaves(ours), _leaves(theirs)
    assert [p for p, _ in mine] == [p for p, _ in others]
    for (path, a), (_, b) in zip(mine, others, strict=True):
        _compare(a, b, rtol, path)


@functools.cache
def _expected(program: Program) -> Any:
    return program.run(jax)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
class TestProgram:
    """A program gives what it gives on JAX."""

    def test_as_written(self, program: Program) -> None:
        check(program.run(OURS), _expected(program), program.rtol)

"""Programs as people write them give on us what they give on JAX: values, dtypes, shapes."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

import pullback
from pullback.core.array import Array
from pullback.dropin.shims import ops
from tests.parity.programs import (
    algorithms,
    arrays,
    calculus,
    dynamics,
    golden,
    images,
    inference,
    interface,
    models,
    networks,
    physics,
    sequences,
    structure,
)
from tests.parity.programs.registry import PROGRAMS, Program


class _Namespace:
    """Pullback under the layout of JAX, in a process where JAX itself may be imported too."""

    ops = ops

    def __getattr__(self, name: str) -> Any:
        return getattr(pullback, name)


OURS = _Namespace()
_SCALARS = ("int", "float", "float32[]", "int32[]", "bool")
FIELDS = [
    algorithms,
    arrays,
    calculus,
    dynamics,
    images,
    inference,
    interface,
    models,
    networks,
    physics,
    sequences,
    structure,
]


def _close(ours: np.ndarray, theirs: np.ndarray, rtol: float, path: str) -> None:
    if theirs.dtype.kind not in "fc":
        np.testing.assert_array_equal(ours, theirs, err_msg=path)
        return
    kind = np.complex128 if theirs.dtype.kind == "c" else np.float64
    a, b = ours.astype(kind), theirs.astype(kind)
    finite = b[np.isfinite(b)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * largest, err_msg=path)


def check(program: Program, result: Any, *, scalars: bool = True) -> None:
    """Raise AssertionError where a result differs from that of JAX.

    Without `scalars` a Python number may stand for an array without axes.
    """
    ours, theirs = golden.leaves(result), golden.expected(program)
    types = {(path, golden.describe(x, (Array,))) for path, x in ours}
    differing = types ^ {(path, kind) for path, kind, _ in theirs}
    if not scalars:
        differing = {(path, kind) for path, kind in differing if not kind.startswith(_SCALARS)}
    assert not differing, f"types differ at {sorted(differing)}"
    for (path, x), (_, _, expected) in zip(ours, theirs, strict=True):
        _close(golden.elements(x), expected, program.rtol, path)


@pytest.fixture(scope="module", autouse=True)
def recorded(request: pytest.FixtureRequest) -> None:
    """With `--golden-update`, the selected programs run on JAX first."""
    if request.config.getoption("--golden-update"):
        for item in request.session.items:
            call = getattr(item, "callspec", None)
            if call is not None and item.name.startswith("test_as_written"):
                golden.record(call.params["program"])


def _ids(program: Program) -> str:
    return program.name


@pytest.mark.parametrize("program", PROGRAMS, ids=_ids)
def test_as_written(program: Program) -> None:
    check(program, program.run(OURS))


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.eager], ids=_ids)
def test_operation_by_operation(program: Program) -> None:
    with pullback.disable_jit():
        check(program, program.run(OURS), scalars=False)


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.whole_jit], ids=_ids)
def test_in_one_jit(program: Program) -> None:
    check(program, pullback.jit(lambda: program.run(OURS))(), scalars=False)


_SCRIPT = """
from pullback import dropin
dropin.install()
import jax
import jax.numpy as jnp
from tests.parity.programs import {field}
from tests.parity.programs.golden_text import text
"""

"""Programs as people write them give on us what they give on JAX: values, dtypes, shapes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any, Final

import pytest

import pullback
from pullback import segment_ops
from pullback.core.array import Array
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
    recorder,
    sequences,
    structure,
)
from tests.parity.programs.registry import PROGRAMS, Program

FIELDS: Final = (
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
)


class _Namespace:
    """Pullback under the layout of JAX, in a process where JAX itself is imported too."""

    ops = segment_ops

    def __getattr__(self, name: str) -> Any:
        return getattr(pullback, name)


OURS: Final = _Namespace()


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _parameters(programs: list[Program]) -> list[Any]:
    found = []
    for p in programs:
        missing = [m for m in p.needs if not _exists(f"pullback.{m}")]
        marks = [pytest.mark.skip(f"pullback lacks jax.{m}") for m in missing]
        found.append(pytest.param(p, marks=marks, id=p.name))
    return found


@pytest.fixture(scope="module", autouse=True)
def _recorded(request: pytest.FixtureRequest) -> None:
    """With `--golden-update`, the selected programs run on JAX first."""
    if request.config.getoption("--golden-update"):
        for item in request.session.items:
            if item.name.startswith("test_as_written["):
                recorder.record(item.callspec.params["program"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("program", _parameters(PROGRAMS))
def test_as_written(program: Program) -> None:
    golden.check(program, program.run(OURS), Array)


@pytest.mark.parametrize("program", _parameters([p for p in PROGRAMS if p.eager]))
def test_operation_by_operation(program: Program) -> None:
    with pullback.disable_jit():
        golden.check(program, program.run(OURS), Array, scalars=False)


@pytest.mark.parametrize("program", _parameters([p for p in PROGRAMS if p.whole_jit]))
def test_in_one_jit(program: Program) -> None:
    golden.check(program, pullback.jit(lambda: program.run(OURS))(), Array, scalars=False)


DROPPED_IN: Final = (
    "networks-mlp_sgd",
    "sequences-lstm_batch",
    "physics-lorenz",
    "inference-k_means",
    "arrays-segment_operations",
    "structure-trees",
    "interface-errors_users_meet",
)


def test_dropped_in() -> None:
    # Another process: in this one `jax` is JAX.
    command = [sys.executable, "-m", "tests.parity.programs.run", *DROPPED_IN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(DROPPED_IN)

"""Every public function, on operands of all types and shapes, gives what it gives on JAX.

`pytest tests/parity/test_sweep.py --golden-update` runs JAX on the calls that have no result yet.
"""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any, Final

import pytest

import pullback
from pullback import segment_ops
from tests.parity.sweep import golden, tables
from tests.parity.sweep.comparison import difference
from tests.parity.sweep.evaluation import Namespace, evaluate

NAMES: Final = Path(__file__).parents[2] / "docs" / "api" / "names.tsv"


class _Namespace:
    """Pullback under the layout of JAX, in a process where JAX itself may be imported too."""

    ops = segment_ops

    def __getattr__(self, name: str) -> Any:
        return getattr(pullback, name)


OURS: Final = Namespace(_Namespace())


def _by_name() -> dict[str, list[tuple[str, str]]]:
    """The calls of every public name, with the files of recipes they are in."""
    found: dict[str, list[tuple[str, str]]] = {}
    for recipe in tables.recipes():
        for call in tables.calls(recipe):
            found.setdefault(tables.name_of(call), []).append((recipe, call))
    return found


CALLS: Final = _by_name()


@pytest.fixture(scope="module", autouse=True)
def _recorded(request: pytest.FixtureRequest) -> None:
    """With `--golden-update`, calls that have no result yet run on JAX first."""
    if request.config.getoption("--golden-update"):
        recorder = importlib.import_module("tests.parity.sweep.recorder")
        for recipe in tables.recipes():
            recorder.record(recipe)


@pytest.mark.parametrize("name", CALLS)
def test_name(name: str) -> None:
    problems = []
    for recipe, call in CALLS[name]:
        known = golden.read(recipe)
        assert call in known, f"no result of JAX for {call}: use --golden-update"
        found = difference(evaluate(call, OURS), known[call])
        if found is not None and tables.why_different(call) is None:
            problems.append(f"{call}: {found}")
        if found is None and tables.must_differ(call):
            problems.append(f"{call}: as on JAX, but differences.txt says that it differs")
    assert not problems, "\n".join(problems)


def _public() -> set[str]:
    """The functions of the table of names, in the modules that the recipes are about."""
    with NAMES.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {f"{r['module']}.{r['name']}" for r in rows if r["kind"] not in ("module", "Primitive")}


def test_every_name_has_a_recipe_or_a_reason() -> None:
    missing = {n for n in _public() - set(CALLS) if tables.why_without(n) is None}
    assert not missing, sorted(missing)

"""Elementary functions as users call them: every number of the narrow types, and the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.llvm.accuracy import DTYPES, FUNCTIONS, measure

ROUNDED_TWICE = {"log2": 2.0, "log10": 2.0, "hypot": 2.0}
"""Compositions of operations of the narrow type itself, as in JAX."""


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_number_of_a_narrow_type(name: str, dtype: str) -> None:
    error, where = measure(FUNCTIONS[name], dtype)
    assert error <= ROUNDED_TWICE.get(name, 0.501), (where, error)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["log10", "sqrt", "rsqrt", "hypot"])
def test_compositions_of_wide_types(name: str, dtype: str) -> None:
    """What `test_math` does not measure, since no kernel has its name."""
    error, where = measure(FUNCTIONS[name], dtype, dense=False)
    assert error <= 2.5, (where, error)


def test_the_table_has_every_function() -> None:
    text = Path(__file__).parents[2].joinpath("docs/accuracy.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert rows.keys() == FUNCTIONS.keys()
    for name, cells in rows.items():
        for dtype, cell in zip(DTYPES, cells.split(" | "), strict=True):
            assert (cell == "-") == (dtype not in FUNCTIONS[name].own)
            assert cell == "-" or float(cell) <= 2.5, (name, dtype)

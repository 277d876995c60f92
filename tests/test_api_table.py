"""`docs/api.md` says what there is: nothing is lost, and signatures are JAX's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "api_table.py"


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("api_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_is_up_to_date() -> None:
    """In a process of its own: there `import jax` is ours."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("(x: 'Any', *, axis: 'int | None' = None) -> 'Array'", "(x, *, axis=None)"),
        ("(a=<class 'float'>, b: Literal['x', 'y'] = 'x', **kw: Any)", "(a=..., b='x', **kw)"),
        ("(shape: tuple[int, ...] = (1, 2), /, s: 'a, b' = {'k': 1}) -> X", None),
        ("()", "()"),
        ("", ""),
    ],
)
def test_plain_signatures(text: str, plain: str | None) -> None:
    want = "(shape=(1, 2), /, s={'k': 1})" if plain is None else plain
    assert _script().plain_signature(text) == want


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ("(x, axis=None)", "(x, axis=None)", True),
        ("(x, axis=...)", "(x, axis=3)", True),
        ("(x, axis=None)", "(x, axis=0)", False),
        ("(x, axis)", "(x, axis=0)", True),
        ("(x, axis=0)", "(x, axis)", False),
        ("(x, *, axis=None)", "(x, axis=None)", False),
        ("(x, /)", "(x)", False),
        ("(x)", "(x, *, more=None)", True),
        ("(x)", "(x, more=None)", False),
        ("(x, *, a=1)", "(x, *, a=1, b=2)", True),
        ("(x, *, a=1)", "(x, *, b=2)", False),
    ],
)
def test_comparison_of_signatures(theirs: str, ours: str, same: bool) -> None:
    assert _script().same_signature(theirs, ours) is same


def test_what_is_lost_is_found() -> None:
    script = _script()
    lost = script.Name("jax.numpy", "sin", "function", "(x, /)")
    entry = script.Entry(lost, "absent", "")
    assert script.problems([entry], {}) == [
        "jax.numpy.sin is absent: no reason given in docs/api/notes.tsv"
    ]
    assert script.problems([entry], {"jax.numpy.sin": "why"}) != [""]
    stale = script.problems([script.Entry(lost, "complete", "")], {"jax.numpy.sin": "why"})
    assert stale == ["the note on jax.numpy.sin has nothing to say"]

"""A sample of the parity sweep on a plugin's device: each call jitted, its operands there.

The rest of the sweep can be run by hand with a smaller `EVERY`.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any, Final

import pytest

import pullback as pb
from pullback.core.primitive import NotApplicable, registry
from pullback.errors import UnsupportedError
from pullback.hlo import pjrt
from tests.parity.sweep import evaluation, golden, tables
from tests.parity.sweep.comparison import difference
from tests.parity.test_sweep import CALLS, OURS

pytestmark = pytest.mark.skipif(
    "xla_cpu" not in pjrt.find_plugins() or not pjrt.installed(),
    reason="no PJRT plugin for XLA:CPU is installed (extra pjrt-test)",
)

EVERY: Final = int(os.environ.get("PULLBACK_PARITY_EVERY", "60"))
"""One call of so many is run."""
_HOST_ONLY: Final = tuple(n for n, p in registry.items() if isinstance(p.hlo, NotApplicable))
_OF_ANOTHER_PROGRAM: Final = {
    "scipy.stats.gumbel_r.pdf(f32_odd, 1.5, 2.5)": "in a jitted program XLA's exp(inf) is finite",
    "jnp.linalg.solve(np.zeros((2, 2)), f32_2)": "LAPACK on the host; zeros over zeros otherwise",
}
"""Calls whose result in JAX is that of a program other than one of XLA's for the whole call."""


class _NotTraced(Exception):
    """Operands must be known when the call is traced, or its result is not made of arrays."""


def _chosen() -> list[tuple[str, str]]:
    calls = sorted({pair for pairs in CALLS.values() for pair in pairs})
    numbers = [int(hashlib.sha256(call.encode()).hexdigest(), 16) for _, call in calls]
    chosen = [pair for pair, number in zip(calls, numbers, strict=True) if number % EVERY == 0]
    return [
        (recipe, call)
        for recipe, call in chosen
        if "jvp: " not in call
        and tables.why_different(call) is None
        and call not in _OF_ANOTHER_PROGRAM
    ]


def _on_device(call: str) -> list[Any]:
    """The arrays of a call's result."""
    text = tables.expression(call)
    code = compile(text, "<call>", "eval")
    names = evaluation._names(text)

    def function(*operands: Any) -> list[Any]:
        scope = {**OURS, **dict(zip(names, operands, strict=True))}
        found = pb.tree.leaves(eval(code, scope))
        if not all(isinstance(x, pb.Array) for x in found):
            raise TypeError("a result is no array")
        return found

    device = pb.devices("xla_cpu")[0]
    with warnings.catch_warnings(), pb.enable_x64(call.startswith("x64: ")):
        warnings.simplefilter("ignore")
        operands = [pb.device_put(OURS.operand(name), device) for name in names]
        jitted = pb.jit(function)
        try:
            jitted.trace(*operands)
        except Exception as error:  # what tracing raises is no matter of the device
            raise _NotTraced from error
        found: list[Any] = jitted(*operands)
        return found


def _problem(recipe: str, call: str) -> str | None:
    """What differs from JAX; "" for a call that cannot be compared so."""
    want = golden.read(recipe)[call]
    if isinstance(want, evaluation.Failure):
        return ""
    arrays = [leaf for leaf in want if leaf[2] is not None]
    try:
        found = _on_device(call)
    except _NotTraced:
        return ""
    except UnsupportedError as error:
        return "" if str(error).startswith(_HOST_ONLY) else str(error)
    if len(found) != len(arrays):
        return ""
    leaves = [evaluation._leaf(x, pb, place) for x, (place, *_) in zip(found, arrays, strict=True)]
    return difference(leaves, arrays)


def test_a_sample_of_the_sweep() -> None:
    problems, compared = [], 0
    calls = _chosen()
    for recipe, call in calls:
        found = _problem(recipe, call)
        compared += found != ""
        if found:
            problems.append(f"{call}: {found}")
    assert not problems, "\n".join(problems)
    assert compared > len(calls) / 2

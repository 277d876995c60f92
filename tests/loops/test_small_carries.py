"""The carry of a loop that is a handful of numbers stays in registers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as pnp
from pullback.llvm import jit
from tests.loops.harness import compile_function


def _orbit(state: Any) -> Any:
    x, y, z = state
    return state + 0.01 * pnp.array([y - x, x * (28.0 - z) - y, x * y - z])


def test_three_numbers_do_not_go_through_memory() -> None:
    program = compile_function(
        lambda s: lax.fori_loop(0, 1000, lambda i, s: _orbit(s), s), np.ones(3, np.float32)
    )
    (result,) = program(np.ones(3, np.float32))
    state: Any = np.ones(3, np.float32)
    for _ in range(1000):
        x, y, z = state
        state = state + np.float32(0.01) * np.array([y - x, x * (28 - z) - y, x * y - z])
    np.testing.assert_allclose(result, state, rtol=1e-2)
    assembly = jit.disassemble(program.module.text)
    loop = assembly[: assembly.rindex("\tjb\t")].rsplit("\n.LBB", 1)[1]
    assert "sp)" not in loop

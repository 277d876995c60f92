"""Runs programs on JAX."""

from __future__ import annotations

import jax
import jax.flatten_util
import jax.image
import jax.scipy.special
import jax.scipy.stats

from tests.parity.programs import golden
from tests.parity.programs.registry import Program


def record(program: Program) -> None:
    """Run a program on JAX and keep its results."""
    golden.write(program, program.run(jax), jax.Array)

"""The programs of this folder: functions of the `jax` module they run on, and how to compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

Run = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Program:
    """A program, and how close its float32 results are to JAX's, relative to the largest one."""

    run: Run
    rtol: float
    whole_jit: bool
    """Whether the whole program can be one jitted function: nothing in it looks at values."""
    eager: bool
    """Whether it is also run without `jit`, operation by operation; not if that takes long."""

    @property
    def name(self) -> str:
        """`field-name`."""
        return f"{self.run.__module__.rpartition('.')[2]}-{self.run.__name__}"


PROGRAMS: Final[list[Program]] = []


def program(*, rtol: float = 1e-5, whole_jit: bool = True, eager: bool = True) -> Any:
    """Add a function of the `jax` module to the programs that are compared."""

    def add(run: Run) -> Run:
        PROGRAMS.append(Program(run, rtol, whole_jit, eager))
        return run

    return add

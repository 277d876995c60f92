"""The programs of this folder: functions of the `jax` module they run on, and how to compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

Run = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Program:
    """A program, and how it is run and compared."""

    run: Run
    rtol: float
    """How close float32 results are to JAX's, relative to themselves or to the largest one."""
    whole_jit: bool
    """Whether the whole program can be one jitted function: nothing in it looks at values."""
    eager: bool
    """Whether it means the same without `jit`."""
    needs: tuple[str, ...]
    """Modules of `jax` without which it does not run: `scipy.stats`."""

    @property
    def name(self) -> str:
        """`field-name`."""
        return f"{self.run.__module__.rpartition('.')[2]}-{self.run.__name__}"


PROGRAMS: Final[list[Program]] = []


def program(
    *,
    rtol: float = 1e-5,
    whole_jit: bool = True,
    eager: bool = True,
    needs: tuple[str, ...] = (),
) -> Callable[[Run], Run]:
    """Add a function of the `jax` module to the programs that are compared."""

    def add(run: Run) -> Run:
        PROGRAMS.append(Program(run, rtol, whole_jit, eager, needs))
        return run

    return add

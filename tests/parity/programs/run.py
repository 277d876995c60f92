"""`python -m tests.parity.programs.run NAME...`: programs on Pullback under the name `jax`."""

from __future__ import annotations

import importlib
import sys

from pullback import dropin
from tests.parity.programs import golden
from tests.parity.programs.registry import PROGRAMS

if __name__ == "__main__":
    dropin.install()
    jax = importlib.import_module("jax")
    assert jax.__file__ == importlib.import_module("pullback").__file__
    for name in sys.argv[1:]:
        importlib.import_module(f"tests.parity.programs.{name.partition('-')[0]}")
    chosen = [p for p in PROGRAMS if p.name in sys.argv[1:]]
    assert len(chosen) == len(sys.argv) - 1
    for program in chosen:
        golden.check(program, program.run(jax), jax.Array)
        print(program.name)

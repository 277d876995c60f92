"""Texts that users of JAX see where they print traced values, types and programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = str(Path(__file__).with_name("shown.py"))


def output(*command: str) -> list[str]:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.splitlines()


def test_what_is_printed_is_what_jax_prints() -> None:
    assert output("-m", "pullback", "run", PROGRAM) == output(PROGRAM)

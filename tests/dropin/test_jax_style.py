"""Tests written as JAX writes its own run under the drop-in, and fail where they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("jax_style.py")


def test_cases_in_the_style_of_jax() -> None:
    command = [sys.executable, "-W", "error", "-m", "pullback", "run", str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ran 26 tests" in done.stderr
    assert "OK" in done.stderr.splitlines()[-1]

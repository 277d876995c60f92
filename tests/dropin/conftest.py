"""`jax_style.py` is a program that a test runs under the drop-in, not a module to be collected."""

from __future__ import annotations

collect_ignore = ["jax_style.py"]

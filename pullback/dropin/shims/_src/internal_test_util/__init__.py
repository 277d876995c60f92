"""`jax._src.internal_test_util`: modules that tests are about."""

from __future__ import annotations

__all__: list[str] = []

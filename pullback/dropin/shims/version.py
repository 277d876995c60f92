"""`jax.version`: the version of JAX whose public interface pullback follows."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.10.2"
__version_info__: Final = (0, 10, 2)

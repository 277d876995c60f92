"""`jax.extend.ifrt_programs`: programs for remote runtimes, of which there are none."""

from __future__ import annotations

from typing import Final

__all__ = ["ifrt_programs"]


class _Programs:
    """No kind of program can be made."""


ifrt_programs: Final = _Programs()

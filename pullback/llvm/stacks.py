"""How functions lay out their stack, said to LLVM by an attribute."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["aligned_stack"]

_VECTOR: Final = re.compile(r"<\d+ x \w+>")


def aligned_stack(body: str) -> str:
    """What follows the parameters of a function with this text: nothing if it has no vectors.

    LLVM keeps vectors that do not fit the registers on the stack as it finds it, at multiples of 16
    bytes, unless it is told to align it: most of them would lie across two cache lines.

    >>> aligned_stack("  %y = fadd <16 x float> %x, %x"), aligned_stack("  ret void")
    (' "stackrealign"', '')
    """
    return ' "stackrealign"' if _VECTOR.search(body) else ""

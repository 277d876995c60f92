"""`jax._src.literals`: classes of constants in jaxprs; ours are plain arrays and scalars."""

from __future__ import annotations

from typing import final

__all__ = ["LiteralArray", "TypedNdArray"]


@final
class TypedNdArray:
    """The class of no value: constants of jaxprs are NumPy arrays and our own."""

    def __init__(self) -> None:
        raise TypeError("constants of jaxprs are plain arrays; there is no TypedNdArray")


LiteralArray = TypedNdArray

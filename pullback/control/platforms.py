"""`platform_index`: which of several functions is for the platform that a program runs on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core.avals import ShapedArray
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
)
from pullback.errors import UnsupportedError

__all__ = ["PLATFORM", "platform_index"]

PLATFORM: Final = "cpu"
"""What programs are compiled for."""
_GPUS: Final = ("cuda", "rocm")


def _platform_reference(
    *, platforms: tuple[tuple[str, ...] | None, ...], platform: str = PLATFORM
) -> Any:
    for i, names in enumerate(platforms):
        if names is None or platform in names or (platform in _GPUS and "gpu" in names):
            return np.int32(i)
    listed = [name for names in platforms for name in names or ()]
    raise UnsupportedError(
        f"platform_dependent: there is no function for the platform {platform!r}, only for "
        f"{listed}; give one, or a default"
    )


def _platform_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    index = platform_index.bind(**params)
    return index, Zero(index.aval.to_tangent_aval())


platform_index: Final[Primitive] = Primitive(
    name="platform_index",
    abstract=lambda *, platforms: ShapedArray((), np.dtype(np.int32)),
    reference=_platform_reference,
    jvp=_platform_jvp,
    transpose=NotApplicable("transpose of platform_index", "it is an integer", TypeError),
    batch=lambda size, args, dims, **params: (platform_index.bind(**params), None),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *, platforms: b.constant(_platform_reference(platforms=platforms)),
    hlo=lambda b, *, platforms: b.array(
        _platform_reference(platforms=platforms, platform=b.platform or PLATFORM)
    ),
    samples=lambda: [Sample((), {"platforms": (("tpu",), ("cpu",), None)})],
    multiple_results=False,
    effects=PURE,
    literals=False,
)

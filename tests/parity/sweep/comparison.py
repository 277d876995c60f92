"""Says how a result of ours differs from JAX's."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from tests.parity.sweep.evaluation import Failure, Leaf

_RTOL: Final = {
    "float64": 1e-9,
    "complex128": 1e-9,
    "float32": 2e-5,
    "complex64": 2e-5,
    "float16": 3e-3,
    "bfloat16": 2e-2,
}
_LOOSE: Final = 0.1
_INTERNAL: Final = ("MLIRError", "AssertionError", "KeyError")
"""What JAX raises where it did not check: any exception of ours agrees."""
_PYTHON: Final = (
    "TypeError",
    "IndexError",
    "ZeroDivisionError",
    "OverflowError",
    "NotImplementedError",
    "AttributeError",
    "NameError",
    "FloatingPointError",
    "RuntimeError",
    "ValueError",
)


def _class_of(failure: Failure) -> str:
    """The built-in class that users would catch."""
    return next((c for c in failure.classes if c in _PYTHON), failure.classes[0])


def _failures(ours: Failure, theirs: Failure) -> str | None:
    wanted = _class_of(theirs)
    if theirs.classes[0] in _INTERNAL or wanted in ours.classes:
        return None
    return f"{ours.classes[0]} ({ours.message}) but JAX {theirs.classes[0]} ({theirs.message})"


def _type_of(kind: str) -> str:
    """A type as it is compared: JAX calls bools weak; that has no consequence."""
    return kind.replace("*", "") if kind.startswith("bool") else kind


def _elements(ours: Any, theirs: Any, rtol: float) -> str | None:
    if theirs.dtype.kind not in "fc":
        return None if np.array_equal(ours, theirs) else f"{ours!r} but JAX {theirs!r}"
    wide = np.complex128 if theirs.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        a, b = ours.astype(wide), theirs.astype(wide)
        finite = np.abs(b[np.isfinite(b)])
        # What cancels is as exact as the largest element, not as itself.
        atol = rtol * min(float(finite.max()), 1e3) if finite.size else 0.0
        same = np.isclose(a, b, rtol=rtol, atol=max(atol, 1e-35), equal_nan=True)
    return None if same.all() else f"{ours!r} but JAX {theirs!r}"


def _signs_of_zeros(ours: Any, theirs: Any) -> str | None:
    if theirs.dtype.kind != "f":
        return None
    zero = (ours == 0) & (theirs == 0)
    same = np.array_equal(np.signbit(ours[zero]), np.signbit(theirs[zero]))
    return None if same else f"signs of zeros: {ours!r} but JAX {theirs!r}"


def difference(
    ours: list[Leaf] | Failure, theirs: list[Leaf] | Failure, *, signs: bool = False
) -> str | None:
    """What is not the same; None if everything is."""
    if isinstance(ours, Failure) or isinstance(theirs, Failure):
        if isinstance(ours, Failure) and isinstance(theirs, Failure):
            return _failures(ours, theirs)
        if isinstance(ours, Failure):
            return f"{ours.classes[0]} ({ours.message}) but JAX {[x[:2] for x in theirs]}"  # type: ignore[union-attr]
        return f"{[x[:2] for x in ours]} but JAX {theirs.classes[0]} ({theirs.message})"  # type: ignore[union-attr]
    mine = [(place, _type_of(kind)) for place, kind, _ in ours]
    wanted = [(place, _type_of(kind)) for place, kind, _ in theirs]
    if mine != wanted:
        return f"types {mine} but JAX {wanted}"
    for (place, kind, have), (_, _, want) in zip(ours, theirs, strict=True):
        if want is None:
            continue
        dtype = re.split(r"[\[*]", kind)[0]
        found = _elements(have, want, _RTOL.get(dtype, _LOOSE))
        if found is None and signs:
            found = _signs_of_zeros(have, want)
        if found is not None:
            return f"{place}: {found}" if place else found
    return None

"""`ffi_call`: native functions of the user's, called by address from compiled programs.

A target is a C function `f(x1, ..., xn, y1, ..., ym, a1, ..., ak)` that was registered under a
name: it gets the addresses of the elements of the operands and of the results, contiguous and in
row-major order, then attributes by value (Python numbers as int64, double and bool).  It returns
nothing, or an int that is 0 for success.

Compiled code refers to a target by a symbol, which is resolved when the code is loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.control.callbacks import batch_by_method
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.effects import IO
from pullback.core.primitive import FIRST_ORDER, NO_SAMPLES, NotApplicable, Primitive
from pullback.errors import UnsupportedError
from pullback.ops.kinds import NONLINEAR

__all__ = ["Target", "address_of_symbol", "ffi_call", "register", "target"]

PREFIX: Final = "pb_ffi_"


@dataclass(frozen=True)
class Target:
    """A registered function."""

    name: str
    address: int
    parameters: int
    """How many it takes."""
    returns_status: bool
    keep: Any
    """What owns the code."""


_targets: Final[dict[str, Target]] = {}


def register(made: Target) -> None:
    """Make a target known; raises ValueError if its name means another function."""
    before = _targets.get(made.name)
    if before is not None and before.address != made.address:
        raise ValueError(f"register_ffi_target: {made.name!r} is registered already")
    _targets[made.name] = made


def target(name: str) -> Target:
    """The target of a name; raises NotImplementedError if there is none."""
    found = _targets.get(name)
    if found is None:
        raise UnsupportedError(
            f"there is no ffi target {name!r} for the platform 'cpu'; known: {sorted(_targets)}"
        )
    return found


def _symbol(name: str) -> str:
    return PREFIX + name.encode().hex()


def address_of_symbol(symbol: str) -> int | None:
    """The address of a target by its symbol; None for other symbols."""
    if not symbol.startswith(PREFIX):
        return None
    return target(bytes.fromhex(symbol.removeprefix(PREFIX)).decode()).address


# --------------------------------------------------------------------------- calling


def _abstract(
    *avals: ShapedArray, target_name: str, result_avals: Any, attributes: Any, **_: Any
) -> list[Any]:
    found = target(target_name)
    count = len(avals) + len(result_avals) + len(attributes)
    if found.parameters != count:
        raise TypeError(
            f"ffi_call: the target {target_name!r} takes {found.parameters} parameters, but there "
            f"are {len(avals)} operands, {len(result_avals)} results and {len(attributes)} "
            "attributes"
        )
    return list(result_avals)


_C_TYPES: Final = {
    "bool": ctypes.c_bool,
    "int8": ctypes.c_int8,
    "int16": ctypes.c_int16,
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "uint8": ctypes.c_uint8,
    "uint16": ctypes.c_uint16,
    "uint32": ctypes.c_uint32,
    "uint64": ctypes.c_uint64,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
}


def _addresses(arrays: Sequence[np.ndarray[Any, Any]]) -> list[int]:
    return [x.__array_interface__["data"][0] for x in arrays]


def _reference(
    *values: Any,
    target_name: str,
    result_avals: Sequence[ShapedArray],
    attributes: Sequence[tuple[str, Any]],
    aliases: Sequence[tuple[int, int]],
    **_: Any,
) -> list[Any]:
    """Call it by ctypes."""
    found = target(target_name)
    operands = [np.ascontiguousarray(v) for v in values]
    outs = [np.empty(a.shape, dtypes.physical(a.dtype)) for a in result_avals]
    for i, k in aliases:
        np.copyto(outs[k], operands[i])
        operands[i] = outs[k]
    ins, places = _addresses(operands), _addresses(outs)
    scalars = [_C_TYPES[v.dtype.name](v.item()) for _, v in attributes]
    pointers = [ctypes.c_void_p] * (len(ins) + len(places))
    returns = ctypes.c_int32 if found.returns_status else None
    call = ctypes.CFUNCTYPE(returns, *pointers, *map(type, scalars))(found.address)
    status = call(*ins, *places, *scalars)
    if found.returns_status and status:
        raise RuntimeError(f"the ffi target {target_name!r} failed with status {status}")
    return outs


def _as_passed(value: Any) -> Any:
    """A scalar as C passes it: what is narrower than an int becomes one."""
    narrow = value.dtype.kind in "biu" and value.dtype.itemsize < 4
    return np.int32(value) if narrow else value


def _lower(
    b: Any,
    *xs: Any,
    target_name: str,
    result_avals: Sequence[ShapedArray],
    attributes: Sequence[tuple[str, Any]],
    aliases: Sequence[tuple[int, int]],
    **_: Any,
) -> list[Any]:
    found, shared = target(target_name), {k: i for i, k in aliases}
    operands = list(xs)
    outs = []
    for k, aval in enumerate(result_avals):
        init = operands[shared[k]] if k in shared else None
        out = b.buffer(aval.shape, dtypes.physical(aval.dtype), init)
        if k in shared:
            operands[shared[k]] = out
        outs.append(out)
    arguments = [*operands, *outs, *[_as_passed(v) for _, v in attributes]]
    b.call(_symbol(target_name), *arguments, fails=found.returns_status)
    return outs


def _batch(size: int, args: Any, dims: Any, **params: Any) -> Any:
    return batch_by_method(ffi_call, "ffi_call", size, args, dims, params)


def _not_differentiable(primals: Any, tangents: Any, *, target_name: str, **_: Any) -> Any:
    raise ValueError(
        f"The FFI call to `{target_name}` cannot be differentiated. You can use "
        "`jax.custom_jvp` or `jax.custom_vjp` to add support."
    )


def _effects(*, has_side_effect: bool, **_: Any) -> frozenset[Any]:
    return frozenset((IO,)) if has_side_effect else frozenset()


ffi_call: Final[Primitive] = Primitive(
    name="ffi_call",
    abstract=_abstract,
    reference=_reference,
    jvp=_not_differentiable,
    transpose=NONLINEAR,
    batch=_batch,
    partial_eval=FIRST_ORDER,
    lower=_lower,
    hlo=NotApplicable("hlo of ffi_call", "the function is one of the host's, not of the plugin's"),
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=_effects,
    literals=False,
)

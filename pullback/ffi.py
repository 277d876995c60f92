"""Native functions in compiled programs: the namespace `jax.ffi`.

A target is a C function that was registered under a name; `ffi_call` calls it, from compiled code
without Python in between:

    void f(const float *x, ..., float *y, ..., int64_t n, ...)

It gets the address of the elements of each operand and of each result, then the attributes by
value, in the order of the call: Python ints as int64, floats as double, bools as bool, NumPy
scalars as they are.  A function that returns an int says by it whether it succeeded (0).  ctypes
functions with their `argtypes` and Numba's `cfunc`s can be registered.  Handlers written for XLA's
typed call frames are not supported.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.control import foreign
from pullback.control.callbacks import VMAP_METHODS
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.errors import UnsupportedError
from pullback.ops import structural
from pullback.transforms.arguments import check_operand

__all__ = [
    "build_ffi_lowering_function",
    "ffi_call",
    "ffi_lowering",
    "include_dir",
    "pycapsule",
    "register_ffi_target",
    "register_ffi_target_as_batch_partitionable",
    "register_ffi_type",
    "register_ffi_type_id",
]

_CAPSULE: Final = b"pullback.ffi"
_new_capsule: Final = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer_of: Final = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
_is_valid: Final = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype = ctypes.c_int
_is_valid.argtypes = [ctypes.py_object, ctypes.c_char_p]

_wrapped: Final[dict[int, Any]] = {}
"""The functions in capsules of ours, by address."""


# --------------------------------------------------------------------------- registration


def pycapsule(funcptr: Any) -> Any:
    """A ctypes function (or a Numba cfunc) in a PyCapsule, for `register_ffi_target`.

    >>> import ctypes.util
    >>> type(pycapsule(ctypes.CDLL(None).abs)).__name__
    'PyCapsule'
    """
    function = _ctypes_function(funcptr)
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    _wrapped[address] = function
    return _new_capsule(address, _CAPSULE, None)


def _ctypes_function(fn: Any) -> Any:
    """The ctypes function that a target is given as."""
    if type(fn).__name__ == "PyCapsule":
        if not _is_valid(fn, _CAPSULE):
            raise UnsupportedError(
                "register_ffi_target: a PyCapsule that jax.ffi.pycapsule did not make holds a "
                "handler for XLA's call frames, which are not supported; register a C function of "
                "plain addresses (see jax.ffi)"
            )
        return _wrapped[_pointer_of(fn, _CAPSULE)]
    numba_view = getattr(fn, "ctypes", None)
    found = fn if numba_view is None else numba_view
    if not isinstance(found, ctypes._CFuncPtr):  # type: ignore[attr-defined]
        raise TypeError(
            "register_ffi_target: expected a ctypes function, a Numba cfunc or a PyCapsule of one, "
            f"got {fn!r}"
        )
    return found


def register_ffi_target(
    name: str, fn: Any, platform: str = "cpu", api_version: int = 1, **kwargs: Any
) -> None:
    """Make a C function known under a name, for `ffi_call`.

    `fn` is a ctypes function whose `argtypes` are set, a Numba `cfunc`, or a PyCapsule of one.
    Raises ValueError if the name means another function, and UnsupportedError for other platforms
    and for `api_version=0`.

    >>> @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    ... def twice(x, y):
    ...     ctypes.c_float.from_address(y).value = 2 * ctypes.c_float.from_address(x).value
    >>> register_ffi_target("doc_twice", twice)
    >>> import pullback as pb, pullback.numpy as jnp
    >>> call = ffi_call("doc_twice", pb.ShapeDtypeStruct((), jnp.float32))
    >>> float(pb.jit(call)(3.0))
    6.0
    """
    if platform not in ("cpu", "Host"):
        raise UnsupportedError(
            f"register_ffi_target: there is the platform 'cpu', not {platform!r}"
        )
    if api_version != 1:
        raise UnsupportedError(
            f"register_ffi_target: api_version {api_version} is not supported; see jax.ffi for "
            "what functions are called with"
        )
    if isinstance(fn, Mapping):
        stages = {stage for stage, f in fn.items() if f is not None}
        if stages != {"execute"}:
            raise UnsupportedError(
                f"register_ffi_target: of the stages of a target there is 'execute', got {stages}"
            )
        fn = fn["execute"]
    function = _ctypes_function(fn)
    if function.argtypes is None:
        raise TypeError(
            f"register_ffi_target: set the argtypes of the function for {name!r}: what it takes "
            "is not known otherwise, and handlers for XLA's call frames are not supported"
        )
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    returns = function.restype
    if returns not in (None, ctypes.c_int, ctypes.c_int32):
        raise TypeError(
            f"register_ffi_target: the function for {name!r} must return nothing or an int that "
            f"is 0 for success, not {returns}"
        )
    foreign.register(
        foreign.Target(name, address, len(function.argtypes), returns is not None, (fn, function))
    )


def register_ffi_target_as_batch_partitionable(name: str) -> None:
    """Say that a target works on each part of its operands; with one device there is one part."""
    foreign.target(name)


def register_ffi_type(name: str, type_registration: Any, platform: str = "cpu") -> None:
    """Unsupported: types for the state of XLA's handlers."""
    raise UnsupportedError(
        "register_ffi_type: functions that keep state of XLA's are not supported"
    )


def register_ffi_type_id(name: str, obj: Any, platform: str = "cpu") -> None:
    """Unsupported: types for the state of XLA's handlers."""
    raise UnsupportedError(
        "register_ffi_type_id: functions that keep state of XLA's are not supported"
    )


def include_dir() -> str:
    """Unsupported: the directory of XLA's C++ headers."""
    raise UnsupportedError(
        "include_dir: there are no headers; targets are plain C functions, see jax.ffi"
    )


def _no_mlir(name: str) -> UnsupportedError:
    return UnsupportedError(f"{name}: pullback has no MLIR; call the target by ffi_call")


def ffi_lowering(
    call_target_name: str,
    *,
    operand_layouts: Any = None,
    result_layouts: Any = None,
    backend_config: Any = None,
    skip_ffi_layout_processing: bool = False,
    **lowering_args: Any,
) -> Any:
    """Unsupported: a lowering rule that makes MLIR."""
    raise _no_mlir("ffi_lowering")


def build_ffi_lowering_function(
    call_target_name: str,
    *,
    operand_layouts: Any = None,
    result_layouts: Any = None,
    backend_config: Any = None,
    skip_ffi_layout_processing: bool = False,
    **lowering_args: Any,
) -> Any:
    """Unsupported: a lowering rule that makes MLIR."""
    raise _no_mlir("build_ffi_lowering_function")


# --------------------------------------------------------------------------- calls


def ffi_call(
    target_name: str,
    result_shape_dtypes: Any,
    *,
    has_side_effect: bool = False,
    vmap_method: str | None = None,
    input_layouts: Sequence[Any] | None = None,
    output_layouts: Any = None,
    input_output_aliases: dict[int, int] | None = None,
    custom_call_api_version: int = 4,
    legacy_backend_config: str | None = None,
) -> Callable[..., Any]:
    """A function that calls the target `target_name`, whose keyword arguments are attributes.

    `result_shape_dtypes` is a `ShapeDtypeStruct` or a sequence of them. A layout is a permutation
    of axes, the slowest first; row-major by default. `input_output_aliases` maps operands to
    results that begin with their elements, in the same memory. `vmap_method` is that of
    `pure_callback`. Derivatives need a `custom_vjp` or `custom_jvp` around.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> copy = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    >>> register_ffi_target("doc_copy", ctypes.cast(ctypes.CDLL(None).bcopy, copy))
    >>> call = ffi_call("doc_copy", pb.ShapeDtypeStruct((2,), jnp.int32))
    >>> pb.jit(lambda x: call(x, n=8))(jnp.array([1, 2]))
    Array([1, 2], dtype=int32)
    """
    if vmap_method not in VMAP_METHODS:
        raise ValueError(
            f"ffi_call: vmap_method must be one of {VMAP_METHODS}, got {vmap_method!r}"
        )
    if custom_call_api_version != 4 or legacy_backend_config is not None:
        raise UnsupportedError("ffi_call: custom_call_api_version is 4, without a backend config")
    specs, out_tree = tree.flatten(result_shape_dtypes)
    single = len(specs) == 1 and specs[0] is result_shape_dtypes
    avals = [ShapedArray(s.shape, dtypes.canonical(s.dtype)) for s in specs]
    layouts = [output_layouts] if single else output_layouts
    orders = [_order(name_of, a) for name_of, a in _with(layouts, avals)]
    stored = tuple(
        a.update(shape=_permuted(a.shape, o)) for a, o in zip(avals, orders, strict=True)
    )
    aliases = tuple(sorted((input_output_aliases or {}).items()))

    def call(*args: Any, **attributes: Any) -> Any:
        for x in args:
            check_operand(x, f"ffi_call of {target_name!r}")
        operands = [
            _transposed(x, _order(layout, aval_of(x))) for layout, x in _with(input_layouts, args)
        ]
        _check_aliases(target_name, aliases, operands, stored)
        outs = foreign.ffi_call.bind(
            *operands,
            target_name=target_name,
            result_avals=stored,
            attributes=tuple((k, _attribute(target_name, k, v)) for k, v in attributes.items()),
            has_side_effect=bool(has_side_effect),
            vmap_method=vmap_method,
            aliases=aliases,
        )
        outs = [_transposed(x, _inverse(o)) for x, o in zip(outs, orders, strict=True)]
        return outs[0] if single else out_tree.unflatten(outs)

    return call


def _with(layouts: Any, values: Sequence[Any]) -> list[tuple[Any, Any]]:
    given = [None] * len(values) if layouts is None else list(layouts)
    if len(given) != len(values):
        raise ValueError(f"ffi_call: {len(given)} layouts for {len(values)} arrays")
    return list(zip(given, values, strict=True))


def _order(layout: Any, aval: ShapedArray) -> tuple[int, ...] | None:
    """The axes from the slowest to the fastest; None for row-major order."""
    if layout is None:
        return None
    order = tuple(int(k) for k in getattr(layout, "major_to_minor", layout))
    if sorted(order) != list(range(len(aval.shape))):
        raise ValueError(f"ffi_call: {layout} is no layout of {aval.str_short()}")
    return None if order == tuple(range(len(order))) else order


def _permuted(shape: tuple[int, ...], order: tuple[int, ...] | None) -> tuple[int, ...]:
    return shape if order is None else tuple(shape[k] for k in order)


def _inverse(order: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if order is None else tuple(int(k) for k in np.argsort(order))


def _transposed(x: Any, order: tuple[int, ...] | None) -> Any:
    return x if order is None else structural.transpose(x, permutation=order)


def _check_aliases(name: str, aliases: Any, operands: Any, results: Any) -> None:
    for i, k in aliases:
        if not (0 <= i < len(operands) and 0 <= k < len(results)):
            raise ValueError(f"ffi_call of {name!r}: there is no operand {i} or no result {k}")
        x = aval_of(operands[i])
        if (x.shape, x.dtype) != (results[k].shape, results[k].dtype):
            raise ValueError(
                f"ffi_call of {name!r}: operand {i}, {x.str_short()}, and result {k}, "
                f"{results[k].str_short()}, cannot be the same memory"
            )


def _attribute(target_name: str, name: str, value: Any) -> np.generic:
    """An attribute as the NumPy scalar that is passed."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return value
    kinds: tuple[tuple[type, Callable[[Any], np.generic]], ...] = (
        (bool, np.bool_),
        (int, np.int64),
        (float, np.float64),
    )
    for kind, convert in kinds:
        if type(value) is kind:
            return convert(value)
    raise UnsupportedError(
        f"ffi_call of {target_name!r}: attributes are numbers, got {name}={value!r}"
    )

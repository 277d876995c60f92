"""Programs as bytes: a jaxpr, without pickle; for compiled programs that leave the process.

Exported functions have another format, that of `jax.export`, which holds StableHLO (`export/`).

A file is a magic word, the length of a header, the header (JSON), and the bytes of arrays, to which
the header refers by position.  Nothing in it is executed when it is read: operations are looked up
by name among those that may be stored, parameters are rebuilt from a fixed list of types, and the
program is verified, types and all, before anybody sees it.
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes, element_types
from pullback.core.avals import ShapedArray
from pullback.core.dtypes import KeyDtype
from pullback.core.jaxpr import ClosedJaxpr, DropVar, Jaxpr, Literal, Var, new_eqn, verify
from pullback.core.primitive import Primitive, registry
from pullback.errors import UnsupportedError, VerifyError
from pullback.ops.convolution import ConvDimensionNumbers
from pullback.ops.elementwise import RoundingMethod
from pullback.ops.fft import FftType
from pullback.ops.linalg_spectral import SvdAlgorithm
from pullback.ops.precision import DotAlgorithm, DotAlgorithmPreset, Precision
from pullback.ops.windows import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
)
from pullback.runtime.array import from_numpy

__all__ = ["HOST", "ArtifactError", "Reader", "Writer", "pack", "unpack"]

MAGIC: Final = b"PULLBACK\x01"
MAX_BYTES: Final = 1 << 32
MAX_HEADER: Final = 1 << 28

_ENUMS: Final = {
    cls.__name__: cls
    for cls in (
        *(DotAlgorithmPreset, FftType, GatherScatterMode, Precision),
        *(RoundingMethod, SvdAlgorithm),
    )
}
_TUPLES: Final = {
    cls.__name__: cls
    for cls in (
        *(ConvDimensionNumbers, DotAlgorithm, GatherDimensionNumbers),
        ScatterDimensionNumbers,
    )
}
HOST: Final = frozenset(("pure_callback", "io_callback", "debug_callback", "ffi_call", "check"))
"""Operations that call code of the process they were made in."""


class ArtifactError(ValueError):
    """Bytes that are not a program of ours, or not one that is in order."""


def pack(header: dict[str, Any], arrays: Sequence[bytes]) -> bytes:
    """One file of a header and of arrays."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([MAGIC, struct.pack("<Q", len(text)), text, *arrays])


def unpack(blob: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header of a file, and the bytes behind it."""
    if len(blob) > MAX_BYTES:
        raise ArtifactError(f"an artifact of {len(blob)} bytes: at most {MAX_BYTES} are read")
    start = len(MAGIC) + 8
    if len(blob) < start or not blob.startswith(MAGIC):
        raise ArtifactError("these bytes are no program that Pullback exported")
    (length,) = struct.unpack("<Q", blob[len(MAGIC) : start])
    if length > min(MAX_HEADER, len(blob) - start):
        raise ArtifactError("the artifact is cut off, or its header is damaged")
    try:
        header = json.loads(blob[start : start + length])
    except (ValueError, RecursionError) as error:
        raise ArtifactError("the header of the artifact is damaged") from error
    if not isinstance(header, dict):
        raise ArtifactError("the header of the artifact is damaged")
    return header, memoryview(blob)[start + length :]


# --------------------------------------------------------------------------- writing


def _dtype_name(dtype: Any) -> str:
    return dtype.name if isinstance(dtype, KeyDtype) or dtype != dtypes.float0 else "float0"


class Writer:
    """Turns jaxprs into JSON, and collects the bytes of their arrays."""

    def __init__(self) -> None:
        self.arrays: list[bytes] = []
        self._size = 0

    def aval(self, aval: ShapedArray) -> list[Any]:
        """A type."""
        return [list(aval.shape), _dtype_name(aval.dtype), aval.weak_type]

    def array(self, value: np.ndarray[Any, Any]) -> dict[str, Any]:
        """A reference to elements, which go behind the header."""
        data = np.ascontiguousarray(value).tobytes()
        place = {"at": self._size, "bytes": len(data)}
        self.arrays.append(data)
        self._size += len(data)
        return place | {"shape": list(value.shape), "dtype": value.dtype.name}

    def closed(self, closed: ClosedJaxpr) -> dict[str, Any]:
        """A jaxpr with its constants."""
        consts = [self.array(np.asarray(getattr(c, "_data", c))) for c in closed.consts]
        return {"jaxpr": self.jaxpr(closed.jaxpr), "consts": consts}

    def jaxpr(self, jaxpr: Jaxpr) -> dict[str, Any]:
        """A jaxpr, its variables numbered in the order in which they are bound."""
        numbers: dict[Any, int] = {}

        def define(v: Var) -> list[Any]:
            numbers[v] = len(numbers)
            return self.aval(v.aval)

        def use(v: Any) -> Any:
            if type(v) is Literal:
                return {"literal": self.array(np.asarray(v.val)), "type": self.aval(v.aval)}
            return numbers[v]

        head = {
            "constvars": [define(v) for v in jaxpr.constvars],
            "invars": [define(v) for v in jaxpr.invars],
        }
        eqns = []
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in HOST:
                raise UnsupportedError(f"{eqn.primitive} calls this process: it cannot be exported")
            operands = [use(v) for v in eqn.invars]
            params = {name: self.value(v) for name, v in eqn.params.items()}
            eqns.append([eqn.primitive.name, operands, params, [define(v) for v in eqn.outvars]])
        return head | {"eqns": eqns, "outvars": [use(v) for v in jaxpr.outvars]}

    def value(self, value: Any) -> Any:
        """A parameter."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, enum.Enum):
            return self._named(_ENUMS, value, value.name)
        if isinstance(value, (int, float)) and not isinstance(value, np.generic):
            return value if isinstance(value, int) else {"float": value.hex()}
        if isinstance(value, (np.dtype, KeyDtype)):
            return {"dtype": _dtype_name(value)}
        if isinstance(value, (np.generic, np.ndarray)):
            return {"array": self.array(np.asarray(value))}
        if isinstance(value, tuple) and hasattr(type(value), "_fields"):
            return self._named(_TUPLES, value, [self.value(v) for v in value])
        if isinstance(value, (tuple, list)):
            return {type(value).__name__: [self.value(v) for v in value]}
        return self._object(value)

    def _named(self, known: dict[str, Any], value: Any, content: Any) -> dict[str, Any]:
        name = type(value).__name__
        if known.get(name) is not type(value):
            raise UnsupportedError(f"a parameter of type {name} cannot be exported")
        return {name: content}

    def _object(self, value: Any) -> dict[str, Any]:
        if isinstance(value, ClosedJaxpr):
            return {"closed": self.closed(value)}
        if isinstance(value, Jaxpr):
            return {"open": self.jaxpr(value)}
        if isinstance(value, ShapedArray):
            return {"aval": self.aval(value)}
        if isinstance(value, Primitive):
            return {"primitive": value.name}
        if isinstance(value, frozenset) and not value:
            return {"frozenset": []}
        raise UnsupportedError(f"a parameter of type {type(value).__name__} cannot be exported")


# --------------------------------------------------------------------------- reading


class Reader:
    """Turns JSON back into jaxprs."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def dtype(self, name: Any) -> Any:
        """An element type by its name."""
        if name == "float0":
            return dtypes.float0
        if isinstance(name, str) and name.startswith("key<"):
            return KeyDtype(name[4:-1])
        found = _BY_NAME.get(name)
        if found is None:
            raise ArtifactError(f"there is no element type {name!r}")
        return found

    def aval(self, value: Any) -> ShapedArray:
        """A type."""
        shape, name, weak = value
        if not all(isinstance(n, int) and 0 <= n < 2**48 for n in shape):
            raise ArtifactError(f"{shape} is no shape")
        return ShapedArray(tuple(shape), self.dtype(name), bool(weak))

    def array(self, place: Any) -> np.ndarray[Any, Any]:
        """Elements from behind the header."""
        at, size, shape = place["at"], place["bytes"], tuple(place["shape"])
        dtype = self.dtype(place["dtype"])
        count = 1
        for n in shape:
            count *= n
        if not 0 <= at <= at + size <= len(self._data) or count * dtype.itemsize != size:
            raise ArtifactError("an array of the artifact is cut off, or does not fit its type")
        return np.frombuffer(self._data[at : at + size], dtype).reshape(shape).copy()

    def closed(self, value: Any) -> ClosedJaxpr:
        """A jaxpr with its constants."""
        jaxpr = self.jaxpr(value["jaxpr"])
        consts = [self.array(c) for c in value["consts"]]
        types = [(v.aval.shape, dtypes.physical(v.aval.dtype)) for v in jaxpr.constvars]
        if types != [(c.shape, c.dtype) for c in consts]:
            raise ArtifactError("constants of the artifact do not fit their types")
        pairs = zip(consts, jaxpr.constvars, strict=True)
        return ClosedJaxpr(jaxpr, [from_numpy(c, v.aval) for c, v in pairs])

    def jaxpr(self, value: Any) -> Jaxpr:
        """A jaxpr."""
        bound: list[Var] = []

        def define(aval: Any, kind: type[Var] = Var) -> Var:
            bound.append(kind(self.aval(aval)))
            return bound[-1]

        def use(v: Any) -> Any:
            if isinstance(v, int):
                return bound[v]
            aval = self.aval(v["type"])
            return Literal(self.array(v["literal"]), aval)

        constvars = [define(a) for a in value["constvars"]]
        invars = [define(a) for a in value["invars"]]
        eqns = []
        for name, operands, params, results in value["eqns"]:
            atoms = [use(v) for v in operands]
            read = {k: self.value(v) for k, v in params.items()}
            outs = [define(a) for a in results]
            eqns.append(new_eqn(atoms, outs, self.primitive(name), read))
        outvars = [use(v) for v in value["outvars"]]
        used = {v for eqn in eqns for v in eqn.invars} | set(outvars)
        for eqn in eqns:
            eqn.outvars = [v if v in used else DropVar(v.aval) for v in eqn.outvars]
        effects = frozenset(e for eqn in eqns for e in eqn.effects)
        return Jaxpr(constvars, invars, outvars, eqns, effects)

    def primitive(self, name: Any) -> Primitive:
        """An operation by its name."""
        found = registry.get(name) if name not in HOST else None
        if found is None:
            raise ArtifactError(f"there is no operation {name!r} that an artifact may hold")
        return found

    def value(self, value: Any) -> Any:
        """A parameter."""
        if value is None or isinstance(value, (bool, str, int)):
            return value
        if not isinstance(value, dict) or len(value) != 1:
            raise ArtifactError(f"{value!r} is no parameter")
        ((kind, content),) = value.items()
        if kind in _ENUMS:
            return _ENUMS[kind][content]
        if kind in _TUPLES:
            return _TUPLES[kind](*[self.value(v) for v in content])
        reader = self._readers().get(kind)
        if reader is None:
            raise ArtifactError(f"there are no parameters of kind {kind!r}")
        return reader(content)

    def _readers(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "float": float.fromhex,
            "dtype": self.dtype,
            "array": self.array,
            "tuple": lambda items: tuple(map(self.value, items)),
            "list": lambda items: list(map(self.value, items)),
            "frozenset": frozenset,
            "closed": self.closed,
            "open": self.jaxpr,
            "aval": self.aval,
            "primitive": self.primitive,
        }

    def program(self, value: Any) -> ClosedJaxpr:
        """A whole program, verified."""
        try:
            closed = self.closed(value)
            verify(closed.jaxpr)
        except ArtifactError:
            raise
        except (
            *(ArithmeticError, AttributeError, LookupError, RecursionError),
            *(TypeError, ValueError, VerifyError, UnsupportedError),
        ) as error:
            raise ArtifactError(f"the program of the artifact is not in order: {error}") from error
        return closed


_BY_NAME: Final = {dtype.name: dtype for dtype in element_types.SUPPORTED}

"""The element types there are: NumPy's, those of `ml_dtypes`, and keys; their kinds and names.

The tables under `core/dtypes.py`, which converts between what users write and these.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeGuard

import ml_dtypes
import numpy as np

# --------------------------------------------------------------------------- extended dtypes


class extended(np.generic):
    """Category of the dtypes that NumPy does not have; never instantiated."""


class prng_key(extended):
    """Category of the dtypes of random keys; never instantiated."""


GENERATORS: Final = {
    "fry": ("threefry2x32", 2),
    "rbg": ("rbg", 4),
    "urbg": ("unsafe_rbg", 4),
}
"""Generators by the tags of their keys' dtypes: names, and how many words a key has."""


class KeyDtype:
    """Dtype of arrays of random keys: interned, so equal ones are the same object.

    A Threefry key is one 8-byte element, and a key of four words one of 16 bytes, for which NumPy
    has complex128: structural operations, which only move elements, work unchanged on the physical
    dtype.

    >>> KeyDtype("fry")
    key<fry>
    >>> KeyDtype("fry") is KeyDtype("fry"), KeyDtype("fry").itemsize
    (True, 8)
    """

    __slots__ = ("impl", "itemsize", "name", "physical", "tag", "words")

    name: str
    tag: str
    impl: str
    """The name of the generator."""
    words: int
    """Of 32 bits."""
    physical: np.dtype[Any]
    itemsize: int

    _interned: Final[dict[str, KeyDtype]] = {}
    type: Final = prng_key
    kind: Final = "V"
    alignment: Final = 8
    fields: Final = None

    def __new__(cls, tag: str = "fry") -> KeyDtype:
        found = cls._interned.get(tag)
        if found is None:
            found = object.__new__(cls)
            object.__setattr__(found, "tag", tag)
            impl, words = GENERATORS[tag]
            values = {
                "name": f"key<{tag}>",
                "impl": impl,
                "words": words,
                "physical": np.dtype(np.uint64 if words == 2 else np.complex128),
                "itemsize": 4 * words,
            }
            for attribute, value in values.items():
                object.__setattr__(found, attribute, value)
            found = cls._interned.setdefault(tag, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.name} is immutable: cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return hash((KeyDtype, self.tag))

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return KeyDtype, (self.tag,)


DType: TypeAlias = "np.dtype[Any] | KeyDtype"

KEY: Final = KeyDtype("fry")
"""Dtype of the keys that `random.key` makes."""


def is_extended(dtype: Any) -> TypeGuard[KeyDtype]:
    """Whether `dtype` is one that NumPy does not have."""
    return type(dtype) is KeyDtype


def physical(dtype: DType) -> np.dtype[Any]:
    """The NumPy dtype in which elements of `dtype` are stored.

    >>> physical(KeyDtype("fry")), physical(np.dtype("float32"))
    (dtype('uint64'), dtype('float32'))
    """
    return dtype.physical if isinstance(dtype, KeyDtype) else dtype


# --------------------------------------------------------------------------- the dtypes there are

float0: Final = np.dtype([("float0", np.void, 0)])
"""Dtype of the tangents of integers and bools: elements carry no information."""

bfloat16: Final = ml_dtypes.bfloat16
bool_: Final = np.dtype(np.bool_)
int32: Final = np.dtype(np.int32)
int64: Final = np.dtype(np.int64)
uint32: Final = np.dtype(np.uint32)
uint64: Final = np.dtype(np.uint64)
float16: Final = np.dtype(np.float16)
float32: Final = np.dtype(np.float32)
float64: Final = np.dtype(np.float64)
complex64: Final = np.dtype(np.complex64)
complex128: Final = np.dtype(np.complex128)


def _ml(*names: str) -> dict[str, np.dtype[Any]]:
    types = {name: getattr(ml_dtypes, name, None) for name in names}
    return {name: np.dtype(t) for name, t in types.items() if t is not None}


SMALL_FLOATS: Final = _ml(
    "float4_e2m1fn",
    "float6_e2m3fn",
    "float6_e3m2fn",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
SMALL_SIGNED: Final = _ml("int1", "int2", "int4")
SMALL_UNSIGNED: Final = _ml("uint1", "uint2", "uint4")
ML_DTYPES: Final = {**_ml("bfloat16"), **SMALL_FLOATS, **SMALL_SIGNED, **SMALL_UNSIGNED}

SIGNED: Final = tuple(np.dtype(f"int{n}") for n in (8, 16, 32, 64))
UNSIGNED: Final = tuple(np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
BFLOAT16: Final = np.dtype(bfloat16)

KINDS: Final[dict[Any, str]] = {
    bool_: "b",
    **dict.fromkeys((*SIGNED, *SMALL_SIGNED.values()), "i"),
    **dict.fromkeys((*UNSIGNED, *SMALL_UNSIGNED.values()), "u"),
    **dict.fromkeys((float16, float32, float64, *_ml("bfloat16").values()), "f"),
    **dict.fromkeys(SMALL_FLOATS.values(), "f"),
    **dict.fromkeys((complex64, complex128), "c"),
}

SUPPORTED: Final[tuple[np.dtype[Any], ...]] = tuple(KINDS)
"""Every dtype of numbers and bools that an array may have."""


def kind_of(dtype: DType) -> str:
    """One letter: `b`ool, `i`nt, `u`int, `f`loat, `c`omplex, `k`ey, `V` for anything else.

    NumPy's own `dtype.kind` says `V` for most of the types of `ml_dtypes`.

    >>> kind_of(np.dtype(bfloat16)), kind_of(np.dtype("uint8")), kind_of(KeyDtype("fry"))
    ('f', 'u', 'k')
    """
    return "k" if isinstance(dtype, KeyDtype) else KINDS.get(dtype, "V")


def _short(dtype: np.dtype[Any]) -> str:
    letters = {"i": "i", "u": "u", "f": "f", "c": "c"}
    if dtype == bool_:
        return "bool"
    if dtype == BFLOAT16:
        return "bf16"
    if dtype in SMALL_FLOATS.values():
        return "f" + dtype.name.removeprefix("float")
    return letters[KINDS[dtype]] + dtype.name.lstrip("abcdefghijklmnopqrstuvwxyz")


_SHORT_NAMES: Final[dict[Any, str]] = {dtype: _short(dtype) for dtype in SUPPORTED}
_SHORT_NAMES[float0] = "float0"


def short_name(dtype: DType) -> str:
    """How jaxprs and errors print a dtype.

    >>> [short_name(np.dtype(d)) for d in ("float32", "bool", "uint8", bfloat16)]
    ['f32', 'bool', 'u8', 'bf16']
    """
    return _SHORT_NAMES.get(dtype) or dtype.name

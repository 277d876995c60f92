"""Addresses of native functions by name: BLAS and LAPACK, special functions, libm, our kernels.

The linker asks here for whatever generated code calls and does not define.  Nothing is imported
or opened before it is asked for.

- `pb_gemm_f32`, `pb_row_f32`, `pb_thin_f32`, `pb_conv_f32` ...: our matrix kernels (`llvm.gemm`).
- `pb_direct_f32` ...: convolutions with features last (`llvm.direct_kernels`).
- `pb_fft_f32` ...: Fourier transforms of many neighbours (`llvm.fft_kernels`).
- `pb_sort_rows_f32`, `pb_radix_u32` ...: sorting of plain numbers (`llvm.sort_kernels`).
- `pb_top_f32` ...: the largest numbers of rows (`llvm.top_kernels`).
- `pb_quick_u32` ...: sorting of long rows where vectors can be compressed (`llvm.quick_kernels`).
- `pb_tiles_s8s8` ...: products of matrices of narrow numbers (`llvm.tile_kernels`).
- `dgetrf`, `sgemm` ...: BLAS and LAPACK by their Fortran names, with 32-bit integers, all arguments
  by address.  They come from the OpenBLAS inside SciPy's wheel, or else from SciPy's Cython
  interface (whatever library SciPy was built on).
- `gammaln`, `betainc` ...: special functions of SciPy, on doubles; those that have a float version
  have it under the name with an `f` appended (`betaincf`).  `signature` tells the types.
- any other name is looked up in the C library and libm.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from pullback.llvm import (
    attention_kernels,
    direct_kernels,
    fft_kernels,
    gemm,
    interrupts,
    jit,
    pool,
    quick_kernels,
    sort_kernels,
    tile_kernels,
    top_kernels,
)

__all__ = [
    "address",
    "has",
    "kernel_module",
    "kernel_text",
    "optional_kernels",
    "prepare",
    "provider",
    "set_num_threads",
    "signature",
]

_PREFIX: Final = "pb_"
_FAMILIES: Final = (
    gemm, direct_kernels, attention_kernels, fft_kernels, sort_kernels, top_kernels,
)  # fmt: skip
"""Kernels of ours that every machine has."""
_LAPACK_NAME: Final = re.compile(r"[sdcz][a-z0-9]{3,7}$|i[sdcz]amax$")


# --------------------------------------------------------------------------- names


@cache
def address(name: str) -> int:
    """Absolute address of a native function; KeyError if there is none of this name.

    >>> address("dgemm") != 0 and address("gammaln") != 0 and address("cos") != 0
    True
    """
    for find in (_kernel, interrupts.address, _special, _linear_algebra, _c_library):
        found = find(name)
        if found:
            return found
    raise KeyError(
        f"no native function {name!r} in BLAS, LAPACK, SciPy's special functions or libm"
    )


def has(name: str) -> bool:
    """Whether `address(name)` exists.

    >>> has("sgemm"), has("no_such_function")
    (True, False)
    """
    try:
        return address(name) != 0
    except KeyError:
        return False


def optional_kernels() -> frozenset[str]:
    """Kernels of ours that this machine has, and not every machine."""
    return tile_kernels.available() | quick_kernels.available()


def _kernel(name: str) -> int:
    if not name.startswith(_PREFIX):
        return 0
    for family in _FAMILIES:
        if name in family.KERNELS:
            return kernel_module(name).address(name)
    return kernel_module(name).address(name) if name in optional_kernels() else 0


def kernel_text(symbol: str, bits: int) -> tuple[str, list[str]] | None:
    """LLVM text that defines a kernel of ours for vectors of `bits`, and the symbols it needs.

    None for other names.
    """
    for family in (*_FAMILIES, quick_kernels, tile_kernels):
        if symbol in family.KERNELS:
            found: tuple[str, list[str]] = family.module_text(symbol, bits)
            return found
    return None


@cache
def kernel_module(symbol: str) -> jit.LoadedModule:
    """A kernel of ours in memory, for the vectors of this machine; LLVM compiles it once a machine.

    Raises KeyError for other names.
    """
    bits = jit.vector_bits()

    def write() -> tuple[str, list[str]]:
        found = kernel_text(symbol, bits)
        if found is None:
            raise KeyError(f"no kernel of the name {symbol!r}")
        return found

    made = jit.stored_object(write, name=symbol, variant=bits)
    return pool.load_kernels(made, [symbol], address)


def provider(name: str) -> str:
    """Where a native function that is no kernel of ours comes from, in words.

    >>> provider("cos"), provider("dgetrf"), provider("gammainc")
    ('the C library', 'LAPACK or BLAS', "SciPy's special functions")
    """
    if _special(name):
        return "SciPy's special functions"
    return "LAPACK or BLAS" if _linear_algebra(name) else "the C library"


def prepare() -> int:
    """Compile every kernel of ours into the disk cache, families side by side; how many they are.

    Each is compiled anyway when a program first needs it; this is for installers and images.
    """
    optional = sorted(optional_kernels())
    products = (*gemm.KERNELS, *direct_kernels.KERNELS, *attention_kernels.KERNELS)
    ours = (products, fft_kernels.KERNELS, sort_kernels.KERNELS, top_kernels.KERNELS)
    families = (*ours, optional)
    errors: list[BaseException] = []

    def work(names: Sequence[str]) -> None:
        try:
            for name in names:
                address(name)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(names,)) for names in families]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return sum(map(len, families))


_C_LIBRARIES: Final = (None, "libm.so.6", "libm.dylib", "msvcrt.dll")
"""What the process has loaded comes first."""


def _c_library(name: str) -> int:
    for path in _C_LIBRARIES:
        library = _open(path)
        found = 0 if library is None else _symbol(library, name)
        if found:
            return found
    return 0


@cache
def _open(path: str | None) -> ctypes.CDLL | None:
    try:
        return jit.this_process() if path is None else ctypes.CDLL(path)
    except (OSError, TypeError):  # TypeError: there is no "this process" on Windows
        return None


def _symbol(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.addressof(ctypes.c_char.in_dll(library, name))
    except ValueError:
        return 0


# --------------------------------------------------------------------------- capsules

_capsule_name: Final[Any] = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_capsule_pointer: Final[Any] = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


@cache
def _capsules(module: str) -> dict[str, Any]:
    """What a Cython module exports to C: capsules by name, empty if there is no such module."""
    try:
        return importlib.import_module(module).__pyx_capi__  # type: ignore[no-any-return]
    except (ImportError, AttributeError):
        return {}


def _pointer(capsule: Any) -> int:
    return int(_capsule_pointer(capsule, _capsule_name(capsule)))


# --------------------------------------------------------------------------- special functions

_TYPES: Final = {
    "double": "f64",
    "float": "f32",
    "long": "i64",
    "Py_ssize_t": "i64",
    "void": "void",
    "double *": "ptr",
    "__pyx_t_double_complex": "c128",
}
# fmt: off
_SPECIAL: Final = frozenset((
    "beta", "betainc", "betaincc", "betaincinv", "betaln", "boxcox", "dawsn", "ellipe", "ellipk",
    "ellipkm1", "entr", "erfcinv", "erfcx", "erfi", "erfinv", "exp1", "expi", "expn", "exprel",
    "gamma", "gammainc", "gammaincc", "gammainccinv", "gammaincinv", "gammaln", "gammasgn", "i0",
    "i0e", "i1", "i1e", "iv", "ive", "j0", "j1", "jv", "k0", "k0e", "k1", "k1e", "kl_div", "kv",
    "kve", "log_ndtr", "loggamma", "ndtr", "ndtri", "poch", "psi", "rel_entr", "rgamma",
    "spence", "wrightomega", "y0", "y1", "yv", "zetac", "hyp1f1", "hyp2f1", "owens_t",
    "fresnel", "sici", "wofz",
))
# fmt: on
_ALIASES: Final = {
    "digamma": "psi",
    "igamma": "gammainc",
    "igammac": "gammaincc",
    "regularized_incomplete_beta": "betainc",
    "bessel_i0e": "i0e",
    "bessel_i1e": "i1e",
    "erf_inv": "erfinv",
}


@cache
def _special_table() -> dict[str, tuple[tuple[str, ...], int]]:
    """(result and argument types, address) by name."""
    table: dict[str, tuple[tuple[str, ...], int]] = {}
    for export, capsule in _capsules("scipy.special.cython_special").items():
        name = re.sub(r"^(__pyx_fuse(_\d+)+)(?=[a-z])", "", export)
        types = _parse(_capsule_name(capsule).decode())
        if name in _SPECIAL and types is not None:
            name += "f" if types[0] == "f32" else ""
            if name not in table or _rank(types) < _rank(table[name][0]):
                table[name] = types, _pointer(capsule)
    return table


def _rank(types: tuple[str, ...]) -> int:
    """Of several variants of a function, that on floats is best, that on complex numbers last."""
    return ("c128" in types) * 4 + ("i64" in types) * 2 + ("f64" not in types and "f32" in types)


def _parse(text: str) -> tuple[str, ...] | None:
    """The types in `double (double, double, int __pyx_skip_dispatch)`; None for unknown ones.

    The last argument is ignored by the callee, so callers leave it out.
    """
    found = re.fullmatch(r"(\w+) \((.*?)(, int __pyx_skip_dispatch)?\)", text)
    if found is None:
        return None
    types = [_TYPES.get(part, "") for part in (found[1], *found[2].split(", "))]
    return None if "" in types else tuple(types)


def _special(name: str) -> int:
    name = _ALIASES.get(name, name)
    if name not in _SPECIAL and name.removesuffix("f") not in _SPECIAL:
        return 0
    return _special_table().get(name, ((), 0))[1]


def signature(name: str) -> tuple[str, ...]:
    """Types of the result and of the arguments of a special function.

    >>> signature("betainc"), signature("betaincf")[0]
    (('f64', 'f64', 'f64', 'f64'), 'f32')
    """
    table = _special_table()
    name = _ALIASES.get(name, name)
    if name not in table:
        raise KeyError(f"SciPy has no special function {name!r}")
    return table[name][0]


# --------------------------------------------------------------------------- BLAS and LAPACK


@cache
def _bundled(package: str) -> ctypes.CDLL | None:
    """The OpenBLAS inside the wheel of a package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    package_path = Path(spec.submodule_search_locations[0])
    folders = (package_path.parent / f"{package}.libs", package_path / ".dylibs")
    for folder in folders:
        for path in sorted(folder.glob("*openblas*")):
            library = _open(str(path))
            if library is not None:
                return library
    return None


def _linear_algebra(name: str) -> int:
    if not _LAPACK_NAME.match(name):
        return 0
    library = _openblas()
    found = _symbol(library, f"scipy_{name}_") if library is not None else 0
    return found or _cython_linear_algebra(name)


def _cython_linear_algebra(name: str) -> int:
    for module in ("scipy.linalg.cython_blas", "scipy.linalg.cython_lapack"):
        capsule = _capsules(module).get(name)
        if capsule is not None:
            return _pointer(capsule)
    return 0


@cache
def _openblas() -> ctypes.CDLL | None:
    """SciPy's OpenBLAS, told to use one thread.

    Its threads wait in busy loops, so that sharing a processor costs a hundred times what they
    gain, and the bits of its results depend on how many there are.
    """
    library = _bundled("scipy")
    if library is not None:
        _limit("scipy", 1)
    return library


# --------------------------------------------------------------------------- threads

_SETTERS: Final = {
    "scipy": "scipy_openblas_set_num_threads",
    "numpy": "scipy_openblas_set_num_threads64_",
}


def _limit(package: str, threads: int) -> None:
    """Tell the OpenBLAS of a package how many threads it may use."""
    library = _bundled(package)
    function = None if library is None else getattr(library, _SETTERS[package], None)
    if function is not None:
        function(ctypes.c_int(threads))


def set_num_threads(threads: int) -> None:
    """Let programs use this many threads, and NumPy's BLAS, which eager operations use, as many.

    >>> from pullback.llvm import pool
    >>> before = pool.num_threads()
    >>> set_num_threads(1)
    >>> pool.num_threads()
    1
    >>> set_num_threads(before)
    """
    pool.set_num_threads(threads)
    _limit("numpy", threads)


if os.environ.get("PULLBACK_NUM_THREADS"):  # NumPy multiplies eager operands, under the same rule
    _limit("numpy", pool.num_threads())

"""`pullback.numpy` against the Python array API standard (2024.12), function by function.

The tables are those of the standard: names and parameters, the promotion of dtypes, and the special
cases of floating-point functions.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp

SIGNED: Final = ("int8", "int16", "int32", "int64")
UNSIGNED: Final = ("uint8", "uint16", "uint32", "uint64")
REAL: Final = ("float32", "float64")
COMPLEX: Final = ("complex64", "complex128")
INTEGERS: Final = SIGNED + UNSIGNED

UNARY: Final = """
abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite
isinf isnan log log10 log1p log2 logical_not negative positive real reciprocal round sign signbit
sin sinh sqrt square tan tanh trunc
"""
BINARY: Final = """
add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide
equal floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or
logical_xor maximum minimum multiply nextafter not_equal pow remainder subtract
"""
OTHERS: Final = """
all(x, /, *, axis=, keepdims=)
any(x, /, *, axis=, keepdims=)
arange(start, /, stop=, step=, *, dtype=, device=)
argmax(x, /, *, axis=, keepdims=)
argmin(x, /, *, axis=, keepdims=)
argsort(x, /, *, axis=, descending=, stable=)
asarray(obj, /, *, dtype=, device=, copy=)
astype(x, dtype, /, *, copy=, device=)
broadcast_arrays(*arrays)
broadcast_to(x, /, shape)
can_cast(from_, to, /)
clip(x, /, min=, max=)
concat(arrays, /, *, axis=)
count_nonzero(x, /, *, axis=, keepdims=)
cumulative_prod(x, /, *, axis=, dtype=, include_initial=)
cumulative_sum(x, /, *, axis=, dtype=, include_initial=)
diff(x, /, *, axis=, n=, prepend=, append=)
empty(shape, *, dtype=, device=)
empty_like(x, /, *, dtype=, device=)
expand_dims(x, /, *, axis=)
eye(n_rows, n_cols=, /, *, k=, dtype=, device=)
finfo(type, /)
flip(x, /, *, axis=)
from_dlpack(x, /, *, device=, copy=)
full(shape, fill_value, *, dtype=, device=)
full_like(x, /, fill_value, *, dtype=, device=)
iinfo(type, /)
isdtype(dtype, kind)
linspace(start, stop, /, num, *, dtype=, device=, endpoint=)
matmul(x1, x2, /)
matrix_transpose(x, /)
max(x, /, *, axis=, keepdims=)
mean(x, /, *, axis=, keepdims=)
meshgrid(*arrays, indexing=)
min(x, /, *, axis=, keepdims=)
moveaxis(x, source, destination, /)
nonzero(x, /)
ones(shape, *, dtype=, device=)
ones_like(x, /, *, dtype=, device=)
permute_dims(x, /, axes)
prod(x, /, *, axis=, dtype=, keepdims=)
repeat(x, repeats, /, *, axis=)
reshape(x, /, shape, *, copy=)
result_type(*arrays_and_dtypes)
roll(x, /, shift, *, axis=)
searchsorted(x1, x2, /, *, side=, sorter=)
sort(x, /, *, axis=, descending=, stable=)
squeeze(x, /, axis)
stack(arrays, /, *, axis=)
std(x, /, *, axis=, correction=, keepdims=)
sum(x, /, *, axis=, dtype=, keepdims=)
take(x, indices, /, *, axis=)
take_along_axis(x, indices, /, *, axis=)
tensordot(x1, x2, /, *, axes=)
tile(x, repetitions, /)
tril(x, /, *, k=)
triu(x, /, *, k=)
unique_all(x, /)
unique_counts(x, /)
unique_inverse(x, /)
unique_values(x, /)
unstack(x, /, *, axis=)
var(x, /, *, axis=, correction=, keepdims=)
vecdot(x1, x2, /, *, axis=)
where(condition, x1, x2, /)
zeros(shape, *, dtype=, device=)
zeros_like(x, /, *, dtype=, device=)
linalg.cholesky(x, /, *, upper=)
linalg.cross(x1, x2, /, *, axis=)
linalg.det(x, /)
linalg.diagonal(x, /, *, offset=)
linalg.eigh(x, /)
linalg.eigvalsh(x, /)
linalg.inv(x, /)
linalg.matmul(x1, x2, /)
linalg.matrix_norm(x, /, *, keepdims=, ord=)
linalg.matrix_power(x, n, /)
linalg.matrix_rank(x, /, *, rtol=)
linalg.matrix_transpose(x, /)
linalg.outer(x1, x2, /)
linalg.pinv(x, /, *, rtol=)
linalg.qr(x, /, *, mode=)
linalg.slogdet(x, /)
linalg.solve(x1, x2, /)
linalg.svd(x, /, *, full_matrices=)
linalg.svdvals(x, /)
linalg.tensordot(x1, x2, /, *, axes=)
linalg.trace(x, /, *, offset=, dtype=)
linalg.vecdot(x1, x2, /, *, axis=)
linalg.vector_norm(x, /, *, axis=, keepdims=, ord=)
fft.fft(x, /, *, n=, axis=, norm=)
fft.ifft(x, /, *, n=, axis=, norm=)
fft.fftn(x, /, *, s=, axes=, norm=)
fft.ifftn(x, /, *, s=, axes=, norm=)
fft.rfft(x, /, *, n=, axis=, norm=)
fft.irfft(x, /, *, n=, axis=, norm=)
fft.rfftn(x, /, *, s=, axes=, norm=)
fft.irfftn(x, /, *, s=, axes=, norm=)
fft.hfft(x, /, *, n=, axis=, norm=)
fft.ihfft(x, /, *, n=, axis=, norm=)
fft.fftfreq(n, /, *, d=, dtype=, device=)
fft.rfftfreq(n, /, *, d=, dtype=, device=)
fft.fftshift(x, /, *, axes=)
fft.ifftshift(x, /, *, axes=)
"""


def _found(name: str) -> Any:
    value: Any = jnp
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _standard() -> Iterator[tuple[str, list[str]]]:
    for name in UNARY.split():
        yield name, ["x", "/"]
    for name in BINARY.split():
        yield name, ["x1", "x2", "/"]
    for line in OTHERS.strip().splitlines():
        name, _, rest = line.partition("(")
        yield name, rest.removesuffix(")").split(", ")


STANDARD: Final = dict(_standard())


@pytest.mark.parametrize("name", STANDARD)
def test_calls_of_the_standard_bind(name: str) -> None:
    """Positional parameters by place, keyword-only ones by name, whatever ours are called."""
    wanted = STANDARD[name]
    signature = inspect.signature(_found(name))
    slash = wanted.index("/") if "/" in wanted else 0
    star = wanted.index("*") if "*" in wanted else len(wanted)
    variadic = wanted[0].startswith("*") and wanted[0] != "*"
    places = ["a"] if variadic else [p for p in wanted[:star] if p != "/" and "=" not in p]
    optional = [p.removesuffix("=") for p in wanted[slash:] if p.endswith("=")]
    signature.bind(*places)
    signature.bind(*places, **dict.fromkeys(optional))


def _promoted(a: str, b: str) -> str | None:
    """The table of the standard; None where it has no entry."""
    if a == b:
        return a
    for kinds in (SIGNED, UNSIGNED):
        if a in kinds and b in kinds:
            return kinds[max(kinds.index(a), kinds.index(b))]
    if a in INTEGERS and b in INTEGERS:
        signed, unsigned = (a, b) if a in SIGNED else (b, a)
        at = max(SIGNED.index(signed), UNSIGNED.index(unsigned) + 1)
        return SIGNED[at] if at < len(SIGNED) else None
    if a in REAL + COMPLEX and b in REAL + COMPLEX:
        wide = any(x in ("float64", "complex128") for x in (a, b))
        return (COMPLEX if a in COMPLEX or b in COMPLEX else REAL)[wide]
    return None


def test_dtypes_are_promoted_as_in_the_table() -> None:
    with pb.enable_x64(True):
        for a, b in itertools.product(("bool", *INTEGERS, *REAL, *COMPLEX), repeat=2):
            if (want := _promoted(a, b)) is None:
                continue
            x, y = jnp.ones((1,), a), jnp.ones((1,), b)
            assert jnp.result_type(x, y) == want, (a, b)
            if a != "bool":
                assert (x + y).dtype == (x * y).dtype == jnp.concat([x, y]).dtype == want
                assert jnp.where(x == y, x, y).dtype == want


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *REAL, *COMPLEX])
def test_python_numbers_take_the_dtype_of_the_array(dtype: str) -> None:
    with pb.enable_x64(True):
        x = jnp.ones((2,), dtype)
        scalar = {"b": True, "i": 2, "u": 2, "f": 0.5, "c": 0.5j}[x.dtype.kind]
        assert (x == scalar).dtype == bool
        if dtype == "bool":
            assert (x & scalar).dtype == bool
        else:
            assert (x + scalar).dtype == (scalar * x).dtype == x.dtype


@pytest.mark.parametrize("dtype", [*INTEGERS, *REAL, *COMPLEX])
def test_sums_and_products_have_the_default_width(dtype: str) -> None:
    """Integers of less than the default width are accumulated in it, floats in their own dtype."""
    with pb.enable_x64(True):
        x = jnp.ones((3,), dtype)
        want = {"i": "int64", "u": "uint64"}.get(x.dtype.kind, dtype)
        assert jnp.sum(x).dtype == jnp.prod(x).dtype == want
        assert jnp.cumulative_sum(x).dtype == want
        assert jnp.sum(x, dtype="float32" if x.dtype.kind != "c" else dtype).dtype in (
            "float32",
            dtype,
        )
        assert jnp.argmax(x if x.dtype.kind != "c" else x.real).dtype == "int64"


INF, NAN = float("inf"), float("nan")
SPECIAL_CASES: Final[list[tuple[str, tuple[float, ...], float]]] = [
    ("acos", (1.0,), 0.0), ("acos", (1.5,), NAN), ("acosh", (1.0,), 0.0), ("acosh", (0.5,), NAN),
    ("asin", (-0.0,), -0.0), ("asinh", (-INF,), -INF), ("atan", (INF,), np.pi / 2),
    ("atan2", (0.0, -0.0), np.pi), ("atan2", (-0.0, 0.0), -0.0), ("atan2", (-0.0, -1.0), -np.pi),
    ("atan2", (INF, -INF), 3 * np.pi / 4), ("atan2", (1.0, 0.0), np.pi / 2),
    ("atanh", (1.0,), INF), ("atanh", (-1.0,), -INF), ("ceil", (-0.5,), -0.0),
    ("copysign", (1.0, -0.0), -1.0), ("cosh", (-INF,), INF), ("divide", (1.0, -0.0), -INF),
    ("divide", (0.0, 0.0), NAN), ("divide", (-0.0, 1.0), -0.0), ("exp", (-INF,), 0.0),
    ("expm1", (-INF,), -1.0), ("expm1", (-0.0,), -0.0), ("floor", (-0.0,), -0.0),
    ("floor_divide", (-1.0, INF), -1.0), ("floor_divide", (1.0, INF), 0.0),
    ("hypot", (INF, NAN), INF), ("log", (-0.0,), -INF), ("log", (-1.0,), NAN),
    ("log1p", (-1.0,), -INF), ("log1p", (-0.0,), -0.0), ("log2", (1.0,), 0.0),
    ("log10", (INF,), INF), ("logaddexp", (NAN, 0.0), NAN), ("maximum", (NAN, 1.0), NAN),
    ("minimum", (1.0, NAN), NAN), ("multiply", (INF, 0.0), NAN), ("nextafter", (0.0, NAN), NAN),
    ("pow", (1.0, NAN), 1.0), ("pow", (NAN, 0.0), 1.0), ("pow", (-1.0, INF), 1.0),
    ("pow", (-INF, 3.0), -INF), ("pow", (-0.0, -1.0), -INF), ("pow", (-0.0, 3.0), -0.0),
    ("pow", (0.5, INF), 0.0), ("pow", (-2.0, 0.5), NAN), ("reciprocal", (-0.0,), -INF),
    ("remainder", (1.0, 0.0), NAN), ("remainder", (-1.0, INF), INF), ("remainder", (1.0, INF), 1.0),
    ("round", (0.5,), 0.0), ("round", (-0.5,), -0.0), ("round", (1.5,), 2.0),
    ("sign", (-0.0,), -0.0), ("sin", (INF,), NAN), ("sinh", (-0.0,), -0.0), ("sqrt", (-0.0,), -0.0),
    ("sqrt", (-1.0,), NAN), ("tan", (-0.0,), -0.0), ("tanh", (-INF,), -1.0),
    ("trunc", (-0.5,), -0.0),
]  # fmt: skip
"""Of floating-point operands; a result of zero has the sign that is written, where it counts."""


@pytest.mark.parametrize("dtype", REAL)
def test_special_cases(dtype: str) -> None:
    wrong = []
    with pb.enable_x64(True):
        for (name, args, want), compiled in itertools.product(SPECIAL_CASES, (False, True)):
            function = pb.jit(_found(name)) if compiled else _found(name)
            got = np.asarray(function(*(jnp.array([x], dtype) for x in args)))[0]
            same = np.isclose(got, want, rtol=1e-6, atol=0, equal_nan=True)
            signs = name != "sign" and want == 0 and not np.isnan(got)
            if not same or (signs and np.signbit(got) != np.signbit(want)):
                wrong.append((name, args, compiled, float(got), want))
    assert not wrong


def test_statistics_of_the_standard_on_no_elements() -> None:
    empty = jnp.ones((0, 2))
    assert jnp.sum(empty, axis=0).tolist() == [0.0, 0.0]
    assert jnp.prod(empty, axis=0).tolist() == [1.0, 1.0]
    assert jnp.all(empty, axis=0).tolist() == [True, True]
    assert jnp.any(empty, axis=0).tolist() == [False, False]
    assert np.isnan(jnp.mean(empty, axis=0)).all()
    with pytest.raises(ValueError, match=r"identity|zero-size"):
        jnp.max(empty, axis=0)

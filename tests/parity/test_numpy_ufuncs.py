"""Result types of all element-wise functions, and their values at ordinary and at odd points."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare, compare_types

OPERANDS = (
    "jnp.array(True)",
    "jnp.int8(1)",
    "jnp.uint8(1)",
    "jnp.int32(1)",
    "jnp.float16(1)",
    "jnp.bfloat16(1)",
    "jnp.float32(1)",
    "jnp.complex64(1)",
    "1",
    "0.5",
    "1j",
)
UNARY = [
    "abs",
    "absolute",
    "fabs",
    "negative",
    "positive",
    "conj",
    "conjugate",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "sign",
    "signbit",
    "square",
    "invert",
    "bitwise_not",
    "isnan",
    "isfinite",
    "isinf",
    "logical_not",
    "real",
    "imag",
    "angle",
    "bitwise_count",
    "sin",
    "cos",
    "tan",
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "arccosh",
    "arctanh",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log10",
    "log2",
    "log1p",
    "sqrt",
    "cbrt",
    "sinc",
    "i0",
    "deg2rad",
    "rad2deg",
    "reciprocal",
    "spacing",
    "isneginf",
    "isposinf",
    "iscomplex",
    "isreal",
    "nan_to_num",
    "modf",
    "frexp",
    "around",
    "round",
]


@pytest.mark.parametrize("name", UNARY)
def test_unary_result_types(name: str) -> None:
    for operand in OPERANDS:
        compare_types(name, operand)


PAIRS = (
    ("jnp.array(True)", "jnp.array(True)"),
    ("jnp.array(True)", "jnp.int32(2)"),
    ("jnp.int32(5)", "jnp.int32(2)"),
    ("jnp.int8(5)", "jnp.uint8(2)"),
    ("jnp.array([5])", "2"),
    ("jnp.int32(5)", "2.5"),
    ("jnp.float16(5)", "jnp.array([2])"),
    ("jnp.float32(5)", "2.5"),
    ("5", "2"),
    ("5", "2.5"),
    ("5.5", "2.5"),
    ("jnp.bfloat16(5)", "2.5"),
    ("jnp.complex64(5)", "jnp.float32(2)"),
    ("jnp.float32(5)", "2j"),
    ("jnp.complex64(5 + 1j)", "jnp.complex64(2 - 1j)"),
    ("jnp.array(True)", "2"),
    ("jnp.array(True)", "2.5"),
    ("jnp.uint8(5)", "2"),
)
BINARY = [
    "add",
    "subtract",
    "multiply",
    "true_divide",
    "divide",
    "floor_divide",
    "mod",
    "remainder",
    "fmod",
    "divmod",
    "power",
    "float_power",
    "arctan2",
    "hypot",
    "copysign",
    "nextafter",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "heaviside",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "gcd",
    "lcm",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "bitwise_left_shift",
    "bitwise_right_shift",
]


@pytest.mark.parametrize("name", BINARY)
def test_binary_result_types(name: str) -> None:
    for first, second in PAIRS:
        compare_types(name, first, second)


VALUES = """
jnp.uint8(1) + 300
jnp.add([1], 2)
jnp.sin([1.0])
jnp.power(jnp.int32(2), jnp.int32(-1))
jnp.power(jnp.float32(2), np.array(3))
jnp.power(jnp.float32(2), np.float32(3))
jnp.power(jnp.array([2, 3]), jnp.array([3, 31]))
jnp.power(2, jnp.int8(3))
jnp.power(jnp.uint8(2), jnp.int32(3))
jnp.array(2) ** 2, jnp.array(2) ** -1.0, v**0.5, 2**i, 2.0**i
jnp.array(2) ** -1
jnp.floor_divide(jnp.array([5, -5, 7]), jnp.array([0, 2, -2]))
jnp.remainder(jnp.array([5, -5, 7]), jnp.array([0, 2, -2]))
jnp.fmod(jnp.array([5, -5, 7]), jnp.array([0, 2, -2]))
jnp.floor_divide(jnp.array([5.0, -5, 7, jnp.inf, jnp.nan, 1]), jnp.array([0.0, 2, -2, 1, 1, jnp.inf]))
jnp.remainder(jnp.array([5.0, -5, 7, jnp.inf, jnp.nan, 1, -1]), jnp.array([0.0, 2, -2, 1, 1, jnp.inf, jnp.inf]))
jnp.fmod(jnp.array([5.0, -5, 7, jnp.inf, jnp.nan, 1]), jnp.array([0.0, 2, -2, 1, 1, jnp.inf]))
jnp.logaddexp(-jnp.inf, -jnp.inf), jnp.logaddexp(jnp.inf, -jnp.inf), jnp.logaddexp(jnp.nan, 1.0)
jnp.logaddexp(1 + 3j, 2 + 3j)
jnp.hypot(jnp.array([3.0, jnp.inf, jnp.nan, 0]), jnp.array([4.0, jnp.nan, 1, 0]))
jnp.heaviside(jnp.array([-1.0, 0, 1, jnp.nan]), 0.5)
jnp.frexp(jnp.array([0.0, 1, -3.5, jnp.inf, jnp.nan, 1e30]))
jnp.modf(jnp.array([1.5, -2.25, jnp.inf, jnp.nan, -0.0]))
jnp.ldexp(jnp.array([1.5, 2.0]), jnp.array([3, -200]))
jnp.gcd(jnp.array([12, -8, 0]), jnp.array([18, 12, 0]))
jnp.lcm(jnp.array([12, -8, 0]), jnp.array([18, 12, 5]))
jnp.fmax(n, jnp.array([jnp.nan, jnp.nan, 1])), jnp.fmin(n, jnp.array([jnp.nan, jnp.nan, 1]))
jnp.maximum(n, 2.0), jnp.minimum(n, 2.0), jnp.maximum(1 + 2j, 1 + 3j), jnp.less(1 + 2j, 1 + 3j)
jnp.sign(jnp.array([-2.0, 0, jnp.nan])), jnp.sign(3 + 4j)
jnp.angle(jnp.array([1 + 1j, -1]), deg=True)
jnp.copysign(jnp.array([1.0, -2]), jnp.array([-0.0, 1]))
jnp.right_shift(jnp.array([-8]), jnp.array([1])), jnp.right_shift(jnp.uint8(200), 1), jnp.left_shift(1, 40)
jnp.nan_to_num(jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1.0])), jnp.nan_to_num(n, nan=7.0)
jnp.round(jnp.array([1.25, 2.5, -3.567]), 1), jnp.round(jnp.array([15.0, 25.0]), -1)
jnp.round(jnp.array([15]), -1)
jnp.rint(jnp.array([0.5, 1.5, 2.5]))
jnp.signbit(jnp.array([-0.0, 0, -1, jnp.nan]))
jnp.spacing(jnp.array([1.0, 1e10, jnp.inf, 0, -1]))
jnp.sqrt(-1), jnp.log(-1.0 + 0j), jnp.arccos(2 + 0j), jnp.arctan2(1 + 1j, 2.0)
jnp.isclose(1, 1 + 1e-9), jnp.isclose(jnp.nan, jnp.nan, equal_nan=True), jnp.isclose(jnp.inf, jnp.inf)
jnp.allclose(v, v), jnp.array_equal(v, i), jnp.array_equal(v, [0, 1, 2]), jnp.array_equal(v, v[:2])
jnp.array_equiv(v, jnp.stack([v, v])), jnp.array_equal("a", "b")
jnp.isscalar(1), jnp.isscalar(jnp.float32(1)), jnp.isscalar(v), jnp.isscalar("a")
jnp.iscomplexobj(v), jnp.isrealobj(1j)
jnp.packbits(jnp.array([1, 0, 1, 1, 1])), jnp.packbits(jnp.array([1, 0, 1]), bitorder="little")
jnp.unpackbits(jnp.array([5], dtype="uint8")), jnp.unpackbits(jnp.array([[5]], dtype="uint8"), axis=1, count=3)
jnp.add(v, jnp.ones((2, 1))), jnp.add(v, jnp.ones(2))
"""

OBJECTS = """
jnp.add.identity, jnp.multiply.identity, jnp.maximum.identity, jnp.subtract.identity
jnp.logical_and.identity, jnp.bitwise_and.identity, jnp.negative.identity, jnp.bitwise_or.identity
jnp.add.nin, jnp.add.nout, jnp.add.nargs, jnp.negative.nin
jnp.add.reduce(x), jnp.add.reduce(x, axis=None, where=b), jnp.add.reduce(x, axis=(0, 1))
jnp.multiply.reduce(x, axis=1, keepdims=True), jnp.maximum.reduce(x), jnp.minimum.reduce(x, axis=1)
jnp.subtract.reduce(i), jnp.subtract.accumulate(i), jnp.subtract.reduce(x, axis=1)
jnp.add.accumulate(x, axis=1), jnp.multiply.accumulate(x)
jnp.add.reduceat(jnp.arange(8), jnp.array([0, 4, 1, 5]))
jnp.add.at(jnp.arange(5), jnp.array([0, 0, 1]), 10, inplace=False)
jnp.add.at(jnp.arange(5), jnp.array([0, 0, 1]), 10)
jnp.negative.at(jnp.arange(3), 1, inplace=False)
jnp.add.outer(i, v), jnp.subtract.outer(x, i)
jnp.logical_and.reduce(jnp.array([1, 0, 2])), jnp.logical_or.reduce(x > 3), jnp.bitwise_or.reduce(i)
jnp.logaddexp.reduce(v), jnp.logaddexp.accumulate(v)
jnp.add(1, 2, out=3)
jnp.add(1, 2, where=True)
jnp.add.reduce(jnp.float32(1))
jnp.frompyfunc(lambda x, y: x * y + 1, 2, 1)(i, 10)
jnp.frompyfunc(lambda x, y: x * y + 1, 2, 1).reduce(jnp.arange(1, 4))
jnp.frompyfunc(lambda x, y: x * y + 1, 2, 1).accumulate(jnp.arange(1, 4))
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("expression", lines(VALUES))
def test_values(expression: str) -> None:
    compare(expression)


@pytest.mark.parametrize("expression", lines(OBJECTS))
def test_ufunc_objects(expression: str) -> None:
    compare(expression)


@pytest.mark.parametrize("name", UNARY)
def test_unary_values(name: str) -> None:
    compare(f"jnp.{name}(jnp.array([-0.75, 0.0, 0.25, 0.5]))", rtol=1e-5)


@pytest.mark.parametrize("name", BINARY)
def test_binary_values(name: str) -> None:
    integral = ["bitwise", "shift", "gcd", "lcm", "ldexp"]
    second = "i" if any(part in name for part in integral) else "v + 0.5"
    compare(f"jnp.{name}({'v' if name == 'ldexp' else second}, {second})", rtol=1e-5)

"""Builds the LLVM text of an elementary function, so that kernels read like mathematics.

The functions in this package take and return `Value`s, SSA names that know the kernel they belong
to; Python's operators on them append instructions. `pullback.llvm.math` turns the result into the
text of a function, which the code emitter calls from its loops and LLVM inlines there.

Numbers are 'f32', 'f64', 'i32', 'i64' or 'i1' (comparisons), always of the kernel's width: one lane
is a scalar type, more are a vector. No instruction carries a fast-math flag and multiplications and
additions are fused only where `fma` says so, hence the same bits at every width.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import cache

from pullback.records import record

ELEMENT = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "i1": "i1"}
INTEGER = {"f32": "i32", "f64": "i64"}
"""The integers as wide as a float: where its bits are looked at."""


@record()
class Format:
    """What a kernel wants to know about an IEEE 754 binary format."""

    dtype: str
    mantissa: int
    """Stored bits of the significand."""
    bias: int

    @property
    def size(self) -> int:
        """In bits."""
        return {"f32": 32, "f64": 64}[self.dtype]

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def magic(self) -> float:
        """Adding it rounds to an integer, which then is in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    @property
    def exponent_mask(self) -> int:
        return (2 * self.bias + 1) << self.mantissa

    def bits(self, number: float) -> int:
        """The integer with the same bits as `number`."""
        code = {"f32": "f", "f64": "d"}[self.dtype]
        return int.from_bytes(struct.pack("<" + code, number), "little")


_SINGLE, _DOUBLE = Format("f32", 23, 127), Format("f64", 52, 1023)
FORMATS = {"f32": _SINGLE, "i32": _SINGLE, "f64": _DOUBLE, "i64": _DOUBLE}
"""The float format of a kind; integers have that of the floats whose bits they are."""


@cache
def type_name(kind: str, width: int) -> str:
    """`type_name('f32', 8)` is '<8 x float>', `type_name('f32', 1)` is 'float'."""
    return ELEMENT[kind] if width == 1 else f"<{width} x {ELEMENT[kind]}>"


@cache
def suffix(kind: str, width: int) -> str:
    """How the name of an intrinsic says its type: 'v8f32', 'f32'."""
    return kind if width == 1 else f"v{width}{kind}"


@cache
def constant_text(kind: str, number: float, width: int) -> str:
    """A constant operand; LLVM writes floats as the bits of a double."""
    if kind[0] == "f":
        rounded = number
        if kind == "f32":
            rounded = struct.unpack("<f", struct.pack("<f", number))[0]
        text = "0x" + struct.pack(">d", rounded).hex().upper()
    else:
        text = str(int(number))
    return text if width == 1 else f"splat ({ELEMENT[kind]} {text})"


class Value:
    """A number of one kernel, or one a lane; the operators append instructions to the kernel."""

    __slots__ = ("kernel", "kind", "text")

    def __init__(self, kernel: Kernel, kind: str, text: str) -> None:
        self.kernel, self.kind, self.text = kernel, kind, text

    @property
    def format(self) -> Format:
        return FORMATS[self.kind]

    def __add__(self, other: Operand) -> Value:
        return self._binary("fadd", "add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self._binary("fadd", "add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self._binary("fsub", "sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self._binary("fsub", "sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self._binary("fmul", "mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self._binary("fmul", "mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self._binary("fdiv", "sdiv", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self._binary("fdiv", "sdiv", other, self)

    def __and__(self, other: Operand) -> Value:
        return self._binary("", "and", self, other)

    def __or__(self, other: Operand) -> Value:
        return self._binary("", "or", self, other)

    def __xor__(self, other: Operand) -> Value:
        return self._binary("", "xor", self, other)

    def __lshift__(self, other: Operand) -> Value:
        return self._binary("", "shl", self, other)

    def __rshift__(self, other: Operand) -> Value:
        """Arithmetic: the sign stays."""
        return self._binary("", "ashr", self, other)

    def __invert__(self) -> Value:
        return self ^ -1 if self.kind != "i1" else self ^ 1

    def __neg__(self) -> Value:
        if self.kind[0] == "i":
            return 0 - self
        return self.kernel.emit(self.kind, f"fneg {self.typed}")

    def __lt__(self, other: Operand) -> Value:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Operand) -> Value:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Operand) -> Value:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Operand) -> Value:
        return self._compare("oge", "sge", other)

    def equals(self, other: Operand) -> Value:
        return self._compare("oeq", "eq", other)

    def not_less(self, other: Operand) -> Value:
        """`>=`, or one of the two is NaN."""
        return self._compare("uge", "sge", other)

    def unordered(self, other: Operand) -> Value:
        """Whether one of the two is NaN."""
        return self._compare("uno", "", other)

    def is_nan(self) -> Value:
        return self.unordered(self)

    @property
    def typed(self) -> str:
        return f"{self.kernel.type(self.kind)} {self.text}"

    def _binary(self, real: str, integer: str, left: Operand, right: Operand) -> Value:
        kernel, kind = self.kernel, self.kind
        instruction = real if kind[0] == "f" else integer
        a, b = kernel.operand(kind, left), kernel.operand(kind, right)
        return kernel.emit(kind, f"{instruction} {kernel.type(kind)} {a}, {b}")

    def _compare(self, real: str, integer: str, other: Operand) -> Value:
        kernel, kind = self.kernel, self.kind
        instruction = f"fcmp {real}" if kind[0] == "f" else f"icmp {integer}"
        right = kernel.operand(kind, other)
        return kernel.emit("i1", f"{instruction} {self.typed}, {right}")


Operand = Value | float | int


@record(frozen=False)
class Kernel:
    """The text of one function under construction."""

    width: int
    lines: list[str] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    block: str = "entry"
    _known: dict[str, Value] = field(default_factory=dict)
    _counter: int = 0

    def type(self, kind: str) -> str:
        return type_name(kind, self.width)

    def operand(self, kind: str, operand: Operand) -> str:
        if isinstance(operand, Value):
            assert operand.kind == kind, f"{operand.kind} where {kind} is needed"
            return operand.text
        return constant_text(kind, operand, self.width)

    def constant(self, kind: str, number: float) -> Value:
        return Value(self, kind, constant_text(kind, number, self.width))

    def value(self, kind: str, operand: Operand) -> Value:
        return operand if isinstance(operand, Value) else self.constant(kind, operand)

    def emit(self, kind: str, instruction: str) -> Value:
        """Appends an instruction, unless this block has computed the same before."""
        value = self._known.get(instruction)
        if value is None:
            value = Value(self, kind, self.name())
            self.lines.append(f"  {value.text} = {instruction}\n")
            self._known[instruction] = value
        return value

    def name(self) -> str:
        self._counter += 1
        return f"%t{self._counter}"

    def intrinsic(self, name: str, kind: str, arguments: Sequence[str]) -> Value:
        """Calls an LLVM intrinsic whose arguments all have the type of its result."""
        type_, full = self.type(kind), f"@llvm.{name}.{suffix(kind, self.width)}"
        self.declarations.add(f"declare {type_} {full}({', '.join([type_] * len(arguments))})")
        parameters = ", ".join(f"{type_} {argument}" for argument in arguments)
        return self.emit(kind, f"call {type_} {full}({parameters})")

    def start(self, block: str) -> None:
        self.lines.append(f"{block}:\n")
        self.block = block
        self._known.clear()

    def any(self, mask: Value) -> str:
        """An i1 that says whether some lane of `mask` is set."""
        if self.width == 1:
            return mask.text
        name = f"@llvm.vector.reduce.or.{suffix('i1', self.width)}"
        self.declarations.add(f"declare i1 {name}({self.type('i1')})")
        return self.emit("i1", f"call i1 {name}({mask.typed})").text

    def rarely(
        self, mask: Value, usual: Sequence[Value], compute: Callable[[], Sequence[Value]]
    ) -> list[Value]:
        """The values of `compute` if any lane of `mask` is set, `usual` otherwise."""
        condition, before, label = self.any(mask), self.block, self.name()[1:]
        self.lines.append(f"  br i1 {condition}, label %{label}.rare, label %{label}.end\n")
        self.start(f"{label}.rare")
        rare = compute()
        after = self.block
        self.lines.append(f"  br label %{label}.end\n")
        self.start(f"{label}.end")
        return [
            self.emit(u.kind, f"phi {u.kernel.type(u.kind)} [{u.text}, %{before}], "
                      f"[{r.text}, %{after}]")
            for u, r in zip(usual, rare, strict=True)
        ]  # fmt: skip

    def repeat(
        self, start: Sequence[Value], step: Callable[[list[Value]], tuple[Value, Sequence[Value]]]
    ) -> list[Value]:
        """Applies `step` while some lane of the mask it gives with its values is set."""
        before, label = self.block, self.name()[1:]
        self.lines.append(f"  br label %{label}.loop\n")
        self.start(f"{label}.loop")
        carried = [Value(self, s.kind, self.name()) for s in start]
        position = len(self.lines)
        again, values = step(carried)
        condition, after = self.any(again), self.block
        self.lines[position:position] = [
            f"  {c.text} = phi {s.kernel.type(s.kind)} [{s.text}, %{before}], "
            f"[{v.text}, %{after}]\n"
            for c, s, v in zip(carried, start, values, strict=True)
        ]
        self.lines.append(f"  br i1 {condition}, label %{label}.loop, label %{label}.end\n")
        self.start(f"{label}.end")
        return list(values)


# ------------------------------------------------------------------------------- functions


def _kernel(*operands: Operand) -> tuple[Kernel, str]:
    for operand in operands:
        if isinstance(operand, Value):
            return operand.kernel, operand.kind
    raise TypeError("one operand has to be a Value")


def fma(a: Operand, b: Operand, c: Operand) -> Value:
    """a * b + c, rounded once."""
    kernel, kind = _kernel(a, b, c)
    return kernel.intrinsic("fma", kind, [kernel.operand(kind, x) for x in (a, b, c)])


def horner(x: Value, coefficients: Sequence[float], *lower: float) -> Value:
    """The polynomial `lower[0] + lower[1] x + ... + coefficients[0] x^len(lower) + ...`."""
    all_coefficients: list[Operand] = [*lower, *coefficients]
    result = all_coefficients.pop()
    while all_coefficients:
        result = fma(result, x, all_coefficients.pop())
    assert isinstance(result, Value)
    return result


def two_sum(a: Value, b: Operand) -> tuple[Value, Value]:
    """a + b rounded, and what that lost (D. E. Knuth, TAOCP 2, section 4.2.2)."""
    total = a + b
    more = total - a
    return total, (a - (total - more)) + (b - more)


def where(mask: Value, a: Operand, b: Operand) -> Value:
    """`a` in the lanes where the mask is set, `b` in the others."""
    kernel, kind = _kernel(a, b)
    type_ = kernel.type(kind)
    left, right = kernel.operand(kind, a), kernel.operand(kind, b)
    return kernel.emit(kind, f"select {mask.typed}, {type_} {left}, {type_} {right}")


def at_least(x: Value, low: Operand) -> Value:
    """max(x, low); NaN stays. One instruction on x86, as `where` puts x second."""
    low = x.kernel.value(x.kind, low)
    return where(low > x, low, x)


def at_most(x: Value, high: Operand) -> Value:
    """min(x, high); NaN stays."""
    high = x.kernel.value(x.kind, high)
    return where(high < x, high, x)


def absolute(x: Value) -> Value:
    """|x|; a NaN stays one."""
    return x.kernel.intrinsic("fabs", x.kind, [x.text])


def sqrt(x: Value) -> Value:
    """The root, rounded correctly; NaN below zero."""
    return x.kernel.intrinsic("sqrt", x.kind, [x.text])


def floor(x: Value) -> Value:
    """Rounded down."""
    return x.kernel.intrinsic("floor", x.kind, [x.text])


def truncate(x: Value) -> Value:
    """Rounded towards zero."""
    return x.kernel.intrinsic("trunc", x.kind, [x.text])


def round_half_even(x: Value) -> Value:
    """Rounded to the nearest integer, halves to the even one."""
    return x.kernel.intrinsic("roundeven", x.kind, [x.text])


def round_half_away(x: Value) -> Value:
    """Rounded to the nearest integer, halves away from zero."""
    return x.kernel.intrinsic("round", x.kind, [x.text])


def copysign(size: Operand, sign: Value) -> Value:
    """`size` with the sign bit of `sign`."""
    kernel, kind = sign.kernel, sign.kind
    return kernel.intrinsic("copysign", kind, [kernel.operand(kind, size), sign.text])


def bits(x: Value) -> Value:
    """The bits of a float as an integer."""
    return _convert("bitcast", x, INTEGER[x.kind])


def from_bits(x: Value) -> Value:
    """The float with these bits."""
    return _convert("bitcast", x, {"i32": "f32", "i64": "f64"}[x.kind])


def to_float(x: Value, kind: str) -> Value:
    """A signed integer as a float."""
    return _convert("sitofp", x, kind)


def to_double(x: Value) -> Value:
    """The same number in double precision."""
    return x if x.kind == "f64" else _convert("fpext", x, "f64")


def from_double(x: Value, kind: str) -> Value:
    """A number in double precision, rounded to `kind`."""
    return x if kind == "f64" else _convert("fptrunc", x, kind)


def _convert(instruction: str, x: Value, kind: str) -> Value:
    return x.kernel.emit(kind, f"{instruction} {x.typed} to {x.kernel.type(kind)}")

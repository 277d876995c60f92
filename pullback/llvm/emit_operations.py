"""What each operation of the loop IR is in LLVM: one entry a name.

Operands are names of values of one element type and number of lanes; `text` appends instructions.
`contract` is the only fast-math flag: products may fuse with sums.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.errors import LoweringError, UnsupportedError
from pullback.llvm import emit_small_floats as small
from pullback.llvm import library
from pullback.llvm import math as kernels
from pullback.llvm.emit_quotients import byte_factors
from pullback.llvm.emit_text import Text
from pullback.llvm.emit_types import (
    constant,
    is_float,
    is_signed,
    lanes_type,
    register_type,
    storage_type,
)
from pullback.loops.expr import Const, Op

__all__ = ["byte_quotient", "convert", "emit", "from_storage", "to_storage"]

BFLOAT16: Final = dtypes.bfloat16
_FLOAT32: Final = np.dtype("float32")


Rule = Callable[[Text, Op, str, "list[str]"], str]
_RULES: Final[dict[str, Rule]] = {}


def emit(text: Text, e: Op, args: list[str]) -> str:
    """Append the instructions of an operation; the name of the result."""
    rule = _RULES.get(e.name)
    if rule is None:
        raise LoweringError(f"no code for the operation {e.name}")
    operand = e.args[0].dtype if e.args else e.dtype
    return rule(text, e, register_type(operand), args)


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for name in names:
            _RULES[name] = rule
        return rule

    return register


# --------------------------------------------------------------------------- arithmetic

_FLOAT_WORDS: Final = {"add": "fadd contract", "sub": "fsub contract", "mul": "fmul contract"}
_FLOAT_WORDS_EXACT: Final = {"div": "fdiv", "rem": "frem"}


@_rule("add", "sub", "mul")
def _arithmetic(text: Text, e: Op, t: str, args: list[str]) -> str:
    word = _FLOAT_WORDS[e.name] if is_float(e.dtype) else e.name
    return text.put(f"{word} {text.type(t)} {args[0]}, {args[1]}")


@_rule("div", "rem")
def _division(text: Text, e: Op, t: str, args: list[str]) -> str:
    if is_float(e.dtype):
        if e.name == "rem":
            name = "fmodf" if t == "float" else "fmod"
            text.module.symbols.add(name)
        factors = byte_quotient(e)
        if factors is not None:
            high, low = (text.splat(constant(f, e.dtype), t) for f in factors)
            small = text.put(f"fmul {text.type(t)} {args[0]}, {low}")
            return text.intrinsic("llvm.fma", t, args[0], high, small)
        return text.put(f"{_FLOAT_WORDS_EXACT[e.name]} {text.type(t)} {args[0]}, {args[1]}")
    return _integer_division(text, e, t, args)


def byte_quotient(e: Op) -> tuple[float, float] | None:
    """What a byte as a float is multiplied by instead of being divided by a constant."""
    x, divisor = e.args
    if e.name != "div" or e.dtype != np.float32 or type(divisor) is not Const:
        return None
    if type(x) is not Op or x.name != "convert" or x.args[0].dtype not in (np.int8, np.uint8):
        return None
    return byte_factors(float(divisor.value))


def _integer_division(text: Text, e: Op, t: str, args: list[str]) -> str:
    x, y = args
    signed, v = is_signed(e.dtype), text.type(t)
    divisor = e.args[1]
    word = ("s" if signed else "u") + e.name
    if type(divisor) is Const and divisor.value not in (0, -1):
        return text.put(f"{word} {v} {x}, {y}")
    zero, one = text.splat("0", t), text.splat("1", t)
    flags = text.type("i1")
    is_zero = text.put(f"icmp eq {v} {y}, {zero}")
    unsafe = is_zero
    if signed:
        least = text.splat(str(-(1 << (dtypes.itemsize_bits(e.dtype) - 1))), t)
        minus = text.put(f"icmp eq {v} {y}, {text.splat('-1', t)}")
        lowest = text.put(f"icmp eq {v} {x}, {least}")
        overflow = text.put(f"and {flags} {minus}, {lowest}")
        unsafe = text.put(f"or {flags} {is_zero}, {overflow}")
    safe = text.put(f"select {flags} {unsafe}, {v} {one}, {v} {y}")
    if e.name == "div":
        result = _quotient(text, e.dtype, t, x, safe)
        return text.put(f"select {flags} {is_zero}, {v} {text.splat('-1', t)}, {v} {result}")
    result = _remainder(text, e.dtype, t, x, safe)
    return text.put(f"select {flags} {is_zero}, {v} {x}, {v} {result}")


def _quotient(text: Text, dtype: np.dtype[Any], t: str, x: str, y: str) -> str:
    """By floats where that is exact, since vectors have no integer division."""
    bits = dtypes.itemsize_bits(dtype)
    word = "s" if is_signed(dtype) else "u"
    if text.lanes == 1 or bits > 32:
        return text.put(f"{word}div {text.type(t)} {x}, {y}")
    f = "float" if bits <= 16 else "double"
    into, back = f"{word}itofp", f"fpto{word}i"
    a = text.put(f"{into} {text.type(t)} {x} to {text.type(f)}")
    b = text.put(f"{into} {text.type(t)} {y} to {text.type(f)}")
    q = text.put(f"fdiv {text.type(f)} {a}, {b}")
    return text.put(f"{back} {text.type(f)} {q} to {text.type(t)}")


def _remainder(text: Text, dtype: np.dtype[Any], t: str, x: str, y: str) -> str:
    if text.lanes == 1 or dtypes.itemsize_bits(dtype) > 32:
        word = "srem" if is_signed(dtype) else "urem"
        return text.put(f"{word} {text.type(t)} {x}, {y}")
    q = _quotient(text, dtype, t, x, y)
    product = text.put(f"mul {text.type(t)} {q}, {y}")
    return text.put(f"sub {text.type(t)} {x}, {product}")


@_rule("neg")
def _neg(text: Text, e: Op, t: str, args: list[str]) -> str:
    v = text.type(t)
    if is_float(e.dtype):
        return text.put(f"fneg {v} {args[0]}")
    return text.put(f"sub {v} {text.splat('0', t)}, {args[0]}")


@_rule("abs")
def _abs(text: Text, e: Op, t: str, args: list[str]) -> str:
    if is_float(e.dtype):
        return text.intrinsic("llvm.fabs", t, args[0])
    return text.intrinsic("llvm.abs", t, args[0], extra="i1 false")


@_rule("fma")
def _fma(text: Text, e: Op, t: str, args: list[str]) -> str:
    return text.intrinsic("llvm.fma", t, *args)


@_rule("max", "min")
def _extremum(text: Text, e: Op, t: str, args: list[str]) -> str:
    """NaN if either operand is; one comparison less if one is a constant that is not."""
    if not is_float(e.dtype):
        prefix = "s" if is_signed(e.dtype) else "u"
        return text.intrinsic(f"llvm.{prefix}{e.name}", t, *args)
    word = "ogt" if e.name == "max" else "olt"
    v, flags = text.type(t), text.type("i1")
    x, y = args
    for a, b, other in ((x, y, e.args[0]), (y, x, e.args[1])):
        if type(other) is Const and other.value == other.value:
            better = text.put(f"fcmp {word} {v} {a}, {b}")
            return text.put(f"select {flags} {better}, {v} {a}, {v} {b}")
    better = text.put(f"fcmp {word} {v} {x}, {y}")
    best = text.put(f"select {flags} {better}, {v} {x}, {v} {y}")
    nan = text.put(f"fcmp uno {v} {x}, {x}")
    return text.put(f"select {flags} {nan}, {v} {x}, {v} {best}")


_INTRINSICS: Final = {
    "floor": "llvm.floor",
    "ceil": "llvm.ceil",
    "trunc": "llvm.trunc",
    "round_even": "llvm.roundeven",
    "round_away": "llvm.round",
    "sqrt": "llvm.sqrt",
    "copysign": "llvm.copysign",
    "popcount": "llvm.ctpop",
}


@_rule(*_INTRINSICS)
def _intrinsic(text: Text, e: Op, t: str, args: list[str]) -> str:
    return text.intrinsic(_INTRINSICS[e.name], t, *args)


@_rule("clz")
def _clz(text: Text, e: Op, t: str, args: list[str]) -> str:
    return text.intrinsic("llvm.ctlz", t, args[0], extra="i1 false")


@_rule("mulhi")
def _mulhi(text: Text, e: Op, t: str, args: list[str]) -> str:
    bits = dtypes.itemsize_bits(e.dtype)
    wide = f"i{2 * bits}"
    a, b = (text.put(f"zext {text.type(t)} {x} to {text.type(wide)}") for x in args)
    product = text.put(f"mul {text.type(wide)} {a}, {b}")
    high = text.put(f"lshr {text.type(wide)} {product}, {text.splat(str(bits), wide)}")
    return text.put(f"trunc {text.type(wide)} {high} to {text.type(t)}")


# --------------------------------------------------------------------------- bits, comparisons


@_rule("and", "or", "xor", "shl", "lshr", "ashr")
def _bits(text: Text, e: Op, t: str, args: list[str]) -> str:
    return text.put(f"{e.name} {text.type(t)} {args[0]}, {args[1]}")


@_rule("not")
def _not(text: Text, e: Op, t: str, args: list[str]) -> str:
    ones = text.splat("true" if t == "i1" else "-1", t)
    return text.put(f"xor {text.type(t)} {args[0]}, {ones}")


_FLOAT_COMPARE: Final = {
    "eq": "oeq",
    "ne": "une",
    "lt": "olt",
    "le": "ole",
    "gt": "ogt",
    "ge": "oge",
}


@_rule(*_FLOAT_COMPARE)
def _compare(text: Text, e: Op, t: str, args: list[str]) -> str:
    operand = e.args[0].dtype
    if is_float(operand):
        return text.put(f"fcmp {_FLOAT_COMPARE[e.name]} {text.type(t)} {args[0]}, {args[1]}")
    prefix = "" if e.name in ("eq", "ne") else "s" if is_signed(operand) else "u"
    return text.put(f"icmp {prefix}{e.name} {text.type(t)} {args[0]}, {args[1]}")


@_rule("select")
def _select(text: Text, e: Op, t: str, args: list[str]) -> str:
    v = text.type(register_type(e.dtype))
    return text.put(f"select {text.type('i1')} {args[0]}, {v} {args[1]}, {v} {args[2]}")


# --------------------------------------------------------------------------- conversion


@_rule("convert")
def _convert(text: Text, e: Op, t: str, args: list[str]) -> str:
    return convert(text, args[0], e.args[0].dtype, e.dtype)


def convert(text: Text, x: str, source: np.dtype[Any], target: np.dtype[Any]) -> str:
    """Between element types, as `ScalarBuilder.convert` means it."""
    s, t = register_type(source), register_type(target)
    if is_float(source):
        if is_float(target):
            return _convert_float(text, x, source, target)
        if target.itemsize <= 2:
            return _narrow_integer(text, x, s, target)
        return _wide_integer(text, x, s, target)
    if is_float(target):
        word = "sitofp" if is_signed(source) else "uitofp"
        return round_to(text, text.put(f"{word} {text.type(s)} {x} to {text.type(t)}"), target)
    if s == t:
        return x
    bits = dtypes.itemsize_bits
    narrower = s != "i1" and bits(target) < bits(source)
    word = "trunc" if narrower else "sext" if is_signed(source) else "zext"
    return text.put(f"{word} {text.type(s)} {x} to {text.type(t)}")


def _integer_limits(dtype: np.dtype[Any]) -> Any:
    info: Any = dtypes.iinfo
    return info(dtype)


def _narrow_integer(text: Text, x: str, s: str, target: np.dtype[Any]) -> str:
    """A float as an integer of 8 or 16 bits, saturating: LLVM would do it lane by lane."""
    v, wide, info = text.type(s), text.type("i32"), _integer_limits(target)
    number = text.put(f"fcmp ord {v} {x}, {text.splat('0.0', s)}")
    x = text.put(f"select {text.type('i1')} {number}, {v} {x}, {v} {text.splat('0.0', s)}")
    for test, bound in (("ogt", info.min), ("olt", info.max)):
        limit = text.splat(repr(float(int(bound))), s)
        inside = text.put(f"fcmp {test} {v} {x}, {limit}")
        x = text.put(f"select {text.type('i1')} {inside}, {v} {x}, {v} {limit}")
    whole = text.put(f"fptosi {v} {x} to {wide}")
    return text.put(f"trunc {wide} {whole} to {text.type(register_type(target))}")


def _wide_integer(text: Text, x: str, s: str, target: np.dtype[Any]) -> str:
    """A float as an integer of 32 or 64 bits, saturating: the first too large float is known."""
    t, info = register_type(target), np.iinfo(target)
    v, w, flags = text.type(s), text.type(t), text.type("i1")
    low, end = (text.splat(repr(float(n)), s) for n in (info.min, info.max + 1))
    fits = text.put(f"fcmp olt {v} {x}, {end}")
    fitting = text.put(f"select {flags} {fits}, {v} {x}, {v} {text.splat('0.0', s)}")
    above = text.put(f"fcmp ogt {v} {fitting}, {low}")
    inside = text.put(f"select {flags} {above}, {v} {fitting}, {v} {low}")
    whole = text.put(f"{'fptosi' if is_signed(target) else 'fptoui'} {v} {inside} to {w}")
    large = text.put(f"fcmp oge {v} {x}, {end}")
    return text.put(f"select {flags} {large}, {w} {text.splat(str(info.max), t)}, {w} {whole}")


def _convert_float(text: Text, x: str, source: np.dtype[Any], target: np.dtype[Any]) -> str:
    s, t = register_type(source), register_type(target)
    if s == "double" and target == np.float16:
        x = _single_by_odd(text, x)
    elif s != t:
        word = "fpext" if t == "double" else "fptrunc"
        x = text.put(f"{word} {text.type(s)} {x} to {text.type(t)}")
    return round_to(text, x, target)


def _single_by_odd(text: Text, x: str) -> str:
    """A double as a float whose last bit says that something was cut off ("round to odd").

    Rounded once more, to a narrower float, it gives what the double would (Boldo and Melquiond,
    "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57, 2008).  Processors have
    no instruction for that, and LLVM calls a library for it that a process may not have.
    """
    d, f, i = text.type("double"), text.type("float"), text.type("i32")
    near = text.put(f"fptrunc {d} {x} to {f}")
    back = text.put(f"fpext {f} {near} to {d}")
    sizes = [text.intrinsic("llvm.fabs", "double", y) for y in (back, x)]
    larger = text.put(f"fcmp ogt {d} {sizes[0]}, {sizes[1]}")
    differs = text.put(f"fcmp one {d} {back}, {x}")
    bits = text.put(f"bitcast {f} {near} to {i}")
    above, cut = (text.put(f"zext {text.type('i1')} {y} to {i}") for y in (larger, differs))
    below = text.put(f"sub {i} {bits}, {above}")
    odd = text.put(f"or {i} {below}, {cut}")
    return text.put(f"bitcast {i} {odd} to {f}")


def round_to(text: Text, x: str, dtype: np.dtype[Any]) -> str:
    """A float register rounded to the values of a narrower float."""
    if dtype.itemsize >= 4:
        return x
    if dtype == np.float16:
        half = text.put(f"fptrunc {text.type('float')} {x} to {text.type('half')}")
        return text.put(f"fpext {text.type('half')} {half} to {text.type('float')}")
    if dtype == BFLOAT16:
        return _round_bfloat16(text, x)
    return small.round_small(text, x, dtype)


def _round_bfloat16(text: Text, x: str) -> str:
    """Round to nearest even in the integers; NaN becomes the quiet one."""
    i, f = text.type("i32"), text.type("float")

    def of(n: int) -> str:
        return text.splat(str(n), "i32")

    bits = text.put(f"bitcast {f} {x} to {i}")
    high = text.put(f"lshr {i} {bits}, {of(16)}")
    odd = text.put(f"and {i} {high}, {of(1)}")
    bias = text.put(f"add {i} {odd}, {of(0x7FFF)}")
    rounded = text.put(f"add {i} {bits}, {bias}")
    kept = text.put(f"and {i} {rounded}, {of(-65536)}")
    nan = text.put(f"fcmp uno {f} {x}, {x}")
    chosen = text.put(f"select {text.type('i1')} {nan}, {i} {of(0x7FC00000)}, {i} {kept}")
    return text.put(f"bitcast {i} {chosen} to {f}")


def from_storage(text: Text, x: str, dtype: np.dtype[Any]) -> str:
    """A loaded element as a register holds it."""
    s, r = storage_type(dtype), register_type(dtype)
    if s == r:
        return x
    if r == "i1":
        return text.put(f"icmp ne {text.type(s)} {x}, {text.splat('0', s)}")
    if s == "half":
        return text.put(f"fpext {text.type(s)} {x} to {text.type(r)}")
    if dtype == BFLOAT16:
        wide = text.put(f"zext {text.type(s)} {x} to {text.type('i32')}")
        high = text.put(f"shl {text.type('i32')} {wide}, {text.splat('16', 'i32')}")
        return text.put(f"bitcast {text.type('i32')} {high} to {text.type('float')}")
    if r[0] == "i":
        return text.put(f"trunc {text.type(s)} {x} to {text.type(r)}")
    return small.unpack(text, x, dtype)


def to_storage(text: Text, x: str, dtype: np.dtype[Any]) -> str:
    """A register as an element in memory."""
    s, r = storage_type(dtype), register_type(dtype)
    if s == r:
        return x
    if r == "i1":
        return text.put(f"zext {text.type(r)} {x} to {text.type(s)}")
    if s == "half":
        return text.put(f"fptrunc {text.type(r)} {x} to {text.type(s)}")
    if dtype == BFLOAT16:
        bits = text.put(f"bitcast {text.type('float')} {x} to {text.type('i32')}")
        high = text.put(f"lshr {text.type('i32')} {bits}, {text.splat('16', 'i32')}")
        return text.put(f"trunc {text.type('i32')} {high} to {text.type(s)}")
    if r[0] == "i":
        return text.put(f"zext {text.type(r)} {x} to {text.type(s)}")
    return small.pack(text, x, dtype)


@_rule("bitcast")
def _bitcast(text: Text, e: Op, t: str, args: list[str]) -> str:
    source, target = e.args[0].dtype, e.dtype
    x = args[0]
    s, r = register_type(source), register_type(target)
    if is_float(source) and source.itemsize < 4:
        x, s = to_storage(text, x, source), storage_type(source)
        if s == "half":
            x = text.put(f"bitcast {text.type('half')} {x} to {text.type('i16')}")
            s = "i16"
    if is_float(target) and target.itemsize < 4:
        if storage_type(target) == "half":
            x = text.put(f"bitcast {text.type(s)} {x} to {text.type('half')}")
        return from_storage(text, x, target)
    return x if s == r else text.put(f"bitcast {text.type(s)} {x} to {text.type(r)}")


# --------------------------------------------------------------------------- functions

_NAME: Final = re.compile(r"@([\w.]+)\(")


@_rule("math")
def _math(text: Text, e: Op, t: str, args: list[str]) -> str:
    name: str = e.attr
    kind = "f32" if t == "float" else "f64"
    if not kernels.supported(name):
        return _lane_by_lane(text, e, args, _scalar_call)
    require_math(text.module, name, kind, text.lanes)
    operands = ", ".join(f"{text.type(t)} {a}" for a in args)
    symbol = kernels.symbol(name, kind, text.lanes)
    return text.put(f"call {text.type(t)} @{symbol}({operands})")


def require_math(module: Any, name: str, kind: str, lanes: int) -> None:
    """Define an elementary function, and what it needs, in the module."""
    key = (name, kind, lanes)
    if key in module.math:
        return
    module.math.add(key)
    for line in kernels.declarations(name, kind, lanes):
        found = _NAME.search(line)
        assert found is not None
        module.declare(found.group(1), line)
    for inner in kernels.dependencies(name, kind, lanes):
        require_math(module, *inner)
    module.functions.append(kernels.define(name, kind, lanes))


@_rule("extern")
def _extern(text: Text, e: Op, t: str, args: list[str]) -> str:
    return _lane_by_lane(text, e, args, _scalar_call)


_LLVM: Final = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "void": "void"}


def _scalar_call(put: Callable[[str], str], module: Any, e: Op, args: Sequence[str]) -> str:
    """Call a library function on scalars, converting to the types it has."""
    if "." in e.attr:
        return _part_call(put, module, e, args)
    name, types = _library_types(e)
    operands = []
    for a, x, to in zip(args, e.args, types[1:], strict=True):
        given = register_type(x.dtype)
        operands.append(f"{to} {_cast(put, a, given, to)}")
    inner = ", ".join(types[1:])
    module.external(name, f"declare {types[0]} @{name}({inner})")
    result = put(f"call {types[0]} @{name}({', '.join(operands)})")
    return _cast(put, result, types[0], register_type(e.dtype))


def _part_call(put: Callable[[str], str], module: Any, e: Op, args: Sequence[str]) -> str:
    """One of the two results of a library function of doubles: `sici.0`, `wofz.1`.

    A function writes them through pointers, or returns a complex number (of two doubles, which
    travels in two registers where the system's convention is that of Unix).
    """
    name, part = e.attr.split(".")
    helper, types = f"pb_{name}_{part}", library.signature(name)
    given = ", ".join(f"double %x{k}" for k in range(len(args)))
    bare = ", ".join(["double"] * len(args))
    if types[0] == "c128":
        if os.name == "nt":
            raise UnsupportedError(f"{name} of complex numbers in compiled code on Windows")
        module.external(name, f"declare {{ double, double }} @{name}({bare})")
        body = (
            f"  %pair = call {{ double, double }} @{name}({given})\n"
            f"  %value = extractvalue {{ double, double }} %pair, {part}\n"
        )
    else:
        module.external(name, f"declare void @{name}({bare}, ptr, ptr)")
        body = (
            "  %out0 = alloca double\n  %out1 = alloca double\n"
            f"  call void @{name}({given}, ptr %out0, ptr %out1)\n"
            f"  %value = load double, ptr %out{part}\n"
        )
    module.declare(
        helper, f"define internal double @{helper}({given}) {{\n{body}  ret double %value\n}}"
    )
    passed = ", ".join(f"double {a}" for a in args)
    return put(f"call double @{helper}({passed})")


def _library_types(e: Op) -> tuple[str, list[str]]:
    name = e.attr
    try:
        if e.dtype == _FLOAT32 and library.has(f"{name}f"):
            return f"{name}f", [_LLVM[k] for k in library.signature(f"{name}f")]
        return name, [_LLVM[k] for k in library.signature(name)]
    except KeyError:
        return name, ["double"] * (len(e.args) + 1)


def _cast(put: Callable[[str], str], x: str, source: str, target: str) -> str:
    if source == target:
        return x
    floats = ("float", "double")
    if source in floats and target in floats:
        word = "fpext" if target == "double" else "fptrunc"
    elif target in floats:
        word = "sitofp"
    elif source in floats:
        word = "fptosi"
    else:
        word = "sext" if int(target[1:]) > int(source[1:]) else "trunc"
    return put(f"{word} {source} {x} to {target}")


def _lane_by_lane(text: Text, e: Op, args: list[str], call: Callable[..., str]) -> str:
    if text.lanes == 1:
        return call(text.put, text.module, e, args)
    t = register_type(e.dtype)
    result = "poison"
    for lane in range(text.lanes):
        scalars = []
        for a, x in zip(args, e.args, strict=True):
            v = lanes_type(register_type(x.dtype), text.lanes)
            scalars.append(text.put(f"extractelement {v} {a}, i64 {lane}"))
        one = call(text.put, text.module, e, scalars)
        result = text.put(f"insertelement {text.type(t)} {result}, {t} {one}, i64 {lane}")
    return result

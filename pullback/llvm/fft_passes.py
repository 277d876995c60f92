"""The passes of Fourier transforms on whole vectors, as LLVM text: a part of `llvm.fft_kernels`.

A place of the memory that stays in cache is a complex number of every lane, real and imaginary
parts apart.  A pass of Stockham's method takes numbers that are `m` places apart and writes what
their transform gives side by side, each turned by a power that is the same in all lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from pullback.llvm.entry_ir import Function, Module, Value, i64

__all__ = ["RADICES", "TWOS", "Complex", "Passes"]

RADICES: Final = (2, 3, 4, 5, 7, 8, 11, 13, 16)
TWOS: Final = (2, 4, 8, 16)


class Complex(NamedTuple):
    """A vector of complex numbers."""

    re: Value
    im: Value


class Passes:
    """Writes arithmetic on vectors of one element type, and the functions of the passes."""

    def __init__(self, module: Module, name: str, bits: int, radices: Sequence[int]) -> None:
        self.m, self.radices = module, radices
        self.type, self.size = {"f32": ("float", 4), "f64": ("double", 8)}[name]
        self.lanes = bits // 8 // self.size
        self.vector = f"<{self.lanes} x {self.type}>"
        self.step = 2 * self.lanes * self.size
        """Bytes of a place: both parts of all lanes."""
        for r in radices:
            self.write_pass(r, turned=True)
            self.write_pass(r, turned=False)
            self.write_first(r)
            self.write_final(r)

    # ------------------------------------------------------------------------------ arithmetic

    def binary(self, f: Function, operation: str, x: Value, y: Value) -> Value:
        return f.value(self.vector, f"{operation} {x}, {y.text}")

    def plus(self, f: Function, x: Complex, y: Complex) -> Complex:
        return Complex(*(self.binary(f, "fadd", a, b) for a, b in zip(x, y, strict=True)))

    def minus(self, f: Function, x: Complex, y: Complex) -> Complex:
        return Complex(*(self.binary(f, "fsub", a, b) for a, b in zip(x, y, strict=True)))

    def negative(self, f: Function, x: Value) -> Value:
        return f.value(self.vector, f"fneg {x}")

    def fma(self, f: Function, x: Value, y: Value, z: Value) -> Value:
        return f.call(self.vector, f"llvm.fma.v{self.lanes}f{8 * self.size}", x, y, z)

    def splat(self, f: Function, scalar: Value) -> Value:
        return f.splat(scalar, self.lanes)

    def number(self, f: Function, value: float) -> Value:
        """A constant in all lanes, rounded to the element type."""
        if self.size == 8:
            return self.splat(f, Value("double", repr(value)))
        return self.splat(f, f.convert("fptrunc", Value("double", repr(value)), "float"))

    def turned(self, f: Function, x: Complex) -> Complex:
        """The product with -i."""
        return Complex(x.im, self.negative(f, x.re))

    def times(self, f: Function, x: Complex, y: Complex) -> Complex:
        low = self.negative(f, self.binary(f, "fmul", x.im, y.im))
        cross = self.binary(f, "fmul", x.im, y.re)
        return Complex(self.fma(f, x.re, y.re, low), self.fma(f, x.re, y.im, cross))

    def scaled(self, f: Function, x: Complex, factor: Value) -> Complex:
        return Complex(*(self.binary(f, "fmul", part, factor) for part in x))

    # ------------------------------------------------------------------------------ butterflies

    def butterfly(self, f: Function, a: Sequence[Complex]) -> list[Complex]:
        """The forward transform of a few numbers."""
        if len(a) == 2:
            return [self.plus(f, *a), self.minus(f, *a)]
        if len(a) == 4:
            even, odd = self.plus(f, a[0], a[2]), self.plus(f, a[1], a[3])
            left = self.minus(f, a[0], a[2])
            right = self.turned(f, self.minus(f, a[1], a[3]))
            return [
                self.plus(f, even, odd), self.plus(f, left, right),
                self.minus(f, even, odd), self.minus(f, left, right),
            ]  # fmt: skip
        if len(a) == 16:
            return self.sixteen(f, a)
        return self.eight(f, a) if len(a) == 8 else self.odd(f, a)

    def eight(self, f: Function, a: Sequence[Complex]) -> list[Complex]:
        even, odd = self.butterfly(f, a[::2]), self.butterfly(f, a[1::2])
        half = self.number(f, math.sqrt(0.5))
        one, three = odd[1], odd[3]
        total, gap = self.binary(f, "fadd", *one), self.binary(f, "fsub", one.im, one.re)
        odd[1] = self.scaled(f, Complex(total, gap), half)
        odd[2] = self.turned(f, odd[2])
        total, gap = self.binary(f, "fadd", *three), self.binary(f, "fsub", three.im, three.re)
        odd[3] = self.scaled(f, Complex(gap, self.negative(f, total)), half)
        pairs = list(zip(even, odd, strict=True))
        return [self.plus(f, x, y) for x, y in pairs] + [self.minus(f, x, y) for x, y in pairs]

    def sixteen(self, f: Function, a: Sequence[Complex]) -> list[Complex]:
        """Four by four: columns, powers of the sixteenth root, rows."""
        columns = [self.butterfly(f, a[k::4]) for k in range(4)]
        out: list[Complex] = [a[0]] * 16
        for j in range(4):
            row = [columns[0][j]]
            row += [self.rotated(f, columns[k][j], j * k) for k in range(1, 4)]
            out[j::4] = self.butterfly(f, row)
        return out

    def rotated(self, f: Function, x: Complex, power: int) -> Complex:
        """The product with exp(-2 pi i power / 16)."""
        if power % 4 == 0:
            return self.turned(f, x) if power == 4 else x
        if power % 4 == 2:
            half = self.number(f, math.sqrt(0.5))
            y = self.turned(f, x) if power == 6 else x
            total, gap = self.binary(f, "fadd", *y), self.binary(f, "fsub", y.im, y.re)
            return self.scaled(f, Complex(total, gap), half)
        angle = -math.pi * power / 8
        return self.times(f, x, Complex(*(self.number(f, g(angle)) for g in (math.cos, math.sin))))

    def odd(self, f: Function, a: Sequence[Complex]) -> list[Complex]:
        """Cosines of sums of opposite numbers, sines of their differences."""
        r = len(a)
        half = range(1, r // 2 + 1)
        sums = {k: self.plus(f, a[k], a[r - k]) for k in half}
        gaps = {k: self.turned(f, self.minus(f, a[k], a[r - k])) for k in half}
        total = a[0]
        for k in half:
            total = self.plus(f, total, sums[k])
        out = [total] * r
        for j in half:
            same, other = a[0], Complex(self.zero, self.zero)
            for k in half:
                angle = 2 * math.pi * (j * k % r) / r
                cosine, sine = (self.number(f, g(angle)) for g in (math.cos, math.sin))
                same = self.multiplied(f, sums[k], cosine, same)
                other = self.multiplied(f, gaps[k], sine, other)
            out[j], out[r - j] = self.plus(f, same, other), self.minus(f, same, other)
        return out

    @property
    def zero(self) -> Value:
        return Value(self.vector, "zeroinitializer")

    def multiplied(self, f: Function, x: Complex, factor: Value, to: Complex) -> Complex:
        return Complex(*(self.fma(f, p, factor, q) for p, q in zip(x, to, strict=True)))

    # ------------------------------------------------------------------------------ neighbours

    def halves(self, f: Function, x: Value, y: Value) -> Complex:
        """The parts of numbers that are interleaved in two vectors."""
        masks = (range(part, 2 * self.lanes, 2) for part in (0, 1))
        return Complex(*(self.shuffled(f, x, y, list(mask)) for mask in masks))

    def interleaved(self, f: Function, x: Complex) -> list[Value]:
        n = self.lanes
        masks = ([(k // 2) + n * (k % 2) for k in range(h * n, h * n + n)] for h in (0, 1))
        return [self.shuffled(f, *x, mask) for mask in masks]

    def shuffled(self, f: Function, x: Value, y: Value, picks: Sequence[int]) -> Value:
        mask = ", ".join(f"i32 {p}" for p in picks)
        kind = f"<{self.lanes} x i32>"
        return f.value(self.vector, f"shufflevector {x}, {y}, {kind} <{mask}>")

    def outside(self, f: Function, place: Value) -> Value:
        return f.value(self.vector, f"load {self.vector}, {place}, align {self.size}")

    def put(self, f: Function, value: Value, place: Value) -> None:
        f.emit(f"store {value}, {place}, align {self.size}")

    def near(self, f: Function, line: Value) -> Complex:
        """A number of every lane, where lanes are neighbours in an array."""
        half = self.step // 2
        return self.halves(f, *(self.outside(f, f.at(line, h * half)) for h in (0, 1)))

    def signed(self, f: Function, x: Complex, sign: Value) -> Complex:
        """The number or its conjugate: the imaginary part multiplied by 1 or -1."""
        return Complex(x.re, self.binary(f, "fmul", x.im, sign))

    def factors(self, f: Function, scale: Value, sign: Value) -> Complex:
        """By what the parts are multiplied on the way out."""
        signed = f.value(self.type, f"fmul {scale}, {sign.text}")
        return Complex(self.splat(f, scale), self.splat(f, signed))

    def weighted(self, f: Function, x: Complex, factors: Complex) -> Complex:
        return Complex(*(self.binary(f, "fmul", a, b) for a, b in zip(x, factors, strict=True)))

    def put_near(self, f: Function, x: Complex, line: Value) -> None:
        for h, vector in enumerate(self.interleaved(f, x)):
            self.put(f, vector, f.at(line, h * (self.step // 2)))

    # ------------------------------------------------------------------------------ passes

    def load(self, f: Function, place: Value) -> Complex:
        """Both parts at a place of the scratch memory."""
        half = self.step // 2
        return Complex(*(
            f.value(self.vector, f"load {self.vector}, {f.at(place, k * half)}, align {half}")
            for k in (0, 1)
        ))  # fmt: skip

    def store(self, f: Function, value: Complex, place: Value) -> None:
        half = self.step // 2
        for k, part in enumerate(value):
            f.emit(f"store {part}, {f.at(place, k * half)}, align {half}")

    def turns(self, f: Function, table: Value, r: int) -> list[Complex]:
        """The powers for one butterfly, each in all lanes."""
        powers = ([f.load(self.type, table, (2 * j + k) * self.size) for k in (0, 1)]
                  for j in range(r - 1))  # fmt: skip
        return [Complex(*(self.splat(f, x) for x in power)) for power in powers]

    def write_pass(self, r: int, turned: bool) -> None:
        """`pass_R(src, dst, turns, m, stride)`; the last pass of a transform turns nothing."""
        name = f"pass_{r}" if turned else f"last_{r}"
        f = self.m.function(name, "void", "ptr", "ptr", "ptr", "i64", "i64")
        src, dst, turns, m, stride = f.parameters
        row = f.op("mul", stride, self.step)
        apart = f.op("mul", m, row)
        with f.loop(m if turned else i64(1)) as p:
            table = f.item(turns, p, 2 * (r - 1) * self.size)
            factors = self.turns(f, table, r) if turned else []
            source = f.at(src, f.op("mul", p, row))
            target = f.at(dst, f.op("mul", f.op("mul", p, r), row))
            with f.loop(stride) as q:
                offset = f.op("mul", q, self.step)
                at, to = f.at(source, offset), f.at(target, offset)
                inputs = [self.load(f, place) for place in self.steps(f, at, apart, r)]
                outputs = self.butterfly(f, inputs)
                for j, place in enumerate(self.steps(f, to, row, r)):
                    value = outputs[j]
                    value = self.times(f, value, factors[j - 1]) if j and turned else value
                    self.store(f, value, place)
        f.ret()

    def steps(self, f: Function, first: Value, apart: Value, count: int) -> list[Value]:
        """Addresses at equal distances."""
        places = [first]
        for _ in range(count - 1):
            places.append(f.at(places[-1], apart))
        return places

    def write_first(self, r: int) -> None:
        """`first_R(src, dst, turns, m, pitch, sign)`: the first of several passes, from an array.

        Lanes are neighbours there; places are `pitch` bytes apart.
        """
        types = (*["ptr"] * 3, "i64", "i64", self.type)
        f = self.m.function(f"first_{r}", "void", *types)
        src, dst, turns, m, pitch, scalar = f.parameters
        apart, sign = f.op("mul", m, pitch), self.splat(f, scalar)
        with f.loop(m) as p:
            powers = self.turns(f, f.item(turns, p, 2 * (r - 1) * self.size), r)
            places = self.steps(f, f.at(src, f.op("mul", p, pitch)), apart, r)
            inputs = [self.signed(f, self.near(f, place), sign) for place in places]
            target = f.item(dst, p, r * self.step)
            for j, value in enumerate(self.butterfly(f, inputs)):
                value = self.times(f, value, powers[j - 1]) if j else value
                self.store(f, value, f.at(target, j * self.step))
        f.ret()

    def write_final(self, r: int) -> None:
        """`final_R(src, dst, stride, pitch, sign, scale)`: the last pass, to an array."""
        f = self.m.function(f"final_{r}", "void", *["ptr"] * 2, *["i64"] * 2, *[self.type] * 2)
        src, dst, stride, pitch, sign, scale = f.parameters
        factors = self.factors(f, scale, sign)
        apart, row = f.op("mul", stride, self.step), f.op("mul", stride, pitch)
        with f.loop(stride) as q:
            places = self.steps(f, f.item(src, q, self.step), apart, r)
            outputs = self.butterfly(f, [self.load(f, place) for place in places])
            targets = self.steps(f, f.at(dst, f.op("mul", q, pitch)), row, r)
            for value, place in zip(outputs, targets, strict=True):
                self.put_near(f, self.weighted(f, value, factors), place)
        f.ret()

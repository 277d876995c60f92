"""Reduction of huge arguments of sin, cos and tan: a function out of line, lane after lane.

After M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions" (SIGNUM
Newsletter 18, 1983): the bits of 1/pi that matter for an argument, times its significand, in
integers. Of the product, 128 bits are kept: two before the point, the quadrant, and so many after
it that what is left near a multiple of pi / 2 still has 64 good ones.
"""

from __future__ import annotations

from pullback.llvm.math.builder import INTEGER, Value, constant_text, type_name
from pullback.llvm.math.coefficients import CONSTANTS, INVERSE_PI, INVERSE_PI_BITS
from pullback.llvm.math.registry import HELPERS, symbol

# (%top, %next) is x 2 / pi modulo 4, in units of 2^-126; n rounds it, f is the rest, r = f pi / 2
REDUCE_ONE = """\
  %xbits = bitcast double %xd to i64
  %biased = lshr i64 %xbits, 52
  %tiny = icmp slt i64 %biased, 1023
  %exponent = select i1 %tiny, i64 1023, i64 %biased
  %shift = sub i64 {last}, %exponent
  %byte = lshr i64 %shift, 3
  %in.byte = and i64 %shift, 7
  %address0 = getelementptr i8, ptr @{table}, i64 %byte
  %address1 = getelementptr i8, ptr %address0, i64 8
  %address2 = getelementptr i8, ptr %address0, i64 16
  %address3 = getelementptr i8, ptr %address0, i64 24
  %bits0 = load i64, ptr %address0, align 1
  %bits1 = load i64, ptr %address1, align 1
  %bits2 = load i64, ptr %address2, align 1
  %bits3 = load i64, ptr %address3, align 1
  %window0 = call i64 @llvm.fshr.i64(i64 %bits1, i64 %bits0, i64 %in.byte)
  %window1 = call i64 @llvm.fshr.i64(i64 %bits2, i64 %bits1, i64 %in.byte)
  %window2 = call i64 @llvm.fshr.i64(i64 %bits3, i64 %bits2, i64 %in.byte)
  %fraction = and i64 %xbits, 4503599627370495
  %significand = or i64 %fraction, 4503599627370496
  %factor = zext i64 %significand to i128
  %wide0 = zext i64 %window0 to i128
  %product0 = mul i128 %wide0, %factor
  %carry0 = lshr i128 %product0, 64
  %wide1 = zext i64 %window1 to i128
  %partial1 = mul i128 %wide1, %factor
  %product1 = add i128 %partial1, %carry0
  %next.all = trunc i128 %product1 to i64
  %carry1.wide = lshr i128 %product1, 64
  %carry1 = trunc i128 %carry1.wide to i64
  %partial2 = mul i64 %window2, %significand
  %product2 = add i64 %partial2, %carry1
  %up = add i64 %product2, {half}
  %n.wide = lshr i64 %up, 62
  %n = {to_integer} i64 %n.wide to {integer}
  %whole = shl i64 %n.wide, 62
  %top = sub i64 %product2, %whole
  %next = lshr i64 %next.all, 1
  %high = sitofp i64 %top to double
  %back = fptosi double %high to i64
  %error = sub i64 %top, %back
  %error.real = sitofp i64 %error to double
  %next.real = sitofp i64 %next to double
  %next.scaled = fmul double %next.real, {next_scale}
  %low = fadd double %error.real, %next.scaled
  %high.scaled = fmul double %high, {scale}
  %low.scaled = fmul double %low, {scale}
  %r.low = fmul double %low.scaled, {half_pi}
  %r.high = fmul double %high.scaled, {half_pi}
  %r.minus = fneg double %r.high
  %r.error = call double @llvm.fma.f64(double %high.scaled, double {half_pi}, double %r.minus)
  %r.more = call double @llvm.fma.f64(double %high.scaled, double {half_pi_low}, double %r.error)
  %r.rest = fadd double %r.more, %r.low
  %rd = fadd double %r.high, %r.rest
  %r.gone = fsub double %r.high, %rd
  %ed = fadd double %r.gone, %r.rest
"""

ONE_LANE = """\
define internal {result} @{symbol}({float} %xj) noinline cold nounwind {{
{widen}{reduce}{narrow}  %o1 = insertvalue {result} poison, {float} %rj, 0
  %o2 = insertvalue {result} %o1, {float} %ej, 1
  %o3 = insertvalue {result} %o2, {integer} %n, 2
  ret {result} %o3
}}
"""

EVERY_LANE = """\
define internal {result} @{symbol}({floats} %x) noinline cold nounwind {{
entry:
  %xs = alloca {floats}
  %rs = alloca {floats}
  %es = alloca {floats}
  %ns = alloca {integers}
  store {floats} %x, ptr %xs
  br label %lane
lane:
  %j = phi i64 [0, %entry], [%j.next, %lane]
  %xp = getelementptr {float}, ptr %xs, i64 %j
  %xj = load {float}, ptr %xp
{widen}{reduce}{narrow}  %rp = getelementptr {float}, ptr %rs, i64 %j
  %ep = getelementptr {float}, ptr %es, i64 %j
  %np = getelementptr {integer}, ptr %ns, i64 %j
  store {float} %rj, ptr %rp
  store {float} %ej, ptr %ep
  store {integer} %n, ptr %np
  %j.next = add i64 %j, 1
  %done = icmp eq i64 %j.next, {width}
  br i1 %done, label %end, label %lane
end:
  %r.all = load {floats}, ptr %rs
  %e.all = load {floats}, ptr %es
  %n.all = load {integers}, ptr %ns
  %o1 = insertvalue {result} poison, {floats} %r.all, 0
  %o2 = insertvalue {result} %o1, {floats} %e.all, 1
  %o3 = insertvalue {result} %o2, {integers} %n.all, 2
  ret {result} %o3
}}
"""

WIDEN = {
    "f32": "  %xd = fpext float %xj to double\n",
    "f64": "  %xd = bitcast double %xj to double\n",
}

NARROW = {
    "f32": """\
  %rj = fptrunc double %rd to float
  %rj.back = fpext float %rj to double
  %cut = fsub double %rd, %rj.back
  %ej = fptrunc double %cut to float
""",
    "f64": """\
  %rj = bitcast double %rd to double
  %ej = bitcast double %ed to double
""",
}


def table_text(name: str) -> str:
    """The bits of 1/pi, little-endian, padded so that every window can be loaded."""
    size = INVERSE_PI_BITS // 8 + 32
    data = "".join(f"\\{byte:02X}" for byte in INVERSE_PI.to_bytes(size, "little"))
    return f'@{name} = private unnamed_addr constant [{size} x i8] c"{data}"\n'


def result_type(dtype: str, width: int) -> str:
    """The type of what a reduction returns: r, its error, and n."""
    floats = type_name(dtype, width)
    return f"{{{floats}, {floats}, {type_name(INTEGER[dtype], width)}}}"


def reduction_text(dtype: str, width: int) -> str:
    """A function from x >= 0 to r, its error and n: x = n pi / 2 + r, n modulo 4."""
    function, integer = symbol("reduce", dtype, width), INTEGER[dtype]
    high, low, _ = CONSTANTS["half_pi", "f64"]
    reduce_one = REDUCE_ONE.format(
        # the window of an argument 2^e m begins with the bit of 2/pi whose weight is 2^(1 - e)
        last=INVERSE_PI_BITS - 1 + 1075 - 190,
        table=f"{function}_bits",
        half=1 << 61,
        to_integer={"f32": "trunc", "f64": "bitcast"}[dtype],
        integer=integer,
        scale=constant_text("f64", 2.0**-62, 1),
        next_scale=constant_text("f64", 2.0**-63, 1),
        half_pi=constant_text("f64", high, 1),
        half_pi_low=constant_text("f64", low, 1),
    )
    template = ONE_LANE if width == 1 else EVERY_LANE
    return table_text(f"{function}_bits") + template.format(
        symbol=function,
        float=type_name(dtype, 1),
        integer=integer,
        floats=type_name(dtype, width),
        integers=type_name(integer, width),
        width=width,
        result=result_type(dtype, width),
        widen=WIDEN[dtype],
        reduce=reduce_one,
        narrow=NARROW[dtype],
    )


HELPERS["reduce"] = reduction_text


def call_reduction(x: Value) -> tuple[Value, Value, Value]:
    """r, its error and n, x = n pi / 2 + r (n modulo 4), for x >= 0; arbitrary for inf and NaN."""
    kernel, kind = x.kernel, x.kind
    kernel.calls.append(("reduce", kind, kernel.width))
    type_, all_ = result_type(kind, kernel.width), kernel.name()
    function = symbol("reduce", kind, kernel.width)
    kernel.lines.append(f"  {all_} = call {type_} @{function}({x.typed})\n")
    r = kernel.emit(kind, f"extractvalue {type_} {all_}, 0")
    error = kernel.emit(kind, f"extractvalue {type_} {all_}, 1")
    return r, error, kernel.emit(INTEGER[kind], f"extractvalue {type_} {all_}, 2")

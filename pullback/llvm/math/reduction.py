"""Reduction of huge arguments of sin, cos and tan: a function out of line, lane after lane.

After M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions" (SIGNUM
Newsletter 18, 1983): the bits of 1/pi that matter for an argument, times its significand, in
integers. Of the product, 192 bits are kept: two before the point, the quadrant, and so many after
it that what is left near a multiple of pi / 2 still has more than 64 good ones.
"""

from __future__ import annotations

from pullback.llvm.math.builder import INTEGER, Value, constant_text, type_name
from pullback.llvm.math.coefficients import CONSTANTS, INVERSE_PI, INVERSE_PI_BITS
from pullback.llvm.math.registry import HELPERS, symbol

# %product is x 2 / pi modulo 4, in units of 2^-190; n rounds it, f is the rest, r = f pi / 2
REDUCE_ONE = """\
  %xbits = bitcast double %xd to i64
  %biased = lshr i64 %xbits, 52
  %tiny = icmp slt i64 %biased, 1023
  %exponent = select i1 %tiny, i64 1023, i64 %biased
  %shift = sub i64 {last}, %exponent
  %byte = lshr i64 %shift, 3
  %address = getelementptr i8, ptr @{table}, i64 %byte
  %loaded = load i256, ptr %address, align 1
  %in.byte = and i64 %shift, 7
  %in.byte.wide = zext i64 %in.byte to i256
  %shifted = lshr i256 %loaded, %in.byte.wide
  %window = trunc i256 %shifted to i192
  %fraction = and i64 %xbits, 4503599627370495
  %significand = or i64 %fraction, 4503599627370496
  %significand.wide = zext i64 %significand to i192
  %product = mul i192 %window, %significand.wide
  %up = add i192 %product, {half}
  %n.wide = lshr i192 %up, 190
  %n = trunc i192 %n.wide to {integer}
  %whole = shl i192 %n.wide, 190
  %f = sub i192 %product, %whole
  %top.wide = ashr i192 %f, 128
  %top = trunc i192 %top.wide to i64
  %next.wide = lshr i192 %f, 65
  %next.64 = trunc i192 %next.wide to i64
  %next = and i64 %next.64, 9223372036854775807
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
  br label %lane
lane:
  %j = phi i32 [0, %entry], [%j.next, %lane]
  %rs = phi {floats} [poison, %entry], [%rs.next, %lane]
  %es = phi {floats} [poison, %entry], [%es.next, %lane]
  %ns = phi {integers} [poison, %entry], [%ns.next, %lane]
  %xj = extractelement {floats} %x, i32 %j
{widen}{reduce}{narrow}  %rs.next = insertelement {floats} %rs, {float} %rj, i32 %j
  %es.next = insertelement {floats} %es, {float} %ej, i32 %j
  %ns.next = insertelement {integers} %ns, {integer} %n, i32 %j
  %j.next = add i32 %j, 1
  %done = icmp eq i32 %j.next, {width}
  br i1 %done, label %end, label %lane
end:
  %o1 = insertvalue {result} poison, {floats} %rs.next, 0
  %o2 = insertvalue {result} %o1, {floats} %es.next, 1
  %o3 = insertvalue {result} %o2, {integers} %ns.next, 2
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
        half=1 << 189,
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

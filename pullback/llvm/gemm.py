"""Matrix kernels that generated code calls: one C interface, our own code or BLAS behind it.

    void pb_gemm_T(T *a, T *b, T *c,
                   i64 lanes, i64 lane_a, i64 lane_b, i64 lane_c,
                   i64 m, i64 n, i64 k,
                   i64 row_a, i64 col_a, i64 row_b, i64 col_b, i64 row_c)

for T in f32, f64, c64, c128 computes `c[l] = a[l] @ b[l]` for each lane.  Strides are in elements;
each operand has unit stride along its rows or along its columns, and `c` along its rows.

    void pb_row_T(...)

for T in f32, f64 takes the same arguments, and does the same, for a single row `a` (m is one), or a
single column `b` (n and row_c are).  It must be contiguous if its elements do not meet rows, but
columns that are stored one after the other.

    void pb_thin_T(...)

for T in f32, f64 does the same for up to eight rows `a`, where the columns of `b` are contiguous,
or up to eight columns `b`, where the rows of `a` are.

    void pb_conv_T(T *a, T *x, T *c, i32 *by_k, i32 *by_n,
                   i64 lanes, i64 lane_a, i64 lane_x, i64 lane_c,
                   i64 m, i64 n, i64 k, i64 row_a, i64 col_a, i64 row_c)

for T in f32, f64 does the same with `b[k, n] = x[by_k[k] + by_n[n]]`, the windows of a convolution.

    void pb_conv_rows_T(T *x, T *b, T *c, i32 *by_k, i32 *by_m,
                        i64 lanes, i64 lane_x, i64 lane_b, i64 lane_c,
                        i64 m, i64 n, i64 k, i64 row_b, i64 col_b, i64 row_c)

has them on the left: `a[m, k] = x[by_k[k] + by_m[m]]`.

Real numbers go to our kernels (`llvm.gemm_kernels`), complex ones to BLAS, strip by strip.  Both
share the thread pool of the program and give the same bits at any number of threads.
"""

from __future__ import annotations

from string import Template
from typing import Final

from pullback.llvm import gemm_kernels

__all__ = ["KERNELS", "module_text"]

_ELEMENTS: Final[dict[str, tuple[str, str, str]]] = {
    # name: (BLAS function, LLVM type, one)
    "c64": ("cgemm", "{ float, float }", "{ float 1.0, float 0.0 }"),
    "c128": ("zgemm", "{ double, double }", "{ double 1.0, double 0.0 }"),
}
_REAL: Final = ("f32", "f64")
KERNELS: Final = (
    *(f"pb_gemm_{name}" for name in (*_REAL, *_ELEMENTS)),
    *(f"pb_row_{name}" for name in _REAL),
    *(f"pb_thin_{name}" for name in _REAL),
    *(f"pb_conv_{name}" for name in _REAL),
    *(f"pb_conv_rows_{name}" for name in _REAL),
)

_STRIP: Final = 64
"""Rows of a complex product that one call of BLAS computes, however many threads there are."""
_ENOUGH: Final = 100_000
"""Multiplications that are worth a thread."""

# BLAS is column-major: it sees the transposes, and c' = b' a'.
_KERNEL: Final = Template("""
declare void @$blas(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)
declare void @pb_parallel_for(ptr, ptr, i64, i64)

@one_$name = private constant $type $one
@zero_$name = private constant $type zeroinitializer

define void @pb_gemm_$name(ptr %a, ptr %b, ptr %c, i64 %lanes, i64 %la, i64 %lb, i64 %lc,
                           i64 %m, i64 %n, i64 %k,
                           i64 %ra, i64 %ca, i64 %rb, i64 %cb, i64 %rc) {
  %env = alloca [15 x i64]
$stores
  %up = add i64 %m, ${last}
  %strips = udiv i64 %up, $strip
  %count = mul i64 %strips, %lanes
  %area = mul i64 %n, %k
  %work = mul i64 %area, $strip
  %some = or i64 %work, 1
  %share = udiv i64 $enough, %some
  %grain = add i64 %share, 1
  call void @pb_parallel_for(ptr @strips_$name, ptr %env, i64 %count, i64 %grain)
  ret void
}

define internal void @strips_$name(ptr %env, i64 %begin, i64 %end) {
entry:
$loads
  %pm = alloca i32
  %pn = alloca i32
  %pk = alloca i32
  %plda = alloca i32
  %pldb = alloca i32
  %pldc = alloca i32
  %n32 = trunc i64 %n to i32
  %k32 = trunc i64 %k to i32
  store i32 %n32, ptr %pn
  store i32 %k32, ptr %pk
  %ta = call i1 @is_transposed(i64 %m, i64 %k, i64 %ra, i64 %ca)
  %tb = call i1 @is_transposed(i64 %k, i64 %n, i64 %rb, i64 %cb)
  %lda = call i32 @leading(i1 %ta, i64 %m, i64 %k, i64 %ra, i64 %ca)
  %ldb = call i32 @leading(i1 %tb, i64 %k, i64 %n, i64 %rb, i64 %cb)
  %ldc = call i32 @leading(i1 false, i64 %m, i64 %n, i64 %rc, i64 1)
  store i32 %lda, ptr %plda
  store i32 %ldb, ptr %pldb
  store i32 %ldc, ptr %pldc
  %fa = select i1 %ta, ptr @transposed, ptr @plain
  %fb = select i1 %tb, ptr @transposed, ptr @plain
  %up = add i64 %m, ${last}
  %strips = udiv i64 %up, $strip
  %any = icmp slt i64 %begin, %end
  br i1 %any, label %loop, label %done
loop:
  %t = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %lane = udiv i64 %t, %strips
  %strip = urem i64 %t, %strips
  %i = mul i64 %strip, $strip
  %left = sub i64 %m, %i
  %short = icmp slt i64 %left, $strip
  %rows = select i1 %short, i64 %left, i64 $strip
  %m32 = trunc i64 %rows to i32
  store i32 %m32, ptr %pm
  %oa = mul i64 %lane, %la
  %ia = mul i64 %i, %ra
  %sa = add i64 %oa, %ia
  %ob = mul i64 %lane, %lb
  %oc = mul i64 %lane, %lc
  %ic = mul i64 %i, %rc
  %sc = add i64 %oc, %ic
  %xa = getelementptr $type, ptr %a, i64 %sa
  %xb = getelementptr $type, ptr %b, i64 %ob
  %xc = getelementptr $type, ptr %c, i64 %sc
  call void @$blas(ptr %fb, ptr %fa, ptr %pn, ptr %pm, ptr %pk, ptr @one_$name, ptr %xb, ptr %pldb,
                   ptr %xa, ptr %plda, ptr @zero_$name, ptr %xc, ptr %pldc)
  %next = add i64 %t, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
""")

_POINTERS: Final = ("a", "b", "c")
_NUMBERS: Final = ("lanes", "la", "lb", "lc", "m", "n", "k", "ra", "ca", "rb", "cb", "rc")


def _environment(line: str) -> str:
    """A line of text for each argument, with its type, its name and its place."""
    arguments = [("ptr", x) for x in _POINTERS] + [("i64", x) for x in _NUMBERS]
    lines = (line.format(i=i, kind=kind, name=x) for i, (kind, x) in enumerate(arguments))
    return "\n".join(lines)


_STORES: Final = _environment(
    "  %e{i} = getelementptr i64, ptr %env, i64 {i}\n  store {kind} %{name}, ptr %e{i}"
)
_LOADS: Final = _environment(
    "  %e{i} = getelementptr i64, ptr %env, i64 {i}\n  %{name} = load {kind}, ptr %e{i}"
)

_HELPERS: Final = """
@plain = private constant i8 78
@transposed = private constant i8 84

; A matrix is stored by columns if its columns are not next to each other.
define internal i1 @is_transposed(i64 %rows, i64 %cols, i64 %row, i64 %col) alwaysinline {
  %apart = icmp ne i64 %col, 1
  %several = icmp sgt i64 %cols, 1
  %t = and i1 %apart, %several
  ret i1 %t
}

; The stride between stored rows, or between stored columns; BLAS wants it at least their length.
define internal i32 @leading(i1 %t, i64 %rows, i64 %cols, i64 %row, i64 %col) alwaysinline {
  %stride = select i1 %t, i64 %col, i64 %row
  %length = select i1 %t, i64 %rows, i64 %cols
  %short = icmp slt i64 %stride, %length
  %least = select i1 %short, i64 %length, i64 %stride
  %zero = icmp slt i64 %least, 1
  %result = select i1 %zero, i64 1, i64 %least
  %narrow = trunc i64 %result to i32
  ret i32 %narrow
}
"""


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    name = symbol.rsplit("_", 1)[1]
    if name in _REAL:
        module = gemm_kernels.kernel_module(symbol, bits)
        return module.text(), module.undefined
    blas, kind, one = _ELEMENTS[name]
    text = _KERNEL.substitute(
        blas=blas, name=name, type=kind, one=one, stores=_STORES, loads=_LOADS,
        strip=_STRIP, last=_STRIP - 1, enough=_ENOUGH,
    )  # fmt: skip
    return _HELPERS + text, [blas, "pb_parallel_for"]

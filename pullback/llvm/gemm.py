"""Matrix kernels that generated code calls: one C interface, our own code or BLAS behind it.

    void pb_gemm_T(T *a, T *b, T *c,
                   i64 lanes, i64 lane_a, i64 lane_b, i64 lane_c,
                   i64 m, i64 n, i64 k,
                   i64 row_a, i64 col_a, i64 row_b, i64 col_b, i64 row_c)

for T in f32, f64, c64, c128 computes `c[l] = a[l] @ b[l]` for each lane.  Strides are in elements;
each operand has unit stride along its rows or along its columns, and `c` along its rows.

    void pb_conv_T(T *a, T *x, T *c, i32 *by_k, i32 *by_n,
                   i64 lanes, i64 lane_a, i64 lane_x, i64 lane_c,
                   i64 m, i64 n, i64 k, i64 row_a, i64 col_a, i64 row_c)

for T in f32, f64 does the same with `b[k, n] = x[by_k[k] + by_n[n]]`, the windows of a convolution.

    void pb_conv_rows_T(T *x, T *b, T *c, i32 *by_k, i32 *by_m,
                        i64 lanes, i64 lane_x, i64 lane_b, i64 lane_c,
                        i64 m, i64 n, i64 k, i64 row_b, i64 col_b, i64 row_c)

has them on the left: `a[m, k] = x[by_k[k] + by_m[m]]`.

Real numbers go to our kernels (`llvm.gemm_kernels`), which share the thread pool of the program and
give the same bits at any number of threads; complex ones go to BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from string import Template
from typing import Final

from pullback.llvm import gemm_kernels, gemm_packing, jit, pool

__all__ = ["KERNELS", "address", "module_text"]

_ELEMENTS: Final[dict[str, tuple[str, str, str]]] = {
    # name: (BLAS function, LLVM type, one)
    "c64": ("cgemm", "{ float, float }", "{ float 1.0, float 0.0 }"),
    "c128": ("zgemm", "{ double, double }", "{ double 1.0, double 0.0 }"),
}
_REAL: Final = ("f32", "f64")
KERNELS: Final = (
    *(f"pb_gemm_{name}" for name in (*_REAL, *_ELEMENTS)),
    *(f"pb_conv_{name}" for name in _REAL),
    *(f"pb_conv_rows_{name}" for name in _REAL),
)

Find = Callable[[str], int]


# BLAS is column-major: it sees the transposes, and c' = b' a'.
_KERNEL: Final = Template("""
declare void @$blas(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)

@one_$name = private constant $type $one
@zero_$name = private constant $type zeroinitializer

define void @pb_gemm_$name(ptr %a, ptr %b, ptr %c, i64 %lanes, i64 %la, i64 %lb, i64 %lc,
                           i64 %m, i64 %n, i64 %k,
                           i64 %ra, i64 %ca, i64 %rb, i64 %cb, i64 %rc) {
entry:
  %pm = alloca i32
  %pn = alloca i32
  %pk = alloca i32
  %plda = alloca i32
  %pldb = alloca i32
  %pldc = alloca i32
  %m32 = trunc i64 %m to i32
  %n32 = trunc i64 %n to i32
  %k32 = trunc i64 %k to i32
  store i32 %m32, ptr %pm
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
  %any = icmp sgt i64 %lanes, 0
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %oa = mul i64 %i, %la
  %ob = mul i64 %i, %lb
  %oc = mul i64 %i, %lc
  %xa = getelementptr $type, ptr %a, i64 %oa
  %xb = getelementptr $type, ptr %b, i64 %ob
  %xc = getelementptr $type, ptr %c, i64 %oc
  call void @$blas(ptr %fb, ptr %fa, ptr %pn, ptr %pm, ptr %pk, ptr @one_$name, ptr %xb, ptr %pldb,
                   ptr %xa, ptr %plda, ptr @zero_$name, ptr %xc, ptr %pldc)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %lanes
  br i1 %more, label %loop, label %done
done:
  ret void
}
""")

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
        module = gemm_kernels.kernel_module(gemm_packing.shape_of(name, bits))
        return module.text(), module.undefined
    blas, kind, one = _ELEMENTS[name]
    return _HELPERS + _KERNEL.substitute(blas=blas, name=name, type=kind, one=one), [blas]


@cache
def _module(name: str, find: Find) -> jit.LoadedModule:
    bits = jit.vector_bits()
    made = jit.stored_object(
        lambda: module_text(f"pb_gemm_{name}", bits), name=f"gemm_{name}", variant=bits
    )
    ours = pool.symbols()
    symbols = {need: ours.get(need) or find(need) for need in made.symbols}
    return jit.load(made.code, symbols, exports=[f"pb_gemm_{name}"])


def address(symbol: str, find: Find) -> int:
    """Address of one of `KERNELS`, 0 for another name; `find` gives addresses of C functions."""
    if symbol not in KERNELS:
        return 0
    return _module(symbol.rsplit("_", 1)[1], find).address(symbol)

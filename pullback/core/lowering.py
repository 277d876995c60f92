"""What `lower` rules may use: the contract between primitives and the compiler.

A primitive's rule `lower(b, *xs, **params)` receives a `Builder` and one lazy `Tensor` an operand,
and returns a tensor (a list with `multiple_results`).  The builder itself is in `loops/`; rules
never import it, so that `ops/` loads without a backend.

    sin        lambda b, x: b.map("sin", x)
    select_n   lambda b, which, *cases: b.map(choose, which, *cases)       choose(s, w, *c) -> Expr
    transpose  lambda b, x, permutation: b.view(shape, lambda i: x.at([i[k] for k in inverse]))
    reduce_sum lambda b, x, axes: b.reduce([x], axes, [0], lambda s, a, v: [s.add(a[0], v[0])])[0]

A tensor is immutable.  It is either a buffer or a computation that is inlined where it is used;
the compiler decides which.  An `Expr` is one typed scalar of the generated code, immutable too.
Index arithmetic is on expressions of dtype int64 and is simplified as it is built: ranges of loop
indices are known, so `(i * 8 + j) // 8` is `i` and a comparison that always holds is a constant.

Element types are physical: a key is a uint64; bool is a byte 0 or 1 in memory and one bit in
expressions.  float16, bfloat16 and narrower floats are computed in float32 and rounded after every
operation.  Complex numbers are expanded into pairs by the builder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

__all__ = ["CALLBACK", "Builder", "Expr", "Index", "Lower", "Scalars", "Tensor", "Variable"]

CALLBACK: Final = "pb_callback_"
"""Symbols that begin so lead to Python: `pb_callback_N` takes a number and N addresses."""

Index: TypeAlias = "Expr | int"
Lower: TypeAlias = "Callable[..., Tensor | Sequence[Tensor]]"


class Expr(Protocol):
    """One typed scalar.  The operators are index arithmetic: int64 operands only, no overflow.

    `//` and `%` take positive constant divisors and round down.  Comparisons give bool
    expressions, but `==` compares the expressions themselves: use `s.eq`.  For arithmetic on data
    use the methods of `Scalars`.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""

    def __add__(self, other: Index) -> Expr: ...
    def __radd__(self, other: Index) -> Expr: ...
    def __sub__(self, other: Index) -> Expr: ...
    def __rsub__(self, other: Index) -> Expr: ...
    def __mul__(self, other: Index) -> Expr: ...
    def __rmul__(self, other: Index) -> Expr: ...
    def __neg__(self) -> Expr: ...
    def __floordiv__(self, other: int) -> Expr: ...
    def __mod__(self, other: int) -> Expr: ...
    def __lt__(self, other: Index) -> Expr: ...
    def __le__(self, other: Index) -> Expr: ...
    def __gt__(self, other: Index) -> Expr: ...
    def __ge__(self, other: Index) -> Expr: ...


class Tensor(Protocol):
    """A lazy array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Static shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Physical element type."""

    def at(self, idx: Sequence[Index]) -> Expr:
        """The element at an index, which must be within bounds wherever it is evaluated.

        `select` evaluates both of its cases: clamp the index of the case that is not taken.
        """


class Variable(Protocol):
    """A mutable scalar of an imperative nest."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""

    def get(self) -> Expr:
        """The value at this point of the program."""

    def set(self, value: Expr | complex) -> None:
        """Assign."""


class Scalars(Protocol):
    """Builds scalar expressions on data: the `s` that `b.map` hands to functions.

    Operands of one operation have one dtype; a Python number among them takes it.  Results are
    those of JAX: integers wrap; `div` of integers by zero is -1 (all ones if unsigned), `rem` by
    zero is the dividend, INT_MIN / -1 is INT_MIN; `max` and `min` propagate NaN; conversions of
    floats to integers saturate and take NaN to 0.
    """

    @property
    def whole_arrays(self) -> bool:
        """Whether values are arrays, as those of `core.stablehlo` are, and no elements."""

    def const(self, value: Any, dtype: Any) -> Expr:
        """A constant."""

    # arithmetic, on integers, floats and (where it makes sense) complex numbers
    def add(self, x: Any, y: Any) -> Expr: ...
    def sub(self, x: Any, y: Any) -> Expr: ...
    def mul(self, x: Any, y: Any) -> Expr: ...
    def div(self, x: Any, y: Any) -> Expr: ...
    def rem(self, x: Any, y: Any) -> Expr: ...
    def neg(self, x: Expr) -> Expr: ...
    def abs(self, x: Expr) -> Expr: ...
    def sign(self, x: Expr) -> Expr: ...
    def max(self, x: Any, y: Any) -> Expr: ...
    def min(self, x: Any, y: Any) -> Expr: ...
    def clamp(self, low: Any, x: Expr, high: Any) -> Expr: ...
    def square(self, x: Expr) -> Expr: ...
    def integer_pow(self, x: Expr, y: int) -> Expr: ...
    def fma(self, x: Any, y: Any, z: Any) -> Expr: ...

    # rounding and roots
    def floor(self, x: Expr) -> Expr: ...
    def ceil(self, x: Expr) -> Expr: ...
    def trunc(self, x: Expr) -> Expr: ...
    def round_even(self, x: Expr) -> Expr: ...
    def round_away(self, x: Expr) -> Expr: ...
    def sqrt(self, x: Expr) -> Expr: ...
    def rsqrt(self, x: Expr) -> Expr: ...
    def is_finite(self, x: Expr) -> Expr: ...
    def is_nan(self, x: Expr) -> Expr: ...
    def copysign(self, x: Any, y: Any) -> Expr: ...
    def nextafter(self, x: Any, y: Any) -> Expr: ...

    # bits and booleans
    def and_(self, x: Any, y: Any) -> Expr: ...
    def or_(self, x: Any, y: Any) -> Expr: ...
    def xor(self, x: Any, y: Any) -> Expr: ...
    def not_(self, x: Expr) -> Expr: ...
    def shift_left(self, x: Any, y: Any) -> Expr: ...
    def shift_right_logical(self, x: Any, y: Any) -> Expr: ...
    def shift_right_arithmetic(self, x: Any, y: Any) -> Expr: ...
    def popcount(self, x: Expr) -> Expr: ...
    def clz(self, x: Expr) -> Expr: ...
    def mulhi(self, x: Any, y: Any) -> Expr:
        """The high half of the product of two unsigned integers."""

    # comparisons (of complex numbers: eq and ne), selection, conversion
    def eq(self, x: Any, y: Any) -> Expr: ...
    def ne(self, x: Any, y: Any) -> Expr: ...
    def lt(self, x: Any, y: Any) -> Expr: ...
    def le(self, x: Any, y: Any) -> Expr: ...
    def gt(self, x: Any, y: Any) -> Expr: ...
    def ge(self, x: Any, y: Any) -> Expr: ...
    def select(self, condition: Expr, if_true: Any, if_false: Any) -> Expr:
        """One of two values; both are evaluated."""

    def convert(self, x: Expr, dtype: Any) -> Expr:
        """As `lax.convert_element_type`; to bool: x != 0; complex to real drops the imaginary."""

    def bitcast(self, x: Expr, dtype: Any) -> Expr:
        """The same bits as another dtype of the same width."""

    def index(self, x: Expr, low: int = 0, high: int | None = None) -> Expr:
        """An integer as an index (int64); clamped into [low, high] unless `high` is None."""

    # complex numbers
    def complex(self, real: Any, imag: Any) -> Expr: ...
    def real(self, x: Expr) -> Expr: ...
    def imag(self, x: Expr) -> Expr: ...
    def conj(self, x: Expr) -> Expr: ...

    # functions
    def math(self, name: str, *xs: Any) -> Expr:
        """An elementary function by its `lax` name: vector kernels of `llvm.math`.

        exp exp2 expm1 log log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh
        atanh cbrt pow logistic erf erf_inv lgamma digamma ...; complex where `lax` takes them.
        """

    def extern(self, name: str, *xs: Any, dtype: Any = None) -> Expr:
        """A scalar library function by its name in `llvm.library`, such as a SciPy special one."""


class Builder(Protocol):
    """Builds the loops of a program."""

    @property
    def s(self) -> Scalars:
        """The scalar builder."""

    # ------------------------------------------------------------------ pure, lazy tensors

    def map(self, fn: str | Callable[..., Expr], *xs: Tensor, dtype: Any = None) -> Tensor:
        """Element-wise: `fn(s, *elements) -> Expr`, or the name of a method of `Scalars` or of a
        function that `Scalars.math` knows.

        Operands have one shape or rank 0.  `dtype` is checked against the expression's if given.
        """

    def view(self, shape: Sequence[int], at: Callable[[tuple[Expr, ...]], Expr]) -> Tensor:
        """A tensor given by the expression of its element at an index.

        For everything that moves elements (transpose, broadcast, slice, pad, gather, iota,
        concatenate of a few); `at` calls `x.at(...)` of its operands and `b.s`.
        """

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The same elements in row-major order; free for buffers."""

    def concatenate(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        """Joined along an axis; each part is written in place by a loop of its own."""

    def constant(self, value: Any) -> Tensor:
        """A NumPy array or scalar known now; arrays become data of the program."""

    def full(self, shape: Sequence[int], value: Any, dtype: Any) -> Tensor:
        """One number everywhere."""

    def iota(self, shape: Sequence[int], dtype: Any, axis: int) -> Tensor:
        """The index along an axis."""

    def reduce(
        self,
        xs: Sequence[Tensor],
        axes: Sequence[int],
        inits: Sequence[Any],
        combine: Callable[[Scalars, Sequence[Expr], Sequence[Expr]], Sequence[Expr]],
    ) -> list[Tensor]:
        """Reduce operands of one shape along axes, several at once (argmax: values and indices).

        `combine(s, accumulators, values)` must be associative and commutative, and `inits`
        (numbers, or rank-0 expressions) its identity: the order is a tree that depends on shapes
        alone.  Accumulators have the dtypes of the operands: convert operands first for wider
        ones.
        """

    def materialize(self, x: Tensor) -> Tensor:
        """The same tensor, held in a buffer (contiguous, row-major)."""

    def part(self, x: Tensor, idx: Sequence[Index]) -> Tensor:
        """What is at leading indices of a tensor, in its buffer: `call` gets its address."""

    # ------------------------------------------------------------------ imperative nests

    def buffer(self, shape: Sequence[int], dtype: Any, init: Tensor | None = None) -> Tensor:
        """A new mutable buffer; with `init`, a copy of it (no copy if it is not used again).

        Write it by `store` and read it back by `load` within this rule; the rule may return it,
        after which it is immutable like any tensor.
        """

    def load(self, buffer: Tensor, idx: Sequence[Index]) -> Expr:
        """The element now, before any later store."""

    def store(self, buffer: Tensor, idx: Sequence[Index], value: Any) -> None:
        """Write an element."""

    def loop(
        self, extent: Index, *, start: Index = 0, independent: bool = False
    ) -> AbstractContextManager[Expr]:
        """`with b.loop(n) as i:` for i in [start, start + n).

        `independent` promises that iterations may run in any order or at once; then the compiler
        may use threads and vectors.
        """

    def let(self, value: Expr) -> Expr:
        """Evaluate here, once; use the result instead of the expression."""

    def var(self, value: Any, dtype: Any = None) -> Variable:
        """A mutable scalar with an initial value."""

    def if_(self, condition: Expr) -> AbstractContextManager[None]:
        """`with b.if_(c):`, and right after it perhaps `with b.else_():`."""

    def else_(self) -> AbstractContextManager[None]:
        """The other case of the `if_` just before."""

    def while_(self, condition: Callable[[], Expr]) -> AbstractContextManager[None]:
        """`with b.while_(lambda: s.lt(v.get(), 10)):`, the condition tested before each turn."""

    def wants(self, result: int) -> bool:
        """Whether a result of the equation that is being lowered is used; others need not exist.

        A rule asks before it lowers equations itself.
        """

    def has(self, symbol: str) -> bool:
        """Whether this machine has a C function that not every machine has."""

    def call(
        self,
        symbol: str,
        *args: Any,
        returns: Any = None,
        fails: bool = False,
        work: float = 2000.0,
    ) -> Expr | None:
        """Call a C function by its symbol, in statement order.

        An argument is a tensor (the address of its contiguous elements; mutable if it came from
        `buffer`), an `Expr` or a NumPy scalar (by value, of its dtype), `Ref(x)` of these (the
        address of a copy, as Fortran wants), or a Python int (int32 by value; use np.int64 for
        64 bits) or str (its first character by address).  `returns` is the dtype of the result;
        with `fails` it is an int32 that ends the program unless it is 0.  `work` estimates
        nanoseconds: independent loops around enough of it run on threads, if nothing is returned.
        """

    def callback(self, number: int, xs: Sequence[Tensor], avals: Sequence[Any]) -> list[Tensor]:
        """Call the Python function with this number in the program's table, in statement order.

        The results have the types `avals`. An exception ends the program.
        """

    def ref(self, value: Any) -> Any:
        """An argument of `call` passed by address: an Expr, a NumPy scalar or a Python int."""

    # ------------------------------------------------------------------ other programs

    def inline(self, jaxpr: Any, *xs: Tensor) -> list[Tensor]:
        """The results of a jaxpr (closed or without constants), lowered here."""

    def while_loop(
        self,
        cond: Any,
        body: Any,
        cond_consts: Sequence[Tensor],
        body_consts: Sequence[Tensor],
        init: Sequence[Tensor],
    ) -> list[Tensor]:
        """`while cond(*cond_consts, *carry): carry = body(*body_consts, *carry)`; the carry is
        updated in place.
        """

    def scan(
        self,
        body: Any,
        consts: Sequence[Tensor],
        init: Sequence[Tensor],
        xs: Sequence[Tensor],
        length: int,
        reverse: bool = False,
    ) -> list[Tensor]:
        """`carry, y = body(*consts, *carry, *x)` for each row of `xs`: final carry, then all ys."""

    def switch(self, index: Tensor, branches: Sequence[Any], xs: Sequence[Tensor]) -> list[Tensor]:
        """The results of the branch with this number (clamped); only that branch runs."""

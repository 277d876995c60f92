"""Products with a single row, as LLVM text: `pb_row_T`.  Nothing is packed.

Products with a few rows (`llvm.gemm_thin`) are cut for the threads in the same way: into parts of
their columns.  The bits of a result do not depend on how it is cut.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pullback.llvm.entry_ir import Function, Value, i64
from pullback.llvm.gemm_packing import Shape
from pullback.llvm.gemm_sums import PARALLEL_WORK, Sums
from pullback.llvm.gemm_vectors import NARROW, Vectors

__all__ = ["DOT_COLUMNS", "Parts", "Rows"]

ROW_COLUMNS: Final = 256
DOT_COLUMNS: Final = 32
"""Columns of a matrix that one thread multiplies rows by, at least: pieces of its rows, or columns
that are contiguous themselves."""
LONG_ROW: Final = 4096
"""Columns of it, at most, so that the sums stay in the first cache."""

_POINTERS: Final = ("a", "b", "c")
_NUMBERS: Final = ("lanes", "la", "lb", "lc", "m", "n", "k", "ra", "ca", "rb", "cb", "rc")
_TASK: Final = (*_POINTERS, *_NUMBERS[1:], "cc", "nt", "jt")
_PAIRS: Final = (("a", "b"), ("la", "lb"), ("m", "n"), ("ra", "cb"), ("ca", "rb"), ("rc", "cc"))
_TURNED: Final = dict(_PAIRS) | {y: x for x, y in _PAIRS}
"""What an argument is where a product is computed as that of its transposed operands."""

_Values = dict[str, Value]


class Parts(Vectors, Sums):
    """Writes the products of one element type whose left, or right, operand has few rows."""

    kind: ClassVar[str]

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, windows=False)
        self.write_kernels()
        self.write_tasks()
        self.write_entry()

    def write_kernels(self) -> None:
        """The functions that `multiply` calls."""
        raise NotImplementedError

    def multiply(self, f: Function, v: _Values, whole: Value) -> None:
        """The rows times some columns, of which the result has `whole`."""
        raise NotImplementedError

    def is_turned(self, f: Function, v: _Values) -> Value:
        """Whether the few rows are the columns of the right operand."""
        raise NotImplementedError

    def least(self, f: Function, v: _Values) -> Value:
        """Columns of a part, at least."""
        raise NotImplementedError

    def few_sums(self, f: Function, v: _Values) -> Value:
        """Elements of a result whose sums may be cut, at most."""
        raise NotImplementedError

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: some of the parts that `env` describes."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        kinds = ("ptr" if name in _POINTERS else "i64" for name in _TASK)
        v = {
            name: f.load(t, env, 8 * i)
            for i, (name, t) in enumerate(zip(_TASK, kinds, strict=True))
        }
        with f.loop(f.op("sub", end, begin)) as t:
            task = f.op("add", t, begin)
            j, lane = f.op("mul", f.op("urem", task, v["jt"]), v["nt"]), f.op("udiv", task, v["jt"])
            part = {
                "a": self.at(f, v["a"], lane, v["la"]),
                "b": self.at(f, self.at(f, v["b"], lane, v["lb"]), j, v["cb"]),
                "c": self.at(f, self.at(f, v["c"], lane, v["lc"]), j, v["cc"]),
                "n": self.smaller(f, f.op("sub", v["n"], j), v["nt"]),
            }
            self.multiply(f, v | part, v["n"])
        f.ret()

    def write_entry(self) -> None:
        """`pb_row_T` or `pb_thin_T`: see `llvm.gemm`."""
        name = f"pb_{self.kind}_{self.shape.name}"
        f = self.m.function(name, "void", "ptr", "ptr", "ptr", *["i64"] * 12, exported=True)
        given = dict(zip((*_POINTERS, *_NUMBERS), f.parameters, strict=True)) | {"cc": i64(1)}
        lanes, turned = given["lanes"], self.is_turned(f, given)
        v = {
            name: f.select(turned, given[_TURNED[name]], x) if name in _TURNED else x
            for name, x in given.items()
        }
        n, work = v["n"], f.op("mul", v["m"], f.op("mul", v["n"], v["k"]))
        several, serial = f.new_label(), f.new_label()
        f.goto_if(f.compare("ne", lanes, 1), several)
        f.goto_if(f.compare("sge", work, PARALLEL_WORK), several)
        self.multiply(f, v, n)
        f.ret()
        f.label(several)
        pointers, numbers = ([given[x] for x in names] for names in (_POINTERS, _NUMBERS[1:]))
        self.long_sums(f, name, lanes, pointers, numbers, self.few_sums(f, v))
        threads = f.call("i64", "pb_pool_threads")
        v["nt"] = self.part(f, n, self.least(f, v), threads)
        v["jt"] = self.parts(f, n, v["nt"])
        env, count = f.words([v[x] for x in _TASK]), f.op("mul", lanes, v["jt"])
        f.goto_if(f.compare("slt", f.op("mul", lanes, work), PARALLEL_WORK), serial)
        f.goto_if(f.compare("slt", self.smaller(f, threads, count), 2), serial)
        self.shared_work(f, env, count, f.op("mul", v["m"], f.op("mul", v["nt"], v["k"])))
        f.ret()
        f.label(serial)
        f.call("void", "tasks", env, i64(0), count)
        f.ret()

    def part(self, f: Function, n: Value, least: Value, threads: Value) -> Value:
        """Columns of a part: equal ones, as many as threads where that pays."""
        most = self.smaller(f, threads, f.op("udiv", n, least))
        long = self.parts(f, n, i64(LONG_ROW))
        count = f.select(f.compare("sgt", most, long), most, long)
        return self.evened(f, n, self.parts(f, n, count), self.shape.lanes)


class Rows(Parts):
    """Writes the products of single rows.  A matrix times a vector is a vector times a matrix."""

    kind = "row"

    def write_kernels(self) -> None:
        self.write_vectors()

    def is_turned(self, f: Function, v: _Values) -> Value:
        return f.compare("eq", v["n"], 1)

    def least(self, f: Function, v: _Values) -> Value:
        return f.select(f.compare("eq", v["cb"], 1), i64(ROW_COLUMNS), i64(DOT_COLUMNS))

    def few_sums(self, f: Function, v: _Values) -> Value:
        return f.op("sub", f.op("mul", self.least(f, v), 2), 1)

    def multiply(self, f: Function, v: _Values, whole: Value) -> None:
        size, by_columns, done = self.shape.size, f.new_label(), f.new_label()
        short = f.compare("sle", whole, NARROW * self.shape.lanes)
        kernel = f.select(short, Value("ptr", "@row"), Value("ptr", "@long_row"))
        f.goto_if(f.compare("ne", v["cb"], 1), by_columns)
        left, right = f.op("mul", v["ca"], size), f.op("mul", v["rb"], size)
        f.call("void", kernel, v["a"], left, v["b"], right, v["k"], v["c"], v["n"])
        f.goto(done)
        f.label(by_columns)
        f.call("void", "dots", v["a"], v["b"], f.op("mul", v["cb"], size), v["c"], v["k"], v["n"])
        f.label(done)

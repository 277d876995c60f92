"""Fourier transforms of many matrices, as LLVM text: a part of `llvm.fft_kernels`.

Rows and then columns are transformed, or the other way round where spectra become real numbers.  A
thread does both for a matrix, which is in its cache the second time; where there are fewer matrices
than threads, all threads do all rows and then all columns.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import Function, Value, i64
from pullback.llvm.fft_groups import Groups

__all__ = ["Planes"]

GRAIN: Final = 16_384
"""Complex numbers that are worth a task."""
_WORDS: Final = 9
"""Arguments of the tasks for rows and of those for columns."""
_BALANCED: Final = 4
"""Matrices a thread from which it does not matter who does the last ones."""


class Planes(Groups):
    """Writes the tasks for matrices, from those for rows and for columns."""

    def grain(self, f: Function, n: Value) -> Value:
        """Groups that are worth a task."""
        work = f.op("or", f.op("mul", n, self.lanes), 1)
        return f.op("add", f.op("udiv", i64(GRAIN), work), 1)

    def groups(self, f: Function, lanes: Value) -> Value:
        """How many groups some transforms make."""
        return f.op("udiv", f.op("add", lanes, self.lanes - 1), self.lanes)

    def write_planes(self) -> None:
        """`planes(env, begin, end)`: some matrices.

        `env` holds the arguments of the tasks for the rows of one matrix and for its columns, which
        tasks are for rows, how many tasks each are, how far apart matrices are where rows are read
        and written and where columns are, and whether columns are first.
        """
        f = self.m.function("planes", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        function = f.load("ptr", env, 16 * _WORDS)
        counts = [f.load("i64", env, 8 * k) for k in range(2 * _WORDS + 1, 2 * _WORDS + 3)]
        apart = [f.load("i64", env, 8 * k) for k in range(2 * _WORDS + 3, 2 * _WORDS + 7)]
        columns_first = f.compare("ne", f.load("i64", env, 8 * (2 * _WORDS + 7)), 0)
        given = [f.load("i64", env, 8 * k) for k in range(2 * _WORDS)]
        rows, columns = (f.words(given[k:][:_WORDS]) for k in (0, _WORDS))
        tasks = Value("ptr", "@tasks")

        with f.loop(f.op("sub", end, begin)) as t:
            matrix = f.op("add", t, begin)
            for k, (local, at) in enumerate([(rows, 0), (rows, 1), (columns, 0), (columns, 1)]):
                base = f.load("ptr", env, 8 * ((k // 2) * _WORDS + at))
                f.store(f.at(base, f.op("mul", matrix, apart[k])), local, 8 * at)
            with f.when(columns_first):
                f.call("void", tasks, columns, i64(0), counts[1])
            f.call("void", function, rows, i64(0), counts[0])
            with f.when(f.op("xor", columns_first, 1)):
                f.call("void", tasks, columns, i64(0), counts[1])
        f.ret()

    def write_planes_entry(self, name: str) -> None:
        types = (*["ptr"] * 8, *["i64"] * 5, self.type, self.type)
        f = self.m.function(name, "void", *types, exported=True)
        src, mid, dst, turns, plan, halves, turns2, plan2 = f.parameters[:8]
        n, n2, outer, inverse, real = f.parameters[8:13]
        scale, scale2 = f.parameters[13:]
        is_real = f.compare("ne", real, 0)
        columns_first = f.op("and", real, inverse)
        back = f.compare("ne", columns_first, 0)
        width, pair = f.op("add", n, real), 2 * self.size
        whole = f.op("mul", f.op("mul", n2, width), pair)
        half = f.op("mul", f.op("mul", n2, n), pair)
        tasks = Value("ptr", "@tasks")
        function = f.select(is_real, Value("ptr", "@real_tasks"), tasks)
        threads = f.call("i64", "pb_pool_threads")
        even = f.compare("eq", f.op("urem", outer, threads), 0)
        many = f.compare("uge", outer, f.op("mul", threads, _BALANCED))
        each = f.op("or", even, many)

        number = f.select(each, n2, f.op("mul", outer, n2))  # rows of a task's arguments
        row_from, row_to = f.select(back, mid, src), dst
        between = f.select(back, src, dst)
        fifth = f.select(is_real, f.convert("ptrtoint", halves, "i64"), n)
        sixth, seventh = f.select(is_real, n, number), f.select(is_real, number, i64(1))
        rows = [row_from, row_to, turns, plan, fifth, sixth, seventh, inverse, scale]
        column_to = f.select(back, mid, dst)
        columns = [between, column_to, turns2, plan2, n2, outer, width, inverse, scale2]
        counts = [self.groups(f, number), self.groups(f, width)]
        apart = [f.select(back, whole, half), f.select(back, half, whole), whole, whole]
        env = f.words([*rows, *columns, function, *counts, *apart, columns_first])
        with f.when(each):
            f.call("void", "pb_parallel_for", Value("ptr", "@planes"), env, outer, i64(1))
        with f.when(f.op("xor", each, 1)):
            row_env, column_env = env, f.at(env, 8 * _WORDS)
            row_step = (function, row_env, counts[0], self.grain(f, n))
            column_step = (tasks, column_env, f.op("mul", counts[1], outer), self.grain(f, n2))
            with f.when(back):
                f.call("void", "pb_parallel_for", *column_step)
            f.call("void", "pb_parallel_for", *row_step)
            with f.when(f.op("xor", back, 1)):
                f.call("void", "pb_parallel_for", *column_step)
        f.ret()

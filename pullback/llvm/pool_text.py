"""The thread pool of compiled programs as LLVM text, over POSIX threads: part of the module of
`entry_native.py`, and of programs for C.  `pool.py` has it in memory.

    void pb_parallel_for(ptr fn, ptr env, i64 n, i64 grain)

calls `fn(env, begin, end)` over chunks that cover [0, n); all but the last are multiples of
`grain`.  The thread that calls takes part.  Chunks are claimed by an atomic counter, so which
thread runs which is left to chance; results must not depend on the chunks, and those of our
programs do not.

One parallel region runs at a time.  A region inside a region, or one that starts while another
thread's is under way, runs serially in its own thread.  Workers start at the first region that
wants them, look out for more work for some microseconds, and then sleep.  A worker that wakes up
late misses the region: nobody waits for threads that have claimed nothing.

The lock is for those who sleep and those who wake them.  A worker that is awake enters a region by
one atomic step on TICKETS (places that are free, times 2^32, plus workers inside), so that regions
that follow each other closely, as the parts of a loop's step, cost a microsecond, and no call of
the system.

    void pb_copy(ptr target, ptr source, i64 nbytes)

is `memmove` by several threads: one alone does not use all that the memory gives.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import Final

from pullback.llvm import float_mode
from pullback.llvm.entry_ir import FALSE, NULL, TRUE, Function, Module, Value, i32, i64

__all__ = ["COPY_BYTES", "EXPORTS", "STARTED", "SYMBOLS", "THREADS", "module_text", "write_pool"]

SYMBOLS: Final = ("pb_parallel_for", "pb_pool_threads", "pb_copy")
"""What programs and kernels may call."""
EXPORTS: Final = (*SYMBOLS, "pb_pool_reset", "pb_pool")

# The pool's state, one block of memory.  What different threads write lies on different lines of
# the cache, which have 128 bytes on some processors.
MUTEX, WAKE, DONE = 0, 128, 256
FUNCTION, ENVIRONMENT, LENGTH, CHUNK, MODE = 384, 392, 400, 408, 416
GENERATION, TICKETS, BUSY, NEXT = 512, 640, 768, 896
THREADS, SLEEPERS, STARTED, WAITING = 1024, 1032, 1040, 1048
STATE_BYTES: Final = 1152
PLACE: Final = 1 << 32
"""A free place in the region, in the count of tickets."""

CHUNKS_PER_THREAD: Final = 8
COPY_BYTES: Final = 1 << 16
"""What `pb_copy` copies at a time."""
COPY_GRAIN: Final = 4
STACK_BYTES: Final = 8 << 20
SIGNAL_SET_MASK: Final = 3 if sys.platform == "darwin" else 2
SPINS: Final = 400 if platform.machine().lower() in ("x86_64", "amd64") else 4000
"""Some 20 microseconds: longer than the gap between two loops, shorter than putting to sleep."""


def module_text(machine: str) -> tuple[str, list[str]]:
    """LLVM text of the pool by itself, and the symbols that it needs."""
    m = Module()
    write_pool(m, machine)
    return m.text(), m.undefined


def write_pool(m: Module, machine: str) -> None:
    """Add the pool, for a machine by the name that `platform` has for it."""
    _Pool(m, machine)


class _Pool:
    """Writes the functions of the pool."""

    def __init__(self, m: Module, machine: str) -> None:
        self.machine = machine.lower()
        self.m = m
        self.state = self.m.variable("pb_pool", f"[{STATE_BYTES} x i8]", exported=True)
        self.write_reset()
        self.write_work()
        self.write_enter()
        self.write_worker()
        self.write_start()
        self.write_parallel_for()
        self.write_threads()
        self.write_copy()

    def write_threads(self) -> None:
        """`i64 pb_pool_threads()`: how many threads a region may use."""
        f = self.m.function("pb_pool_threads", "i64", exported=True)
        f.ret(self.read(f, THREADS))

    def field(self, f: Function, offset: int) -> Value:
        return f.at(self.state, offset)

    def read(self, f: Function, offset: int, type: str = "i64", order: str = "acquire") -> Value:
        place = self.field(f, offset)
        return f.value(type, f"load atomic {type}, {place} {order}, align 8")

    def write(self, f: Function, value: Value, offset: int, order: str = "release") -> None:
        f.emit(f"store atomic {value}, {self.field(f, offset)} {order}, align 8")

    def add(self, f: Function, offset: int, amount: int) -> Value:
        """Add atomically; the value before.

        In one order with all other additions, and with reads and writes that ask for that: of two
        threads that each announce something and then look at what the other one does, one sees it.
        """
        place = self.field(f, offset)
        return f.value("i64", f"atomicrmw add {place}, i64 {amount} seq_cst, align 8")

    def lock(self, f: Function) -> None:
        f.call("i32", "pthread_mutex_lock", self.field(f, MUTEX))

    def unlock(self, f: Function) -> None:
        f.call("i32", "pthread_mutex_unlock", self.field(f, MUTEX))

    def spin(self, f: Function, done: Callable[[], Value], out: str) -> None:
        """Look at `done` for a short while; jump to `out` as soon as it holds."""
        with f.loop(i64(SPINS)):
            f.goto_if(done(), out)
            if self.machine in ("x86_64", "amd64"):
                f.call("void", "llvm.x86.sse2.pause")
            elif self.machine in ("arm64", "aarch64"):
                f.call("void", "llvm.aarch64.hint", i32(1))

    def write_reset(self) -> None:
        """`void pb_pool_reset()`: the state of a process that has no workers."""
        f = self.m.function("pb_pool_reset", "void", exported=True)
        threads = self.read(f, THREADS)
        f.call("ptr", "memset", self.state, i32(0), i64(STATE_BYTES))
        self.write(f, threads, THREADS)
        f.call("i32", "pthread_mutex_init", self.field(f, MUTEX), NULL)
        for condition in (WAKE, DONE):
            f.call("i32", "pthread_cond_init", self.field(f, condition), NULL)
        f.ret()

    def write_work(self) -> None:
        """`void pb_pool_work(fn, env, n, chunk)`: claim chunks until none is left."""
        f = self.m.function("pb_pool_work", "void", "ptr", "ptr", "i64", "i64")
        function, environment, length, chunk = f.parameters
        again, done = f.new_label(), f.new_label()
        f.label(again)
        begin = f.op("mul", self.add(f, NEXT, 1), chunk)
        f.goto_unless(f.compare("slt", begin, length), done)
        after = f.op("add", begin, chunk)
        end = f.select(f.compare("slt", after, length), after, length)
        f.call("void", function, environment, begin, end)
        f.goto(again)
        f.label(done)
        f.ret()

    def write_enter(self) -> None:
        """`i1 pb_pool_enter()`: take a place in the region, if one is free."""
        f = self.m.function("pb_pool_enter", "i1")
        again, entered = f.new_label(), f.new_label()
        f.label(again)
        now = self.read(f, TICKETS)
        with f.when(f.compare("slt", now, PLACE)):
            f.ret(FALSE)
        after, place = f.op("sub", now, PLACE - 1), self.field(f, TICKETS)
        f.goto_if(self.exchanged(f, place, now, after), entered)
        f.goto(again)
        f.label(entered)
        f.ret(TRUE)

    def exchanged(self, f: Function, place: Value, old: Value, new: Value) -> Value:
        """Whether a word was `old`, and now is `new`."""
        exchange = f"cmpxchg {place}, {old}, {new} acq_rel acquire, align 8"
        return f.value("i1", f"extractvalue {f.value('{ i64, i1 }', exchange)}, 1")

    def write_worker(self) -> None:
        """`ptr pb_pool_worker(ptr)`: the life of a worker."""
        f = self.m.function("pb_pool_worker", "ptr", "ptr")
        seen = f.variable("i64", i64(0))
        wait, awake, sleep, woken = (f.new_label() for _ in range(4))

        def changed() -> Value:
            return f.compare("ne", self.read(f, GENERATION), f.load("i64", seen))

        f.label(wait)
        self.spin(f, changed, awake)
        self.lock(f)
        self.add(f, SLEEPERS, 1)
        f.label(sleep)
        generation = self.read(f, GENERATION, order="seq_cst")
        f.goto_if(f.compare("ne", generation, f.load("i64", seen)), woken)
        f.call("i32", "pthread_cond_wait", self.field(f, WAKE), self.field(f, MUTEX))
        f.goto(sleep)
        f.label(woken)
        self.add(f, SLEEPERS, -1)
        self.unlock(f)
        f.label(awake)
        f.store(self.read(f, GENERATION), seen)
        f.goto_unless(f.call("i1", "pb_pool_enter"), wait)
        job = [self.read(f, offset, "ptr") for offset in (FUNCTION, ENVIRONMENT)]
        job += [self.read(f, offset) for offset in (LENGTH, CHUNK)]
        float_mode.write(f, self.read(f, MODE), self.machine)
        f.call("void", "pb_pool_work", *job)
        self.add(f, TICKETS, -1)
        with f.when(f.compare("ne", self.read(f, WAITING, order="seq_cst"), 0)):
            self.lock(f)
            f.call("i32", "pthread_cond_signal", self.field(f, DONE))
            self.unlock(f)
        f.goto(wait)

    def write_start(self) -> None:
        """`void pb_pool_start(wanted)`: start workers until there are so many.

        They take no signals, which are for the interpreter's threads.
        """
        f = self.m.function("pb_pool_start", "void", "i64")
        (wanted,) = f.parameters
        attributes = f.space("[8 x i64]")
        masks = [f.space("[16 x i64]") for _ in range(2)]
        thread = f.variable("ptr", NULL)
        again, done = f.new_label(), f.new_label()
        f.call("i32", "pthread_attr_init", attributes)
        f.call("i32", "pthread_attr_setstacksize", attributes, i64(STACK_BYTES))
        f.call("i32", "sigfillset", masks[0])
        f.call("i32", "pthread_sigmask", i32(SIGNAL_SET_MASK), *masks)
        f.label(again)
        f.goto_unless(f.compare("slt", self.read(f, STARTED), wanted), done)
        worker = Value("ptr", "@pb_pool_worker")
        status = f.call("i32", "pthread_create", thread, attributes, worker, NULL)
        f.goto_if(f.compare("ne", status, 0), done)
        f.call("i32", "pthread_detach", f.load("ptr", thread))
        self.add(f, STARTED, 1)
        f.goto(again)
        f.label(done)
        f.call("i32", "pthread_sigmask", i32(SIGNAL_SET_MASK), masks[1], NULL)
        f.call("i32", "pthread_attr_destroy", attributes)
        f.ret()

    def write_parallel_for(self) -> None:
        f = self.m.function("pb_parallel_for", "void", "ptr", "ptr", "i64", "i64", exported=True)
        function, environment, length, grain = f.parameters
        serial = f.new_label()
        with f.when(f.compare("sle", length, 0)):
            f.ret()
        least = f.select(f.compare("sgt", grain, 1), grain, i64(1))
        threads = self.read(f, THREADS)
        f.goto_if(f.compare("sle", threads, 1), serial)
        chunk = self.chunk(f, length, least, threads)
        chunks = self.divide_up(f, length, chunk)
        f.goto_if(f.compare("sle", chunks, 1), serial)
        f.goto_unless(self.exchanged(f, self.field(f, BUSY), i64(0), i64(1)), serial)
        self.region(f, chunk, chunks, threads)
        f.ret()
        f.label(serial)
        f.call("void", function, environment, i64(0), length)
        f.ret()

    def write_copy(self) -> None:
        """`pb_copy`, and its chunks. Memory that overlaps is moved by one thread."""
        f = self.m.function("pb_pool_copy", "void", "ptr", "i64", "i64")
        environment, begin, end = f.parameters
        target, source = (f.load("ptr", environment, offset) for offset in (0, 8))
        nbytes = f.load("i64", environment, 16)
        first, last = (f.op("mul", block, COPY_BYTES) for block in (begin, end))
        last = f.select(f.compare("slt", last, nbytes), last, nbytes)
        places = (f.at(target, first), f.at(source, first))
        f.call("ptr", "memcpy", *places, f.op("sub", last, first))
        f.ret()
        f = self.m.function("pb_copy", "void", "ptr", "ptr", "i64", exported=True)
        target, source, nbytes = f.parameters
        ahead = f.op("sub", *(f.convert("ptrtoint", p, "i64") for p in (target, source)))
        with f.when(f.compare("eq", ahead, 0)):
            f.ret()
        behind = f.value("i64", f"sub i64 0, {ahead.text}")
        with f.when(f.op("or", *(f.compare("ult", by, nbytes) for by in (ahead, behind)))):
            f.call("ptr", "memmove", target, source, nbytes)
            f.ret()
        block = f.words(f.parameters)
        count = self.divide_up(f, nbytes, i64(COPY_BYTES))
        task = Value("ptr", "@pb_pool_copy")
        f.call("void", "pb_parallel_for", task, block, count, i64(COPY_GRAIN))
        f.ret()

    def chunk(self, f: Function, length: Value, grain: Value, threads: Value) -> Value:
        """A multiple of the grain that gives each thread a few chunks."""
        share = self.divide_up(f, length, f.op("mul", threads, CHUNKS_PER_THREAD))
        return f.op("mul", self.divide_up(f, share, grain), grain)

    def divide_up(self, f: Function, a: Value, b: Value) -> Value:
        """ceil(a / b) of positive numbers."""
        return f.op("udiv", f.op("add", a, f.op("sub", b, 1)), b)

    def region(self, f: Function, chunk: Value, chunks: Value, threads: Value) -> None:
        function, environment, length, _ = f.parameters
        others, spare = f.op("sub", threads, 1), f.op("sub", chunks, 1)
        helpers = f.select(f.compare("slt", others, spare), others, spare)
        with f.when(f.compare("slt", self.read(f, STARTED), helpers)):
            f.call("void", "pb_pool_start", helpers)
        for value, offset in ((function, FUNCTION), (environment, ENVIRONMENT)):
            self.write(f, value, offset)
        self.write(f, float_mode.read(f, self.machine), MODE)
        for value, offset in ((length, LENGTH), (chunk, CHUNK), (i64(0), NEXT)):
            self.write(f, value, offset)
        self.write(f, f.op("mul", helpers, PLACE), TICKETS)
        self.add(f, GENERATION, 1)
        with f.when(f.compare("sgt", self.read(f, SLEEPERS, order="seq_cst"), 0)):
            self.lock(f)
            self.wake(f, helpers)
            self.unlock(f)
        f.call("void", "pb_pool_work", function, environment, length, chunk)
        self.join(f)

    def wake(self, f: Function, helpers: Value) -> None:
        """Wake as many of the sleepers as there is work for; those that spin see it themselves."""
        sleepers = self.read(f, SLEEPERS)
        all_of_them = f.compare("sle", sleepers, helpers)
        with f.when(f.op("and", all_of_them, f.compare("sgt", sleepers, 0))):
            f.call("i32", "pthread_cond_broadcast", self.field(f, WAKE))
        one_by_one = f.select(all_of_them, i64(0), helpers)
        with f.loop(one_by_one):
            f.call("i32", "pthread_cond_signal", self.field(f, WAKE))

    def join(self, f: Function) -> None:
        """Close the region to late workers, and wait for those that are still at a chunk."""
        check, over, done = f.new_label(), f.new_label(), f.new_label()
        place = self.field(f, TICKETS)
        f.value("i64", f"atomicrmw and {place}, i64 {PLACE - 1} seq_cst, align 8")

        def empty() -> Value:
            return f.compare("eq", self.read(f, TICKETS, order="seq_cst"), 0)

        self.spin(f, empty, done)
        self.lock(f)
        self.write(f, i64(1), WAITING, order="seq_cst")
        f.label(check)
        f.goto_if(empty(), over)
        f.call("i32", "pthread_cond_wait", self.field(f, DONE), self.field(f, MUTEX))
        f.goto(check)
        f.label(over)
        self.write(f, i64(0), WAITING)
        self.unlock(f)
        f.label(done)
        self.write(f, i64(0), BUSY)

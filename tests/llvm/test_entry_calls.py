"""The call path as an object: several entries, errors, donation, methods, references, threads."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pullback.llvm import entry, jit
from pullback.llvm.entry import Entry, EntrySpec, FastCallable, make_entry
from pullback.llvm.entry_layout import slot_offset, supported
from tests.llvm.entry_cases import (
    ACTIVE,
    F4,
    F23,
    LEAF,
    TREE,
    Aval,
    Boxed,
    Failed,
    Jitted,
    Program,
    Route,
    box,
    double,
    double_spec,
    fail,
    missed,
    spec,
)

# ------------------------------------------------------------------------------- several entries


def test_several_entries(route: Route) -> None:
    f = route(double_spec())
    second = spec(leaves=[entry.array_leaf(F23)], tree=("static", "second"))
    third = spec(args=[LEAF, LEAF], leaves=[entry.array_leaf(F4)] * 2, tree=("static", "third"))
    f.add_entry(make_entry(second))
    f.add_entry(make_entry(third))
    for _ in range(3):
        assert f(box(F4, 1))._data.tolist() == [2, 2, 2, 2]
        assert f(box(F23)) == "second"
        assert f(box(F4), box(F4)) == "third"
    f.remove_entry(f.entries[0])
    assert missed(f(box(F4), box(F4)))
    assert f(box(F23)) == "second"
    f.clear_entries()
    assert missed(f(box(F23)))
    with pytest.raises(ValueError, match="no such entry"):
        f.remove_entry(make_entry(second))


def test_new_entry_comes_first(route: Route) -> None:
    f = route(spec(leaves=[entry.array_leaf(F4)], tree=("static", "old")))
    assert f(box(F4)) == "old"
    newer = spec(leaves=[entry.array_leaf(F4)], tree=("static", "new"))
    f.add_entry(make_entry(newer) if f.entries[0].native else Entry(newer, None, []))
    assert f(box(F4)) == "new"


def test_entries_cleared_during_the_call(route: Route) -> None:
    calls: list[Jitted] = []

    def clear(a: list[int], o: list[int], s: int) -> int:
        calls[0].clear_entries()
        gc.collect()
        return 0

    f = route(spec(clear, leaves=[entry.array_leaf(F4)], tree=("static", "done")))
    calls.append(f)
    assert f(box(F4)) == "done"
    assert missed(f(box(F4)))


def test_arguments_dropped_during_the_call(route: Route) -> None:
    boxed: list[Any] = [[box(F4, 5)]]

    def drop(a: list[int], o: list[int], s: int) -> int:
        boxed[0].clear()
        gc.collect()
        return double(a, o, s)

    f = route(
        spec(
            drop,
            args=[("list", [LEAF])],
            leaves=[entry.array_leaf(F4)],
            outputs=[entry.fresh_output(F4, "float32", (4,))],
        )
    )
    assert f(boxed[0])._data.tolist() == [10, 10, 10, 10]


# ------------------------------------------------------------------------------------------- errors


def test_status_calls_on_error(route: Route) -> None:
    out = entry.fresh_output(F4, "float32", (4,))
    f = route(spec(lambda a, o, s: -7, leaves=[entry.array_leaf(F4)], outputs=[out]))
    with pytest.raises(Failed, match="-7"):
        f(box(F4))


def test_on_error_that_does_not_raise(route: Route) -> None:
    given = spec(lambda a, o, s: 3, leaves=[entry.array_leaf(F4)], tree=("none",))
    object.__setattr__(given, "on_error", lambda status: None)
    with pytest.raises(SystemError):
        route(given)(box(F4))


def test_entry_called_directly() -> None:
    made = make_entry(double_spec())
    ACTIVE.append(1)
    try:
        assert made(box(F4, 1))._data.tolist() == [2, 2, 2, 2]
    finally:
        ACTIVE.clear()
    with pytest.raises(TypeError, match="do not fit"):
        made(1)


def test_miss_may_raise() -> None:
    class Raises(FastCallable):
        def _miss(self, *args: Any, **kwargs: Any) -> Any:
            raise Failed(args)

    f = Raises()
    with pytest.raises(Failed):
        f(1)
    f.add_entry(make_entry(double_spec()))
    with pytest.raises(Failed):
        f(1)


def test_impossible_output_is_out_of_memory(route: Route) -> None:
    aval = Aval((1 << 46,), "float64")
    out = entry.fresh_output(aval, "float64", aval.shape)
    f = route(spec(leaves=[entry.array_leaf(F4)], outputs=[out]))
    with pytest.raises(MemoryError):
        f(box(F4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": [entry.input_output(0, F4)], "leaves": [entry.scalar_leaf(float, "float32")]},
        {"leaves": [entry.array_leaf(F4)] * 2},
        {"leaves": [entry.array_leaf(F4)], "tree": None},
        {"leaves": [entry.array_leaf(F4)], "constants": [np.zeros((4, 4))[:, ::2]]},
        {
            "leaves": [entry.array_leaf(F4)],
            "outputs": [entry.fresh_output(F4, "float32", (4,), donated=0)],
        },
    ],
)
@pytest.mark.skipif(not supported(), reason="the native route only")
def test_contradictions_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        make_entry(spec(**wrong))


# ------------------------------------------------------------------------------------ donation


def donating(body: Program = double) -> EntrySpec:
    out = entry.fresh_output(F4, "float32", (4,), donated=0)
    return spec(
        body,
        args=[LEAF, LEAF],
        leaves=[entry.array_leaf(F4)] * 2,
        outputs=[out],
        deleted=[0],
    )


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_donated_buffer_is_taken_over() -> None:
    f = Jitted()
    f.add_entry(make_entry(donating()))
    x, y = box(F4, 3), box(F4)
    address = x._data.__array_interface__["data"][0]
    result = f(x, y)
    assert result._data.__array_interface__["data"][0] == address
    assert result._data.tolist() == [6, 6, 6, 6]
    with pytest.raises(AttributeError):
        _ = x._data


def test_donated_is_deleted(route: Route) -> None:
    x, y = box(F4, 3), box(F4)
    assert route(donating())(x, y)._data.tolist() == [6, 6, 6, 6]
    with pytest.raises(AttributeError):
        _ = x._data


def test_donated_buffer_in_use_is_not_overwritten(route: Route) -> None:
    f = route(donating())
    x, y = box(F4, 3), box(F4)
    looked_at = x._data
    assert f(x, y)._data.tolist() == [6, 6, 6, 6]
    assert looked_at.tolist() == [3, 3, 3, 3]


def test_donated_twice(route: Route) -> None:
    x = box(F4, 3)

    def check(a: list[int], o: list[int], s: int) -> int:
        assert o[0] not in a
        return double(a, o, s)

    assert route(donating(check))(x, x)._data.tolist() == [6, 6, 6, 6]


# ---------------------------------------------------------------------------------- object protocol


def test_as_a_method() -> None:
    class Owner:
        method = Jitted()

    owner = Owner()
    assert owner.method(1) == ("miss", (owner, 1), {})
    bound = owner.method
    assert bound(2, k=3) == ("miss", (owner, 2), {"k": 3})
    assert Owner.method(4) == ("miss", (4,), {})
    assert type(Owner.method) is Jitted


def test_as_a_fast_method(route: Route) -> None:
    class Owner:
        method: Any

    owner = Owner()
    Owner.method = route(
        spec(args=[("static", owner), LEAF], leaves=[entry.array_leaf(F4)], tree=("static", "hit"))
    )
    for _ in range(20):  # often enough for the interpreter to specialise the call
        assert owner.method(box(F4)) == "hit"
        assert owner.method.__call__(box(F4)) == "hit"


def test_attributes_of_subclasses() -> None:
    f = Jitted()
    f.__wrapped__ = len
    f.note = 1
    assert f.__wrapped__ is len
    assert f.note == 1
    assert weakref.ref(f)() is f


def test_subclass_with_its_own_call() -> None:
    class Own(Jitted):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "own"

    f = Own()
    f.add_entry(make_entry(double_spec()))
    assert f(box(F4)) == "own"


def test_ways_of_calling(route: Route) -> None:
    f = route(double_spec())
    x = box(F4, 1)
    nothing: dict[str, Any] = {}
    results = [f(x), f(*[x]), f(*(x,), **nothing), next(map(f, [x])), f.__call__(x)]
    assert [r._data.tolist() for r in results] == [[2, 2, 2, 2]] * 5


def test_callable_is_collected() -> None:
    f = Jitted()
    f.add_entry(make_entry(double_spec()))
    f.me = f
    alive = weakref.ref(f)
    del f
    gc.collect()
    assert alive() is None


def test_entry_is_freed_with_its_module() -> None:
    given = double_spec()
    made = make_entry(given)
    alive = weakref.ref(made)
    f = Jitted()
    f.add_entry(made)
    del made, given
    f.clear_entries()
    assert alive() is None


# --------------------------------------------------------------------------------------- references


def every_path() -> list[tuple[Jitted, tuple[Any, ...], dict[str, Any]]]:
    """Calls that take each path through the routine: hits, misses, errors."""
    x = box(F4, 1)
    constant = np.zeros((2, 3), np.float32)
    fresh = entry.fresh_output(F4, "float32", (4,))
    leaf = entry.array_leaf(F4)
    scalars = [entry.scalar_leaf(float, "float32"), entry.scalar_leaf(int, "int64")]
    arrays = [entry.ndarray_leaf("float32", (4,)), entry.numpy_scalar_leaf("float64")]
    big = Aval((1 << 46,), "float64")
    outs = [fresh, entry.input_output(0, F4), entry.constant_output(constant, F23), fresh]
    tree = (
        "dict",
        ["p", "q"],
        [("tuple", [LEAF, ("list", [LEAF, ("none",)])]), ("list", [LEAF, LEAF])],
    )

    def finish(leaves: list[Any]) -> Any:
        raise Failed

    specs = [
        double_spec(),
        double_spec(arena_bytes=5000, release_gil=True),
        spec(args=[TREE], leaves=[leaf] * 3, outputs=outs, tree=tree),
        spec(leaves=[leaf], outputs=outs, tree=None, finish=len),
        spec(leaves=[leaf], outputs=outs, tree=None, finish=finish),
        spec(lambda a, o, s: 1, leaves=[leaf], outputs=outs, tree=tree, arena_bytes=64),
        spec(args=[LEAF] * 4, leaves=scalars + arrays, tree=("none",)),
        spec(args=[LEAF], kwargs=[("k", LEAF)], leaves=[leaf] * 2, tree=("static", x)),
        spec(
            leaves=[leaf],
            outputs=[fresh, entry.fresh_output(big, "float64", big.shape)],
            tree=("tuple", [LEAF, LEAF]),
        ),
    ]
    arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x,), {}),
        ((x,), {}),
        (({"a": (x, None), "b": [x, x]},), {}),
        ((x,), {}),
        ((x,), {}),
        ((x,), {}),
        ((1.5, 2**40, np.zeros(4, np.float32), np.float64(1)), {}),
        ((x,), {"k": x}),
        ((x,), {}),
    ]
    calls = []
    for given, (args, kwargs) in zip(specs, arguments, strict=True):
        f = Jitted()
        f.add_entry(make_entry(given))
        calls.append((f, args, kwargs))
    calls.append((calls[2][0], ({"a": (x, None), "b": [x, 1]},), {}))
    calls.append((calls[2][0], ({"a": (x, None), "c": [x, x]},), {}))
    return calls


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_reference_counts() -> None:
    calls = every_path()
    x = calls[0][1][0]
    watched = [x, x._data, F4, np.dtype("float32"), calls[2][1][0], "p", Boxed, ACTIVE, fail, 1.5]

    def counts() -> list[int]:
        return [sys.getrefcount(w) for w in watched]

    for f, args, kwargs in calls:
        for _ in range(3):
            attempt(f, args, kwargs)
        before = counts()
        for _ in range(200):
            attempt(f, args, kwargs)
        after = counts()
        assert [b - a for a, b in zip(before, after, strict=True)] == [0] * len(watched)


def attempt(f: Jitted, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with contextlib.suppress(Failed, MemoryError):
        f(*args, **kwargs)


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_no_memory_is_lost() -> None:
    calls = every_path()

    def churn(count: int) -> None:
        for f, args, kwargs in calls:
            for _ in range(count):
                attempt(f, args, kwargs)

    churn(10)
    gc.collect()
    tracemalloc.start()
    try:
        churn(100)
        grown = [growth(churn) for _ in range(3)]
    finally:
        tracemalloc.stop()
    assert min(grown) < 1000  # what is lost is lost in each; others may keep something once


def growth(churn: Callable[[int], None]) -> int:
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    churn(1000)
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


@pytest.mark.skipif(not supported(), reason="the native route only")
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_a_hundred_thousand_calls_do_not_grow_the_process() -> None:
    resident = resident_kilobytes()
    f, args, _ = every_path()[0]
    for _ in range(100_000):
        f(*args)
    assert resident_kilobytes() - resident < 2000


def resident_kilobytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4


# ------------------------------------------------------------------------------------------ threads


LOOP = """
define i32 @spin(ptr %args, ptr %outs, ptr %arena) nounwind {
entry:
  %a = load ptr, ptr %args
  br label %loop
loop:
  %v = load atomic i32, ptr %a acquire, align 4
  %c = icmp eq i32 %v, 0
  br i1 %c, label %loop, label %done
done:
  ret i32 0
}
"""


def test_the_gil_is_released() -> None:
    """The program waits for a flag that only another Python thread sets."""
    module = jit.load(jit.compile_object(LOOP, name="spin"), {})
    flag = np.zeros(1, np.int32)
    given = EntrySpec(
        args=[LEAF],
        leaves=[entry.ndarray_leaf("int32", (1,))],
        outputs=[],
        tree=("static", "released"),
        program=module.address("spin"),
        release_gil=True,
        on_error=fail,
        array_type=Boxed,
        active=ACTIVE,
        keep=module,
    )
    f = Jitted()
    f.add_entry(make_entry(given))
    timer = threading.Timer(0.05, lambda: flag.fill(1))
    timer.start()
    assert f(flag) == "released"
    timer.join()


def test_many_threads() -> None:
    f = Jitted()
    f.add_entry(make_entry(double_spec(release_gil=True, arena_bytes=256)))
    wrong: list[bool] = []

    def work(i: int) -> None:
        x = box(F4, i)
        wrong.append(any(f(x)._data.tolist() != [2 * i] * 4 for _ in range(300)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 6


# --------------------------------------------------------------------------------- interpreters


def test_slot_offset_refuses_what_is_no_slot() -> None:
    class Plain:
        a = 1

    with pytest.raises(TypeError, match="not a slot"):
        slot_offset(Plain, "a")


def test_forced_python_route() -> None:
    """The same tests pass where the native route is switched off."""
    env = dict(os.environ, PULLBACK_PYTHON_CALLS="1")
    code = (
        "from pullback.llvm import entry, entry_layout\n"
        "assert not entry_layout.supported()\n"
        "class J(entry.FastCallable):\n"
        "    def _miss(self, *a, **k): return 'miss', a, k\n"
        "class O:\n    m = J()\n"
        "o = O()\n"
        "assert J()(1, k=2) == ('miss', (1,), {'k': 2})\n"
        "assert o.m(1) == ('miss', (o, 1), {})\n"
        "spec = entry.EntrySpec(args=[('static', 1)], leaves=[], outputs=[], tree=('none',),\n"
        "    program=0, on_error=print, array_type=object, active=[])\n"
        "assert not entry.make_entry(spec).native\n"
        "assert entry.cached_bytes() == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_arrays_outlive_the_interpreter_shutdown() -> None:
    """Outputs that are freed last, after modules are gone."""
    code = (
        "import builtins\n"
        "from pullback.llvm.entry import make_entry\n"
        "from tests.llvm import entry_cases as cases\n"
        "f = cases.Jitted(); f.add_entry(make_entry(cases.double_spec()))\n"
        "builtins.kept = [f(cases.box(cases.F4)), f]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_layouts_are_read_from_living_objects() -> None:
    code = "from pullback.llvm.entry_layout import supported; assert supported()"
    env = {**os.environ, "PYTHONMALLOC": "debug"}  # overwrites what is freed
    subprocess.run([sys.executable, "-c", code], env=env, check=True)

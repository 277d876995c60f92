"""The call path: what matches, what misses, what comes out, and that no reference is lost."""

from __future__ import annotations

import contextlib
import ctypes
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
from pullback.llvm.entry_spec import Out

LEAF = ("leaf",)
ACTIVE: list[Any] = []


class Aval:
    """Stands for a ShapedArray: compared by identity."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)


class Boxed:
    """Stands for the runtime's array: the same slots."""

    __slots__ = ("__weakref__", "_data", "aval")

    aval: Aval
    _data: Any


F4 = Aval((4,), "float32")
F23 = Aval((2, 3), "float32")
BIG = Aval((300, 300), "float64")


def box(aval: Aval, value: Any = 0.0) -> Boxed:
    data = np.empty(aval.shape, aval.dtype)
    data[...] = value
    data.flags.writeable = False
    made = Boxed()
    made.aval, made._data = aval, data
    return made


class Failed(Exception):
    """Raised by `on_error`."""


def fail(status: int) -> None:
    raise Failed(status)


Program = Callable[[list[int], list[int], int], int]
_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def program(body: Program, params: int, outs: int) -> Any:
    """A Python function as a compiled program."""

    def run(args: int, out: int, arena: int) -> int:
        listed = list((ctypes.c_void_p * params).from_address(args)) if params else []
        made = list((ctypes.c_void_p * outs).from_address(out)) if outs else []
        return body([a or 0 for a in listed], [o or 0 for o in made], arena or 0)

    return _SIGNATURE(run)


def view(address: int, aval: Aval) -> np.ndarray[Any, Any]:
    nbytes = int(np.prod(aval.shape)) * aval.dtype.itemsize
    raw: Any = (ctypes.c_char * nbytes).from_address(address)
    return np.asarray(raw).view(np.uint8).view(aval.dtype).reshape(aval.shape)


def spec(body: Program | None = None, **kwargs: Any) -> EntrySpec:
    """A specification with the usual fields filled in."""
    outputs = kwargs.setdefault("outputs", [])
    leaves = kwargs.setdefault("leaves", [])
    params = kwargs.get("params")
    count = (len(leaves) if params is None else len(params)) + len(kwargs.get("constants", ()))
    fresh = sum(o.origin in (Out.FRESH, Out.DONATED) for o in outputs)
    made = program(body or (lambda a, o, s: 0), count, fresh)
    address = ctypes.cast(made, ctypes.c_void_p).value
    assert address is not None
    kwargs.setdefault("tree", LEAF)
    kwargs.setdefault("args", [LEAF])
    return EntrySpec(
        program=address, on_error=fail, array_type=Boxed, active=ACTIVE, keep=made, **kwargs
    )


class Jitted(FastCallable):
    """A callable that reports misses."""

    def _miss(self, *args: Any, **kwargs: Any) -> Any:
        return "miss", args, kwargs


ROUTES = ["native", "python"] if supported() else ["python"]


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest) -> Callable[[EntrySpec], Jitted]:
    def make(given: EntrySpec) -> Jitted:
        made = make_entry(given) if request.param == "native" else Entry(given, None, [])
        assert made.native == (request.param == "native")
        f: Jitted = Jitted()
        f.add_entry(made)
        return f

    return make


Route = Callable[[EntrySpec], Jitted]


def missed(result: Any) -> bool:
    return type(result) is tuple and len(result) == 3 and result[0] == "miss"


def double(a: list[int], o: list[int], s: int) -> int:
    view(o[0], F4)[...] = 2 * view(a[0], F4)
    return 0


def double_spec(**kwargs: Any) -> EntrySpec:
    out = entry.fresh_output(F4, "float32", (4,))
    return spec(double, leaves=[entry.array_leaf(F4)], outputs=[out], **kwargs)


# ------------------------------------------------------------------------------------------ results


def test_one_array(route: Route) -> None:
    f = route(double_spec())
    x = box(F4, [1, 2, 3, 4])
    y = f(x)
    assert type(y) is Boxed
    assert y.aval is F4
    assert y._data.tolist() == [2, 4, 6, 8]
    assert y._data.dtype is np.dtype("float32")


def test_output_looks_like_an_array_of_numpy(route: Route) -> None:
    y = route(double_spec())(box(F4))._data
    assert not y.flags.writeable
    assert y.flags.c_contiguous
    assert y.flags.f_contiguous
    assert y.flags.aligned
    assert y.flags.owndata
    assert y.base is None
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 1
    assert (y.copy() + 1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 4), (1, 1, 5)])
@pytest.mark.parametrize("dtype", ["bool", "int8", "float64", "complex128", "uint64"])
def test_shapes_and_dtypes(route: Route, shape: tuple[int, ...], dtype: str) -> None:
    aval = Aval(shape, dtype)
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize

    def copy(a: list[int], o: list[int], s: int) -> int:
        ctypes.memmove(o[0], a[0], nbytes)
        return 0

    out = entry.fresh_output(aval, dtype, shape)
    f = route(spec(copy, leaves=[entry.array_leaf(aval)], outputs=[out]))
    x = box(aval, 1)
    y = f(x)._data
    assert y.shape == shape
    assert y.dtype == np.dtype(dtype)
    assert y.size == 0 or y.strides == np.empty(shape, dtype).strides
    assert np.array_equal(y, x._data)


def test_extension_dtype(route: Route) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    out = entry.fresh_output(F4, ml_dtypes.bfloat16, (4,))
    y = route(spec(leaves=[entry.array_leaf(F4)], outputs=[out]))(box(F4))._data
    assert y.dtype == ml_dtypes.bfloat16


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_outputs_are_aligned_and_reused() -> None:
    out = entry.fresh_output(BIG, "float64", (300, 300))
    f = Jitted()
    f.add_entry(make_entry(spec(leaves=[entry.array_leaf(F4)], outputs=[out])))
    x = box(F4)
    addresses = {f(x)._data.__array_interface__["data"][0] for _ in range(20)}
    assert len(addresses) == 1
    assert all(a % 64 == 0 for a in addresses)
    kept = [f(x) for _ in range(5)]
    assert len({k._data.__array_interface__["data"][0] for k in kept}) == 5


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_kept_memory_is_bounded() -> None:
    out = entry.fresh_output(BIG, "float64", (300, 300))
    f = Jitted()
    f.add_entry(make_entry(spec(leaves=[entry.array_leaf(F4)], outputs=[out])))
    entry.trim_memory()
    assert entry.cached_bytes() == 0
    f(box(F4))
    assert entry.cached_bytes() >= 720_000
    entry.set_cache_limit(1 << 20)
    entry.trim_memory()
    held = [f(box(F4)) for _ in range(5)]
    del held
    assert entry.cached_bytes() <= 1 << 20
    entry.set_cache_limit(1 << 30)
    entry.trim_memory()


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_numpy_may_resize_an_output() -> None:
    f = Jitted()
    f.add_entry(make_entry(double_spec()))
    y = f(box(F4, 3))._data
    y.resize((200,), refcheck=False)
    assert y[:4].tolist() == [6, 6, 6, 6]


def test_tree_of_results(route: Route) -> None:
    def write(a: list[int], o: list[int], s: int) -> int:
        for i, out in enumerate(o):
            view(out, F4)[...] = i
        return 0

    outs = [entry.fresh_output(F4, "float32", (4,)) for _ in range(4)]
    tree: Any = ("tuple", [("dict", ["b", "a"], [LEAF, ("list", [LEAF, ("none",)])]), LEAF])
    tree = ("list", [tree, ("tuple", []), ("static", "s"), LEAF, ("dict", [], [])])
    f = route(spec(write, leaves=[entry.array_leaf(F4)], outputs=outs, tree=tree))
    result = f(box(F4))
    assert type(result) is list
    assert result[1:3] == [(), "s"]
    assert result[4] == {}
    (d, third), fourth = result[0], result[3]
    assert list(d) == ["b", "a"]
    assert type(d["a"]) is list
    assert d["a"][1] is None
    values = [int(v._data[0]) for v in (d["b"], d["a"][0], third, fourth)]
    assert values == [0, 1, 2, 3]


def test_no_outputs(route: Route) -> None:
    f = route(spec(leaves=[entry.array_leaf(F4)], tree=("none",)))
    assert f(box(F4)) is None


def test_finish_in_python(route: Route) -> None:
    outs = [entry.fresh_output(F4, "float32", (4,)) for _ in range(3)]
    f = route(
        spec(
            leaves=[entry.array_leaf(F4)], outputs=outs, tree=None, finish=lambda xs: ("f", len(xs))
        )
    )
    assert f(box(F4)) == ("f", 3)


def test_finish_may_raise(route: Route) -> None:
    def finish(leaves: list[Any]) -> Any:
        raise ZeroDivisionError

    out = entry.fresh_output(F4, "float32", (4,))
    given = spec(leaves=[entry.array_leaf(F4)], outputs=[out], tree=None, finish=finish)
    with pytest.raises(ZeroDivisionError):
        route(given)(box(F4))


def test_inputs_and_constants_as_outputs(route: Route) -> None:
    constant = box(F23, 7)
    outs = [
        entry.input_output(1),
        entry.fresh_output(F4, "float32", (4,)),
        entry.constant_output(constant),
    ]
    leaves = [entry.array_leaf(F4), entry.array_leaf(F23)]
    given = spec(
        double,
        args=[LEAF, LEAF],
        leaves=leaves,
        outputs=outs,
        params=[0],
        tree=("tuple", [LEAF] * 3),
    )
    x, y = box(F4, 1), box(F23)
    a, b, c = route(given)(x, y)
    assert a is y
    assert c is constant
    assert b._data.tolist() == [2, 2, 2, 2]


def test_constants_of_the_program(route: Route) -> None:
    constant = np.arange(4, dtype=np.float32)

    def add(a: list[int], o: list[int], s: int) -> int:
        view(o[0], F4)[...] = view(a[0], F4) + view(a[1], F4)
        return 0

    out = entry.fresh_output(F4, "float32", (4,))
    f = route(spec(add, leaves=[entry.array_leaf(F4)], outputs=[out], constants=[constant]))
    assert f(box(F4, 1))._data.tolist() == [1, 2, 3, 4]


def test_arena(route: Route) -> None:
    seen: list[int] = []

    def note(a: list[int], o: list[int], s: int) -> int:
        ctypes.memset(s, 255, 1000)
        seen.append(s)
        return 0

    f = route(spec(note, leaves=[entry.array_leaf(F4)], tree=("none",), arena_bytes=1000))
    for _ in range(3):
        f(box(F4))
    assert all(s and s % 64 == 0 for s in seen)


def test_no_arena_is_null(route: Route) -> None:
    seen: list[int] = []
    f = route(
        spec(
            lambda a, o, s: seen.append(s) or 0,  # type: ignore[func-returns-value]
            leaves=[entry.array_leaf(F4)],
            tree=("none",),
        )
    )
    f(box(F4))
    assert seen == [0]


# ----------------------------------------------------------------------------------------- matching


def test_wrong_arguments_miss(route: Route) -> None:
    f = route(double_spec())
    x = box(F4)
    for args, kwargs in [
        ((), {}),
        ((x, x), {}),
        ((box(F23),), {}),
        ((1.0,), {}),
        ((None,), {}),
        ((np.zeros(4, np.float32),), {}),
        ((x,), {"k": x}),
        ((), {"x": x}),
        (((x,),), {}),
    ]:
        assert f(*args, **kwargs) == ("miss", args, kwargs)


def test_equal_but_other_aval_misses(route: Route) -> None:
    assert missed(route(double_spec())(box(Aval((4,), "float32"))))


def test_subclass_of_the_array_type_misses(route: Route) -> None:
    class Sub(Boxed):
        __slots__ = ()

    x = Sub()
    x.aval, x._data = F4, np.zeros(4, np.float32)
    assert missed(route(double_spec())(x))


def test_deleted_array_misses(route: Route) -> None:
    x = box(F4)
    del x._data
    assert missed(route(double_spec())(x))


def test_active_misses(route: Route) -> None:
    f = route(double_spec())
    ACTIVE.append(1)
    try:
        assert missed(f(box(F4)))
    finally:
        ACTIVE.clear()
    assert not missed(f(box(F4)))


TREE = ("dict", ["a", "b"], [("tuple", [LEAF, ("none",)]), ("list", [LEAF, LEAF])])


def tree_spec(seen: list[list[int]]) -> EntrySpec:
    def note(a: list[int], o: list[int], s: int) -> int:
        seen.append([int(view(p, F4)[0]) for p in a])
        return 0

    return spec(note, args=[LEAF, TREE], leaves=[entry.array_leaf(F4)] * 4, tree=("none",))


def test_tree_of_arguments(route: Route) -> None:
    seen: list[list[int]] = []
    f = route(tree_spec(seen))
    x = [box(F4, i) for i in range(4)]
    assert f(x[0], {"b": [x[2], x[3]], "a": (x[1], None)}) is None
    assert seen == [[0, 1, 2, 3]]


def test_other_trees_miss(route: Route) -> None:
    seen: list[list[int]] = []
    f = route(tree_spec(seen))
    x = box(F4)
    for tree in [
        {"a": (x, None), "b": (x, x)},
        {"a": [x, None], "b": [x, x]},
        {"a": (x, None), "b": [x]},
        {"a": (x, None), "b": [x, x, x]},
        {"a": (x, x), "b": [x, x]},
        {"a": (x, None), "c": [x, x]},
        {"a": (x, None), "b": [x, x], "c": x},
        {"a": (x, None)},
        [("a", x)],
        None,
    ]:
        assert missed(f(x, tree))
    assert seen == []


def test_dict_subclass_misses(route: Route) -> None:
    class D(dict[str, Any]):
        pass

    x = box(F4)
    assert missed(route(tree_spec([]))(x, D(a=(x, None), b=[x, x])))


def test_keywords_in_any_order(route: Route) -> None:
    seen: list[list[int]] = []

    def note(a: list[int], o: list[int], s: int) -> int:
        seen.append([int(view(p, F4)[0]) for p in a])
        return 0

    f = route(
        spec(
            note,
            kwargs=[("p", LEAF), ("q", ("tuple", [LEAF]))],
            leaves=[entry.array_leaf(F4)] * 3,
            tree=("none",),
        )
    )
    x = [box(F4, i) for i in range(3)]
    assert f(x[0], p=x[1], q=(x[2],)) is None
    assert f(x[0], q=(x[2],), p=x[1]) is None
    assert f(*[x[0]], p=x[1], q=(x[2],)) is None
    assert seen == [[0, 1, 2]] * 3
    assert missed(f(x[0], p=x[1], r=(x[2],)))
    assert missed(f(x[0], p=x[1]))
    assert missed(f(x[0], x[1], (x[2],)))


def test_static_arguments(route: Route) -> None:
    token = object()
    long_text = "text with spaces " * 3
    f = route(
        spec(
            args=[LEAF, ("static", token), ("static", long_text), ("static", 10**20)],
            leaves=[entry.array_leaf(F4)],
            tree=("static", "hit"),
        )
    )
    x = box(F4)
    assert f(x, token, long_text, 10**20) == "hit"
    assert f(x, token, "".join(list(long_text)), int("1" + "0" * 20)) == "hit"
    assert missed(f(x, object(), long_text, 10**20))
    assert missed(f(x, token, "other", 10**20))
    assert missed(f(x, token, long_text, 1e20))


def test_one_is_not_true(route: Route) -> None:
    f = route(spec(args=[("static", 1)], tree=("static", "hit")))
    assert f(1) == "hit"
    assert missed(f(True))
    assert missed(f(1.0))


def scalar_call(route: Route, python_type: type, dtype: str, value: Any) -> Any:
    aval = Aval((), dtype)
    seen: list[Any] = []

    def note(a: list[int], o: list[int], s: int) -> int:
        seen.append(view(a[0], aval)[()].copy())
        return 0

    leaf = entry.scalar_leaf(python_type, dtype)
    f = route(spec(note, leaves=[leaf], tree=("none",)))
    return seen[0] if not missed(f(value)) else "miss"


@pytest.mark.parametrize(
    ("python_type", "dtype", "value"),
    [
        (float, "float32", 0.1),
        (float, "float64", 0.1),
        (float, "float32", 1e300),
        (float, "float64", float("-inf")),
        (int, "int32", -(2**31)),
        (int, "int32", 2**31 - 1),
        (int, "int64", -(2**63)),
        (bool, "bool", True),
        (bool, "bool", False),
        (complex, "complex64", 0.1 - 2j),
        (complex, "complex128", 0.1 - 2j),
    ],
)
def test_python_scalars(route: Route, python_type: type, dtype: str, value: Any) -> None:
    with np.errstate(over="ignore"):
        expected = np.asarray(value, dtype)
    assert scalar_call(route, python_type, dtype, value) == expected


@pytest.mark.parametrize(
    ("python_type", "dtype", "value"),
    [
        (float, "float32", 1),
        (float, "float32", True),
        (float, "float64", np.float64(1)),
        (int, "int32", 2**31),
        (int, "int32", True),
        (int, "int64", 2**63),
        (int, "int32", 1.0),
        (bool, "bool", 1),
        (complex, "complex64", 1.0),
    ],
)
def test_other_scalars_miss(route: Route, python_type: type, dtype: str, value: Any) -> None:
    assert scalar_call(route, python_type, dtype, value) == "miss"


def test_scalars_without_conversion_are_refused() -> None:
    with pytest.raises(TypeError, match="not handed over"):
        entry.scalar_leaf(float, "int32")


def test_numpy_arrays(route: Route) -> None:
    f = route(
        spec(
            double,
            leaves=[entry.ndarray_leaf("float32", (4,))],
            outputs=[entry.fresh_output(F4, "float32", (4,))],
        )
    )
    assert f(np.arange(4, dtype=np.float32))._data.tolist() == [0, 2, 4, 6]
    unaligned = np.zeros(17, np.uint8)[1:].view(np.float32)
    for other in [
        np.zeros(5, np.float32),
        np.zeros((1, 4), np.float32),
        np.zeros(4, np.float64),
        np.zeros(8, np.float32)[::2],
        np.zeros(4, ">f4"),
        np.ma.zeros(4, np.float32),
        unaligned,
        box(F4),
    ]:
        assert missed(f(other))


def test_numpy_scalars(route: Route) -> None:
    aval = Aval((), "float32")
    seen: list[float] = []

    def note(a: list[int], o: list[int], s: int) -> int:
        seen.append(float(view(a[0], aval)[()]))
        return 0

    f = route(spec(note, leaves=[entry.numpy_scalar_leaf("float32")], tree=("none",)))
    assert f(np.float32(2.5)) is None
    assert seen == [2.5]
    assert missed(f(np.float64(2.5)))
    assert missed(f(2.5))


def test_many_leaves(route: Route) -> None:
    seen: list[list[int]] = []
    count = 3000  # scratch memory that does not fit on the stack

    def note(a: list[int], o: list[int], s: int) -> int:
        seen.append([int(view(p, F4)[0]) for p in a])
        for i, p in enumerate(o):
            view(p, F4)[...] = i
        return 0

    nodes = ("list", [LEAF] * count)
    outs = [entry.fresh_output(F4, "float32", (4,))] * count
    f = route(
        spec(note, args=[nodes], leaves=[entry.array_leaf(F4)] * count, outputs=outs, tree=nodes)
    )
    result = f([box(F4, i) for i in range(count)])
    assert seen == [list(range(count))]
    assert [int(r._data[0]) for r in result] == list(range(count))
    assert missed(f([box(F4)] * (count - 1) + [1]))


def test_unusual_keys_take_the_python_route() -> None:
    x = box(F4)
    node = ("dict", [(1, 2)], [LEAF])
    made = make_entry(spec(args=[node], leaves=[entry.array_leaf(F4)], tree=("static", "hit")))
    assert not made.native
    f = Jitted()
    f.add_entry(made)
    assert f({(1, 2): x}) == "hit"
    assert missed(f({(1, 3): x}))


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
        {"outputs": [entry.input_output(0)], "leaves": [entry.scalar_leaf(float, "float32")]},
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
    constant = box(F23)
    fresh = entry.fresh_output(F4, "float32", (4,))
    leaf = entry.array_leaf(F4)
    scalars = [entry.scalar_leaf(float, "float32"), entry.scalar_leaf(int, "int64")]
    arrays = [entry.ndarray_leaf("float32", (4,)), entry.numpy_scalar_leaf("float64")]
    big = Aval((1 << 46,), "float64")
    outs = [fresh, entry.input_output(0), entry.constant_output(constant), fresh]
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
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        churn(2000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 4000


@pytest.mark.skipif(not supported(), reason="the native route only")
def test_a_hundred_thousand_calls_do_not_grow_the_process() -> None:
    resident = jit_resident()
    f, args, _ = every_path()[0]
    for _ in range(100_000):
        f(*args)
    assert jit_resident() - resident < 2000


def jit_resident() -> int:
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
        "import sys, builtins, numpy as np\n"
        "sys.path[:0] = sys.argv[1:]\n"
        "import importlib.util\n"
        "found = importlib.util.spec_from_file_location('helper', sys.argv[1])\n"
        "helper = importlib.util.module_from_spec(found); found.loader.exec_module(helper)\n"
        "f = helper.Jitted(); f.add_entry(helper.make_entry(helper.double_spec()))\n"
        "builtins.kept = [f(helper.box(helper.F4)), f]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, __file__], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

"""The call path: what matches, what misses, and what comes out."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from pullback.llvm import entry
from pullback.llvm.entry import EntrySpec, make_entry
from pullback.llvm.entry_layout import supported
from tests.llvm.entry_cases import (
    ACTIVE,
    BIG,
    F4,
    F23,
    LEAF,
    TREE,
    Aval,
    Boxed,
    Jitted,
    Route,
    box,
    double,
    double_spec,
    missed,
    spec,
    view,
)

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
    constant = np.full((2, 3), 7, np.float32)
    outs = [
        entry.input_output(1, F23),
        entry.fresh_output(F4, "float32", (4,)),
        entry.constant_output(constant, F23),
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
    assert a is not y
    assert a._data is y._data
    assert c._data is constant
    assert not constant.flags.writeable
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

"""Array objects of results that are used again look new, and are never those of somebody else."""

from __future__ import annotations

import copy
import ctypes
import gc
import math
import pickle
import sys
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import numpy as jnp
from pullback.llvm.entry_layout import ARRAY_FLAGS, ARRAY_NDIM, supported
from pullback.llvm.entry_spec import _numpy_layout
from pullback.runtime.array import ArrayImpl, make_array

pytestmark = pytest.mark.skipif(not supported(), reason="the native route only")

double = pb.jit(lambda v: v * 2)
SHAPES = [(), (1,), (5,), (0,), (2, 3), (1, 4), (4, 1), (1, 1), (0, 3), (3, 0, 2), (2, 1, 3)]
SHAPES += [(1, 2, 1, 2, 1, 2, 1), (2,) * 8, (1,) * 9]


def numpy_layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[tuple[int, ...], int]:
    """Strides of an array around memory, and flags of one that owns it."""
    owner = np.empty(shape, dtype)
    owner.flags.writeable = False
    around = np.ndarray(shape, dtype, buffer=bytearray(math.prod(shape) * dtype.itemsize or 1))
    return around.strides, owner.flags.num


def test_an_object_is_used_again_with_its_numpy_array() -> None:
    x = jnp.arange(4.0)
    double(x)
    y = double(x)
    ids = id(y), id(y._data)
    del y
    z = double(x)
    assert (id(z), id(z._data)) == ids
    assert gc.is_tracked(z)
    assert any(found is z for found in pb.live_arrays())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "int8", "complex64", "bfloat16"])
def test_it_looks_as_numpy_makes_it(shape: tuple[int, ...], dtype: str) -> None:
    for _ in range(3):  # after other shapes and dtypes of as many axes
        x = jnp.ones(shape, dtype)
        double(jnp.ones((3,) * len(shape), "int16" if dtype != "int16" else dtype))
        data = double(x)._data
        assert (data.strides, data.flags.num) == numpy_layout(shape, data.dtype)
        assert (data.shape, data.dtype) == (shape, x.dtype)
        np.testing.assert_array_equal(np.asarray(data, "complex64"), np.full(shape, 2.0))


@pytest.mark.parametrize("shape", SHAPES)
def test_strides_and_flags_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    strides, flags = _numpy_layout(shape, 8)
    assert (tuple(strides), flags) == numpy_layout(shape, np.dtype(np.float64))


def test_what_somebody_holds_is_not_used_again() -> None:
    x = jnp.arange(4.0)
    held: list[Any] = [
        np.asarray(double(x)),
        np.asarray(double(x))[1:],
        memoryview(np.asarray(double(x))),
        np.from_dlpack(double(x)),
        np.asarray(double(x)).data,
    ]
    before = [np.array(h) for h in held]
    for k in range(50):
        double(x + k)
    for h, b in zip(held, before, strict=True):
        np.testing.assert_array_equal(np.asarray(h), b)


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_an_array_that_the_user_changed_comes_back_as_new() -> None:
    x = jnp.arange(6.0)
    for _ in range(3):
        y = double(x)
        data: Any = y._data
        data.setflags(write=True)
        data[0] = 7
        data.shape = (2, 3)
        data.dtype = np.int32
        del y, data
        z = double(x)
        assert not z._data.flags.writeable
        assert z._data.dtype == np.float32
        assert z.tolist() == [0, 2, 4, 6, 8, 10]
        two = double(x.reshape(2, 3))
        assert two._data.shape == (2, 3)
        assert two._data.strides == (12, 4)


def test_weak_references_end() -> None:
    x = jnp.arange(4.0)
    ended: list[Any] = []
    y = double(x)
    ref = weakref.ref(y, ended.append)
    of_data = weakref.ref(y._data)
    del y
    assert ref() is None
    assert ended == [ref]
    assert of_data() is None
    z = double(x)
    assert ref() is None
    assert weakref.ref(z) is not ref


def test_results_are_copied_and_pickled_as_before() -> None:
    y = double(jnp.arange(4.0))
    assert copy.copy(y) is y
    assert copy.deepcopy(y) is y
    data = pickle.dumps(y)
    del y
    double(jnp.arange(4.0) + 9)
    assert pickle.loads(data).tolist() == [0, 2, 4, 6]


def test_arrays_of_all_kinds_end() -> None:
    class Sub(ArrayImpl):
        """Ends through CPython's function, and then ours."""

    def made(cls: Any) -> list[Any]:
        sub = object.__new__(cls)
        sub.aval, sub._data, sub.more = jnp.ones(2).aval, np.ones(2), [1]
        empty = object.__new__(ArrayImpl)
        deleted = double(jnp.ones(2))
        deleted.delete()
        own = make_array(np.ones(2, np.float32), jnp.ones(2).aval)
        return [sub, empty, deleted, own]

    refs = [weakref.ref(x) for x in made(Sub)]
    assert all(ref() is None for ref in refs)
    ref_of_class = weakref.ref(Sub)
    del Sub
    gc.collect()
    assert ref_of_class() is None
    cycle: Any = [double(jnp.ones(2))]
    cycle.append(cycle)
    ref = weakref.ref(cycle[0])
    del cycle
    gc.collect()
    assert ref() is None


def test_donated_arrays_pass_their_memory_on() -> None:
    step = pb.jit(lambda v: v + 1, donate_argnums=0)
    x = jnp.zeros(1000)
    place = x.unsafe_buffer_pointer()
    for _ in range(20):
        old = x
        x = step(x)
        assert old.is_deleted()
    assert x.unsafe_buffer_pointer() == place
    assert float(x[0]) == 20


def test_donated_memory_that_comes_in_twice_is_not_written() -> None:
    step = pb.jit(lambda v, w: (v + 1, w * 10), donate_argnums=0)
    for _ in range(3):
        x = jnp.arange(4.0)
        a, b = step(x, np.asarray(x))
        assert (a.tolist(), b.tolist()) == ([1, 2, 3, 4], [0, 10, 20, 30])
        x = jnp.arange(4.0)
        a, b = step(x, np.asarray(x)[:])
        assert (a.tolist(), b.tolist()) == ([1, 2, 3, 4], [0, 10, 20, 30])
        x = jnp.arange(4.0)
        kept = sys.getrefcount(x._data)
        step(jnp.arange(4.0), x)
        left = sys.getrefcount(x._data)
        assert left == kept
    many = pb.jit(lambda vs: [v + k for k, v in enumerate(vs)], donate_argnums=0)
    x, y = jnp.arange(4.0), jnp.ones(4)
    outs = many([x, y, x, x])
    assert [o.tolist() for o in outs] == [[0, 1, 2, 3], [2] * 4, [2, 3, 4, 5], [3, 4, 5, 6]]
    assert x.is_deleted()
    assert y.is_deleted()


def test_few_objects_are_kept() -> None:
    x = jnp.arange(4.0)
    many = pb.jit(lambda v: [v + i for i in range(100)])
    held = [many(x) for _ in range(60)]
    del held
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            held = [many(x) for _ in range(60)]
            del held
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            held = [many(x) for _ in range(60)]
            del held
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()


def test_in_threads() -> None:
    wrong: list[Any] = []

    def work(k: int) -> None:
        x = jnp.full((k + 1,) * (k % 3), float(k))
        for _ in range(300):
            y = double(x)
            z = double(y)
            if not (np.asarray(z) == 4 * k).all() or z.size != math.prod(x.shape):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_words_of_numpy_arrays() -> None:
    data = double(jnp.ones((2, 3)))._data
    assert ctypes.c_int32.from_address(id(data) + ARRAY_NDIM).value == 2
    assert ctypes.c_int32.from_address(id(data) + ARRAY_FLAGS).value == data.flags.num

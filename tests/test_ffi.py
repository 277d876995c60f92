"""`pullback.ffi`: native functions by address, in eager calls and in compiled programs."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import ffi

POINTER = ctypes.c_void_p
Struct = pb.ShapeDtypeStruct


def _floats(address: int, n: int) -> np.ndarray[Any, Any]:
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), (n,))


@ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER, POINTER, POINTER, ctypes.c_int64, ctypes.c_double)
def _sum_and_difference(x: int, y: int, s: int, d: int, n: int, factor: float) -> int:
    if factor < 0:
        return 7
    _floats(s, n)[:] = factor * (_floats(x, n) + _floats(y, n))
    _floats(d, n)[:] = factor * (_floats(x, n) - _floats(y, n))
    return 0


@ctypes.CFUNCTYPE(None, POINTER, POINTER, ctypes.c_int64)
def _running_sum(x: int, y: int, n: int) -> None:
    _floats(y, n)[:] = np.cumsum(_floats(x, n))


@ctypes.CFUNCTYPE(None, POINTER, ctypes.c_bool, ctypes.c_int8, ctypes.c_float, ctypes.c_uint32)
def _scalars(out: int, a: bool, b: int, c: float, d: int) -> None:
    np.ctypeslib.as_array(ctypes.cast(out, ctypes.POINTER(ctypes.c_double)), (4,))[:] = a, b, c, d


ffi.register_ffi_target("sum_and_difference", _sum_and_difference)
ffi.register_ffi_target("running_sum", ffi.pycapsule(_running_sum), platform="cpu")
ffi.register_ffi_target("scalars", {"execute": _scalars})
_COPY = ctypes.CFUNCTYPE(None, POINTER, POINTER, ctypes.c_int64)
ffi.register_ffi_target("bcopy", ctypes.cast(ctypes.CDLL(None).bcopy, _COPY))

X = np.arange(6, dtype=np.float32) + 1
BOTH = pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "jit"])


@BOTH
def test_several_results_and_attributes(run: Any) -> None:
    call = ffi.ffi_call("sum_and_difference", [Struct((6,), np.float32)] * 2)
    f = run(lambda x, y: call(jnp.sin(x), y * 2, n=6, factor=0.5))
    total, difference = f(jnp.asarray(X), jnp.ones(6))
    np.testing.assert_allclose(total, 0.5 * (np.sin(X) + 2), rtol=1e-6)
    np.testing.assert_allclose(difference, 0.5 * (np.sin(X) - 2), rtol=1e-6)


@BOTH
def test_a_status_is_an_error(run: Any) -> None:
    call = ffi.ffi_call("sum_and_difference", [Struct((6,), np.float32)] * 2)
    f = run(lambda x: call(x, x, n=6, factor=-1.0))
    with pytest.raises(RuntimeError, match="status 7"):
        f(jnp.asarray(X))


@BOTH
def test_a_function_of_the_c_library(run: Any) -> None:
    call = ffi.ffi_call("bcopy", Struct((3,), np.int32))
    assert run(lambda x: call(x + 1, n=12) * 2)(jnp.arange(3)).tolist() == [2, 4, 6]


@BOTH
def test_attributes_by_value(run: Any) -> None:
    with pb.enable_x64(True):
        call = ffi.ffi_call("scalars", Struct((4,), np.float64))
        f = run(lambda: call(a=True, b=np.int8(-5), c=np.float32(1.5), d=np.uint32(2**32 - 1)))
        assert f().tolist() == [1.0, -5.0, 1.5, 2**32 - 1]


@pytest.mark.parametrize("method", ["sequential", "sequential_unrolled"])
def test_lanes(method: Any) -> None:
    call = ffi.ffi_call("running_sum", Struct((6,), np.float32), vmap_method=method)
    lanes = jnp.stack([jnp.asarray(X), 2 * X, -X])
    f = pb.vmap(lambda x: call(x, n=6))
    for run in (f, pb.jit(f)):
        np.testing.assert_array_equal(run(lanes), np.cumsum(lanes, axis=1))
    with pytest.raises(NotImplementedError, match="vmap_method"):
        pb.vmap(lambda x: ffi.ffi_call("running_sum", Struct((6,), np.float32))(x, n=6))(lanes)


@pytest.mark.parametrize("method", ["broadcast_all", "expand_dims", "legacy_vectorized"])
def test_lanes_at_once(method: Any) -> None:
    call = ffi.ffi_call("bcopy", Struct((2,), np.int32), vmap_method=method)
    x = jnp.arange(6).reshape(3, 2)
    assert pb.vmap(lambda v: call(v, n=24))(x).tolist() == x.tolist()


@BOTH
def test_layouts_and_shared_memory(run: Any) -> None:
    struct = Struct((2, 3), np.float32)
    x = jnp.asarray(X).reshape(2, 3)
    columns = ffi.ffi_call("running_sum", struct, input_layouts=[(1, 0)], output_layouts=(1, 0))
    want = np.cumsum(np.asarray(x).T.ravel()).reshape(3, 2).T
    np.testing.assert_array_equal(run(lambda v: columns(v, n=6))(x), want)
    shared = ffi.ffi_call("running_sum", struct, input_output_aliases={0: 0})
    np.testing.assert_array_equal(run(lambda v: shared(v, n=6))(x).ravel(), np.cumsum(X))
    assert x.ravel().tolist() == X.tolist()


def test_derivatives_need_a_rule() -> None:
    call = ffi.ffi_call("running_sum", Struct((6,), np.float32))
    with pytest.raises(ValueError, match="cannot be differentiated"):
        pb.grad(lambda x: call(x, n=6).sum())(jnp.asarray(X))
    f = pb.custom_vjp(lambda x: call(x, n=6))
    f.defvjp(lambda x: (f(x), None), lambda _, ct: (call(ct[::-1], n=6)[::-1],))
    gradient = pb.grad(lambda x: f(x).sum())(jnp.asarray(X))
    np.testing.assert_array_equal(gradient, np.arange(6, 0, -1))


def test_side_effects_are_kept() -> None:
    seen = []

    @ctypes.CFUNCTYPE(None, POINTER, POINTER)
    def note(x: int, _: int) -> None:
        seen.append(float(_floats(x, 1)[0]))

    ffi.register_ffi_target("note", note)
    call = ffi.ffi_call("note", Struct((0,), np.float32), has_side_effect=True)
    f = pb.jit(lambda x: (call(x), x + 1)[1])
    assert f(3.0).item() == 4.0
    assert f(5.0).item() == 6.0
    assert seen == [3.0, 5.0]


def test_errors() -> None:
    struct = Struct((6,), np.float32)
    with pytest.raises(TypeError, match="takes 3 parameters"):
        ffi.ffi_call("running_sum", struct)(X)
    with pytest.raises(NotImplementedError, match="no ffi target 'nothing'"):
        ffi.ffi_call("nothing", struct)(X)
    with pytest.raises(NotImplementedError, match="attributes are numbers"):
        ffi.ffi_call("running_sum", struct)(X, n="six")
    with pytest.raises(ValueError, match="registered already"):
        ffi.register_ffi_target("running_sum", _sum_and_difference)
    ffi.register_ffi_target("running_sum", _running_sum)
    with pytest.raises(TypeError, match="argtypes"):
        ffi.register_ffi_target("abs", ctypes.CDLL(None).abs)
    with pytest.raises(TypeError, match="expected a ctypes function"):
        ffi.register_ffi_target("python", lambda x: x)
    for call in (
        ffi.include_dir,
        lambda: ffi.ffi_lowering("f"),
        lambda: ffi.register_ffi_target("gpu", _scalars, platform="CUDA"),
        lambda: ffi.register_ffi_target("old", _scalars, api_version=0),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_numba() -> None:
    numba = pytest.importorskip("numba")

    @numba.cfunc("void(CPointer(float32), CPointer(float32), int64)")
    def squares(x: Any, y: Any, n: int) -> None:
        for i in range(n):
            y[i] = x[i] * x[i]

    ffi.register_ffi_target("numba_squares", squares)
    call = ffi.ffi_call("numba_squares", Struct((6,), np.float32))
    np.testing.assert_array_equal(pb.jit(lambda x: call(x, n=6))(X), X * X)

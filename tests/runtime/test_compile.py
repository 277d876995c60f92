"""What the pipeline makes of a program: code, and data beside it."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import pytest

import pullback
import pullback.numpy as jnp
from pullback.errors import LoweringError
from pullback.llvm import emit
from pullback.llvm import jit as native
from pullback.loops.program import lower_program
from pullback.passes import simplify
from pullback.runtime.compile import Code


def test_large_constants_stay_out_of_the_text() -> None:
    closed = simplify.simplify(pullback.make_jaxpr(jnp.fft.fft)(jnp.zeros(4096, "complex64")))
    module = emit.emit_module(lower_program(closed, vector_bits=512, name="fft"))
    assert sum(len(value) for _, value in module.data) > 4096
    assert max(map(len, module.text.splitlines())) < 3 * emit.DATA_BYTES + 200
    for name, _ in module.data:
        assert f"@{name} = external constant" in module.text


def test_a_program_with_data_survives_the_cache() -> None:
    code = Code(
        (b"code", b"more"), ("cos",), 64, 1.0, ((0, 1),), (("a", b"123"), ("b", b""), ("c", b"4"))
    )
    assert Code.from_entry(code.entry()) == code


def test_large_constants_are_read() -> None:
    x = np.random.default_rng(0).standard_normal(6000).astype(np.complex64)
    first = np.asarray(pullback.jit(jnp.fft.fft)(x))
    np.testing.assert_allclose(first, np.fft.fft(x), rtol=0, atol=2e-3)
    pullback.clear_caches()  # the second time the code and its data come from the disk
    np.testing.assert_array_equal(np.asarray(pullback.jit(jnp.fft.fft)(x)), first)


def _layers(x: Any, ws: Any) -> Any:
    for w in ws:
        x = jnp.tanh(x * w) + jnp.exp(-((x @ x.T).mean(axis=1, keepdims=True) ** 2)) * jnp.log1p(
            w**2
        )
        x = x[:, 1:]
    return x


def test_a_long_program_is_several_modules() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((70, 80)).astype(np.float32)
    ws = [rng.standard_normal((70, 80 - i)).astype(np.float32) for i in range(24)]
    closed = simplify.simplify(pullback.make_jaxpr(_layers)(x, ws))
    module = emit.emit_module(lower_program(closed, vector_bits=512, name="layers"))
    assert len(module.parts) > 1
    assert sum("i32 @pb_program(" in part for part in module.parts) == 1
    again = emit.emit_module(lower_program(closed, vector_bits=512, name="layers"))
    assert len(again.parts) == len(module.parts)
    out = np.asarray(pullback.jit(_layers)(x, ws))
    expected = x.astype(np.float64)
    for w in ws:
        total = np.exp(-((expected @ expected.T).mean(axis=1, keepdims=True) ** 2))
        expected = (np.tanh(expected * w) + total * np.log1p(w.astype(np.float64) ** 2))[:, 1:]
    np.testing.assert_allclose(out, expected, rtol=2e-3, atol=2e-3)


def test_modules_that_call_each_other_compile_at_the_same_time() -> None:
    texts = [
        "declare i32 @g1()\ndefine i32 @f() {\n  %x = call i32 @g1()\n  ret i32 %x\n}",
        *(f"define i32 @g{k}() {{ ret i32 {k} }}" for k in range(1, 5)),
    ]
    alone = native.compile_objects(texts, name="together")
    assert native.compile_objects(texts, name="together", threads=3) == alone
    module = native.load(alone, {}, exports=["f"])
    assert module.function("f", ctypes.c_int32)() == 1
    with pytest.raises(LoweringError):
        native.compile_objects([texts[1], "define nonsense", texts[2]], name="bad", threads=2)


def test_no_garbage_is_looked_for_while_the_compiler_works() -> None:
    looked: list[str] = []

    def program(x: Any) -> Any:
        for _ in range(40):
            x = jnp.tanh(x @ x) + jnp.sum(x)
        return x

    lowered = pullback.jit(program).lower(jnp.ones((7, 7)))
    gc.collect()
    gc.callbacks.append(lambda phase, info: looked.append(phase))
    try:
        lowered.compile()
    finally:
        gc.callbacks.pop()
    assert gc.isenabled()
    assert len(looked) <= 4  # outside of the compiler

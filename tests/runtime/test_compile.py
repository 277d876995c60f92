"""What the pipeline makes of a program: code, and data beside it."""

from __future__ import annotations

import numpy as np

import pullback
import pullback.numpy as jnp
from pullback.llvm import emit
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
    code = Code(b"code", ("cos",), 64, 1.0, ((0, 1),), (("a", b"123"), ("b", b""), ("c", b"4")))
    assert Code.from_entry(code.entry()) == code


def test_large_constants_are_read() -> None:
    x = np.random.default_rng(0).standard_normal(6000).astype(np.complex64)
    first = np.asarray(pullback.jit(jnp.fft.fft)(x))
    np.testing.assert_allclose(first, np.fft.fft(x), rtol=0, atol=2e-3)
    pullback.clear_caches()  # the second time the code and its data come from the disk
    np.testing.assert_array_equal(np.asarray(pullback.jit(jnp.fft.fft)(x)), first)

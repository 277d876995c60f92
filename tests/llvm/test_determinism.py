"""The same bits at one, two, three and four threads, for every kind of kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import lax
from pullback import numpy as pnp
from pullback.llvm import library, pool

RNG = np.random.default_rng(17)


def _real(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def _complex(*shape: int) -> Any:
    return (_real(*shape) + 1j * _real(*shape)).astype(np.complex64)


def _convolution(x: Any, w: Any) -> Any:
    layouts = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layouts)


def _gradients(x: Any, w: Any) -> Any:
    return pb.grad(lambda x, w: pnp.sum(_convolution(x, w) ** 2), argnums=(0, 1))(x, w)


WORKLOADS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "fft_rows": (pnp.fft.fft, (_complex(200, 256),)),
    "fft_columns": (lambda x: pnp.fft.ifft(x, axis=0), (_complex(256, 200),)),
    "rfft2": (pnp.fft.rfft2, (_real(128, 256),)),
    "segment_sum": (
        lambda x, i: pnp.zeros((50, 64), np.float32).at[i].add(x),
        (_real(5000, 64), RNG.integers(0, 50, 5000)),
    ),
    "fft_long": (pnp.fft.fft, (_complex(1 << 16),)),
    "bytes": (
        lambda x, y: lax.dot(x, y, preferred_element_type=np.dtype("int32")),
        tuple(RNG.integers(-128, 128, (300, 300)).astype(np.int8) for _ in range(2)),
    ),
    "bfloat16": (pnp.matmul, tuple(_real(300, 300).astype(pnp.bfloat16) for _ in range(2))),
    "argmax": (pnp.argmax, (_real(500_000).round(1),)),
    "argmin_columns": (lambda x: pnp.argmin(x, 0), (_real(700, 300).round(1),)),
    "sort_rows": (pnp.sort, (_real(300, 200),)),
    "sort_long": (pnp.sort, (_real(300_000),)),
    "argsort_rows": (pnp.argsort, (_real(300, 200).round(1),)),
    "product": (pnp.matmul, (_real(300, 500), _real(500, 310))),
    "tall product": (pnp.matmul, (_real(2000, 300), _real(300, 40))),
    "products": (pnp.matmul, (_real(20, 64, 64), _real(20, 64, 64))),
    "convolution": (_convolution, (_real(2, 25, 30, 40), _real(3, 3, 40, 70))),
    "gradients of a convolution": (_gradients, (_real(2, 24, 24, 32), _real(3, 3, 32, 32))),
    "cholesky": (lambda x: pnp.linalg.cholesky(x @ x.T + 400), (_real(400, 400),)),
    "eigh": (lambda x: pnp.linalg.eigh(x + x.T), (_real(200, 200),)),
    "solve": (pnp.linalg.solve, (_real(500, 500), _real(500, 8))),
    "tall factors": (lambda x: (lax.linalg.lu(x), lax.linalg.qr(x)), (_real(700, 600),)),
    "inverse": (pnp.linalg.inv, (_real(300, 300),)),
    "many solves": (pnp.linalg.solve, (_real(3000, 4, 4), _real(3000, 4, 2))),
    "many factors": (lambda x: (lax.linalg.lu(x), lax.linalg.qr(x)), (_real(70, 33, 33),)),
    "many spectra": (lambda x: (lax.linalg.svd(x), lax.linalg.schur(x)), (_real(70, 20, 20),)),
    "complex product": (pnp.matmul, (_complex(300, 200), _complex(200, 150))),
    "argsort_long": (pnp.argsort, (_real(300_000).round(2),)),
    "irfft2": (pnp.fft.irfft2, (_complex(128, 129),)),
}


@pytest.fixture
def restored() -> Iterator[None]:
    before = pool.num_threads()
    yield
    library.set_num_threads(before)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("name", WORKLOADS)
def test_threads_do_not_change_bits(name: str) -> None:
    function, args = WORKLOADS[name]
    compiled = pb.jit(function)
    found = []
    for threads in (1, 2, 3, 4):
        library.set_num_threads(threads)
        for _ in range(3):
            leaves = pb.tree.leaves(compiled(*args))
            found.append([np.asarray(leaf).tobytes() for leaf in leaves])
    assert all(bits == found[0] for bits in found)

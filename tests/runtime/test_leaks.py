"""Memory stays flat: traces of new shapes, compiled programs, calls.

Measured in a process of its own: what is resident after a warm-up, against what is at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)

HEAD = """
import gc, os
import numpy as np
import pullback as pb, pullback.numpy as jnp
from pullback import lax

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def growth(step, warm, measured):
    for i in range(warm):
        step(i)
    before = resident()
    for i in range(warm, warm + measured):
        step(i)
    print(resident() - before)
"""

TRACES = """
f = pb.jit(lambda x: jnp.sum(jnp.sin(x) * x))
rows = pb.jit(lambda x, y: lax.scan(lambda c, v: (c * v + y[0], c), x[0], x)[0])
loss = lambda x: jnp.sum(jnp.tanh(x) @ x.T)

def struct(*shape):
    return pb.ShapeDtypeStruct(shape, "float32")

def step(i):
    f.trace(struct(i + 1))
    if i % 10 == 0:
        pb.make_jaxpr(pb.grad(loss))(struct(i + 1, 3))
    if i % 50 == 0:
        rows.trace(struct(i + 1), struct(2))
        pb.make_jaxpr(pb.vmap(pb.checkpoint(loss)))(struct(2, i + 1, 3))

growth(step, 5_000, 5_000)
"""

MODULES = """
from pullback.llvm import jit

def step(i):
    code = jit.compile_object("define i32 @f() { ret i32 %d }" % i, name="f")
    assert jit.load(code, {}).address("f")

growth(step, 100, 500)
"""

PROGRAMS = """
pb.config.update("pullback_executables_bytes", 100 << 10)
f = pb.jit(lambda x: jnp.sin(x) * x + 1)

def step(i):
    x = np.ones(i + 1, np.float32)
    for _ in range(3):
        assert f(x).shape == (i + 1,)

growth(step, 60, 100)
"""

CALLS = """
f = pb.jit(lambda x, i: (jnp.sin(x)[i], {"a": x + i}))
x = jnp.ones(64)
big = jnp.ones(1 << 16)

def step(i):
    f(x, i % 64)
    y = x * 2 + i
    pb.vmap(lambda v: v * y)(x)
    pb.grad(lambda v: jnp.sum(v * y))(x)
    jnp.sin(big)

growth(step, 500, 2_000)
"""


@pytest.mark.parametrize(
    ("program", "mebibytes"),
    [(TRACES, 4.0), (MODULES, 2.0), (PROGRAMS, 4.0), (CALLS, 4.0)],
    ids=["traces", "modules", "programs", "calls"],
)
def test_memory_is_flat(program: str, mebibytes: float) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < mebibytes

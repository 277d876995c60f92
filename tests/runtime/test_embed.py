"""Functions compiled for C: called by ctypes, and from a C program."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, nn, random
from pullback.errors import UnsupportedError
from pullback.llvm import embedding, jit
from pullback.runtime.embed import Embedded, embed, shared_library
from tests.hlo import training_steps

EXAMPLE = Path(__file__).parents[2] / "examples" / "embedding"
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler `cc`")


def _embedded(f: Any, args: Sequence[Any], cpu: str = "", triple: str = "") -> Embedded:
    jitted = f if hasattr(f, "trace") else pb.jit(f)
    return embed(jitted.trace(*args)._signature, embedding.target(cpu, triple), "f")


def _physical(x: Any) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(pb.random.key_data(x) if _is_key(x) else x)


def _is_key(x: Any) -> bool:
    return isinstance(x, pb.Array) and jnp.issubdtype(x.dtype, pb.dtypes.prng_key)


def _loaded(made: Embedded, folder: Path) -> ctypes.CDLL:
    (folder / "f.o").write_bytes(made.code)
    shared_library(folder / "f.o", folder / "libf.so")
    return ctypes.CDLL(str(folder / "libf.so"))


def _unaligned(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of an array in memory that is aligned to one element."""
    size = data.itemsize
    room = np.zeros(data.nbytes + 64 + size, np.uint8)
    start = -room.ctypes.data % 64 + size
    place = room[start : start + data.nbytes]
    place[:] = np.frombuffer(data.tobytes(), np.uint8)
    return place


def _called(
    made: Embedded,
    library: ctypes.CDLL,
    arguments: Sequence[np.ndarray[Any, Any]],
    suffix: str = "",
) -> list[np.ndarray[Any, Any]]:
    """The results of the shared library's function."""
    types = [pb.dtypes.canonicalize_dtype(o.dtype) for o in made.outputs]
    outs = [
        _unaligned(np.zeros(o.nbytes // t.itemsize, t))
        for o, t in zip(made.outputs, types, strict=True)
    ]
    room = np.zeros(made.workspace + 64, np.uint8)
    ins = list(map(_unaligned, arguments))
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*ins, *outs)]
    if suffix:
        pointers.append(ctypes.c_void_p(room.ctypes.data + -room.ctypes.data % 64))
    status = getattr(library, f"f{suffix}")(*pointers)
    assert status == 0
    return outs


def _compare(f: Callable[..., Any], args: Sequence[Any], folder: Path, cpu: str = "") -> None:
    made = _embedded(f, args, cpu)
    library = _loaded(made, folder)
    leaves = [_physical(x) for x in pb.tree.leaves(tuple(args))]
    for suffix in ("", "_with_workspace"):
        outs = _called(made, library, leaves, suffix)
        for want, got in zip(pb.tree.leaves(pb.jit(f)(*args)), outs, strict=True):
            expected = np.asarray(want)
            elements = got[: expected.nbytes].view(expected.dtype).reshape(expected.shape)
            if cpu or expected.dtype.kind not in "fc":
                np.testing.assert_allclose(elements, expected, 1e-5, 1e-6)
            else:
                np.testing.assert_array_equal(elements, expected)


X = np.linspace(-2, 2, 60, dtype=np.float32).reshape(12, 5)
BIG = np.random.default_rng(0).normal(size=(512, 384)).astype(np.float32)
TABLE = np.random.default_rng(1).normal(size=4000)


def _loops(x: Any) -> Any:
    sums, rows = lax.scan(lambda c, r: (c + r, jnp.tanh(c)), jnp.zeros(5), x)
    grown = lax.while_loop(lambda v: v.sum() < 100, lambda v: v * 1.5 + 1, jnp.ones(3))
    return sums, rows, grown, lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x)


FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elements": (lambda x: (jnp.exp(x) + 1, x > 0, (x * 3).astype(int)), (X,)),
    "nothing to compute": (lambda x, y: (y, jnp.arange(3), x, 2.5), (X, np.int32(7))),
    "without arguments": (lambda: jnp.sin(jnp.arange(4.0)), ()),
    "product in parallel": (lambda a: nn.softmax(a @ a.T), (BIG,)),
    "convolution": (
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME"),
        (BIG[:4, :256].reshape(4, 1, 16, 16), BIG[:3, :9].reshape(3, 1, 3, 3)),
    ),
    "transform": (lambda x: jnp.fft.fft(x, axis=0), (BIG[:64, :32],)),
    "sorted": (lambda x: (jnp.sort(x), jnp.argsort(x, axis=0), lax.top_k(x, 3)), (BIG,)),
    "loops": (_loops, (X,)),
    "random": (lambda s: random.normal(random.key(s), (7, 3)), (np.uint32(3),)),
    "large constants": (lambda x: jnp.asarray(TABLE, jnp.float32)[:5] * x, (X,)),
    "half": (lambda x: (x.astype(jnp.bfloat16) * 3, x.astype(jnp.float16)), (X,)),
    "complex": (lambda x: (x[0] + 1j * x[1]) ** 2, (X,)),
    "gradient": (
        pb.value_and_grad(lambda p, x: jnp.mean((jnp.tanh(x @ p["w"]) @ p["v"]) ** 2)),
        ({"w": BIG[:5, :16], "v": BIG[:16, 0]}, X),
    ),
    "empty": (lambda x: (x[:0], x.sum()), (X,)),
}


@needs_cc
@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_as_in_python(name: str, tmp_path: Path) -> None:
    f, args = FUNCTIONS[name]
    _compare(f, args, tmp_path)


@needs_cc
@pytest.mark.parametrize("name", ["digits", "transformer"])
def test_training_steps(name: str, tmp_path: Path) -> None:
    step, args = (getattr(training_steps, f"{name}_{what}") for what in ("step", "args"))
    fun = step.__wrapped__  # whose arguments are not donated
    _compare(fun, args(), tmp_path)


@needs_cc
def test_threads_change_nothing(tmp_path: Path) -> None:
    f, args = FUNCTIONS["product in parallel"]
    made = _embedded(f, args)
    library = _loaded(made, tmp_path)
    found = []
    for count in (1, 2, 5, 0):
        library.f_set_threads(count)
        found.append(_called(made, library, args)[0].tobytes())
    assert len(set(found)) == 1


@needs_cc
@pytest.mark.skipif(jit.vector_bits() < 256, reason="the processor has no vectors of 256 bits")
@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
def test_other_processors_of_the_architecture(cpu: str, tmp_path: Path) -> None:
    for name in ("product in parallel", "loops", "sorted", "half"):
        f, args = FUNCTIONS[name]
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        _compare(f, args, folder, cpu)
    assert embedding.target(cpu).bits == (256 if cpu.endswith("v3") else 128)


@pytest.mark.skipif(sys.platform != "linux", reason="files of other systems begin otherwise")
def test_another_architecture() -> None:
    f, args = FUNCTIONS["product in parallel"]
    made = _embedded(f, args, "cortex-a72", "aarch64-unknown-linux-gnu")
    assert made.code[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", made.code, 18) == (183,)  # EM_AARCH64
    assert not made.target.is_host or "aarch64" in jit.binding.get_process_triple()


def test_what_no_processor_is() -> None:
    with pytest.raises(UnsupportedError, match="No available targets"):
        embedding.target("", "abacus-unknown-linux-gnu")
    with pytest.raises(UnsupportedError, match="not a recognized processor"):
        embedding.target("abacus", "aarch64-unknown-linux-gnu")
    with pytest.raises(UnsupportedError, match="64-bit code requested"):
        embedding.target("athlon", "x86_64-unknown-linux-gnu")
    with pytest.raises(UnsupportedError, match="POSIX threads"):
        embedding.target("", "x86_64-pc-windows-msvc")


def test_operations_that_need_a_library() -> None:
    square = np.eye(100, dtype=np.float32)

    def looped(x: Any) -> Any:
        return lax.scan(lambda c, _: (c @ c, c), x, None, 2)

    wrong: list[tuple[Callable[..., Any], Any, str]] = [
        (jnp.linalg.cholesky, square, "cholesky .* spotrf, of LAPACK or BLAS"),
        (looped, square + 1j, "dot_general .* cgemm, of LAPACK or BLAS"),
        (lambda x: pb.scipy.special.gammainc(x, x), X, "igamma .* of SciPy's special functions"),
    ]
    for f, args, message in wrong:
        with pytest.raises(UnsupportedError, match=message):
            _embedded(f, (args,))


def test_what_stays_in_python() -> None:
    ref = pb.new_ref(jnp.ones(3))
    with pytest.raises(UnsupportedError, match="references"):
        _embedded(lambda x: ref[...] + x, (np.float32(1),))
    shape = pb.ShapeDtypeStruct((), np.float32)
    with pytest.raises(UnsupportedError, match="calls the Python function"):
        _embedded(lambda x: pb.pure_callback(np.sin, shape, x), (np.float32(1),))


def test_header() -> None:
    def f(p: Any, int: Any) -> Any:
        return {"a-b": p["w"].sum(), "c": (int.astype(complex), p["w"] > 0)}

    made = _embedded(f, ({"w": X}, np.int32(3)))
    assert [x.name for x in made.inputs] == ["args_0_w", "args_1"]
    assert [x.name for x in made.outputs] == ["result_a_b", "result_c_0", "result_c_1"]
    for text in (
        "const float *args_0_w,",
        "const int32_t *args_1,",
        "args_0_w: float32[12, 5] (args[0]['w'])",
        "result_c_0: complex64[], each a real and an imaginary part",
        "uint8_t *result_c_1",
        "#define F_OUT_OF_MEMORY 1",
        f"#define F_WORKSPACE_BYTES {made.workspace}\n",
    ):
        assert text in made.header


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler `c++`")
def test_header_in_other_languages(tmp_path: Path) -> None:
    (tmp_path / "f.h").write_text(_embedded(*FUNCTIONS["gradient"]).header)
    (tmp_path / "main.cpp").write_text('#include "f.h"\nint main() { return F_OK; }\n')
    command = "c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only main.cpp"
    subprocess.run(command.split(), cwd=tmp_path, check=True)


@needs_cc
def test_two_programs_in_one(tmp_path: Path) -> None:
    """Nothing but the entry points is visible, so that names do not clash."""
    for name in ("first", "second"):
        trace = pb.jit(lambda a, n=name: (a @ a.T).sum() + len(n)).trace(BIG)
        made = embed(trace._signature, embedding.target(), name)
        (tmp_path / f"{name}.o").write_bytes(made.code)
        (tmp_path / f"{name}.h").write_text(made.header)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "first.h"\n#include "second.h"\n'
        "static float a[512 * 384], x, y;\n"
        "int main(void) {\n  first_set_threads(2);\n"
        "  if (first(a, &x) || second(a, &y)) return 1;\n"
        '  printf("%g %g", x, y);\n  return 0;\n}\n'
    )
    command = "cc -Wall -Werror -o main main.c first.o second.o -lm -pthread"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    done = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True, check=True)
    assert done.stdout == "5 6"


@needs_cc
def test_example(tmp_path: Path) -> None:
    """The example's model learns in C what it learns in Python."""
    model = f"{EXAMPLE / 'model.py'}"
    command = [sys.executable, "-m", "pullback", "compile", f"{model}:step", "--args"]
    command += [f"{model}:args", "--target", "c", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} >= {"step.o", "step.h"}
    link = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}"]
    link += ["-o", str(tmp_path / "train"), str(EXAMPLE / "main.c"), str(tmp_path / "step.o")]
    subprocess.run([*link, "-lm", "-pthread"], check=True)
    run = subprocess.run([str(tmp_path / "train")], capture_output=True, text=True, check=True)
    losses = [float(line.split()[-1]) for line in run.stdout.splitlines()]
    python = subprocess.run(
        [sys.executable, model], capture_output=True, text=True, check=True
    ).stdout
    expected = [float(line.split()[-1]) for line in python.splitlines()]
    assert len(losses) == len(expected) > 3
    assert losses[-1] < 0.1 * losses[0]
    np.testing.assert_allclose(losses, expected, rtol=2e-2)

"""Files that JAX wrote, called here; files with damage, which are errors and nothing else."""

from __future__ import annotations

import contextlib
import random as python_random
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import export
from pullback.core.avals import ShapedArray
from pullback.export import container
from pullback.hlo import parsing, printing, vhlo
from tests.export import programs
from tests.export.programs import FILES, modules_of_ours, sample, words

OURS = modules_of_ours()
PROGRAMS = programs.programs(OURS)
SYMBOLIC = programs.symbolic_programs(OURS)
RESULTS = np.load(FILES / "results.npz")


def _expected(name: str) -> list[np.ndarray[Any, Any]]:
    found = [k for k in RESULTS.files if k.rpartition(".")[0] == name]
    return [RESULTS[k] for k in sorted(found, key=lambda k: int(k.rpartition(".")[2]))]


def _same(outs: Any, want: Any) -> None:
    got = [words(x) for x in pb.tree.leaves(outs)]
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.astype(complex), b.astype(complex), 2e-5, 2e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_file_of_jax(name: str) -> None:
    exported = export.deserialize((FILES / f"{name}.jax").read_bytes())
    _same(exported.call(*PROGRAMS[name][1]), _expected(name))


@pytest.mark.parametrize("name", SYMBOLIC)
def test_a_symbolic_file_of_jax(name: str) -> None:
    exported = export.deserialize((FILES / f"symbolic_{name}.jax").read_bytes())
    args = [sample(s, {"b": 4, "c": 3}) for s in SYMBOLIC[name][1]]
    _same(exported.call(*args), _expected(f"symbolic_{name}"))


@pytest.mark.parametrize("name", ["mlp", "conv", "scan"])
def test_derivatives_of_a_file_of_jax(name: str) -> None:
    fun, args = PROGRAMS[name]
    exported = export.deserialize((FILES / f"{name}.jax").read_bytes())

    def total(call: Any) -> Any:
        return lambda *xs: sum((x**2).sum() for x in pb.tree.leaves(call(*xs)))

    got, want = pb.grad(total(exported.call))(*args), pb.grad(total(fun))(*args)
    for a, b in zip(pb.tree.leaves(got), pb.tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), 1e-4, 1e-4)
    with pytest.raises(ValueError, match="no derivative"):
        exported.vjp().vjp()


@pytest.mark.parametrize("path", sorted(FILES.glob("*.jax")), ids=lambda p: p.stem)
def test_bytecode_as_text_is_the_same_program(path: Any) -> None:
    """What is read from bytecode, printed, and read from the text, is printed the same."""
    data = container.read_file(path.read_bytes()).module
    text = printing.text_of(vhlo.read_artifact(data))
    assert printing.text_of(parsing.parse(text)) == text


def _load(data: bytes) -> None:
    """Read a file and make its program, without running it."""
    exported = export.deserialize(data)
    sizes = {"b": 4, "c": 3}
    shapes = [
        tuple(n if isinstance(n, int) else sizes.get(str(n), 4) for n in a.shape)
        for a in exported.in_avals
    ]
    exported._program(
        tuple(ShapedArray(s, a.dtype) for s, a in zip(shapes, exported.in_avals, strict=True))
    )


def test_damaged_files_are_errors_and_nothing_else() -> None:
    """With bytes changed or cut off, a file is an error or another program that is in order."""
    blobs = [path.read_bytes() for path in sorted(FILES.glob("*.jax"))]
    blobs.append(bytes(export.export(pb.jit(PROGRAMS["sort"][0]))(programs.X).serialize()))
    source = python_random.Random(0)
    read = 0
    for _ in range(400):
        data = bytearray(source.choice(blobs))
        for _ in range(source.choice([1, 1, 2, 10])):
            data[source.randrange(len(data))] = source.randrange(256)
        cut = source.randrange(len(data)) if source.random() < 0.1 else len(data)
        with contextlib.suppress(ValueError, NotImplementedError):
            _load(bytes(data[:cut]))
            read += 1
    assert 20 < read < 380


def test_cut_files_are_errors() -> None:
    blob = (FILES / "mlp.jax").read_bytes()
    for size in range(0, len(blob) // 2, 97):
        with pytest.raises(export.ArtifactError):
            _load(blob[:size])


def test_functions_that_call_each_other_are_bounded() -> None:
    """Each function calls the next one twice: as many calls as powers of two."""
    head = "tensor<i32>"
    texts = [
        f"func.func private @f{k}(%x: {head}) -> {head} {{\n"
        f"  %c = stablehlo.constant dense<{k}> : {head}\n"
        f"  %0 = call @f{k + 1}(%x) : ({head}) -> {head}\n"
        f"  %1 = stablehlo.add %0, %c : {head}\n"
        f"  %2 = call @f{k + 1}(%1) : ({head}) -> {head}\n"
        f"  return %2 : {head}\n}}"
        for k in range(40)
    ]
    texts.append(f"func.func private @f40(%x: {head}) -> {head} {{ return %x : {head} }}")
    texts.append(
        f"func.func @main() -> {head} {{\n %c = stablehlo.constant dense<0> : {head}\n"
        f" %0 = call @f0(%c) : ({head}) -> {head}\n return %0 : {head} }}"
    )
    with pytest.raises(export.ArtifactError, match="too often"):
        export.import_stablehlo("\n".join(texts))()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = call @main(%x) : (tensor<2xf32>) -> tensor<2xf32>", "calls itself"),
        ("%0 = call @none(%x) : (tensor<2xf32>) -> tensor<2xf32>", "no function"),
        ("%0 = stablehlo.add %x, %y : tensor<2xf32>", "before it is defined"),
        ("%0 = stablehlo.reshape %x : (tensor<2xf32>) -> tensor<3xf32>", "reshape"),
        ("%0 = stablehlo.add %x, %x : tensor<2xf33>", "f33"),
        ("%0 = stablehlo.constant dense<[1.0]> : tensor<999999999999xf32", "missing"),
        ("%0 = " + "((" * 5000, "missing|nested"),
        (
            '%0 = "stablehlo.gather"(%x, %x) <{dimension_numbers = #stablehlo.gather<'
            "offset_dims = [5], start_index_map = [0]>, slice_sizes = array<i64: 1>}> "
            ": (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>",
            "not in order",
        ),
        ('%0 = stablehlo.custom_call @system(%x) {a = "b"} : (tensor<2xf32>) -> tensor<2xf32>',
         "outside of the module"),
    ],
)  # fmt: skip
def test_modules_that_are_not_in_order(body: str, message: str) -> None:
    type_ = "tensor<2xf32>"
    text = f"func.func @main(%x: {type_}) -> {type_} {{\n{body}\nreturn %0 : {type_}\n}}"
    with pytest.raises((export.ArtifactError, NotImplementedError), match=message):
        export.import_stablehlo(text)(np.ones(2, np.float32))

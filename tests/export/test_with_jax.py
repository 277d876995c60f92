"""Files of ours in JAX, and files of JAX here, made and called in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import export
from tests.export import programs
from tests.export.programs import modules_of_ours, sample

pytest.importorskip("jax")
pytest.importorskip("flatbuffers", reason="jax.export writes and reads files with it")
import jax
import jax.export

OURS = modules_of_ours()
JAX = programs.modules_of_jax()
PROGRAMS = programs.programs(OURS)
SYMBOLIC = programs.symbolic_programs(OURS)


def _plain(x: Any) -> np.ndarray[Any, Any]:
    if jax.dtypes.issubdtype(getattr(x, "dtype", np.float32), jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(x))
    return programs.words(x) if not isinstance(x, jax.Array) else np.asarray(x)


def _same(got: Any, want: Any) -> None:
    assert len(got) == len(want)
    for a, b in zip(map(_plain, got), map(_plain, want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a.astype(complex), b.astype(complex), 2e-5, 2e-5)


def _for_jax(x: Any) -> Any:
    return jax.random.key(3) if "key" in str(getattr(x, "dtype", "")) else x


@pytest.mark.parametrize("name", PROGRAMS)
def test_our_file_in_jax(name: str) -> None:
    fun, args = PROGRAMS[name]
    jitted = fun if hasattr(fun, "lower") else pb.jit(fun)
    exported = export.export(jitted)(*args)
    loaded = jax.export.deserialize(exported.serialize())
    outs = loaded.call(*map(_for_jax, jax.tree.map(np.asarray, args) if name != "keys" else args))
    _same(jax.tree.leaves(outs), pb.tree.leaves(exported.call(*args)))
    theirs, their_args = programs.programs(JAX)[name]
    want = jax.jit(theirs)(*their_args) if not hasattr(theirs, "lower") else theirs(*their_args)
    _same(jax.tree.leaves(outs), jax.tree.leaves(want))


@pytest.mark.parametrize("name", SYMBOLIC)
def test_our_symbolic_file_in_jax(name: str) -> None:
    fun, specs = SYMBOLIC[name]
    scope = export.SymbolicScope()
    types = [pb.ShapeDtypeStruct(export.symbolic_shape(s, scope=scope), np.float32) for s in specs]
    blob = export.export(pb.jit(fun))(*types).serialize(vjp_order=1)
    here, there = export.deserialize(blob), jax.export.deserialize(blob)
    assert [str(a) for a in here.in_avals] == [
        str(a).replace("float32", "f32") for a in there.in_avals
    ]
    for sizes in ({"b": 4, "c": 3}, {"b": 2, "c": 5}, {"b": 1, "c": 1}):
        args = [sample(s, sizes) for s in specs]
        want = pb.tree.leaves(pb.jit(fun)(*args))
        _same(pb.tree.leaves(here.call(*args)), want)
        _same(jax.tree.leaves(there.call(*args)), want)


@pytest.mark.parametrize("order", [1, 2])
def test_our_derivatives_in_jax(order: int) -> None:
    def f(x: Any, n: Any) -> Any:
        return (pb.numpy.sin(x) * n).sum(), n + 1

    x, n = programs.X, np.int32(3)
    blob = export.export(pb.jit(f))(x, n).serialize(vjp_order=order)
    loaded = jax.export.deserialize(blob)
    got: Any = lambda x: loaded.call(x, n)[0]  # noqa: E731
    want: Any = lambda x: (jax.numpy.sin(x) * n).sum()  # noqa: E731
    for _ in range(order):
        got, want = (jax.grad(lambda x, f=f: f(x).sum()) for f in (got, want))
    np.testing.assert_allclose(got(x), want(x), 1e-5, 1e-5)


def test_derivatives_with_symbolic_shapes_in_jax() -> None:
    def f(x: Any, w: Any) -> Any:
        return pb.numpy.tanh(x @ w).sum(1)

    types = [
        pb.ShapeDtypeStruct(export.symbolic_shape("b, 3"), np.float32),
        pb.ShapeDtypeStruct((3, 2), np.float32),
    ]
    blob = export.export(pb.jit(f))(*types).serialize(vjp_order=1)
    w = np.ones((3, 2), np.float32)
    ours, theirs = export.deserialize(blob), jax.export.deserialize(blob)
    want = jax.grad(lambda w: jax.numpy.tanh(programs.X @ w).sum())(w)
    np.testing.assert_allclose(jax.grad(lambda w: theirs.call(programs.X, w).sum())(w), want, 1e-5)
    got = pb.grad(lambda w: ours.call(programs.X, w).sum())(w)
    np.testing.assert_allclose(np.asarray(got), want, 1e-5)


def test_classes_have_the_same_names_in_both() -> None:
    class Box:
        def __init__(self, x: Any, label: str) -> None:
            self.x, self.label = x, label

    for tree_util, module in ((jax.tree_util, jax.export), (pb.tree_util, export)):
        tree_util.register_pytree_node(
            Box, lambda b: ((b.x,), b.label), lambda label, xs: Box(xs[0], label)
        )
        module.register_pytree_node_serialization(
            Box,
            serialized_name="tests.Box",
            serialize_auxdata=str.encode,
            deserialize_auxdata=lambda data: bytes(data).decode(),
        )
    blob = export.export(pb.jit(lambda b: Box(b.x + 1, "out")))(Box(programs.X, "in")).serialize()
    out = jax.export.deserialize(blob).call(Box(programs.X, "in"))
    assert out.label == "out"
    np.testing.assert_allclose(out.x, programs.X + 1)


def test_shapes_that_do_not_fit_are_errors_there_and_here() -> None:
    types = [pb.ShapeDtypeStruct(export.symbolic_shape("2*b, 3"), np.float32)]
    blob = export.export(pb.jit(lambda x: x + 1))(*types).serialize()
    wrong = np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match="Input shapes do not match"):
        export.deserialize(blob).call(wrong)
    with pytest.raises(ValueError, match="shape"):
        jax.export.deserialize(blob).call(wrong)

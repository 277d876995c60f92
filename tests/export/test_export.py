"""Exported programs: files and back, derivatives, errors, and bytes that are not in order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import pullback as pb
from pullback import export, lax, nn
from pullback import numpy as jnp
from pullback.errors import UnsupportedError
from tests.hlo.structure import check_text

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def _model(params: Any, x: Any) -> Any:
    def step(c: Any, row: Any) -> Any:
        return jnp.tanh(c @ params["w"] + row), c

    last, all_ = lax.scan(step, jnp.zeros(3), x)
    picked = all_.at[jnp.array([0, 5])].add(1.0, mode="drop")[:, ::-1]
    return {"last": nn.relu(last) + params["b"][0], "rest": [picked, lax.top_k(last, 2)[1]]}


PARAMS = {"w": np.eye(3, dtype=np.float32) * 0.5, "b": (np.float32(0.25), np.int32(3))}


def _there_and_back(fun: Any, *args: Any, vjp_order: int = 0) -> export.Exported:
    blob = export.export(pb.jit(fun))(*args).serialize(vjp_order=vjp_order)
    assert isinstance(blob, bytearray)
    return export.deserialize(blob)


def _same(got: Any, want: Any) -> None:
    assert pb.tree.structure(got) == pb.tree.structure(want)
    for a, b in zip(pb.tree.leaves(got), pb.tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), 1e-6, 1e-6)


def test_a_program_survives_the_file() -> None:
    again = _there_and_back(_model, PARAMS, X)
    _same(again.call(PARAMS, X), _model(PARAMS, X))
    assert again.fun_name == "_model"
    assert again.platforms == ("cpu",)
    check_text(again.mlir_module(), 4, 3)


def test_calls_may_be_jitted_and_mapped() -> None:
    again = _there_and_back(lambda x: jnp.sin(x) * 2, X)
    _same(pb.jit(lambda x: again.call(x) + 1)(X), np.sin(X) * 2 + 1)
    many = np.stack([X, 2 * X])
    _same(pb.vmap(again.call)(many), np.sin(many) * 2)


def test_derivatives_to_the_exported_order() -> None:
    def f(x: Any) -> Any:
        return jnp.sum(jnp.sin(x) ** 3)

    again = _there_and_back(f, X, vjp_order=2)
    _same(pb.grad(again.call)(X), pb.grad(f)(X))
    second = pb.grad(lambda x: pb.grad(again.call)(x).sum())(X)
    _same(second, pb.grad(lambda x: pb.grad(f)(x).sum())(X))
    with pytest.raises(ValueError, match="vjp_order"):
        pb.grad(lambda x: pb.grad(lambda y: pb.grad(again.call)(y).sum())(x).sum())(X)


def test_custom_rules_are_kept_by_derivatives() -> None:
    @pb.custom_vjp
    def f(x: Any) -> Any:
        return jnp.sin(x)

    f.defvjp(lambda x: (f(x), x), lambda x, ct: (7.0 * ct,))
    again = _there_and_back(f, np.float32(1), vjp_order=1)
    assert float(pb.grad(again.call)(jnp.float32(1.0))) == 7.0


def test_integer_arguments_have_no_cotangents() -> None:
    def f(x: Any, n: Any) -> Any:
        return x * n, n + 1

    again = _there_and_back(f, jnp.float32(2), jnp.int32(3), vjp_order=1)
    grad = pb.grad(lambda x: again.call(x, jnp.int32(3))[0])(jnp.float32(2))
    assert float(grad) == 3.0


def test_random_keys_and_constants() -> None:
    table = jnp.arange(1000.0)
    key = pb.random.key(3)

    def f(i: Any) -> Any:
        return table[i] + pb.random.normal(key, (2,))

    _same(_there_and_back(f, jnp.int32(7)).call(jnp.int32(7)), f(7))


def test_other_types_and_platforms_are_errors() -> None:
    exported = export.export(pb.jit(jnp.sin), platforms=["tpu"])(X)
    with pytest.raises(ValueError, match="exported for tpu"):
        exported.call(X)
    with pytest.raises(ValueError, match="leaf 0"):
        exported.call(X[0])
    with pytest.raises(ValueError, match="arguments"):
        exported.call(X, X)
    out = pb.ShapeDtypeStruct(X.shape, X.dtype)
    with pytest.raises(UnsupportedError, match="callback"):
        export.export(pb.jit(lambda x: pb.pure_callback(np.sin, out, x)))(X)


def test_structures_with_classes() -> None:
    class Pair(NamedTuple):
        a: Any
        b: Any

    class Labelled:
        def __init__(self, x: Any, label: str) -> None:
            self.x, self.label = x, label

    pb.tree_util.register_pytree_node(
        Labelled, lambda v: ((v.x,), v.label), lambda label, xs: Labelled(xs[0], label)
    )
    exporting = export.export(pb.jit(lambda p, v: (p.a + p.b, v)))(Pair(X, X), Labelled(X, "l"))
    with pytest.raises(ValueError, match="register_"):
        exporting.serialize()
    export.register_namedtuple_serialization(Pair, serialized_name="tests.Pair")
    export.register_pytree_node_serialization(
        Labelled,
        serialized_name="tests.Labelled",
        serialize_auxdata=str.encode,
        deserialize_auxdata=lambda data: bytes(data).decode(),
    )
    again = export.deserialize(exporting.serialize())
    total, kept = again.call(Pair(X, X), Labelled(X, "l"))
    _same(total, 2 * X)
    assert kept.label == "l"
    with pytest.raises(ValueError, match="exported for arguments"):
        again.call(Pair(X, X), Labelled(X, "other"))
    with pytest.raises(ValueError, match="registered already"):
        export.register_namedtuple_serialization(Pair, serialized_name="tests.Other")


def test_keys_are_words_in_files_and_keys_outside() -> None:
    def f(key: Any) -> Any:
        return pb.random.split(key), pb.random.normal(key, (3,))

    key = pb.random.key(7)
    again = _there_and_back(f, key)
    keys, numbers = again.call(key)
    assert keys.dtype == key.dtype
    np.testing.assert_array_equal(pb.random.key_data(keys), pb.random.key_data(f(key)[0]))
    np.testing.assert_array_equal(numbers, f(key)[1])


def test_one_module_for_several_platforms() -> None:
    def f(x: Any) -> Any:
        return lax.platform_dependent(x, cpu=lambda x: x + 1, tpu=lambda x: x + 2)

    exported = export.export(pb.jit(f), platforms=["tpu", "cpu"])(X)
    assert exported.uses_global_constants
    _same(export.deserialize(exported.serialize()).call(X), X + 1)


def test_types_of_64_bits_stay_what_they_are() -> None:
    with pb.enable_x64(True):
        big = np.asarray([2**40, -3])
        blob = export.export(pb.jit(lambda x: x * 3 + 2**41))(big).serialize()
        want = big * 3 + 2**41
        assert np.asarray(export.deserialize(blob).call(big)).tolist() == want.tolist()


def test_cotangents_of_integers_are_trivial() -> None:
    exported = export.export(pb.jit(lambda x, n: (x * n, n + 1)))(np.float32(2), np.int32(3))
    pull = exported.vjp()
    assert [a.dtype for a in pull.in_avals[:3]] == [np.float32, np.int32, np.float32]
    assert pull.in_avals[3].dtype == pb.dtypes.float0
    assert pull.module_kept_var_idx == (0, 1, 2)

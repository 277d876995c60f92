"""Exported programs: files and back, derivatives, errors, and bytes that are not in order."""

from __future__ import annotations

import contextlib
import json
import random as python_random
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import export, lax, nn
from pullback import numpy as jnp
from pullback.errors import UnsupportedError
from pullback.runtime import artifact
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
    assert isinstance(blob, bytes)
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
    calling = export.export(pb.jit(lambda x: pb.pure_callback(np.sin, out, x)))(X)
    with pytest.raises(UnsupportedError, match="pure_callback"):
        calling.serialize()
    with pytest.raises(UnsupportedError, match="known shapes"):
        export.symbolic_shape("a, 3")


def test_damaged_bytes_are_errors_and_nothing_else() -> None:
    """Cut off, or with any byte changed, a file is an error or another program that is in order."""
    blob = export.export(pb.jit(lambda x: jnp.sort(x * 2, axis=1)))(X).serialize()
    for size in range(0, len(blob), 37):
        with pytest.raises(export.ArtifactError):
            export.deserialize(blob[:size])
    source = python_random.Random(0)
    for _ in range(150):
        damaged = bytearray(blob)
        damaged[source.randrange(len(damaged))] = source.randrange(256)
        with contextlib.suppress(export.ArtifactError):
            export.deserialize(bytes(damaged))


def test_host_operations_and_false_types_are_refused() -> None:
    blob = export.export(pb.jit(jnp.sin))(X).serialize()
    header, data = artifact.unpack(blob)

    def changed(edit: Any) -> bytes:
        copy = json.loads(json.dumps(header))
        edit(copy["exported"]["program"]["jaxpr"])
        return artifact.pack(copy, [bytes(data)])

    def rename(jaxpr: Any) -> None:
        jaxpr["eqns"][0][0] = "pure_callback"

    def retype(jaxpr: Any) -> None:
        jaxpr["eqns"][0][3][0] = [[2, 2], "float32", False]

    def loop(jaxpr: Any) -> None:
        jaxpr["eqns"][0][1] = [99]

    for edit in (rename, retype, loop):
        with pytest.raises(export.ArtifactError):
            export.deserialize(changed(edit))

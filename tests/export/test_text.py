"""StableHLO text: JAX's, in its short forms, and modules that neither of us would write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import export
from pullback import numpy as jnp
from pullback.errors import UnsupportedError
from tests.export import programs
from tests.export.programs import modules_of_ours, words

PROGRAMS = programs.programs(modules_of_ours())


def _same(got: Any, want: Any) -> None:
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a.astype(complex), b.astype(complex), 2e-5, 2e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_short_forms_as_jax_prints_them(name: str) -> None:
    pytest.importorskip("jax")
    import jax
    import jax.export

    fun, args = programs.programs(programs.modules_of_jax())[name]
    jitted = fun if hasattr(fun, "lower") else jax.jit(fun)
    exported = jax.export.export(jitted)(*args)
    leaves = [
        np.asarray(jax.random.key_data(x) if name == "keys" else x) for x in jax.tree.leaves(args)
    ]
    call = export.import_stablehlo(exported.mlir_module())
    got = call(*(leaves[k] for k in exported.module_kept_var_idx))
    outs = jax.tree.leaves(exported.call(*args))
    _same([words(x) for x in got], [np.asarray(x) for x in outs])


@pytest.mark.parametrize("name", PROGRAMS)
def test_our_own_text(name: str) -> None:
    fun, args = PROGRAMS[name]
    jitted = fun if hasattr(fun, "lower") else pb.jit(fun)
    exported = export.export(jitted)(*args)
    call = export.import_stablehlo(exported.mlir_module())
    plain = [words(x) for x in pb.tree.leaves(args)]
    got = call(*(plain[k] for k in exported.module_kept_var_idx))
    _same([words(x) for x in got], [words(x) for x in pb.tree.leaves(jitted(*args))])


def _run(body: str, types: str, result: str, *args: Any) -> np.ndarray[Any, Any]:
    names = ", ".join(f"%{n}: {t}" for n, t in zip("xyz", types.split(";"), strict=False))
    text = f"func.func @main({names}) -> {result} {{\n{body}\n  return %r : {result}\n}}"
    return np.asarray(export.import_stablehlo(text)(*args)[0])


VECTOR = "tensor<7xf32>"
_SORT = """  %r = "stablehlo.sort"(%x) <{{dimension = 0 : i64, is_stable = true}}> ({{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
{}
    stablehlo.return %p : tensor<i1>
  }}) : (tensor<7xf32>) -> tensor<7xf32>"""
_PAIR = "(tensor<f32>, tensor<f32>) -> tensor<i1>"


@pytest.mark.parametrize(
    ("comparison", "key"),
    [
        (f"    %p = stablehlo.compare GT, %a, %b, FLOAT : {_PAIR}", lambda v: -v),
        (
            "    %c = stablehlo.abs %a : tensor<f32>\n    %d = stablehlo.abs %b : tensor<f32>\n"
            f"    %p = stablehlo.compare LT, %c, %d, FLOAT : {_PAIR}",
            abs,
        ),
        (
            # |a| - |b| < 0: no comparison of keys
            "    %c = stablehlo.abs %a : tensor<f32>\n    %d = stablehlo.abs %b : tensor<f32>\n"
            "    %e = stablehlo.subtract %c, %d : tensor<f32>\n"
            "    %z = stablehlo.constant dense<0.0> : tensor<f32>\n"
            f"    %p = stablehlo.compare LT, %e, %z, FLOAT : {_PAIR}",
            abs,
        ),
    ],
)
def test_any_order_of_a_sort(comparison: str, key: Any) -> None:
    x = np.asarray([3, -1, 2, -2, 0.5, 1, -0.5], np.float32)
    got = _run(_SORT.format(comparison), VECTOR, VECTOR, x)
    assert got.tolist() == sorted(x.tolist(), key=key)


def test_total_order_tells_zeros_apart() -> None:
    x = np.asarray([0.0, -0.0, np.nan, 1, -np.inf, -0.0, -1], np.float32)
    body = _SORT.format(f"    %p = stablehlo.compare LT, %a, %b, TOTALORDER : {_PAIR}")
    got = _run(body, VECTOR, VECTOR, x)
    assert np.signbit(got).tolist() == [True, True, True, True, False, False, False]
    assert np.isnan(got[-1])


def test_clamped_positions_are_not_counted_from_the_end() -> None:
    body = (
        "  %r = stablehlo.dynamic_slice %x, %y, sizes = [2] : (tensor<7xf32>, tensor<i32>) "
        "-> tensor<2xf32>"
    )
    x = np.arange(7, dtype=np.float32)
    got = _run(body, f"{VECTOR};tensor<i32>", "tensor<2xf32>", x, np.int32(-1))
    assert got.tolist() == [0, 1]


def test_reductions_by_functions_of_their_own() -> None:
    body = """  %c = stablehlo.constant dense<1.0> : tensor<f32>
  %r = stablehlo.reduce(%x init: %c) across dimensions = [0]
    : (tensor<7xf32>, tensor<f32>) -> tensor<f32>
   reducer(%a: tensor<f32>, %b: tensor<f32>) {
    %d = stablehlo.multiply %a, %b : tensor<f32>
    %e = stablehlo.add %d, %b : tensor<f32>
    stablehlo.return %e : tensor<f32>
  }"""
    x = np.zeros(7, np.float32)
    assert _run(body, VECTOR, "tensor<f32>", x) == 0.0
    applied = (
        "  %c = stablehlo.constant dense<2.0> : tensor<f32>\n"
        "  %r = stablehlo.reduce(%x init: %c) applies stablehlo.multiply across dimensions = [0] "
        ": (tensor<7xf32>, tensor<f32>) -> tensor<f32>"
    )
    assert _run(applied, VECTOR, "tensor<f32>", np.full(7, 2, np.float32)) == 256


def test_a_running_total_is_found_in_a_window() -> None:
    body = """  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %r = "stablehlo.reduce_window"(%x, %c) <{
    padding = dense<[[6, 0]]> : tensor<1x2xi64>, window_dimensions = array<i64: 7>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %s = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %s : tensor<f32>
  }) : (tensor<7xf32>, tensor<f32>) -> tensor<7xf32>"""
    text = f"func.func @main(%x: {VECTOR}) -> {VECTOR} {{\n{body}\n  return %r : {VECTOR}\n}}"
    call = export.import_stablehlo(text)
    x = np.arange(7, dtype=np.float32)
    np.testing.assert_array_equal(call(x)[0], np.cumsum(x))
    assert "cumsum" in str(pb.make_jaxpr(call)(x))


def test_imported_functions_are_differentiated_and_mapped() -> None:
    text = export.export(pb.jit(lambda x: jnp.sin(x) * x))(np.ones(3, np.float32)).mlir_module()
    call = export.import_stablehlo(text)
    x = np.asarray([0.5, 1, 2], np.float32)
    want = np.cos(x) * x + np.sin(x)
    np.testing.assert_allclose(pb.grad(lambda v: call(v)[0].sum())(x), want, 1e-5)
    np.testing.assert_allclose(pb.jacfwd(lambda v: call(v)[0])(x), np.diag(want), 1e-5)
    many = np.stack([x, 2 * x])
    np.testing.assert_allclose(pb.vmap(lambda v: call(v)[0])(many), np.sin(many) * many, 1e-5)


def test_custom_calls_are_refused() -> None:
    body = "  %r = stablehlo.custom_call @somewhere(%x) : (tensor<7xf32>) -> tensor<7xf32>"
    with pytest.raises(UnsupportedError, match="somewhere"):
        _run(body, VECTOR, VECTOR, np.ones(7, np.float32))

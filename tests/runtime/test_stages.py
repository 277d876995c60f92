"""Ahead-of-time compilation: trace, lower, compile; explanations of cache misses."""

from __future__ import annotations

import logging
from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import stages


@pb.jit
def affine(w: Any, x: Any, *, bias: Any) -> Any:
    return {"out": w["kernel"] @ x + bias}


W = {"kernel": jnp.eye(2)}
X = jnp.arange(2.0)


def test_the_stages_know_their_types() -> None:
    traced = affine.trace(W, pb.ShapeDtypeStruct((2,), "float32"), bias=1.0)
    lowered = traced.lower()
    compiled = lowered.compile()
    for stage in (traced, lowered, compiled):
        assert stage.fun_name == "affine"
        assert stage.out_tree == pb.tree.structure({"out": 0})
        assert stage.out_info == {"out": pb.ShapeDtypeStruct((2,), "float32")}
        args, kwargs = stage.args_info
        assert (args[0]["kernel"].shape, kwargs["bias"].dtype) == ((2, 2), np.float32)
        assert stage.in_tree == pb.tree.structure(((W, X), {"bias": 1.0}))
        assert stage.donate_argnums == ()
    assert isinstance(traced, stages.Traced)
    assert isinstance(lowered, stages.Lowered)
    assert isinstance(compiled, stages.Compiled)
    assert traced.jaxpr.out_avals[0].shape == (2,)


def test_compiled_gives_what_the_function_gives() -> None:
    compiled = affine.lower(W, X, bias=1.0).compile()
    for _ in range(3):
        assert compiled(W, X, bias=1.0)["out"].tolist() == [1.0, 2.0]
    assert compiled(W, np.arange(2, dtype=np.float32), bias=np.float32(2))["out"].tolist() == [2, 3]
    assert compiled.call(W, X, bias=3.0)["out"].tolist() == [3.0, 4.0]


def test_compiled_checks_its_arguments() -> None:
    compiled = affine.lower(W, X, bias=1.0).compile()
    with pytest.raises(TypeError, match=r"args\[1\]: compiled for f32\[2\], called with f32\[3\]"):
        compiled(W, jnp.ones(3), bias=1.0)
    with pytest.raises(TypeError, match=r"called with i32\[2\]"):
        compiled(W, jnp.arange(2), bias=1.0)
    with pytest.raises(TypeError, match="does not match the input pytree"):
        compiled(W, X)
    with pytest.raises(TypeError, match="cannot be transformed"):
        pb.jit(lambda x: compiled(W, x, bias=1.0))(X)
    with pytest.raises(TypeError, match="cannot be transformed"):
        pb.vmap(lambda x: compiled(W, x, bias=1.0))(X[None])


def test_static_arguments_are_no_arguments_of_the_compiled_function() -> None:
    f = pb.jit(lambda n, x, m: x * n + m, static_argnums=(0, 2))
    compiled = f.lower(3, X, 1).compile()
    assert compiled(X).tolist() == [1.0, 4.0]
    assert compiled.in_tree == pb.tree.structure(((X,), {}))


def test_donated_arguments() -> None:
    f = pb.jit(lambda x, y: x + y, donate_argnums=0)
    x, y = jnp.ones(2), jnp.ones(2)
    compiled = f.lower(x, y).compile()
    assert compiled.donate_argnums == (0,)
    assert compiled.args_info[0][0].donated
    compiled(x, y)
    assert x.is_deleted()
    assert not y.is_deleted()


def test_texts() -> None:
    lowered = affine.lower(W, X, bias=1.0)
    assert "dot_general" in lowered.as_text("jaxpr")
    assert "for " in lowered.as_text("loops")
    assert lowered.as_text() == lowered.as_text("stablehlo")
    assert "stablehlo.dot_general" in lowered.as_text()
    assert "define i32 @pb_program" in lowered.as_text("llvm")
    assert "pb_program" in lowered.compile().as_text()
    with pytest.raises(NotImplementedError, match="mhlo"):
        lowered.as_text("mhlo")


def test_cost_analysis_counts_what_jax_counts() -> None:
    def flops(api: Any) -> float:
        x = np.ones((8, 8), np.float32)
        analysis = api.jit(lambda x: x @ x + x).lower(x).compile().cost_analysis()
        return float(analysis["flops"])

    assert flops(pb) == pytest.approx(flops(jax), rel=0.1)
    loop = pb.jit(lambda x: pb.lax.fori_loop(0, 10, lambda _, c: jnp.sin(c), x)).lower(X)
    assert loop.cost_analysis()["transcendentals"] == 20.0
    memory = loop.compile().memory_analysis()
    assert memory.argument_size_in_bytes == memory.output_size_in_bytes == 8
    assert memory.generated_code_size_in_bytes > 0


def test_programs_are_shared_with_calls() -> None:
    f = pb.jit(lambda x: x + 1)
    f.lower(X).compile()
    assert f._cache_size() == 1
    f(X)
    assert f._cache_size() == 1
    pb.clear_caches()
    assert f._cache_size() == 0
    assert f(X).tolist() == [1.0, 2.0]


# --------------------------------------------------------------------------- cache misses


def explanations(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [r.getMessage() for r in caplog.records if r.name == "pullback.jit"]
    caplog.clear()
    return found


def test_explanations(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    f = pb.jit(lambda p, n: jnp.sum(p["w"]) * n, static_argnums=1)
    with pb.explain_cache_misses(True):
        f({"w": jnp.ones(3)}, 2)
        assert "no program yet" in explanations(caplog)[0]
        f({"w": jnp.ones(3)}, 2)
        assert not explanations(caplog)
        f({"w": jnp.ones(4)}, 2)
        (text,) = explanations(caplog)
        assert "argument args[0]['w'] was f32[3], now is f32[4]" in text
        assert __file__ in text
        f({"w": jnp.ones(4)}, 3)
        assert "static argument 1 was 2, now is 3" in explanations(caplog)[0]
        f({"w": jnp.ones(4), "b": 1.0}, 3)
        assert "argument args[0]['b'] (f32[]) is new" in explanations(caplog)[0]
        f({"w": pb.lax.full((4,), 1.0)}, 3)
        assert "(not weak)" in explanations(caplog)[0]
        with pb.enable_x64():
            f({"w": jnp.ones(4, "float32")}, 3)
        assert "setting jax_enable_x64 was False, now is True" in explanations(caplog)[0]


def test_log_compiles(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with pb.log_compiles():
        pb.jit(lambda x: x * 5)(X)
    assert "for types (f32[2])" in explanations(caplog)[0]


def test_the_module_as_an_object() -> None:
    lowered = pb.jit(lambda x: jnp.sin(x) @ x).lower(jnp.ones((3, 3)))
    theirs = jax.jit(lambda x: jax.numpy.sin(x) @ x).lower(jax.numpy.ones((3, 3)))
    module, other = lowered.compiler_ir(), theirs.compiler_ir()
    assert str(module) == str(lowered.compiler_ir("stablehlo")) == lowered.as_text()
    assert module.operation.name == other.operation.name
    functions = module.body.operations
    assert [f.name for f in functions] == [str(f.name).strip('"') for f in other.body.operations]
    ops, others = (
        [op.operation.name for op in f.regions[0].blocks[0].operations]
        for f in (functions[0], other.body.operations[0])
    )
    assert ops == others
    seen: list[str] = []
    module.walk(lambda op: seen.append(op.opname))
    assert seen == [*ops, "func.func", "builtin.module"]
    text = module.operation.get_asm(enable_debug_info=True)
    assert "loc(" in text
    assert "loc(" not in module.get_asm()
    assert lowered.compiler_ir("hlo") is None


def test_formats() -> None:
    for m in (pb, jax):
        x = m.numpy.ones((2, 3))
        compiled = m.jit(lambda a, b: {"u": a + b["x"].T}).lower(x, {"x": x.T}).compile()
        (first, second), keywords = compiled.input_formats
        assert first == x.format
        assert second["x"].layout.major_to_minor == (0, 1)
        assert keywords == {}
        assert compiled.output_formats["u"].layout == x.format.layout
        assert m.numpy.ones(()).format.layout.major_to_minor == ()
        assert m.device_put(x, x.format).format == x.format

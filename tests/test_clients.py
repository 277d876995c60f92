"""What libraries rely on beyond the documentation of each function; found by running them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.experimental import checkify


def test_vmap_over_a_tree_with_none_in_it() -> None:
    tree = {"w": jnp.arange(3.0), "b": None}
    for axes in ({"w": 0, "b": None}, 0):
        out = pb.vmap(lambda t: t["w"] * 2, in_axes=(axes,))(tree)
        np.testing.assert_array_equal(out, [0.0, 2.0, 4.0])


def test_cotangents_of_a_custom_rule_may_hold_none_where_the_argument_does() -> None:
    @pb.custom_vjp
    def f(tree: Any) -> Any:
        return tree["x"] ** 2

    f.defvjp(lambda t: (f(t), t), lambda t, ct: ({"x": 5.0 * ct, "y": None},))
    out = pb.grad(f)({"x": 3.0, "y": None})
    assert float(out["x"]) == 5.0
    assert out["y"] is None


def test_a_linear_function_with_a_forward_rule_is_transposed_as_it_is() -> None:
    @pb.custom_jvp
    def f(x: Any) -> Any:
        return 2.0 * x

    f.defjvp(lambda primals, tangents: (f(primals[0]), 3.0 * tangents[0]))
    (ct,) = pb.linear_transpose(f, 1.0)(1.0)
    assert float(ct) == 2.0


def test_compile_time_evaluation_leaves_traced_values_to_the_trace() -> None:
    def f(x: Any) -> Any:
        with pb.ensure_compile_time_eval():
            known = int(jnp.sum(jnp.arange(4)))
            return x * known

    assert float(pb.jit(f)(2.0)) == 12.0
    assert float(pb.grad(f)(2.0)) == 6.0
    np.testing.assert_array_equal(pb.vmap(f)(jnp.arange(2.0)), [0.0, 6.0])


def test_types_may_stand_for_values_where_only_types_are_asked_for() -> None:
    struct = pb.ShapeDtypeStruct((2, 3), np.dtype("float32"))
    assert pb.eval_shape(lambda: struct) == struct
    assert pb.eval_shape(lambda: jnp.sum(jnp.zeros_like(struct), 0)).shape == (3,)
    with pytest.raises(TypeError):
        pb.jit(lambda: struct)()


@pytest.mark.parametrize("listening", [False, True])
def test_named_scope_as_a_decorator(listening: bool) -> None:
    if listening:
        pb.monitoring.register_event_duration_secs_listener(lambda *_, **__: None)

    @pb.named_scope("inner")
    def f(x: Any) -> Any:
        return x + 1

    try:
        jaxpr = pb.make_jaxpr(f)(1.0)
    finally:
        if listening:
            pb.monitoring.clear_event_listeners()
    assert jaxpr.eqns[0].source_info.name_stack == ("inner",)
    assert f.__name__ == "f"


@pytest.mark.parametrize("shape", [(4, 3), (3, 5), (2, 3, 3)])
def test_qr_as_lapack_gives_it(shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted = np.linalg.qr(a, mode="raw")
    for found in (jnp.linalg.qr(a, mode="raw"), pb.jit(lambda x: jnp.linalg.qr(x, mode="raw"))(a)):
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
        np.testing.assert_allclose(found[1], wanted[1], atol=1e-5)


def test_zeros_of_the_tangents_of_a_tree() -> None:
    zeros = pb.custom_derivatives.zero_from_primal({"a": jnp.ones(2), "b": 3})
    np.testing.assert_array_equal(zeros["a"], [0.0, 0.0])
    assert zeros["b"].dtype == pb.dtypes.float0
    symbolic = pb.custom_derivatives.zero_from_primal([1.0], symbolic_zeros=True)
    assert symbolic[0].shape == ()


def test_branches_that_return_numbers() -> None:
    f = pb.jit(lambda x: pb.lax.cond(x > 0, lambda: (1, 2.5), lambda: (-1, 0.5)))
    assert [tuple(map(float, f(x))) for x in (1.0, -1.0)] == [(1, 2.5), (-1, 0.5)]
    assert f(1.0)[0].dtype == np.int32


def test_cond_with_an_operand_for_each_branch() -> None:
    def f(x: Any) -> Any:
        return pb.lax.cond(x > 0, x, lambda v: 2 * v, 3 * x, lambda v: v + 1)

    assert [float(pb.jit(f)(x)) for x in (1.0, -1.0)] == [2.0, -2.0]
    assert float(pb.grad(f)(-1.0)) == 3.0


def test_types_say_that_values_are_not_spread() -> None:
    sharding = pb.typeof(jnp.ones((2, 3))).sharding
    assert tuple(sharding.spec) == (None, None)
    assert sharding.mesh.empty
    key = pb.random.key(0)
    np.testing.assert_array_equal(
        pb.random.normal(key, (2, 3), out_sharding=sharding), pb.random.normal(key, (2, 3))
    )


def test_keys_go_through_branches_that_lanes_choose() -> None:
    keys = pb.random.split(pb.random.key(0), 3)
    choose = jnp.array([True, False, True])

    def f(choice: Any, key: Any) -> Any:
        return pb.lax.cond(choice, lambda k: pb.random.split(k)[0], lambda k: k, key)

    found = pb.random.key_data(pb.jit(pb.vmap(f))(choose, keys))
    wanted = [pb.random.key_data(f(c, k)) for c, k in zip(choose, keys, strict=True)]
    np.testing.assert_array_equal(found, np.stack(wanted))


@pytest.mark.parametrize("axes", [range(2), [0, 1], {0, 1}, np.array([0, 1]), (np.int32(0), 1)])
def test_axes_may_be_any_sequence(axes: Any) -> None:
    x = jnp.ones((2, 3))
    assert jnp.expand_dims(x, axes).shape == (1, 1, 2, 3)
    assert jnp.sum(x, axes).shape == ()
    assert jnp.squeeze(x[None, None], axes).shape == (2, 3)
    assert jnp.flip(x, axes).shape == jnp.roll(x, (1, 1), axes).shape == (2, 3)


def test_shapes_of_what_is_no_array() -> None:
    for value, wanted in (([1, 2], (2,)), (None, ())):
        with pytest.warns(DeprecationWarning, match="shape requires"):
            assert jnp.shape(value) == wanted
        with pytest.warns(DeprecationWarning, match="ndim requires"):
            assert jnp.ndim(value) == len(wanted)
        with pytest.warns(DeprecationWarning, match="size requires"):
            assert jnp.size(value) == max([1, *wanted])


def test_shapes_of_samples_may_be_arrays() -> None:
    key = pb.random.key(0)
    wanted = pb.random.truncated_normal(key, -1.0, 1.0, (3,))
    for shape in (np.array([3]), [3]):
        found = pb.random.truncated_normal(key, -1.0, 1.0, shape)
        np.testing.assert_array_equal(found, wanted)


def test_jitted_functions_have_the_signature_of_theirs() -> None:
    def f(x: Any, y: int = 2) -> Any:
        return x * y

    assert inspect.signature(pb.jit(f)) == inspect.signature(f)
    assert inspect.getfullargspec(pb.jit(f)) == inspect.getfullargspec(f)


def test_lists_of_arrays_in_a_dtype_beyond_numpy() -> None:
    found = jnp.array([[jnp.float32(1.5), 2.0], [jnp.array(3), 4]], dtype=jnp.bfloat16)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.astype(np.float32), [[1.5, 2.0], [3.0, 4.0]])


def test_pmap_takes_keyword_arguments() -> None:
    f = pb.pmap(lambda x, y: pb.lax.psum(x, "i") + y, axis_name="i")
    np.testing.assert_array_equal(f(jnp.ones((1, 2)), y=jnp.full((1, 2), 2.0)), [[3.0, 3.0]])


def test_auxiliary_results_may_be_any_object() -> None:
    mark = object()

    def f(x: Any) -> Any:
        return 2.0 * x, {"mark": mark, "x": x + 1, "name": "f"}

    for aux in (
        pb.grad(f, has_aux=True)(1.0)[1],
        pb.value_and_grad(f, has_aux=True)(1.0)[0][1],
        pb.vjp(f, 1.0, has_aux=True)[2],
        pb.jvp(f, (1.0,), (1.0,), has_aux=True)[2],
        pb.linearize(f, 1.0, has_aux=True)[2],
        pb.jacrev(f, has_aux=True)(1.0)[1],
    ):
        assert aux["mark"] is mark
        assert aux["name"] == "f"
        assert float(aux["x"]) == 2.0


def test_a_function_that_is_several_branches_is_traced_once() -> None:
    traced = []

    def f(x: Any) -> Any:
        traced.append(1)
        return 2 * x

    assert float(pb.lax.switch(2, [f, f, f], 3.0)) == 6.0
    assert len(traced) == 1


def test_checks_may_show_keys() -> None:
    def f(x: Any, key: Any) -> Any:
        checkify.check(x["a"] > 0, "bad {x} {key}", x=x["a"], key=key)
        checkify.check(jnp.all(x["b"] > 0), "worse {tree}", tree=x["b"])
        return x["a"]

    run = checkify.checkify(pb.jit(f))
    error, _ = run({"a": 1.0, "b": jnp.array([1.0, jnp.nan])}, pb.random.key(0))
    assert "nan" in error.get()
    error, _ = run({"a": -1.0, "b": jnp.ones(2)}, pb.random.key(0))
    assert "bad -1.0" in error.get()
    assert "key<fry>" in error.get()


def test_static_values_made_anew_for_each_call_fill_no_tables() -> None:
    f = pb.jit(lambda x, by: x * by[0][0], static_argnums=1)
    for i in range(40):
        assert float(f(2.0, ((3, str(i)[:0]),))) == 6.0
    assert len(f.entries) <= 4
    other = ((5, "b"),)
    for _ in range(3):
        assert float(f(2.0, other)) == 10.0

"""The texts of errors: each names what happened, where, and what to do instead."""

from __future__ import annotations

import re
from typing import Any

import jax.errors
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import config, lax
from pullback.core.jaxpr import verify
from pullback.core.trace import EVAL, current_trace

HERE = r"test_errors\.py:\d+"


def message(excinfo: Any) -> str:
    return str(excinfo.value)


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        (lambda: lax.add(jnp.ones(3), jnp.ones(4)), "add"),
        (lambda: lax.dot(jnp.ones((2, 3)), jnp.ones((4, 5))), "dot"),
        (lambda: lax.concatenate([jnp.ones((2, 3)), jnp.ones((2, 4))], 0), "concatenate"),
    ],
)
def test_wrong_shapes_name_the_operation_the_operands_and_the_line(
    call: Any, operation: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as excinfo:
        call()
    text = message(excinfo)
    assert operation in text
    assert len(re.findall(r"f32\[[\d,]*\]|shape=\([\d, ]*\)", text)) >= 2, text
    assert re.search(HERE, text), text


def test_wrong_shapes_in_jnp_name_both_shapes_and_the_line() -> None:
    with pytest.raises((TypeError, ValueError)) as excinfo:
        jnp.ones((2, 3)) + jnp.ones((4, 3))
    text = message(excinfo)
    assert "add" in text
    assert "2,3" in text.replace(" ", "")
    assert "4,3" in text.replace(" ", "")


def test_wrong_shapes_inside_jit_point_to_the_line_in_the_function() -> None:
    def f(x: Any) -> Any:
        return lax.mul(x, jnp.ones(5))  # the line

    with pytest.raises(TypeError) as excinfo:
        pb.jit(f)(jnp.ones(3))
    line = f.__code__.co_firstlineno + 1
    assert f"test_errors.py:{line}" in message(excinfo)


def test_wrong_dtypes() -> None:
    with pytest.raises(TypeError) as excinfo:
        lax.add(jnp.ones(3), jnp.ones(3, "int32"))
    text = message(excinfo)
    assert "float32" in text or "f32" in text
    assert "int32" in text or "i32" in text


def test_branching_on_a_traced_value() -> None:
    @pb.jit
    def positive(x: Any) -> Any:
        return x if x > 0 else -x

    with pytest.raises(pb.errors.TracerBoolConversionError) as excinfo:
        positive(1.0)
    text = message(excinfo)
    assert "positive" in text
    assert "lax.cond" in text
    assert "static_argnums" in text
    assert re.search(HERE, text)


def test_traced_value_as_an_index_or_shape() -> None:
    with pytest.raises(pb.errors.TracerIntegerConversionError) as excinfo:
        pb.jit(lambda n: list(range(n)))(3)
    assert "fori_loop" in message(excinfo)


@pytest.mark.parametrize("convert", [int, float, complex])
def test_traced_value_as_a_python_number(convert: Any) -> None:
    with pytest.raises(pb.errors.ConcretizationTypeError, match="static_argnums"):
        pb.jit(lambda x: convert(x))(1.0)


def test_traced_value_given_to_numpy() -> None:
    with pytest.raises(pb.errors.TracerArrayConversionError, match=r"jax\.numpy"):
        pb.jit(lambda x: np.sin(x))(1.0)


def test_leaked_tracer_says_where_it_was_made() -> None:
    kept: list[Any] = []

    def leaky(x: Any) -> Any:
        kept.append(x + 1)
        return x

    pb.jit(leaky)(1.0)
    with pytest.raises(pb.errors.UnexpectedTracerError) as excinfo:
        kept[0] + 1
    text = message(excinfo)
    assert "leaky" in text
    assert f"test_errors.py:{leaky.__code__.co_firstlineno + 1}" in text


def test_leaked_tracer_in_a_later_trace() -> None:
    kept: list[Any] = []
    pb.jit(lambda x: kept.append(x) or x)(1.0)
    with pytest.raises(pb.errors.UnexpectedTracerError):
        pb.jit(lambda x: x + kept[0])(1.0)
    with pytest.raises(pb.errors.UnexpectedTracerError):
        pb.grad(lambda x: x * kept[0])(1.0)
    with pytest.raises(pb.errors.UnexpectedTracerError):
        pb.vmap(lambda x: x * kept[0])(jnp.ones(2))


def test_loss_that_is_not_scalar() -> None:
    def loss(x: Any) -> Any:
        return x * 2

    with pytest.raises(TypeError) as excinfo:
        pb.grad(loss)(jnp.ones(3))
    assert "scalar" in message(excinfo)
    assert "f32[3]" in message(excinfo)
    assert "loss" in message(excinfo)


def test_integer_input_to_grad() -> None:
    with pytest.raises(TypeError, match=r"int32.*allow_int"):
        pb.grad(lambda x: x * 2.0)(3)


def test_complex_input_and_integer_output_of_grad() -> None:
    with pytest.raises(TypeError, match="holomorphic"):
        pb.grad(lambda x: x)(1j)
    with pytest.raises(TypeError, match="int32"):
        pb.grad(lambda x: 3)(1.0)


def test_grad_without_arguments_and_bad_argnums() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        pb.grad(lambda x: x)()
    with pytest.raises(TypeError, match="argnums"):
        pb.grad(lambda x: x, argnums=2)(1.0)


def test_forward_mode_through_custom_vjp() -> None:
    @pb.custom_vjp
    def f(x: Any) -> Any:
        return x

    f.defvjp(lambda x: (x, None), lambda _, ct: (ct,))
    with pytest.raises(TypeError, match="custom_vjp"):
        pb.jvp(f, (1.0,), (1.0,))


def test_jvp_checks_tangents() -> None:
    with pytest.raises(ValueError, match=r"f32\[3\].*f32\[2\]"):
        pb.jvp(jnp.sin, (jnp.ones(3),), (jnp.ones(2),))
    with pytest.raises(TypeError, match="float0"):
        pb.jvp(lambda x: x, (1,), (1,))


def test_vmap_sizes_and_axes() -> None:
    with pytest.raises(ValueError, match=r"(?s)args\[0\].*is 3.*args\[1\].*is 4"):
        pb.vmap(lambda x, y: x + y)(jnp.ones(3), jnp.ones(4))
    with pytest.raises(ValueError, match="axis 1"):
        pb.vmap(lambda x: x, in_axes=1)(jnp.ones(3))
    with pytest.raises(ValueError, match="positional arguments"):
        pb.vmap(lambda x: x, in_axes=(0, 0))(jnp.ones(3))
    with pytest.raises(ValueError, match="axis spec None"):
        pb.vmap(lambda x: x, out_axes=None)(jnp.ones(3))


def test_scan_carry_that_changes_type() -> None:
    with pytest.raises(TypeError, match=r"(?s)carry.*f32\[\].*i32\[\]"):
        lax.scan(lambda c, x: (c.astype("int32"), x), jnp.float32(0), jnp.ones(3))


def test_cond_branches_of_different_types() -> None:
    with pytest.raises(TypeError, match=r"f32\[\].*f32\[3\]"):
        lax.cond(True, lambda x: x, lambda x: x.sum(), jnp.ones(3))


def test_unhashable_static_argument() -> None:
    with pytest.raises(ValueError, match="Non-hashable"):
        pb.jit(lambda x, n: x, static_argnums=1)(1.0, [2])


def test_argument_that_is_no_array() -> None:
    with pytest.raises(TypeError, match=r"(?s)class 'str'.*at path y"):
        pb.jit(lambda x, y: x)(1.0, "text")


def test_errors_leave_the_trace_state_clean() -> None:
    for _ in range(2):
        with pytest.raises(TypeError):
            pb.jit(lambda x: pb.grad(lambda y: y * jnp.ones(3))(x))(1.0)
    assert not config.ACTIVE
    assert current_trace() is EVAL
    assert float(jnp.ones(()) + 1) == 2.0


def test_array_is_not_hashable_and_not_assignable() -> None:
    x = jnp.ones(3)
    with pytest.raises(TypeError, match="not hashable"):
        hash(x)
    with pytest.raises(TypeError, match=r"\.at\["):
        x[0] = 1.0
    with pytest.raises(ValueError, match=r"any\(\)"):
        bool(x)


@pytest.mark.parametrize("name", [n for n in dir(jax.errors) if n[0].isupper()])
def test_classes_are_those_of_jax(name: str) -> None:
    ours, theirs = getattr(pb.errors, name), getattr(jax.errors, name)
    builtin = next(c for c in theirs.__mro__ if c.__module__ == "builtins")
    assert issubclass(ours, builtin)
    assert ours.__name__ == name


def test_an_ill_typed_jaxpr() -> None:
    closed = pb.make_jaxpr(lambda x: jnp.sin(x) + 1)(1.0)
    closed.jaxpr.eqns.pop(0)
    with pytest.raises(pb.errors.JaxprTypeError, match="before it is defined"):
        verify(closed.jaxpr)


class Unnamed:
    """A callable whose name is no text."""

    @property
    def __name__(self) -> Any:
        return 3

    def __call__(self, x: Any) -> Any:
        return x * x


def test_functions_may_be_objects_whose_name_is_no_text() -> None:
    for transform in (pb.jacfwd, pb.jacrev, pb.checkpoint, pb.grad, pb.value_and_grad, pb.jit):
        transform(Unnamed())(1.0)
    assert pb.vmap(Unnamed())(np.arange(3)).tolist() == [0, 1, 4]

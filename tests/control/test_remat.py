"""`checkpoint`: values and derivatives against JAX, and what the backward pass recomputes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
from pullback.ad_checkpoint import print_saved_residuals, saved_residuals
from pullback.core.trace import Tracer
from pullback.errors import UnsupportedError
from pullback.passes.simplify import simplify
from tests.control.systems import OURS, THEIRS, assert_same, dot, total, values

X, W = values(3, 3, seed=1), values(3, 3, seed=2)


def chain(sys: Any, x: Any, w: Any) -> Any:
    lax = sys.lax
    return lax.sin(sys.checkpoint_name(lax.exp(lax.cos(dot(sys, x, w))), "inner"))


def with_jit(sys: Any, x: Any, w: Any) -> Any:
    lax = sys.lax
    return lax.sin(sys.jit(lambda y: lax.cos(dot(sys, y, w)))(lax.sin(x)))


def with_scan(sys: Any, x: Any, w: Any) -> Any:
    lax = sys.lax

    def body(c: Any, row: Any) -> Any:
        new = lax.sin(sys.checkpoint_name(dot(sys, c, w), "inner"))
        return new, lax.mul(new, lax.exp(row))

    return lax.scan(body, x, values(4, 3, 3, seed=3))[1]


def with_cond(sys: Any, x: Any, w: Any) -> Any:
    lax = sys.lax
    return lax.cond(
        total(sys, x) > 0.0 if sys is THEIRS else lax.gt(total(sys, x), np.float32(0)),
        lambda y: lax.sin(dot(sys, y, w)),
        lambda y: lax.exp(y),
        x,
    )


def nested(sys: Any, x: Any, w: Any) -> Any:
    inner = sys.checkpoint(lambda y: sys.lax.sin(sys.lax.cos(y)))
    return inner(sys.lax.exp(inner(dot(sys, x, w))))


FUNCTIONS = [chain, with_jit, with_scan, with_cond, nested]
POLICIES = {
    "none": lambda p: None,
    "everything": lambda p: p.everything_saveable,
    "nothing": lambda p: p.nothing_saveable,
    "dots": lambda p: p.dots_saveable,
    "dots_no_batch": lambda p: p.checkpoint_dots_with_no_batch_dims,
    "names": lambda p: p.save_only_these_names("inner"),
    "names_but": lambda p: p.save_any_names_but_these("other"),
    "except": lambda p: p.save_anything_except_these_names("inner"),
    "both": lambda p: p.save_from_both_policies(p.dots_saveable, p.save_only_these_names("inner")),
}


def remat(sys: Any, fun: Any, policy: str) -> Any:
    chosen = POLICIES[policy](sys.checkpoint_policies)
    return sys.checkpoint(lambda x, w: total(sys, fun(sys, x, w)), policy=chosen)


CASES = [
    *[(fun, policy) for fun in FUNCTIONS for policy in ("none", "dots", "except", "everything")],
    *[(with_scan, policy) for policy in ("nothing", "names", "names_but", "both", "dots_no_batch")],
]


@pytest.mark.parametrize(("fun", "policy"), CASES)
def test_gradients(fun: Any, policy: str) -> None:
    assert_same(lambda sys: sys.value_and_grad(remat(sys, fun, policy), (0, 1))(X, W))


@pytest.mark.parametrize(
    ("fun", "policy"),
    [*[(fun, "dots") for fun in FUNCTIONS], (with_scan, "except"), (nested, "none")],
)
def test_compositions(fun: Any, policy: str) -> None:
    def test(sys: Any) -> Any:
        f = remat(sys, fun, policy)
        batch = values(2, 3, 3, seed=4)
        return (
            sys.jit(sys.grad(f, (0, 1)))(X, W),
            sys.jvp(f, (X, W), (W, X)),
            sys.vmap(sys.grad(f), in_axes=(0, None))(batch, W),
            sys.grad(lambda x: total(sys, sys.vmap(f, (0, None))(x, W)))(batch),
            sys.jvp(sys.grad(f), (X, W), (W, X)),
            sys.grad(lambda x: total(sys, sys.grad(f)(x, W)))(X),
            sys.linearize(f, X, W)[1](W, X),
        )

    assert_same(test, rtol=2e-4, atol=1e-4)


def recomputed(f: Any, *args: Any) -> list[str]:
    """The primitives in the backward pass of the checkpointed part."""
    closed = OURS.make_jaxpr(OURS.grad(f))(*args)
    (eqn,) = [e for e in closed.jaxpr.eqns if e.primitive.name == "remat2"]
    assert eqn.params["differentiated"]
    return [e.primitive.name for e in eqn.params["jaxpr"].eqns]


def test_everything_is_recomputed_without_a_policy() -> None:
    names = recomputed(remat(OURS, chain, "none"), X, W)
    assert names.count("dot_general") == 2
    assert "exp" in names


def test_what_the_policy_saves_is_not_recomputed() -> None:
    assert recomputed(remat(OURS, chain, "dots"), X, W).count("dot_general") == 1
    assert "exp" in recomputed(remat(OURS, chain, "dots"), X, W)
    assert recomputed(remat(OURS, with_jit, "dots"), X, W).count("cos") == 2


def test_the_policy_sees_the_inside_of_scan() -> None:
    closed = OURS.make_jaxpr(OURS.grad(remat(OURS, with_scan, "dots")))(X, W)
    forward = closed.jaxpr.eqns[0]
    assert forward.primitive.name == "scan"
    assert [v.aval.shape for v in forward.outvars].count((4, 3, 3)) == 2
    (eqn,) = [e for e in closed.jaxpr.eqns if e.primitive.name == "remat2"]
    bodies = [e.params["jaxpr"] for e in eqn.params["jaxpr"].eqns if e.primitive.name == "scan"]
    dots = [e for body in bodies for e in body.eqns if e.primitive.name == "dot_general"]
    assert len(dots) == 1  # the transposed one


def test_the_policy_sees_the_inside_of_cond() -> None:
    f = remat(OURS, with_cond, "dots")
    closed = OURS.make_jaxpr(OURS.grad(f))(X, W)
    (eqn,) = [e for e in closed.jaxpr.eqns if e.primitive.name == "remat2"]
    inner = [e for e in eqn.params["jaxpr"].eqns if e.primitive.name == "cond"]
    branches = [b for e in inner for b in e.params["branches"]]
    dots = [e for b in branches for e in b.eqns if e.primitive.name == "dot_general"]
    assert len(dots) == 1  # the transposed one


def test_jaxpr_is_that_of_jax() -> None:
    def texts(sys: Any) -> list[str]:
        f = sys.checkpoint(lambda x: sys.lax.sin(sys.lax.sin(x)))
        x = values(3)
        dotted = sys.checkpoint(lambda x: sys.lax.sin(sys.checkpoint_name(x, "a")))
        return [
            str(sys.make_jaxpr(f)(x)),
            str(sys.make_jaxpr(sys.vmap(f))(values(2, 3))),
            str(sys.make_jaxpr(lambda x: sys.jvp(f, (x,), (x,)))(x)),
            str(sys.make_jaxpr(dotted)(x)),
        ]

    assert texts(OURS) == texts(THEIRS)


def test_the_compiler_does_not_merge_the_second_computation() -> None:
    f = OURS.checkpoint(lambda x: OURS.lax.sin(OURS.lax.exp(x)))
    closed = simplify(OURS.make_jaxpr(OURS.value_and_grad(f))(1.0))
    names = [e.primitive.name for e in closed.jaxpr.eqns]
    assert "remat2" in names
    free = OURS.checkpoint(lambda x: OURS.lax.sin(OURS.lax.exp(x)), prevent_cse=False)
    closed = simplify(OURS.make_jaxpr(OURS.value_and_grad(free))(1.0))
    names = [e.primitive.name for e in closed.jaxpr.eqns]
    assert "remat2" not in names
    assert names.count("exp") == 1


def test_static_arguments() -> None:
    def test(sys: Any) -> Any:
        def f(x: Any, y: Any, kind: str) -> Any:
            return sys.lax.sin(x) if kind == "sin" else sys.lax.mul(x, y)

        by_number = sys.checkpoint(f, static_argnums=2)
        return (
            sys.grad(by_number)(0.5, 2.0, "sin"),
            sys.grad(by_number, 1)(0.5, 2.0, "mul"),
        )

    assert_same(test)


def test_static_arguments_by_name() -> None:
    def f(x: Any, *, kind: str) -> Any:
        return OURS.lax.sin(x) if kind == "sin" else x

    by_name = OURS.checkpoint(f, static_argnames="kind")
    assert float(OURS.grad(by_name)(0.0, kind="sin")) == 1.0


def test_values_from_outside_are_differentiated() -> None:
    def test(sys: Any) -> Any:
        return sys.grad(lambda w: total(sys, sys.checkpoint(lambda x: chain(sys, x, w))(X)))(W)

    assert_same(test)


def test_pytrees_and_integers() -> None:
    def test(sys: Any) -> Any:
        lax = sys.lax

        @sys.checkpoint
        def f(params: Any, n: Any) -> Any:
            scaled = lax.mul(params["a"], lax.convert_element_type(n, np.float32))
            return {"out": lax.sin(scaled), "n": n}

        return sys.grad(lambda p: f(p, np.int32(3))["out"])({"a": np.float32(0.3)})

    assert_same(test)


def test_saved_residuals(capsys: pytest.CaptureFixture[str]) -> None:
    f = remat(OURS, chain, "names")
    found = [(a.str_short(), text.split(" from ")[0]) for a, text in saved_residuals(f, X, W)]
    assert found[-1] == ("f32[3,3]", "named 'inner'")
    print_saved_residuals(OURS.checkpoint(lambda x: OURS.lax.sin(OURS.lax.sin(x))), X)
    assert capsys.readouterr().out == "f32[3,3] from the argument x\n"
    print_saved_residuals(lambda p: OURS.lax.sin(p["a"]), {"a": X})
    assert "output of cos from " in capsys.readouterr().out
    assert "test_remat.py" in saved_residuals(lambda x: OURS.lax.sin(x), X)[0][1]


def test_policies_print_like_those_of_jax() -> None:
    for make in (lambda p: p.dots_saveable, lambda p: p.save_only_these_names("a")):
        assert repr(make(OURS.checkpoint_policies)) == repr(make(jax.checkpoint_policies))


def test_what_is_missing_says_so() -> None:
    with pytest.raises(NotImplementedError, match="static_argnums"):
        OURS.checkpoint(OURS.lax.sin, concrete=True)
    with pytest.raises(UnsupportedError, match="offload"):
        OURS.checkpoint_policies.offload_dot_with_no_batch_dims("device", "pinned_host")
    with pytest.raises(UnsupportedError, match="offload"):
        OURS.checkpoint_policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=["a"],
            offload_src="device",
            offload_dst="pinned_host",
        )


def test_the_function_is_always_traced() -> None:
    """Arguments are traced without a transformation around, too, so that `if` is an error."""

    def fun(x: Any, flag: Any) -> Any:
        assert isinstance(flag, Tracer)
        return x

    assert pb.checkpoint(fun)(2.0, True) == 2
    with pytest.raises(pb.errors.TracerBoolConversionError):
        pb.checkpoint(lambda x: x if x > 0 else -x)(2.0)

"""Tracebacks of functions that users transform end in the user's frame."""

from __future__ import annotations

import inspect
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import config, lax
from pullback.core.tracebacks import NOTE, UnfilteredStackTrace
from pullback.experimental import checkify
from pullback.experimental.jet import jet


def inner(x: Any) -> Any:
    return jnp.sin(x) @ jnp.ones(3)


def outer(x: Any) -> Any:
    return inner(x) * 2


def raises(x: Any) -> Any:
    raise ZeroDivisionError(f"of the user's own, for {x.shape}")


X = jnp.ones(4)
CALLS: dict[str, Callable[[Any], Any]] = {
    "jit": lambda f: pb.jit(f)(X),
    "vmap": lambda f: pb.vmap(f)(X[None]),
    "grad": lambda f: pb.grad(f)(X),
    "value_and_grad": lambda f: pb.value_and_grad(f)(X),
    "jvp": lambda f: pb.jvp(f, (X,), (X,)),
    "vjp": lambda f: pb.vjp(f, X),
    "linearize": lambda f: pb.linearize(f, X),
    "jacfwd": lambda f: pb.jacfwd(f)(X),
    "jacrev": lambda f: pb.jacrev(f)(X),
    "hessian": lambda f: pb.hessian(f)(X),
    "make_jaxpr": lambda f: pb.make_jaxpr(f)(X),
    "eval_shape": lambda f: pb.eval_shape(f, X),
    "checkpoint": lambda f: pb.grad(pb.checkpoint(f))(X),
    "scan": lambda f: lax.scan(lambda c, x: (f(x), None), 0.0, X[None]),
    "while_loop": lambda f: lax.while_loop(lambda c: True, f, X),
    "fori_loop": lambda f: lax.fori_loop(0, 3, lambda i, c: f(c), X),
    "cond": lambda f: lax.cond(True, f, f, X),
    "switch": lambda f: lax.switch(1, [f, f], X),
    "map": lambda f: lax.map(f, X[None]),
    "custom_jvp": lambda f: pb.jit(pb.grad(with_rule(f)))(X),
    "checkify": lambda f: checkify.checkify(f)(X),
    "jet": lambda f: jet(f, (X,), ((X,),)),
    "nested": lambda f: pb.jit(pb.vmap(pb.grad(pb.jit(f))))(X[None]),
}


def with_rule(f: Any) -> Any:
    g = pb.custom_jvp(f)
    g.defjvps(lambda t, ans, x: t)
    return g


def frames(error: BaseException) -> list[str]:
    return [f.name for f in traceback.extract_tb(error.__traceback__)]


def ours(error: BaseException) -> list[str]:
    files = [f.filename for f in traceback.extract_tb(error.__traceback__)]
    return [f for f in files if "/pullback/" in f and "/tests/" not in f]


def caught(mode: str, call: Callable[[Any], Any], f: Any) -> BaseException:
    with config.traceback_filtering.override(mode):
        try:
            call(f)
        except Exception as error:
            return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("name", sorted(CALLS))
def test_frames_of_ours_are_removed(name: str) -> None:
    error = caught("quiet_remove_frames", CALLS[name], outer)
    assert isinstance(error, TypeError)
    assert frames(error)[-2:] == ["outer", "inner"]
    assert ours(error) == []
    assert error.__notes__ == [NOTE]
    own = caught("quiet_remove_frames", CALLS[name], raises)
    assert isinstance(own, ZeroDivisionError)
    assert frames(own)[-1] == "raises"
    assert ours(own) == []


def test_nothing_is_removed() -> None:
    error = caught("off", CALLS["nested"], outer)
    assert len(ours(error)) > 10
    assert frames(error).index("outer") < frames(error).index("inner")
    assert not hasattr(error, "__notes__")


def test_frames_are_marked() -> None:
    error = caught("tracebackhide", CALLS["nested"], outer)
    entry, hidden, shown = error.__traceback__, 0, []
    while entry is not None:
        if entry.tb_frame.f_locals.get("__tracebackhide__"):
            hidden += 1
        else:
            shown.append(entry.tb_frame.f_code.co_name)
        entry = entry.tb_next
    assert hidden == len(ours(error)) > 10
    assert shown[-2:] == ["outer", "inner"]


def test_the_whole_traceback_is_the_cause() -> None:
    error = caught("remove_frames", CALLS["nested"], outer)
    assert (ours(error), frames(error)[-2:]) == ([], ["outer", "inner"])
    assert isinstance(error.__cause__, UnfilteredStackTrace)
    assert "linearize.py" in str(error.__cause__)
    assert error.__cause__.__cause__ is None


def test_the_users_own_cause_stays() -> None:
    def f(x: Any) -> Any:
        try:
            raises(x)
        except ZeroDivisionError as error:
            raise KeyError("k") from error

    error = caught("quiet_remove_frames", CALLS["jit"], f)
    assert isinstance(error.__cause__, ZeroDivisionError)
    error = caught("remove_frames", CALLS["jit"], f)
    assert isinstance(error.__cause__, UnfilteredStackTrace)
    assert isinstance(error.__cause__.__cause__, ZeroDivisionError)


def test_values_that_are_not_known_modes() -> None:
    with pytest.raises(ValueError, match="new enum value must be in"):
        config.update("jax_traceback_filtering", "none")


EAGER: dict[str, Callable[[], Any]] = {
    "operator": lambda: X + jnp.ones(3),
    "reflected": lambda: np.ones(3) - X,
    "product": lambda: X @ jnp.ones(3),
    "ufunc": lambda: jnp.add(X, jnp.ones(3)),
    "elementwise": lambda: jnp.sin("text"),
    "function": lambda: jnp.concatenate([X, X[None]]),
    "compiled function": lambda: jnp.var("text"),
    "method": lambda: X.reshape(3),
    "reduction": lambda: X.sum(axis=2),
    "index": lambda: X[0, 0],
    "iteration": lambda: iter(X.sum()),
    "length": lambda: len(X.sum()),
    "negative": lambda: -(X > 0),
    "linear algebra": lambda: jnp.linalg.inv(X),
    "sampler": lambda: pb.random.normal(3),
}


@pytest.mark.parametrize("name", EAGER)
def test_eager_operations_end_in_the_users_frame(name: str) -> None:
    error = caught("quiet_remove_frames", lambda f: f(), EAGER[name])
    assert isinstance(error, (TypeError, ValueError, IndexError))
    assert ours(error) == []
    assert error.__notes__ == [NOTE]


def test_public_functions_are_pickled_by_their_public_name() -> None:
    for function in (jnp.dot, jnp.reshape, jnp.linalg.norm, jnp.fft.fft):
        assert pickle.loads(pickle.dumps(function)) is function
    assert str(inspect.signature(jnp.squeeze)).startswith("(a")

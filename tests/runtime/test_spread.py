"""Shardings of results on a mesh of one device, beside JAX's own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import config
from pullback.runtime import spread


class Side:
    """Pullback or JAX, with the same arrays on a mesh with automatic axes."""

    def __init__(self, lib: Any) -> None:
        self.lib, self.jit, self.np = lib, lib.jit, lib.numpy
        self.P = lib.sharding.PartitionSpec
        auto = lib.sharding.AxisType.Auto
        self.mesh = lib.make_mesh((1, 1), ("a", "b"), axis_types=(auto, auto))
        self.other = lib.make_mesh((1,), ("a",), axis_types=(auto,))
        self.u = self.np.ones((2, 3))
        self.x = self.put(self.u, "a", None)
        self.xb = self.put(self.u, "b")
        self.xn = self.put(self.u, None, None)
        self.xe = self.put(self.u)
        self.x1 = self.put(self.np.ones(3), "a")
        self.d = lib.device_put(self.u, lib.devices()[0])
        self.o = lib.device_put(self.u, self.on(self.other, "a"))

    def on(self, mesh: Any, *spec: Any) -> Any:
        return self.lib.sharding.NamedSharding(mesh, self.P(*spec))

    def at(self, *spec: Any) -> Any:
        return self.on(self.mesh, *spec)

    def put(self, x: Any, *spec: Any) -> Any:
        return self.lib.device_put(x, self.at(*spec))


@pytest.fixture
def sides() -> tuple[Side, Side]:
    return Side(pb), Side(jax)


Sides = tuple[Side, Side]


def shown(out: Any) -> list[str]:
    """Where the arrays of a result are, as text."""
    return [
        f"{x.sharding} {x.committed}"
        for x in jax.tree.leaves(
            out, is_leaf=lambda v: v is out and not isinstance(v, (tuple, list, dict))
        )
    ]


def two(f: Callable[[Any, Any], Any]) -> Callable[[Side], Any]:
    return lambda s: s.jit(f)(s.x, s.xb)


CASES: dict[str, Callable[[Side], Any]] = {
    "one argument": lambda s: s.jit(lambda a: (a + 1, a.T, a.sum(), a[0], a))(s.x),
    "first decides": two(lambda a, b: (a + 1, b + 1, a + b)),
    "unused do not count": lambda s: s.jit(lambda a, b: b + 1)(s.xb, s.x),
    "unused that are kept": lambda s: s.jit(lambda a, b: b + 1, keep_unused=True)(s.xb, s.x),
    "constants": lambda s: s.jit(lambda a: (a + 1, s.np.zeros((2, 3))))(s.x),
    "nothing but constants": lambda s: s.jit(lambda a: s.np.zeros((2, 3)))(s.x),
    "not put": lambda s: s.jit(lambda a, b: (a + 1, b + 1, a + b, b))(s.u, s.x),
    "not put, second": lambda s: s.jit(lambda a, b: (a + 1, b + 1, a + b, b))(s.x, s.u),
    "other number of axes": lambda s: s.jit(lambda a, b: (a + 1, b + 1, b.sum(0)))(s.x1, s.x),
    "empty specs": lambda s: s.jit(lambda a, b: (a + b, b + 1))(s.xn, s.xe),
    "device first": lambda s: s.jit(lambda a, b: (a + 1, b + 1, s.np.zeros(2)))(s.d, s.x),
    "device second": lambda s: s.jit(lambda a, b: (a + 1, b + 1, s.np.zeros(2)))(s.x, s.d),
    "dictionary": lambda s: s.jit(lambda t: {"w": t["w"] * 2, "b": -t["b"]})({"w": s.x, "b": s.x1}),
    "two meshes": lambda s: s.jit(lambda a, b: a * b)(s.o, s.x),
    "scan": lambda s: s.jit(lambda a: s.lib.lax.scan(lambda c, r: (c + r, c), a[0], a))(s.x),
    "gradient": lambda s: s.jit(s.lib.grad(lambda a: (a**2).sum()))(s.x),
    "eager": lambda s: (s.x + 1, 2 * s.x, s.u * s.x, s.x.T, s.x[0], s.x.sum(), s.x.at[0].set(1.0)),
    "eager, two": lambda s: (s.x * s.xb, s.xb * s.x, s.x1 + s.x, s.d * s.x, s.x * s.d, s.o * s.x),
    "like": lambda s: (
        s.np.zeros_like(s.x),
        s.np.full_like(s.x, 2),
        s.np.ones_like(s.x, shape=(3, 2)),
    ),
    "composite": lambda s: (s.lib.nn.softmax(s.x), s.x.var(0), s.np.where(s.x > 0, s.x, s.u)),
    "out_shardings": lambda s: s.jit(lambda a: (a + 1, a.sum()), out_shardings=s.at())(s.u),
    "some out_shardings": lambda s: s.jit(
        lambda a: (a + 1, a.sum()), out_shardings=(s.at("b"), None)
    )(s.u),
    "in_shardings": lambda s: (
        s.jit(lambda a: a + 1, in_shardings=s.at("b"))(s.x),
        s.jit(lambda a: a + 1, in_shardings=s.at("b"))(s.u),
        s.jit(lambda a, b: (a + 1, b), in_shardings=(s.at("b"), None))(s.u, s.u),
    ),
    "constraints": lambda s: s.jit(
        lambda a: (s.lib.lax.with_sharding_constraint(a, s.at("b")), a + 1)
    )(s.u),
    "inner out_shardings": lambda s: s.jit(
        lambda a: (s.jit(lambda b: b + 1, out_shardings=s.at("b"))(a), a)
    )(s.u),
    "device=": lambda s: (
        s.np.zeros((2, 3), device=s.at("a")),
        s.np.arange(4, device=s.at("a")),
        s.np.linspace(0, 1, 4, device=s.at("a")),
        s.np.array([1.0], device=s.at("a")),
        s.np.eye(2, device=s.at("a")),
        s.np.full_like(s.u, 3, device=s.at("a")),
    ),
    "shard_map": lambda s: s.lib.shard_map(
        lambda a: a + 1, mesh=s.mesh, in_specs=s.P("a"), out_specs=s.P("a")
    )(s.u),
    "compiled": lambda s: (
        s.jit(lambda a, b: (a + b, a.sum()))
        .lower(s.lib.ShapeDtypeStruct((2, 3), "float32", sharding=s.at("a")), s.u)
        .compile()(s.u, s.u)
    ),
    "copies": lambda s: (s.np.copy(s.x), s.np.asarray(s.x), s.lib.device_put(s.x)),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_where_those_of_jax_are(sides: Sides, name: str) -> None:
    ours, theirs = (shown(CASES[name](s)) for s in sides)
    assert ours == theirs


@pytest.mark.parametrize(
    "f",
    [
        lambda s: (s.np.zeros(3), s.np.arange(3), s.np.eye(2), s.np.array([1.0]), s.np.float32(2)),
        lambda s: (s.u + 1, s.x + 1, s.o + 1, s.d + 1, s.np.zeros_like(s.x), s.np.asarray(s.u)),
        lambda s: s.jit(lambda a: (a, a + 1, s.np.zeros(2)))(s.u),
        lambda s: s.jit(lambda a: a, out_shardings=s.P("b"))(s.u),
        lambda s: s.jit(lambda a: a + 1, in_shardings=s.P("b"))(s.u),
        lambda s: s.lib.device_put(s.u, s.P("a")),
        lambda s: s.lib.random.normal(s.lib.random.key(0), (3,)),
    ],
)
def test_results_belong_to_the_mesh_that_is_set(sides: Sides, f: Callable[[Side], Any]) -> None:
    found = []
    for s in sides:
        with s.lib.set_mesh(s.mesh):
            found.append(shown(f(s)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "f",
    [
        lambda s: s.jit(lambda a, b: {"a": a + b, "b": a.sum()}).lower(s.x, s.u),
        lambda s: s.jit(lambda a: (a, a.sum()), out_shardings=s.at()).lower(s.u),
        lambda s: s.jit(lambda a: (a, a.sum()), in_shardings=s.at("a")).lower(s.u),
    ],
)
def test_compiled_programs_tell_their_shardings(sides: Sides, f: Callable[[Side], Any]) -> None:
    ours, theirs = (f(s).compile() for s in sides)
    assert str(ours.input_shardings) == str(theirs.input_shardings)
    assert str(ours.output_shardings) == str(theirs.output_shardings)


def test_types_tell_what_was_asked_for(sides: Sides) -> None:
    def told(s: Side) -> list[str]:
        f = s.jit(lambda a: {"a": a, "b": a.sum()}, out_shardings={"a": s.at("b"), "b": None})
        struct = s.lib.ShapeDtypeStruct((2, 3), "float32", sharding=s.at("a"))
        assert struct != s.lib.ShapeDtypeStruct((2, 3), "float32")
        return [str(f.eval_shape(s.u)), str(f.lower(s.u).out_info), str(struct)]

    assert told(sides[0]) == told(sides[1])


@pytest.mark.parametrize(
    ("error", "match", "f"),
    [
        (
            ValueError,
            "is only valid for values of rank at least 3",
            lambda s: s.put(s.u, None, None, "a"),
        ),
        (
            ValueError,
            "One of pjit outputs .*rank at least 3",
            lambda s: s.jit(lambda a: a, out_shardings=s.at(None, None, "a"))(s.u),
        ),
        (
            ValueError,
            "One of pjit arguments .*rank at least 3",
            lambda s: s.jit(lambda a: a, in_shardings=s.at(None, None, "a"))(s.u),
        ),
        (TypeError, "out_shardings leaf spec", lambda s: s.jit(lambda a: a, out_shardings=3)(s.u)),
        (
            RuntimeError,
            "jit requires a non-empty mesh .* out_shardings",
            lambda s: s.jit(lambda a: a, out_shardings=s.P("a"))(s.u),
        ),
        (
            ValueError,
            "does not support kwargs when in_shardings",
            lambda s: s.jit(lambda a: a, in_shardings=(s.at("a"),))(a=s.u),
        ),
        (ValueError, "Please set a mesh", lambda s: s.lib.device_put(s.u, s.P("a"))),
        (
            TypeError,
            "the context mesh cannot be empty",
            lambda s: s.lib.ShapeDtypeStruct((2, 3), "float32", sharding=s.P("a")).sharding,
        ),
    ],
)
def test_errors_are_those_of_jax(
    sides: Sides, error: Any, match: str, f: Callable[[Side], Any]
) -> None:
    for s in sides:
        with pytest.raises(error, match=match):
            f(s)


def test_nobody_else_pays() -> None:
    """Calls come through Python while an array with a NamedSharding lives, or a mesh is set."""
    gc.collect()
    before = list(config.LOOKERS)
    f = pb.jit(lambda a: a + 1)
    f(jnp.ones(5))
    assert f.entries
    side = Side(pb)
    y = side.put(jnp.ones(5), "a")
    assert config.ACTIVE
    assert f(y).sharding == y.sharding
    donating = pb.jit(lambda a: a + 1, donate_argnums=0)
    for _ in range(2):
        x = jnp.arange(1001.0) + 0
        address = x.unsafe_buffer_pointer()
        out = donating(x)
        assert x.is_deleted()
        assert out.unsafe_buffer_pointer() == address
    with pb.set_mesh(side.mesh), pb.set_mesh(side.other):
        assert len(config.LOOKERS) == len(before) + 3
    mesh = side.mesh
    del y, side
    gc.collect()
    assert before == config.LOOKERS
    assert mesh.size == 1


def test_settings_and_traces_nest_with_shardings() -> None:
    """An array that gets its sharding inside a block stays when the block's own entry goes."""
    side = Side(pb)
    with config.debug_nans.override(True):
        y = side.put(np.ones(2), "a")
    assert y.sharding == side.at("a")
    assert (y + 1).sharding == side.at("a")
    assert pb.vmap(lambda r: r * 2)(y).sharding == side.at("a")


def test_programs_without_meshes_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise AssertionError("the flow of a program was looked for")

    monkeypatch.setattr(spread, "_flow", refuse)
    f = pb.jit(lambda x: pb.jit(jnp.sin)(x) + 1)
    assert f(jnp.zeros(3)).shape == f.trace(jnp.zeros(3)).out_info.shape == (3,)

"""Shardings over explicit axes of a mesh of one device, beside JAX's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import pytest

import pullback as pb
import pullback.numpy
from pullback.errors import ShardingTypeError


class Side:
    """Pullback or JAX, with the same arrays on a mesh with explicit axes."""

    def __init__(self, lib: Any) -> None:
        self.lib, self.jit, self.np, self.lax = lib, lib.jit, lib.numpy, lib.lax
        self.P = lib.sharding.PartitionSpec
        self.mesh = lib.make_mesh((1, 1), ("a", "b"))
        ones = self.np.ones
        self.u = ones((2, 3))
        self.x, self.xb = self.put(self.u, "a", None), self.put(self.u, "b")
        self.xab, self.r = self.put(self.u, "a", "b"), self.put(self.u)
        self.x1, self.y = self.put(ones(3), "a"), self.put(ones((3, 4)), None, "b")

    def at(self, *spec: Any) -> Any:
        return self.lib.sharding.NamedSharding(self.mesh, self.P(*spec))

    def put(self, x: Any, *spec: Any) -> Any:
        return self.lib.device_put(x, self.at(*spec))

    def shown(self, out: Any) -> list[str]:
        """Where the arrays of a result are, and their types, as text."""
        leaves = self.lib.tree.leaves(out)
        types = [self.lib.typeof(x).str_short(short_dtypes=True) for x in leaves]
        return [f"{t} {x.sharding} {x.committed}" for t, x in zip(types, leaves, strict=True)]


@pytest.fixture
def sides() -> tuple[Side, Side]:
    return Side(pb), Side(jax)


Sides = tuple[Side, Side]
Case = Callable[[Side], Any]

CASES: dict[str, Case] = {
    "put": lambda s: (s.x, s.xb, s.xab, s.r, s.x1),
    "combined": lambda s: (s.x + 1, s.x + s.u, s.u + s.x, s.x + s.xab, s.x + s.r, s.r + s.x),
    "elements": lambda s: (s.np.exp(s.x), s.x.astype(int), s.np.where(s.x > 0, s.x, 0.0)),
    "moved": lambda s: (s.x.T, s.np.swapaxes(s.xab, 0, 1), s.x[::-1], s.np.roll(s.x, 1)),
    "reduced": lambda s: (s.x.sum(0), s.x.sum(1), s.x.sum(), s.x.max(0), s.x.mean(), s.xab.sum(0)),
    "places": lambda s: (s.np.argmax(s.x, 1), s.np.sort(s.x, 1), s.np.cumsum(s.x, 1)),
    "products": lambda s: (s.x @ s.y, s.xab @ s.y, s.np.einsum("ij,jk->ik", s.x, s.y)),
    "reshaped": lambda s: (s.x.reshape(6), s.x.reshape(2, 3, 1), s.r.reshape(6), s.xab.reshape(6)),
    "indexed": lambda s: (s.x[0], s.x[:, 0], s.r[0], s.x[:1], s.np.take(s.x, s.np.array([0]), 1)),
    "joined": lambda s: (s.np.concatenate([s.x, s.x]), s.np.stack([s.x, s.x]), s.np.pad(s.x, 1)),
    "new axes": lambda s: (
        s.x[:, None],
        s.x[:, None].squeeze(1),
        s.np.broadcast_to(s.x, (4, 2, 3)),
    ),
    "like": lambda s: (s.np.zeros_like(s.x), s.np.clip(s.x, 0, 1), s.lib.nn.softmax(s.x)),
    "loops": lambda s: (
        s.lax.fori_loop(0, 3, lambda i, c: c + 1, s.x),
        s.lax.cond(True, lambda c: c + 1, lambda c: c, s.x),
        s.lax.scan(lambda c, r: (c + r, c), s.np.zeros(3), s.r),
    ),
    "transformed": lambda s: (
        s.lib.grad(lambda a: (a**2).sum())(s.x),
        s.jit(s.lib.grad(lambda a: ((a @ s.y) ** 2).sum()))(s.x),
        s.lib.vmap(lambda r: r * 2)(s.x),
        s.lib.vmap(lambda r: r * 2, in_axes=1)(s.x),
        s.lib.jvp(s.np.sin, (s.x,), (s.x,)),
    ),
    "jitted": lambda s: s.jit(lambda a: (a, a.T, s.np.zeros((2, 3)), a.sum(), a @ s.y))(s.x),
    "not put": lambda s: s.jit(lambda u, a: (u, u + 1, a + 1))(s.u, s.x),
    "resharded": lambda s: (
        s.lib.sharding.reshard(s.x, s.at("b")),
        s.jit(lambda a: s.lib.sharding.reshard(a, s.at(None, "b")))(s.x),
        s.jit(lambda a: a + 1, out_shardings=s.at("b"))(s.x),
        s.jit(lambda a: a + 1, in_shardings=s.at("b"))(s.u),
    ),
    "asked": lambda s: s.np.einsum("ab,ac->bc", s.x, s.x, out_sharding=s.at(None, "b")),
}


@pytest.mark.parametrize("name", CASES)
def test_types_and_shardings_are_those_of_jax(sides: Sides, name: str) -> None:
    ours, theirs = (s.shown(CASES[name](s)) for s in sides)
    assert ours == theirs


SET: dict[str, Case] = {
    "made": lambda s: (s.np.zeros((2, 3)), s.np.zeros((2, 3), out_sharding=s.P("a")), s.u + 1),
    "numbers": lambda s: (
        s.np.arange(4, out_sharding=s.P("a")),
        s.lax.broadcasted_iota(int, (2, 2), 0, out_sharding=s.P("a")),
        s.lib.random.normal(s.lib.random.key(0), (2, 2), out_sharding=s.P("a")),
    ),
    "asked": lambda s: (
        s.np.dot(s.x.T, s.x, out_sharding=s.P(None, "b")),
        s.np.reshape(s.x, 6, out_sharding=s.P("a")),
        s.np.broadcast_to(s.x1, (2, 3), out_sharding=s.P("b", "a")),
        s.x.at[s.np.array([0, 1])].get(out_sharding=s.P("a", None)),
    ),
    "jitted": lambda s: s.jit(lambda a: s.np.dot(a.T, a, out_sharding=s.P("b")))(s.x),
    "resharded": lambda s: (
        s.lib.sharding.reshard(s.u, s.P("b")),
        s.lib.device_put(s.u, s.P("a")),
        s.lib.sharding.auto_axes(lambda a: a + 1, out_sharding=s.P("b"))(s.x),
    ),
    "types": lambda s: s.lib.eval_shape(lambda a: a @ s.y, s.x),
}


@pytest.mark.parametrize("name", SET)
def test_on_the_mesh_that_is_set(sides: Sides, name: str) -> None:
    found = []
    for s in sides:
        with s.lib.set_mesh(s.mesh):
            out = SET[name](s)
            found.append(str(out) if name == "types" else s.shown(out))
    assert found[0] == found[1]


ERRORS: dict[str, tuple[str, Case]] = {
    "combined": (r"incompatible shardings for broadcasting: \('a', None\)", lambda s: s.x + s.xb),
    "twice": ("produces an illegally sharded result", lambda s: s.x + s.x1),
    "contracted": ("ambiguous how the output should be sharded", lambda s: s.x.T @ s.x),
    "squared": (r"illegally sharded result: f32\[2@a,2@a\]", lambda s: s.x @ s.x.T),
    "jitted": ("ambiguous how the output", lambda s: s.jit(lambda a: a.T @ a)(s.x)),
    "cumulative": ("unsharded over the axis being reduced", lambda s: s.np.cumsum(s.x, 0)),
    "sorted": ("unsharded over the sorting dimension", lambda s: s.np.sort(s.x, 0)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_ambiguous_is_an_error(sides: Sides, name: str) -> None:
    match, f = ERRORS[name]
    for s in sides:
        with pytest.raises(Exception, match=match) as caught:
            f(s)
        assert type(caught.value).__name__ == ShardingTypeError.__name__


@pytest.mark.parametrize(
    ("match", "f"),
    [
        ("can only refer to Auto axes", lambda s: s.lax.with_sharding_constraint(s.x, s.at("a"))),
        ("not under a mesh context", lambda s: s.lib.sharding.reshard(s.x, s.P("a"))),
        ("not under a mesh context", lambda s: s.np.dot(s.x.T, s.x, out_sharding=s.P("a"))),
        (
            "0th dimension of all xs should be replicated",
            lambda s: s.lax.scan(lambda c, r: (c + r.sum(), r * 2), 0.0, s.x),
        ),
    ],
)
def test_other_errors(sides: Sides, match: str, f: Case) -> None:
    for s in sides:
        with pytest.raises(ValueError, match=match):
            f(s)


ABSTRACT: dict[str, Callable[..., Any]] = {
    "dot": lambda s, a, b, c: s.np.dot(a, b),
    "add": lambda s, a, b, c: a + c,
    "transpose": lambda s, a, b, c: c.T,
    "sum": lambda s, a, b, c: c.sum(0),
    "split axis": lambda s, a, b, c: a.reshape(2, 4, 16),
    "joined axes": lambda s, a, b, c: (c.reshape(128), a.reshape(128)),
    "rows": lambda s, a, b, c: a[:, 0],
    "softmax": lambda s, a, b, c: s.lib.nn.softmax(c),
    "loop": lambda s, a, b, c: s.lax.fori_loop(0, 3, lambda i, v: v * 2, a),
    "reshard": lambda s, a, b, c: s.lib.sharding.reshard(a, s.P("y")),
    "asked": lambda s, a, b, c: s.np.dot(c, b.T.T, out_sharding=s.P("x")),
    "scan": lambda s, a, b, c: s.lax.scan(lambda v, r: (v + r, v), b[0], b),
    "pieces": lambda s, a, b, c: s.np.split(a, 2, axis=1),
}


@pytest.mark.parametrize("name", ABSTRACT)
def test_meshes_without_devices(name: str) -> None:
    told = []
    for s in (Side(pb), Side(jax)):
        sharding = s.lib.sharding
        mesh = sharding.AbstractMesh((2, 4), ("x", "y"), (sharding.AxisType.Explicit,) * 2)

        def struct(shape: Any, *spec: Any) -> Any:
            where = sharding.NamedSharding(mesh, s.P(*spec))  # noqa: B023
            return s.lib.ShapeDtypeStruct(shape, "float32", sharding=where)  # noqa: B023

        a, b, c = struct((8, 16), "x", None), struct((16, 8), None, "y"), struct((8, 16), "x", "y")
        with sharding.use_abstract_mesh(mesh):
            told.append(str(s.lib.eval_shape(lambda *v: ABSTRACT[name](s, *v), a, b, c)))  # noqa: B023
    assert told[0] == told[1]

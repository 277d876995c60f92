"""Calls of jitted functions with named tuples and nodes of the user's: native after the first."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import pytest

import pullback as pb
from pullback import numpy as jnp
from pullback.runtime.jit import JitFunction


class Layer(NamedTuple):
    weight: Any
    bias: Any


@pb.tree_util.register_pytree_node_class
class Node:
    def __init__(self, x: Any, name: str) -> None:
        self.x, self.name = x, name

    def tree_flatten(self) -> tuple[tuple[Any], str]:
        return (self.x,), self.name

    @classmethod
    def tree_unflatten(cls, name: str, children: tuple[Any]) -> Node:
        return cls(children[0], name)


@pb.tree_util.register_dataclass
@dataclasses.dataclass
class Model:
    weight: Any
    steps: int = dataclasses.field(default=2, metadata={"static": True})


CASES: dict[str, Any] = {
    "named tuple": Layer(jnp.ones(3), 2.0),
    "class": Node(jnp.ones(3), "n"),
    "dataclass": Model(jnp.ones(3)),
    "ordered": collections.OrderedDict(b=jnp.ones(3), a=jnp.zeros(2)),
    "nested": {"layers": [Layer(jnp.ones(2), None), Node(Model(jnp.ones(2), 5), "m")]},
}


def _without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(*_: Any) -> Any:
        raise AssertionError("the call went through Python")

    monkeypatch.setattr(JitFunction, "_evaluate", evaluate)


@pytest.mark.parametrize("case", CASES)
def test_the_second_call_is_native(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = CASES[case]
    twice = pb.jit(lambda t: pb.tree.map(lambda x: 2 * x, t))
    first = twice(tree)
    _without_python(monkeypatch)
    second = twice(tree)
    assert pb.tree.structure(second) == pb.tree.structure(tree)
    for x, y, z in zip(*map(pb.tree.leaves, (tree, first, second)), strict=True):
        assert (2 * x == z).all()
        assert (y == z).all()


def test_other_types_data_and_static_values_are_other_programs() -> None:
    f = pb.jit(lambda t, n: Node(t.x * n, t.name), static_argnums=1)
    for name, x, n in [
        ("a", jnp.ones(2), 2),
        ("b", jnp.ones(2), 2),
        ("a", jnp.ones(2, int), 3),
    ] * 3:
        made = f(Node(x, name), n)
        assert made.name == name
        assert made.x.dtype == x.dtype
        assert made.x.tolist() == [n, n]


def test_settings_and_traces_go_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    f = pb.jit(lambda m: m.weight * m.steps)
    model = Model(jnp.ones(2))
    f(model)
    with pb.disable_jit():
        assert f(model).tolist() == [2.0, 2.0]
    assert pb.grad(lambda m: f(m).sum())(model).weight.tolist() == [2.0, 2.0]
    pb.clear_caches()
    _without_python(monkeypatch)
    with pytest.raises(AssertionError):
        f(model)


def test_donated_leaves_are_deleted() -> None:
    f = pb.jit(lambda layer: Layer(layer.weight + 1, layer.bias), donate_argnums=0)
    layer = Layer(jnp.zeros(4), 1.0)
    for _ in range(3):
        given, layer = layer, f(layer)
        assert given.weight.is_deleted()
    assert layer.weight.tolist() == [3.0] * 4


def test_structures_of_nodes_without_data_are_one_object() -> None:
    @pb.tree_util.register_dataclass
    @dataclasses.dataclass
    class Pair:
        a: Any
        b: Any

    assert pb.tree.structure([Pair(1, 2)]) is pb.tree.structure([Pair(3, 4)])
    assert pb.tree.structure(Pair(1, 2)) != pb.tree.structure(Pair(1, (2,)))
    assert pb.tree.structure(Node(1, "a")) == pb.tree.structure(Node(1, "a"))
    assert pb.tree.structure(Node(1, "a")) != pb.tree.structure(Node(1, "b"))

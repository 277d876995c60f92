"""Structures that are used often get functions of their own: the same trees, leaves and errors."""

from __future__ import annotations

import collections
import copy
import enum
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import tree, tree_util
from pullback.pytree.generated import DEEPEST, OFTEN
from pullback.pytree.treedef import PyTreeDef

Point = collections.namedtuple("Point", "x y")


class Pair:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and (self.a, self.b) == (other.a, other.b)

    __hash__ = None  # type: ignore[assignment]


tree_util.register_pytree_node(Pair, lambda p: ((p.a, p.b), None), lambda _, ab: Pair(*ab))


class Word(str):
    __slots__ = ()


class Name(enum.StrEnum):
    a = "a"
    b = "b"


TREES: list[Any] = [
    {"b": [1, 2, (3,)], "a": {"x": None, "y": (4, ())}, "c": {}},
    [[1, 2], [3, [4, 5]], (), [], None, 6],
    ({"w": 1.5, "b": 2}, {"w": 3, "b": [4, None]}, Point(5, (6, 7))),
    [Pair(1, [2]), Pair(Point(3, 4), None), Pair((), 5)],
    {1: [1, 2], 2: {"a": 3, "b": 4}, 3: (5, 6, 7)},
    {"quote'\n": [1, 2, 3], 'other"\\': (4, 5), "ü": {"{}": 6, "%s": 7}},
    {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8},
    [*range(300)],
    {f"k{i:03}": {"w": i, "b": -i} for i in range(60)},
]


def often(t: Any) -> PyTreeDef:
    """The structure of a tree, used until it has functions of its own."""
    for _ in range(OFTEN + 2):
        values, treedef = tree.flatten(t)
        treedef.unflatten(values)
    return treedef


def shape_of(t: Any) -> Any:
    """A tree by its containers, keys in order of insertion included."""
    if isinstance(t, dict):
        return [(key, type(key), shape_of(value)) for key, value in t.items()]
    if isinstance(t, (tuple, list)):
        return type(t), [shape_of(value) for value in t]
    return (Pair, shape_of(t.a), shape_of(t.b)) if isinstance(t, Pair) else t


@pytest.mark.parametrize("t", TREES)
def test_the_same_as_before(t: Any) -> None:
    fresh = tree.structure(copy.deepcopy([t]))
    leaves = tree.leaves(copy.deepcopy([t]))
    slow = tree.unflatten(fresh, leaves)[0]
    paths = tree.leaves_with_path(t)
    treedef = often(t)
    assert treedef.is_written
    assert tree.flatten(t) == (leaves, treedef)
    assert shape_of(treedef.unflatten(leaves)) == shape_of(slow)
    assert treedef.flatten_up_to(t) == leaves
    assert tree.structure(slow) is treedef
    assert tree.leaves_with_path(t) == paths
    doubled = tree.map(lambda x: [x, x], t)
    assert treedef.flatten_up_to(doubled) == [[x, x] for x in leaves]
    assert tree.structure(doubled) != treedef
    assert tree.map(lambda x, y: y[0] is not x or x, t, doubled) == t
    assert pickle.loads(pickle.dumps(treedef)) is treedef


@pytest.mark.parametrize("t", TREES)
def test_trees_of_other_structures_are_told_apart(t: Any) -> None:
    treedef = often(t)
    n = treedef.num_leaves
    for i in range(min(n, 20)):
        for other in ([], None, (1, 2), {"a": 1}, Pair(1, 2), Point(1, 2)):
            values = [*range(n)]
            values[i] = other  # type: ignore[call-overload]
            changed = treedef.unflatten(values)
            leaves, found = tree.flatten(changed)
            assert found != treedef
            assert shape_of(found.unflatten(leaves)) == shape_of(changed)
    for wrong in (None, 1, [], [t], (t, t), {"a": t}, {}):
        with pytest.raises(ValueError, match=r"[Ee]xpected|arity|mismatch"):
            treedef.flatten_up_to(wrong)
    with pytest.raises(ValueError, match="Too few leaves"):
        treedef.unflatten([*range(n - 1)])


def test_messages_are_those_of_the_walk() -> None:
    t = {"a": {"x": 1, "y": [2, 3]}, "b": (4, 5, 6)}
    wrong = {"a": {"x": 1, "z": [2, 3]}, "b": (4, 5, 6)}
    new = {"q": t}
    with pytest.raises(ValueError) as before:  # noqa: PT011
        tree.structure(new).flatten_up_to({"q": wrong})
    often(new)
    with pytest.raises(ValueError) as after:  # noqa: PT011
        tree.structure(new).flatten_up_to({"q": wrong})
    assert str(before.value) == str(after.value)


def test_keys_that_are_equal_but_others_stay_what_they_are() -> None:
    plain = {"a": [1, 2, 3], "b": {"a": 4, "b": 5}}
    often(plain)
    for key in (Word, Name, np.str_):
        t = {key("a"): [1, 2, 3], key("b"): {"a": 4, "b": 5}}
        leaves, treedef = tree.flatten(t)
        assert leaves == [1, 2, 3, 4, 5]
        assert [type(k) for k in treedef.unflatten(leaves)] == [key, key]
        later = {"a": [1, 2, 3], key("b"): {"b": 5, key("a"): 4}}
        leaves, treedef = tree.flatten(later)
        again = treedef.unflatten(leaves)
        assert leaves == [1, 2, 3, 4, 5]
        assert [[type(k) for k in d] for d in (again, again["b"])] == [[str, key], [key, str]]
    numbers = {1: [1, 2, 3], 0: (4, 5, 6)}
    often(numbers)
    truths = {True: [1, 2, 3], False: (4, 5, 6)}
    leaves, treedef = tree.flatten(truths)
    assert [type(k) for k in treedef.unflatten(leaves)] == [bool, bool]


def test_keys_that_are_equal_are_told_apart_in_small_trees() -> None:
    tree.flatten({"a": 1, "b": 2})
    leaves, treedef = tree.flatten({"a": 1, Word("b"): 2})
    assert leaves == [1, 2]
    assert [type(k) for k in treedef.unflatten(leaves)] == [str, Word]


def test_a_key_that_has_no_text() -> None:
    t = {10**5000: [1, 2, 3], -1: (4, 5, 6, 7)}
    treedef = often(t)
    assert treedef.is_written
    assert treedef.unflatten([4, 5, 6, 7, 1, 2, 3]) == t


def test_order_of_insertion_does_not_matter() -> None:
    one = {"a": [1, 2, 3], "b": {"x": 4, "y": 5}}
    other = {"b": {"y": 5, "x": 4}, "a": [1, 2, 3]}
    treedef = often(one)
    assert tree.flatten(other) == ([1, 2, 3, 4, 5], treedef)


def test_a_leaf_that_becomes_a_node_is_seen() -> None:
    class Late:
        def __init__(self, x: Any) -> None:
            self.x = x

    t = [Late(1), Late(2), [3, 4], (5, 6, 7)]
    often(t)
    assert len(tree.leaves(t)) == 7
    tree_util.register_pytree_node(Late, lambda n: ((n.x, n.x), None), lambda _, c: Late(c[0]))
    assert tree.leaves(t) == [1, 1, 2, 2, 3, 4, 5, 6, 7]


def test_deep_and_odd_structures_stay_with_the_walk() -> None:
    deep: Any = [1, 2, 3, 4, 5, 6, 7, 8]
    for _ in range(DEEPEST):
        deep = [deep]
    treedef = often(deep)
    assert not treedef.is_written
    assert treedef.unflatten(tree.leaves(deep)) == deep
    with_data = [collections.OrderedDict(a=1, b=2), [3, 4, 5, 6, 7]]
    assert not often(with_data).is_written
    assert tree.map(lambda x: x, with_data) == with_data


def test_errors_of_nodes_come_through() -> None:
    class Picky:
        def __init__(self, x: Any) -> None:
            if x == 13:
                raise KeyError("thirteen")
            self.x = x

    def split(node: Any) -> Any:
        if node.x == 12:
            raise KeyError("twelve")
        return (node.x,), None

    tree_util.register_pytree_node(Picky, split, lambda _, c: Picky(*c))
    t = [Picky(1), [2, 3, 4, 5, 6, 7]]
    treedef = often(t)
    with pytest.raises(KeyError, match="thirteen"):
        treedef.unflatten([13, 2, 3, 4, 5, 6, 7])
    for use in (tree.leaves, treedef.flatten_up_to):
        with pytest.raises(KeyError, match="twelve"):
            use([Picky(12), [2, 3, 4, 5, 6, 7]])


def test_many_structures_in_threads() -> None:
    wrong: list[Any] = []

    def work(k: int) -> None:
        for i in range(200):
            t = {"a": [k] * (i % 9), "b": {"c": (i, i), "d": [i] * k}, "e": (1, 2, 3)}
            if tree.map(lambda x: x, t) != t or len(tree.leaves(t)) != i % 9 + 5 + k:
                wrong.append(t)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_inside_of_transformations() -> None:
    params = {f"l{i}": {"w": np.ones((2, 2), np.float32), "b": np.ones(2)} for i in range(5)}
    loss = lambda p: sum((v["w"].sum() + v["b"].sum()) ** 2 for v in p.values())  # noqa: E731
    first = pb.grad(loss)(params)
    for _ in range(OFTEN):
        again = pb.jit(pb.grad(loss))(params)
    assert tree.structure(first) is tree.structure(again)
    assert tree.all(tree.map(lambda a, b: bool((a == b).all()), first, again))

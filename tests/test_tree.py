"""Pytrees: parity with JAX from the outside, laws on random trees, errors that say where."""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.tree_util as jtu
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullback import tree, tree_util
from pullback.pytree import treedef as treedefs


class Point(NamedTuple):
    x: Any
    y: Any


class Named(NamedTuple):
    only: Any


class Tuple(tuple):  # a leaf: only exact tuples and named tuples are nodes
    __slots__ = ()


class Dict(dict):
    pass


class Custom:
    def __repr__(self) -> str:
        return "Custom"

    def __init__(self, a: Any, b: Any, tag: Any = None) -> None:
        self.a, self.b, self.tag = a, b, tag

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Keyed(Custom):
    def __repr__(self) -> str:
        return "Keyed"

    def tree_flatten_with_keys(self) -> Any:
        return ((self._key("a"), self.a), (self._key("b"), self.b)), self.tag

    @staticmethod
    def _key(name: str) -> Any:
        return tree_util.GetAttrKey(name)

    @classmethod
    def tree_unflatten(cls, tag: Any, children: Any) -> Any:
        return cls(*children, tag)


@dataclasses.dataclass
class Model:
    weight: Any
    bias: Any
    name: str = dataclasses.field(default="m", metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class Option:
    value: int = 1


for module in (tree_util, jtu):
    module.register_pytree_node(
        Custom, lambda c: ((c.a, c.b), c.tag), lambda tag, ab: Custom(*ab, tag)
    )
    module.register_pytree_with_keys_class(Keyed)
    module.register_dataclass(Model)
    module.register_static(Option)

TREES: list[Any] = [
    1,
    None,
    (),
    [],
    {},
    (1,),
    (1, 2),
    [1, (2, None)],
    {"b": 1, "a": [2, {"c": 3}]},
    {3: 1, 2: 2},
    {(1, 2): 1, (0, 1): 2},
    {True: 1},
    {1.5: 2},
    Point(1, [2, None]),
    Named((1,)),
    (Point(1, 2), Point(3, 4)),
    collections.OrderedDict(b=1, a=(2,)),
    collections.defaultdict(int, b=1, a=(2,)),
    Tuple((1, 2)),
    Dict(a=1),
    Custom(1, [2], "tag"),
    Keyed(1, Custom(2, 3)),
    Model(1, {"x": 2}, "name"),
    [Option(3), 1],
    collections.deque([1]),
    {1, 2},
    "abc",
    slice(1, 2),
    [[[[1]], 2], (((3,),),)],
    functools.partial(max, 1),
    {"a": None, "b": ()},
]


def shape(path: Any) -> Any:
    return tuple((type(k).__name__, str(k)) for k in path)


@pytest.mark.parametrize("t", TREES, ids=repr)
def test_flatten_like_jax(t: Any) -> None:
    leaves, treedef = tree.flatten(t)
    theirs, their_def = jax.tree.flatten(t)
    assert leaves == theirs
    assert repr(treedef) == repr(their_def)
    assert (treedef.num_leaves, treedef.num_nodes) == (their_def.num_leaves, their_def.num_nodes)
    assert treedef.node_data() == their_def.node_data()
    assert list(map(repr, treedef.children())) == list(map(repr, their_def.children()))
    assert tree_util.treedef_is_leaf(treedef) == jtu.treedef_is_leaf(their_def)
    assert tree.unflatten(treedef, leaves) == t
    assert tree.structure(t) == treedef
    assert hash(tree.structure(t)) == hash(treedef)
    assert tree.map(lambda x: (x, 1), t) == jax.tree.map(lambda x: (x, 1), t)
    assert tree_util.is_tree_node(type(t)) == jtu.is_tree_node(type(t))


@pytest.mark.parametrize("t", TREES, ids=repr)
def test_paths_like_jax(t: Any) -> None:
    ours, theirs = tree.leaves_with_path(t), jax.tree.leaves_with_path(t)
    assert [shape(p) for p, _ in ours] == [shape(p) for p, _ in theirs]
    assert [x for _, x in ours] == [x for _, x in theirs]
    for (a, _), (b, _) in zip(ours, theirs, strict=True):
        if "GetAttrKey" not in str(shape(b)):  # keys of Keyed are our own objects
            assert tree_util.keystr(a, simple=True, separator="/") == jtu.keystr(
                b, simple=True, separator="/"
            )


@pytest.mark.parametrize("t", TREES, ids=repr)
def test_is_leaf_like_jax(t: Any) -> None:
    for is_leaf in (lambda x: x is None, lambda x: isinstance(x, list), lambda x: True):
        ours, theirs = tree.flatten(t, is_leaf), jax.tree.flatten(t, is_leaf)
        assert ours[0] == theirs[0]
        assert repr(ours[1]) == repr(theirs[1])
        assert tree_util.all_leaves([t], is_leaf) == jtu.all_leaves([t], is_leaf)
    assert tree_util.all_leaves([t]) == jtu.all_leaves([t])
    by_path = {"is_leaf": lambda path, x: len(path) == 1, "is_leaf_takes_path": True}
    ours, theirs = tree.leaves_with_path(t, **by_path), jax.tree.leaves_with_path(t, **by_path)
    assert [x for _, x in ours] == [x for _, x in theirs]


@pytest.mark.parametrize("t", TREES, ids=repr)
def test_one_level_like_jax(t: Any) -> None:
    for name in ("flatten_one_level", "flatten_one_level_with_keys"):
        try:
            children, data = getattr(jtu, name)(t)
        except ValueError:
            with pytest.raises(ValueError, match="can't tree-flatten type"):
                getattr(tree_util, name)(t)
            assert getattr(tree_util.default_registry, name)(t) is None
            continue
        ours, our_data = getattr(tree_util, name)(t)
        assert getattr(tree_util.default_registry, name)(t) == (ours, our_data)
        assert len(ours) == len(list(children))
        assert our_data == data


def test_structures_are_equal_exactly_when_in_jax() -> None:
    for a in TREES:
        for b in TREES:
            ours, theirs = tree.structure(a), tree.structure(b)
            expected = jax.tree.structure(a) == jax.tree.structure(b)
            assert (ours == theirs) == expected, (a, b)
            assert (ours != theirs) != expected
            if expected:
                assert hash(ours) == hash(theirs)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except (ValueError, TypeError) as e:
        return type(e)


def test_flatten_up_to_like_jax() -> None:
    for a in TREES:
        for b in TREES:
            ours = outcome(tree.structure(a).flatten_up_to, b)
            assert ours == outcome(jax.tree.structure(a).flatten_up_to, b), (a, b)
            ours = outcome(lambda a, b: tree.map(lambda x, y: (x, y), a, b), a, b)
            assert ours == outcome(lambda a, b: jax.tree.map(lambda x, y: (x, y), a, b), a, b)
            assert outcome(tree.broadcast, a, b) == outcome(jax.tree.broadcast, a, b), (a, b)


def test_reductions_like_jax() -> None:
    t = {"a": 1, "b": [2, 3, 4, (5,)]}
    join = lambda a, b: (a, b)  # noqa: E731
    assert tree.reduce(join, t) == jax.tree.reduce(join, t)
    assert tree.reduce(join, t, 0) == jax.tree.reduce(join, t, 0)
    assert tree.reduce(join, t, None) == jax.tree.reduce(join, t, None)
    assert tree.reduce_associative(join, t) == jax.tree.reduce_associative(join, t)
    assert tree.reduce_associative(join, [], identity=0) == 0
    assert tree.all({"a": 1, "b": [True]})
    assert not tree.all([1, 0])
    with pytest.raises(TypeError, match="identity"):
        tree.reduce_associative(join, [])
    with pytest.raises(TypeError):
        tree.reduce(join, [])


def test_transpose() -> None:
    outer, inner = tree.structure([0, 0]), tree.structure((0, 0, 0))
    expected = ([1, 4], [2, 5], [3, 6])
    assert tree.transpose(outer, inner, [(1, 2, 3), (4, 5, 6)]) == expected
    assert tree.transpose(outer, None, [(1, 2, 3), (4, 5, 6)]) == expected
    with pytest.raises(TypeError, match="Mismatch of structures"):
        tree.transpose(outer, inner, [(1, 2, 3), (4, 5)])


def walked(t: Any, flatten: Callable[[Any], Any]) -> list[Any]:
    leaves, treedef = flatten(t)
    seen: list[Any] = []
    treedef.walk(lambda children, data: seen.append((children, data)), seen.append, leaves)
    return seen


def test_walk_like_jax() -> None:
    for t in TREES:
        assert walked(t, tree.flatten) == walked(t, jax.tree.flatten)


def test_compose_and_rebuild() -> None:
    for t in TREES:
        treedef = tree.structure(t)
        composed = treedef.compose(tree.structure((0, 0)))
        assert repr(composed) == repr(jax.tree.structure(t).compose(jax.tree.structure((0, 0))))
        assert composed == tree.structure(tree.map(lambda x: (x, x), t))
        again = tree.PyTreeDef.from_node_data_and_children(
            tree_util.default_registry, treedef.node_data(), treedef.children()
        )
        assert again == treedef
    parts = [tree.structure(1), tree.structure([1])]
    assert tree_util.treedef_tuple(parts) == tree.structure((1, [1]))


def test_as_spec() -> None:
    t = ((1, None), [2], {"b": 1, "a": ()})
    assert tree.structure(t).as_spec() == (
        "tuple",
        [
            ("tuple", [("leaf",), ("none",)]),
            ("list", [("leaf",)]),
            ("dict", ["a", "b"], [("tuple", []), ("leaf",)]),
        ],
    )
    assert tree.structure(Point(1, 2)).as_spec() == ("other",)
    assert tree.structure([Custom(1, 2)]).as_spec() == ("list", [("other",)])


# --------------------------------------------------------------------------- laws

leaf = st.one_of(st.integers(), st.text(max_size=2), st.booleans())
trees = st.recursive(
    leaf | st.none(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=4),
        st.dictionaries(st.integers(), inner, max_size=3).map(collections.OrderedDict),
        st.tuples(inner, inner).map(lambda ab: Point(*ab)),
        st.tuples(inner, inner, st.integers(0, 1)).map(lambda abt: Custom(*abt)),
        st.tuples(inner, inner).map(lambda ab: Model(*ab)),
    ),
    max_leaves=12,
)


@given(trees)
def test_unflatten_inverts_flatten(t: Any) -> None:
    leaves, treedef = tree.flatten(t)
    assert treedef.unflatten(leaves) == t
    assert leaves == jax.tree.leaves(t)
    assert repr(treedef) == repr(jax.tree.structure(t))
    assert treedef.num_leaves == len(leaves)
    assert pickle.loads(pickle.dumps(treedef)) == treedef
    assert treedef.flatten_up_to(t) == leaves


@given(trees, trees)
def test_structure_equality(a: Any, b: Any) -> None:
    assert (tree.structure(a) == tree.structure(b)) == (
        jax.tree.structure(a) == jax.tree.structure(b)
    )


@given(trees)
def test_map_laws(t: Any) -> None:
    f, g = (lambda x: (x, 1)), (lambda x: [x])
    assert tree.map(lambda x: x, t) == t
    assert tree.structure(tree.map(lambda x: 0, t)) == tree.structure(t)
    composed = tree.map(lambda x: g(f(x)), t)
    assert composed == tree.map(g, tree.map(f, t), is_leaf=lambda x: x in map(f, tree.leaves(t)))


@given(trees, trees)
def test_transpose_is_an_involution(a: Any, b: Any) -> None:
    outer, inner = tree.structure(a), tree.structure(b)
    if outer.num_leaves and inner.num_leaves:
        nested = outer.compose(inner).unflatten(range(outer.num_leaves * inner.num_leaves))
        turned = tree.transpose(outer, inner, nested)
        assert tree.transpose(inner, outer, turned) == nested


@given(trees)
def test_every_tree_is_a_prefix_of_itself_and_a_leaf_of_everything(t: Any) -> None:
    assert tree.broadcast(t, t) == t
    assert tree.broadcast_prefix(7, t) == [7] * len(tree.leaves(t))
    assert tree.prefix_errors(t, t) == []
    assert tree.flatten_axes("axes", tree.structure(t), 3) == [3] * len(tree.leaves(t))


# --------------------------------------------------------------------------- structures in memory


def test_plain_structures_are_interned() -> None:
    for t in (1, None, (1, [2, {"a": 3}]), Point(1, (2,)), {1: 2}):
        assert tree.structure(t) is tree.structure(tree.map(lambda x: x, t))
        assert pickle.loads(pickle.dumps(tree.structure(t))) is tree.structure(t)


def test_interned_structures_do_not_live_forever() -> None:
    for i in range(3000):
        tree.structure({f"key{i}": 1})
    gc.collect()
    assert len(treedefs._interned) < 2000


def test_equal_keys_of_other_types_come_back_as_they_were() -> None:
    for key in (1, True, 1.0):
        (found,) = tree.map(lambda x: x, {key: 1})
        assert type(found) is type(key)


def test_aux_data_come_back_as_the_object_they_were() -> None:
    first, second = Custom(1, 2, {"k": 1}), Custom(1, 2, {"k": 1})
    assert tree.structure(first) == tree.structure(second)
    assert tree.map(lambda x: x, second).tag is second.tag


def test_aux_data_that_cannot_be_compared_are_named() -> None:
    class Unequal:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no truth value")

    a, b = (tree.structure(Custom(1, 2, Unequal())) for _ in "ab")
    with pytest.raises(ValueError, match=r"node Custom cannot be compared.*no truth value"):
        _ = a == b


# --------------------------------------------------------------------------- registration


def test_partial_like_jax() -> None:
    f = tree_util.Partial(max, 1, key=None)
    g = jtu.Partial(max, 1, key=None)
    assert repr(f) == repr(g).replace("jax.", "pullback.")
    assert f"{type(f).__module__}.Partial" == "pullback.tree_util.Partial"
    assert tree.leaves(f) == jax.tree.leaves(g)
    assert repr(tree.structure(f)) == repr(jax.tree.structure(g))
    nested = tree_util.Partial(tree_util.Partial(max, 1), 2)
    assert nested(3) == 3
    assert tree.leaves(nested) == [2]
    mapped = tree.map(lambda x: 10 * x, tree_util.Partial(max, 1))
    assert mapped(3) == 10


def test_dataclass_fields_are_checked() -> None:
    @dataclasses.dataclass
    class Pair:
        a: int
        b: int = 7

    with pytest.raises(ValueError, match=r"Missing fields: {'b'}"):
        tree_util.register_dataclass(Pair, ["a"], [])
    with pytest.raises(ValueError, match=r"Unexpected fields: {'c'}"):
        tree_util.register_dataclass(Pair, ["a", "c"], ["b"])
    with pytest.raises(TypeError, match="not a dataclass"):
        tree_util.register_dataclass(list)
    tree_util.register_dataclass(Pair, ["a"], [], drop_fields=["b"])
    assert tree.map(lambda x: x + 1, Pair(1, 2)) == Pair(2, 7)
    with pytest.raises(ValueError, match="Duplicate custom PyTreeDef type registration"):
        tree_util.register_dataclass(Pair, ["a"], [], drop_fields=["b"])


def test_a_type_met_as_a_leaf_can_be_registered_later() -> None:
    class Late:
        pass

    late = Late()
    assert tree.leaves([late]) == [late]
    tree_util.register_pytree_node(Late, lambda _: ((1, 2), None), lambda *_: Late())
    assert tree.leaves([late]) == [1, 2]


def test_subclasses_of_registered_classes_are_leaves() -> None:
    class Sub(Custom):
        pass

    assert len(tree.leaves(Sub(1, 2))) == 1


@pytest.mark.parametrize(("result", "problem"), [(3, "tuple"), (((1,),), "tuple")])
def test_bad_flatten_functions_are_named(result: Any, problem: str) -> None:
    class Bad:
        pass

    tree_util.register_pytree_node(Bad, lambda _: result, lambda *_: Bad())
    with pytest.raises(ValueError, match=rf"return .* {problem}.*Bad"):
        tree.leaves(Bad())
    with pytest.raises(ValueError, match=r"at tree\['x'\]\[1\]"):
        tree.leaves({"x": [0, Bad()]})
    with pytest.raises(ValueError, match=r"at tree\['x'\]\[1\]"):
        tree.leaves_with_path({"x": [0, Bad()]})


# --------------------------------------------------------------------------- errors say where


def test_unsortable_keys() -> None:
    with pytest.raises(ValueError, match=r"sorting pytree dictionary keys.*int, str.*tree\[1\]"):
        tree.leaves([0, {3: 1, "a": 2}])


MISMATCHES: list[tuple[Any, Any, str]] = [
    ([1, 2], [1, 2, 3], r"different lengths of list at key path\n    tree\n"),
    ([1, 2], (1, 2), r"different types at key path\n    tree\n"),
    ({"a": [1, 2]}, {"a": [1]}, r"different lengths of list at key path\n    tree\['a'\]\n"),
    ({"a": 1, "b": 2}, {"a": 1, "c": 2}, r"(?s)different pytree metadata.*\['b', 'c'\]"),
    ([Point(1, 2)], [(1, 2)], r"different types at key path\n    tree\[0\]"),
    ([1, None], [1, 2], r"(?s)tree\[1\].*is_leaf=lambda x: x is None"),
    ([Custom(1, 2, "a")], [Custom(1, 2, "b")], r"(?s)different pytree metadata.*Custom"),
    (Model(1, (2,)), Model(1, (2, 3)), r"tree\.bias"),
]


@pytest.mark.parametrize(("a", "b", "message"), MISMATCHES)
def test_mismatches_say_where(a: Any, b: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tree.map(lambda x, y: x, a, b)
    with pytest.raises(ValueError, match=r"at tree|Expected|mismatch|Mismatch"):
        tree.structure(a).flatten_up_to(b)


def test_flatten_up_to_says_where() -> None:
    treedef = tree.structure({"a": [1, (2, 3)]})
    with pytest.raises(ValueError, match=r"Expected tuple, got .*At tree\['a'\]\[1\]"):
        treedef.flatten_up_to({"a": [1, [2, 3]]})


def test_wrong_number_of_leaves() -> None:
    treedef = tree.structure([1, 2])
    with pytest.raises(ValueError, match=r"Too few leaves .* expected 2, got 1"):
        treedef.unflatten([1])
    with pytest.raises(ValueError, match=r"Too many leaves .* expected 2, got 3"):
        treedef.unflatten([1, 2, 3])


def test_flatten_axes() -> None:
    treedef = tree.structure(({"a": 1, "b": [2, 3]}, 4))
    assert tree.flatten_axes("in_axes", treedef, ({"a": 0, "b": None}, 1)) == [0, None, None, 1]
    assert tree.flatten_axes("in_axes", treedef, (None, 1)) == [None, None, None, 1]
    with pytest.raises(ValueError, match=r"in_axes\[0\] has keys \['a'\] but the value there has"):
        tree.flatten_axes("in_axes", treedef, ({"a": 0}, 1))
    with pytest.raises(ValueError, match=r"in_axes\[1\] is a list but the value there is a leaf"):
        tree.flatten_axes("in_axes", treedef, (0, [1]))
    with pytest.raises(ValueError, match="in_axes has length 1 but the value there has length 2"):
        tree.flatten_axes("in_axes", treedef, (0,))


def test_build_tree() -> None:
    assert tree.build_tree(tree.structure({"a": Point(0, 0)}), [[1, 2]]) == {"a": Point(1, 2)}
    with pytest.raises(ValueError, match="needs 2 children, got 1"):
        tree.build_tree(tree.structure((0, 0)), [1])


def test_public_names() -> None:
    assert set(tree_util.__all__) == {n for n in dir(jtu) if not n.startswith("_")} | {"build_tree"}
    assert set(tree.__all__) == {n for n in dir(jax.tree) if not n.startswith("_")}

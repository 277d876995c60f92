"""Mapping, reducing, transposing: whole-tree operations made of `flatten` and `unflatten`."""

from __future__ import annotations

import builtins
import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, Final, final

from pullback.pytree.flatten import IsLeaf, flatten, flatten_with_path
from pullback.pytree.keys import KeyPath
from pullback.pytree.prefix import prefix_errors
from pullback.pytree.treedef import PyTreeDef


@final
class Unspecified:
    """Type of the default that tells an omitted argument from None."""

    def __repr__(self) -> str:
        return "unspecified"


UNSPECIFIED: Final = Unspecified()


def leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree, in order.

    >>> leaves({"b": 1, "a": (2, None)})
    [2, 1]
    """
    return flatten(tree, is_leaf)[0]


def structure(tree: Any, is_leaf: IsLeaf | None = None) -> PyTreeDef:
    """The structure of a tree.

    >>> structure({"b": 1, "a": (2, None)})
    PyTreeDef({'a': (*, None), 'b': *})
    """
    return flatten(tree, is_leaf)[1]


def unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of a structure with the given leaves.

    >>> unflatten(structure([0, (0,)]), [1, 2])
    [1, (2,)]
    """
    return treedef.unflatten(leaves)


def leaves_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """Pairs of path and leaf.

    >>> leaves_with_path({"a": 1})
    [((DictKey(key='a'),), 1)]
    """
    return flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def _match(treedef: PyTreeDef, tree: Any, rest: tuple[Any, ...], is_leaf: Any) -> list[Any]:
    """The leaves of the other trees, which the first must be a prefix of."""
    columns = []
    for i, other in enumerate(rest):
        try:
            columns.append(treedef.flatten_up_to(other))
        except ValueError as e:
            errors = prefix_errors(tree, other, is_leaf)
            if not errors:
                raise
            which = "" if len(rest) == 1 else f" (tree number {i + 2})"
            raise ValueError(str(errors[0](f"tree{which}"))) from e
    return columns


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Apply `f` to the leaves of a tree, with those of the `rest` at the same places.

    >>> map(lambda x: x + 1, {"a": 1, "b": [2, 3]})
    {'a': 2, 'b': [3, 4]}
    >>> map(lambda x, y: x + y, [1, 2], [10, 20])
    [11, 22]

    The first tree may be a prefix of the others, whose subtrees are then passed.  Raises
    ValueError, with the place, where the structures differ.
    """
    values, treedef = flatten(tree, is_leaf)
    if not rest:
        return treedef.unflatten([f(x) for x in values])
    columns = _match(treedef, tree, rest, is_leaf)
    return treedef.unflatten([f(*xs) for xs in zip(values, *columns, strict=True)])


def map_with_path(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: Callable[..., bool] | None = None,
    is_leaf_takes_path: bool = False,
) -> Any:
    """`map` where `f` gets the path of each leaf as its first argument.

    >>> from pullback.tree_util import keystr
    >>> map_with_path(lambda path, x: f"{keystr(path)} is {x}", {"a": [1]})
    {'a': ["['a'][0] is 1"]}
    """
    pairs, treedef = flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    columns = _match(treedef, tree, rest, None if is_leaf_takes_path else is_leaf)
    rows = zip(pairs, *columns, strict=True)
    return treedef.unflatten([f(*pair, *xs) for pair, *xs in rows])


def reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = UNSPECIFIED,
    is_leaf: IsLeaf | None = None,
) -> Any:
    """Fold the leaves from left to right.

    >>> reduce(lambda a, b: a + b, {"a": 1, "b": [2, 3]})
    6
    """
    values = leaves(tree, is_leaf)
    if initializer is UNSPECIFIED:
        return functools.reduce(function, values)
    return functools.reduce(function, values, initializer)


def reduce_associative(
    operation: Callable[[Any, Any], Any],
    tree: Any,
    *,
    identity: Any = UNSPECIFIED,
    is_leaf: IsLeaf | None = None,
) -> Any:
    """Combine the leaves in a balanced tree: `operation` must be associative.

    >>> reduce_associative(lambda a, b: f"({a}{b})", list("abcd"))
    '((ab)(cd))'
    """
    values = leaves(tree, is_leaf)
    if not values:
        if identity is UNSPECIFIED:
            raise TypeError("a tree without leaves can only be reduced with an identity")
        return identity
    return _balanced(operation, values)


def _balanced(operation: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    middle = len(values) // 2
    return operation(_balanced(operation, values[:middle]), _balanced(operation, values[middle:]))


def all(tree: Any, *, is_leaf: IsLeaf | None = None) -> bool:
    """Whether every leaf is true.

    >>> all([True, {"a": 1}]), all([True, 0])
    (True, False)
    """
    return builtins.all(leaves(tree, is_leaf))


def transpose(
    outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any
) -> Any:
    """Turn a tree of trees inside out.

    >>> outer, inner = structure([0, 0]), structure({"a": 0})
    >>> transpose(outer, inner, [{"a": 1}, {"a": 2}])
    {'a': [1, 2]}

    Without `inner_treedef`, the first of the inner trees tells it.
    """
    if inner_treedef is None:
        subtrees = outer_treedef.flatten_up_to(pytree_to_transpose)
        if not subtrees:
            raise ValueError("the outer structure has no leaves: give the inner structure")
        inner_treedef = structure(subtrees[0])
    values, treedef = flatten(pytree_to_transpose)
    expected = outer_treedef.compose(inner_treedef)
    if treedef != expected:
        raise TypeError(f"Mismatch of structures: expected\n{expected}\nbut got\n{treedef}")
    n = inner_treedef.num_leaves
    columns = [outer_treedef.unflatten(values[i::n]) for i in range(n)]
    return inner_treedef.unflatten(columns)


def static(**kwargs: Any) -> Any:
    """A dataclass field that is part of a node's type: `dataclasses.field` with `static` set.

    >>> import dataclasses
    >>> from pullback import tree, tree_util
    >>> @tree_util.register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     weight: float
    ...     name: str = tree.static(default="dense")
    >>> tree.leaves(Layer(1.0))
    [1.0]
    """
    metadata = {**(kwargs.pop("metadata", None) or {}), "static": True}
    return dataclasses.field(metadata=metadata, **kwargs)


def build_tree(treedef: PyTreeDef, nested: Any) -> Any:
    """The tree of a structure from nested iterables of the same shape.

    >>> build_tree(structure({"a": (0, 0)}), [[1, 2]])
    {'a': (1, 2)}
    """
    data = treedef.node_data()
    if data is None:
        return nested
    parts = list(nested) if nested is not None else []
    children = treedef.children()
    if len(parts) != len(children):
        raise ValueError(f"{treedef} needs {len(children)} children, got {len(parts)}")
    built = [build_tree(child, part) for child, part in zip(children, parts, strict=True)]
    outline = PyTreeDef.from_node_data_and_children(None, data, [structure(0)] * len(children))
    return outline.unflatten(built)

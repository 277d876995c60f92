"""A tree and one that refines it: axes for arguments, static values for whole subtrees.

A prefix has a leaf where the full tree may have a subtree, and the same nodes above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pullback.pytree.flatten import IsLeaf, flatten
from pullback.pytree.keys import KeyPath, keystr
from pullback.pytree.registry import DICT, NONE, NodeKind, kind_of
from pullback.pytree.treedef import PyTreeDef, same_data

MakeError = Callable[[str], ValueError]


def broadcast_prefix(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """For each leaf of the full tree, the leaf of the prefix above it.

    >>> broadcast_prefix([1, 2], [0, (0, 0)])
    [1, 2, 2]

    Raises ValueError if the prefix is none.
    """
    result: list[Any] = []
    if not _spread(prefix_tree, full_tree, is_leaf, result):
        raise prefix_errors(prefix_tree, full_tree, is_leaf)[0]("prefix_tree")
    return result


def _spread(prefix: Any, full: Any, is_leaf: IsLeaf | None, result: list[Any]) -> bool:
    kind = None if is_leaf is not None and is_leaf(prefix) else kind_of(prefix)
    if kind is None:
        result.extend([prefix] * len(flatten(full, is_leaf)[0]))
        return True
    if type(full) is not kind.type:
        return False
    children, data = kind.split(prefix)
    full_children, full_data = kind.split(full)
    if len(children) != len(full_children) or not same_data(kind, data, full_data):
        return False
    pairs = zip(children, full_children, strict=True)
    return all([_spread(a, b, is_leaf, result) for a, b in pairs])


def tree_broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> Any:
    """The full tree with each leaf replaced by the prefix's leaf above it.

    >>> tree_broadcast({"a": 1, "b": 2}, {"a": [0, 0], "b": 0})
    {'a': [1, 1], 'b': 2}
    """
    spread = broadcast_prefix(prefix_tree, full_tree, is_leaf)
    return flatten(full_tree, is_leaf)[1].unflatten(spread)


def prefix_errors(
    prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None
) -> list[MakeError]:
    """Why `prefix_tree` is no prefix of `full_tree`: makers of errors, given the prefix's name.

    >>> errors = prefix_errors({"a": [0, 0]}, {"a": [1]})
    >>> print(errors[0]("in_axes"))
    pytree structure error: different lengths of list at key path
        in_axes['a']
    At that key path, the prefix pytree in_axes has a subtree of type list of length 2, but the full
    pytree has a subtree of the same type but of length 1.
    """
    return list(_prefix_errors((), prefix_tree, full_tree, is_leaf))


def _prefix_errors(
    path: KeyPath, prefix: Any, full: Any, is_leaf: IsLeaf | None
) -> Iterator[MakeError]:
    kind = None if is_leaf is not None and is_leaf(prefix) else kind_of(prefix)
    if kind is None:
        return
    if type(full) is not kind.type:
        hint = _NONE_HINT if kind is NONE else ""
        yield _error(
            path,
            "different types",
            f"has a subtree of type\n    {type(prefix)}\nbut at the same key path the full pytree "
            f"has a subtree of different type\n    {type(full)}.{hint}",
        )
        return
    children, data = kind.split(prefix)
    full_children, full_data = kind.split(full)
    problem = _node_problem(kind, (children, data), (full_children, full_data))
    if problem is not None:
        yield _error(path, *problem)
        return
    keys = kind.keys(prefix, data, len(children))
    for key, a, b in zip(keys, children, full_children, strict=True):
        yield from _prefix_errors((*path, key), a, b, is_leaf)


_NONE_HINT = (
    "\nNone is a node without children, not a leaf; is_leaf=lambda x: x is None makes it one."
)


def _node_problem(
    kind: NodeKind, prefix: tuple[Any, Any], full: tuple[Any, Any]
) -> tuple[str, str] | None:
    name = kind.type.__name__
    if kind is DICT and prefix[1] != full[1]:
        alone = f"in one of them only: {_one_sided(prefix[1], full[1])}."
        return "different pytree metadata", f"{_metadata(kind, prefix[1], full[1])}\n{alone}"
    if len(prefix[0]) != len(full[0]):
        what = "lengths" if kind.builtin else "numbers of pytree children"
        one = "length" if kind.builtin else "child count"
        of = f"{one} {len(prefix[0])}"
        return (
            f"different {what} of {name}" if kind.builtin else f"different {what}",
            f"has a subtree of type {name} of {of}, but the full pytree has a subtree of the same "
            f"type but of {one} {len(full[0])}.",
        )
    if not same_data(kind, prefix[1], full[1]):
        return "different pytree metadata", _metadata(kind, prefix[1], full[1])
    return None


def _metadata(kind: NodeKind, prefix: Any, full: Any) -> str:
    return (
        f"has a subtree of type\n    {kind.type}\nwith metadata\n    {prefix}\nbut at the same key "
        "path the full pytree has a subtree of the same type but with metadata\n    "
        f"{full}"
    )


def _one_sided(a: tuple[Any, ...], b: tuple[Any, ...]) -> list[Any]:
    return [k for k in a if k not in b] + [k for k in b if k not in a]


def _error(path: KeyPath, problem: str, details: str) -> MakeError:
    def make(name: str) -> ValueError:
        return ValueError(
            f"pytree structure error: {problem} at key path\n    {name}{keystr(path)}\n"
            f"At that key path, the prefix pytree {name} {details}"
        )

    return make


# --------------------------------------------------------------------------- axes


def flatten_axes(name: str, treedef: PyTreeDef, axis_tree: Any) -> list[Any]:
    """For each leaf of a structure, the entry of `axis_tree` above it, where None is an entry.

    `name` says in errors what the axes are for: "vmap in_axes".

    >>> from pullback import tree
    >>> flatten_axes("vmap in_axes", tree.structure([1, (2, 3)]), [0, None])
    [0, None, None]

    Raises ValueError if `axis_tree` is no prefix of the structure.
    """
    result: list[Any] = []
    problem = _spread_axes(treedef, axis_tree, result)
    if problem is not None:
        path, text = problem
        raise ValueError(
            f"{name} specification must be a tree prefix of the corresponding value; "
            f"{name}{keystr(tuple(reversed(path)))} {text}"
        )
    return result


def _spread_axes(treedef: PyTreeDef, axes: Any, result: list[Any]) -> tuple[list[Any], str] | None:
    kind = kind_of(axes)
    if kind is None or axes is None:
        result.extend([axes] * treedef.num_leaves)
        return None
    node = treedef.node_data()
    if node is None or node[0] is not kind.type:
        found = "a leaf" if node is None else f"a {node[0].__name__}"
        return [], f"is a {kind.type.__name__} but the value there is {found}"
    children, data = kind.split(axes)
    expected = tuple(node[1]) if kind is DICT else node[1]
    if len(children) != len(treedef.children()) or not same_data(kind, data, expected):
        return [], _axes_difference(kind, (children, data), (treedef.children(), expected))
    for i, (child, axis) in enumerate(zip(treedef.children(), children, strict=True)):
        problem = _spread_axes(child, axis, result)
        if problem is not None:
            problem[0].append(kind.keys(axes, data, len(children))[i])
            return problem
    return None


def _axes_difference(kind: NodeKind, axes: tuple[Any, Any], value: tuple[Any, Any]) -> str:
    if kind is DICT:
        return f"has keys {list(axes[1])} but the value there has keys {list(value[1])}"
    if len(axes[0]) != len(value[0]):
        return f"has length {len(axes[0])} but the value there has length {len(value[0])}"
    return f"has auxiliary data {axes[1]} but the value there has {value[1]}"

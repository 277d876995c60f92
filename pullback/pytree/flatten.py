"""Taking trees apart.  On the path of every call, hence tight: one dict lookup a node.

`flatten` of a tree of built-in containers finds its structure in the table of interned ones by a
tuple of the children's structures, which hashes by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pullback.pytree.generated import has_plain_keys
from pullback.pytree.keys import DictKey, KeyPath, SequenceKey
from pullback.pytree.registry import (
    DICT,
    KINDS,
    LIST,
    TUPLE,
    NodeError,
    NodeKind,
    on_register,
    one_level_data,
    sorted_keys,
)
from pullback.pytree.treedef import LEAF, NONE_DEF, PyTreeDef, make, recently_interned

IsLeaf = Callable[[Any], bool]
_Flattener = Callable[[Any, list[Any]], PyTreeDef]


def _flatten_tuple(node: Any, leaves: list[Any]) -> PyTreeDef:
    defs: list[PyTreeDef] = []
    try:
        for child in node:
            flattener = _FLATTENERS[type(child)]
            if flattener is None:
                leaves.append(child)
                defs.append(LEAF)
            else:
                defs.append(flattener(child, leaves))
    except NodeError as e:
        e.path.append(SequenceKey(len(defs)))
        raise
    children = tuple(defs)
    return recently_interned((TUPLE, children)) or make(TUPLE, None, children)


def _flatten_list(node: Any, leaves: list[Any]) -> PyTreeDef:
    defs: list[PyTreeDef] = []
    try:
        for child in node:
            flattener = _FLATTENERS[type(child)]
            if flattener is None:
                leaves.append(child)
                defs.append(LEAF)
            else:
                defs.append(flattener(child, leaves))
    except NodeError as e:
        e.path.append(SequenceKey(len(defs)))
        raise
    children = tuple(defs)
    return recently_interned((LIST, children)) or make(LIST, None, children)


def _flatten_dict(node: Any, leaves: list[Any]) -> PyTreeDef:
    if not node:  # what most calls have for keywords
        return _EMPTY_DICT
    keys = sorted_keys(node)
    defs: list[PyTreeDef] = []
    try:
        for key in keys:
            child = node[key]
            flattener = _FLATTENERS[type(child)]
            if flattener is None:
                leaves.append(child)
                defs.append(LEAF)
            else:
                defs.append(flattener(child, leaves))
    except NodeError as e:
        e.path.append(DictKey(keys[len(defs)]))
        raise
    children = tuple(defs)
    if _STRINGS.issuperset(map(type, keys)):
        return recently_interned((keys, children)) or make(DICT, keys, children)
    return make(DICT, keys, children)


_EMPTY_DICT: Final = make(DICT, (), ())
_STRINGS: Final = frozenset([str])


def _flatten_none(node: Any, leaves: list[Any]) -> PyTreeDef:
    return NONE_DEF


def _flattener_of(kind: NodeKind) -> _Flattener:
    split = kind.split

    def flatten_node(node: Any, leaves: list[Any]) -> PyTreeDef:
        children, data = split(node)
        defs: list[PyTreeDef] = []
        try:
            for child in children:
                flattener = _FLATTENERS[type(child)]
                if flattener is None:
                    leaves.append(child)
                    defs.append(LEAF)
                else:
                    defs.append(flattener(child, leaves))
        except NodeError as e:
            e.path.append(kind.keys(node, data, len(children))[len(defs)])
            raise
        below = tuple(defs)
        found = recently_interned((kind, below)) if data is None else None
        return found or make(kind, data, below)

    return flatten_node


class _Flatteners(dict[type, "_Flattener | None"]):
    """How to flatten instances of a type; None for leaves."""

    def __missing__(self, cls: type) -> _Flattener | None:
        kind = KINDS[cls]
        flattener = None if kind is None else _flattener_of(kind)
        if len(self) > _MANY:
            for known, of in list(self.items()):
                if of is None:
                    del self[known]
        self[cls] = flattener
        return flattener


_MANY: Final = 4096
_FLATTENERS: Final = _Flatteners(
    {
        tuple: _flatten_tuple,
        list: _flatten_list,
        dict: _flatten_dict,
        type(None): _flatten_none,
    }
)
on_register(lambda cls, kind: _FLATTENERS.update({cls: _flattener_of(kind)}))


def flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], PyTreeDef]:
    """The leaves of a tree in order, and its structure.

    >>> flatten({"b": 1, "a": (2, None)})
    ([2, 1], PyTreeDef({'a': (*, None), 'b': *}))

    Subtrees for which `is_leaf` holds are not taken apart.  Raises ValueError, with the path, for
    a dict whose keys cannot be sorted.
    """
    leaves: list[Any] = []
    if is_leaf is not None:
        return leaves, _flatten_until(tree, is_leaf, leaves)
    cls = type(tree)
    flattener = _FLATTENERS[cls]
    if flattener is None:
        return [tree], LEAF
    for guess in _GUESSES.get(cls, ()):
        found = guess.gathered(tree)
        if found is not None and _are_leaves(found):
            return found, guess
    treedef = flattener(tree, leaves)
    if treedef.num_nodes >= _LARGE:
        _consider(cls, treedef)
    return leaves, treedef


_LARGE: Final = 8
_GUESSED: Final = 4
_GUESSES: Final[dict[type, tuple[PyTreeDef, ...]]] = {tuple: (), list: (), dict: ()}
"""By the type of the root, the last large structures that have functions of their own."""


def _consider(cls: type, treedef: PyTreeDef) -> None:
    """Try this structure first for trees to come, if it is used often."""
    guesses = _GUESSES.get(cls)
    if guesses is None or treedef in guesses:
        return
    treedef.count_use()
    if treedef.is_written and has_plain_keys(treedef):
        _GUESSES[cls] = (treedef, *guesses[: _GUESSED - 1])


def _are_leaves(values: list[Any]) -> bool:
    return all([_FLATTENERS[cls] is None for cls in set(map(type, values))])


def _flatten_until(tree: Any, is_leaf: IsLeaf, leaves: list[Any]) -> PyTreeDef:
    kind = None if is_leaf(tree) else KINDS[type(tree)]
    if kind is None:
        leaves.append(tree)
        return LEAF
    children, data = kind.split(tree)
    return make(kind, data, tuple([_flatten_until(c, is_leaf, leaves) for c in children]))


def _ignoring_path(is_leaf: IsLeaf) -> Callable[[KeyPath, Any], bool]:
    return lambda path, node: is_leaf(node)


def flatten_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """Pairs of path and leaf, and the structure.

    >>> flatten_with_path({"a": [1, 2]})[0][1]
    ((DictKey(key='a'), SequenceKey(idx=1)), 2)
    """
    if is_leaf is None:
        leaves, treedef = flatten(tree)
        paths = treedef.paths()
        if paths is not None:
            return list(zip(paths, leaves, strict=True)), treedef
    pairs: list[tuple[KeyPath, Any]] = []
    stop = is_leaf if is_leaf is None or is_leaf_takes_path else _ignoring_path(is_leaf)
    return pairs, _flatten_paths((), tree, stop, pairs)


def _flatten_paths(
    path: KeyPath,
    tree: Any,
    stop: Callable[[KeyPath, Any], bool] | None,
    pairs: list[tuple[KeyPath, Any]],
) -> PyTreeDef:
    kind = KINDS[type(tree)] if stop is None or not stop(path, tree) else None
    if kind is None:
        pairs.append((path, tree))
        return LEAF
    try:
        children, data = kind.split(tree)
        keys = kind.keys(tree, data, len(children))
    except NodeError as e:
        e.path.extend(reversed(path))
        raise
    defs = [
        _flatten_paths((*path, key), child, stop, pairs)
        for key, child in zip(keys, children, strict=True)
    ]
    return make(kind, data, tuple(defs))


def flatten_one_level(tree: Any) -> tuple[Sequence[Any], Any]:
    """Children and auxiliary data of the root; raises ValueError for a leaf.

    >>> flatten_one_level({"b": 1, "a": [2]})
    (([2], 1), ('a', 'b'))
    """
    kind = KINDS[type(tree)]
    if kind is None:
        raise ValueError(f"can't tree-flatten type: {type(tree)}")
    children, data = kind.split(tree)
    return list(children) if type(tree) is list else children, one_level_data(kind, data)


def flatten_one_level_with_keys(tree: Any) -> tuple[tuple[tuple[Any, Any], ...], Any]:
    """`flatten_one_level` with pairs of key and child.

    >>> flatten_one_level_with_keys([7])
    (((SequenceKey(idx=0), 7),), None)
    """
    kind = KINDS[type(tree)]
    if kind is None:
        raise ValueError(f"can't tree-flatten type: {type(tree)}")
    children, data = kind.split(tree)
    keys = kind.keys(tree, data, len(children))
    return tuple(zip(keys, children, strict=True)), one_level_data(kind, data)


def is_tree_node(typ: type) -> bool:
    """Whether instances of `typ` are inner nodes rather than leaves.

    >>> is_tree_node(dict), is_tree_node(int)
    (True, False)
    """
    return KINDS[typ] is not None


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """Whether every element is a leaf.

    >>> all_leaves([1, 2]), all_leaves([1, [2]]), all_leaves([None])
    (True, False, False)
    """
    if is_leaf is None:
        return all([_FLATTENERS[type(x)] is None for x in iterable])
    values = list(iterable)
    leaves, _ = flatten(values, is_leaf)
    return len(leaves) == len(values) and all(a is b for a, b in zip(leaves, values, strict=True))

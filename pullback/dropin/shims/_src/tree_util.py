"""`jax._src.tree_util`: `jax.tree_util`, differences of trees, and registered types of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, final

from pullback import tree_util
from pullback.pytree.prefix import broadcast_prefix, prefix_errors
from pullback.pytree.registry import registered as _registry
from pullback.tree_util import *  # noqa: F403
from pullback.tree_util import PyTreeDef, flatten_one_level
from pullback.tree_util import __all__ as _names

__all__ = [  # noqa: PLE0604
    "_registry",
    "broadcast_flattened_prefix_with_treedef",
    "broadcast_prefix",
    "equality_errors",
    "equality_errors_pytreedef",
    "generate_key_paths",
    "prefix_errors",
    *_names,
]

Difference = tuple[tuple[Any, ...], str, str, str]


def generate_key_paths(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves with their paths.

    >>> generate_key_paths({"a": 3})
    [((DictKey(key='a'),), 3)]
    """
    return tree_util.tree_flatten_with_path(tree, is_leaf)[0]


def broadcast_flattened_prefix_with_treedef(
    prefix_leaves: Sequence[Any], prefix_treedef: PyTreeDef, full_treedef: PyTreeDef
) -> list[Any]:
    """The leaves of a prefix, each as often as the full tree has leaves there.

    >>> structure = tree_util.tree_structure
    >>> broadcast_flattened_prefix_with_treedef([7], structure(0), structure((1, 2)))
    [7, 7]
    """
    prefix = tree_util.tree_unflatten(prefix_treedef, map(_Leaf, prefix_leaves))
    full = tree_util.tree_unflatten(full_treedef, [0] * full_treedef.num_leaves)
    return [leaf.value for leaf in broadcast_prefix(prefix, full)]


@final
class _Leaf:
    """A leaf, whatever it is."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _kind_text(tree: Any, data: Any) -> str:
    return f"{type(tree)} with pytree metadata {data}"


def _differences(path: tuple[Any, ...], one: Any, other: Any, is_leaf: Any) -> Iterator[Difference]:
    leaf = [is_leaf is not None and is_leaf(tree) for tree in (one, other)]
    if all(leaf):
        return
    if type(one) is not type(other):
        yield path, str(type(one)), str(type(other)), "their Python types differ"
        return
    if tree_util.all_leaves([one]) and one is not None:
        return
    (children, data), (others, other_data) = flatten_one_level(one), flatten_one_level(other)
    if isinstance(one, (list, tuple)) and len(children) != len(others):
        name = type(one).__name__
        lengths = (f"{name} of length {len(x)}" for x in (children, others))
        yield path, *lengths, "the lengths do not match"  # type: ignore[misc]
    elif data != other_data:
        texts = _kind_text(one, data), _kind_text(other, other_data)
        yield path, *texts, "the pytree node metadata does not match"
    else:
        keys = [key for (key,), _ in _one_level(one)]
        for key, child, match in zip(keys, children, others, strict=True):
            yield from _differences((*path, key), child, match, is_leaf)


def _one_level(tree: Any) -> list[Any]:
    return tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: x is not tree)[0]


def equality_errors(
    tree1: Any, tree2: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Iterable[Difference]:
    """Where the structures of two trees differ: the path, what each has there, and the reason.

    >>> list(equality_errors((1, 2), (1, 2, 3)))
    [((), 'tuple of length 2', 'tuple of length 3', 'the lengths do not match')]
    """
    return _differences((), tree1, tree2, is_leaf)


def equality_errors_pytreedef(tree1: PyTreeDef, tree2: PyTreeDef) -> Iterable[Difference]:
    """The same of structures alone."""
    full = (tree_util.tree_unflatten(d, [0] * d.num_leaves) for d in (tree1, tree2))
    return equality_errors(*full)

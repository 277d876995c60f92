"""The namespace `jax.tree_util`: pytree functions under their long names, and the registry.

>>> from pullback import tree_util
>>> tree_util.tree_leaves({"a": 1, "b": (2, 3)})
[1, 2, 3]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, final

from pullback.pytree.flatten import (
    all_leaves,
    flatten_one_level,
    flatten_one_level_with_keys,
    is_tree_node,
)
from pullback.pytree.flatten import flatten as tree_flatten
from pullback.pytree.flatten import flatten_with_path as tree_flatten_with_path
from pullback.pytree.keys import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyEntry,
    KeyPath,
    SequenceKey,
    keystr,
)
from pullback.pytree.operations import all as tree_all
from pullback.pytree.operations import build_tree
from pullback.pytree.operations import leaves as tree_leaves
from pullback.pytree.operations import leaves_with_path as tree_leaves_with_path
from pullback.pytree.operations import map as tree_map
from pullback.pytree.operations import map_with_path as tree_map_with_path
from pullback.pytree.operations import reduce as tree_reduce
from pullback.pytree.operations import reduce_associative as tree_reduce_associative
from pullback.pytree.operations import structure as tree_structure
from pullback.pytree.operations import transpose as tree_transpose
from pullback.pytree.operations import unflatten as tree_unflatten
from pullback.pytree.partial import Partial
from pullback.pytree.prefix import tree_broadcast
from pullback.pytree.registry import (
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
)
from pullback.pytree.treedef import (
    PyTreeDef,
    treedef_children,
    treedef_is_leaf,
    treedef_tuple,
)

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "KeyEntry",
    "KeyPath",
    "Partial",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "build_tree",
    "default_registry",
    "flatten_one_level",
    "flatten_one_level_with_keys",
    "is_tree_node",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "tree_all",
    "tree_broadcast",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_reduce_associative",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]


@final
class PyTreeRegistry:
    """The registry as an object, for libraries that call its methods; there is one."""

    def flatten(
        self, tree: Any, leaf_predicate: Callable[[Any], bool] | None = None
    ) -> tuple[list[Any], PyTreeDef]:
        """Leaves and structure of a tree."""
        return tree_flatten(tree, leaf_predicate)

    def flatten_with_path(
        self, tree: Any, leaf_predicate: Callable[..., bool] | None = None
    ) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
        """Pairs of path and leaf, and the structure of a tree."""
        return tree_flatten_with_path(tree, leaf_predicate)

    def flatten_one_level(self, tree: Any) -> tuple[Sequence[Any], Any] | None:
        """Children and auxiliary data of the root, None for a leaf."""
        return flatten_one_level(tree) if is_tree_node(type(tree)) else None

    def flatten_one_level_with_keys(
        self, tree: Any
    ) -> tuple[tuple[tuple[Any, Any], ...], Any] | None:
        """Keyed children and auxiliary data of the root, None for a leaf."""
        return flatten_one_level_with_keys(tree) if is_tree_node(type(tree)) else None

    def is_node(self, cls: type) -> bool:
        """Whether instances of a type are inner nodes."""
        return is_tree_node(cls)

    def register_node(
        self,
        cls: type,
        to_iterable: Callable[[Any], tuple[Iterable[Any], Any]],
        from_iterable: Callable[[Any, Any], Any],
        to_iterable_with_keys: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
    ) -> None:
        """See `register_pytree_node`."""
        register_pytree_node(cls, to_iterable, from_iterable, to_iterable_with_keys)

    def register_dataclass_node(
        self, cls: type, data_fields: Sequence[str], meta_fields: Sequence[str]
    ) -> None:
        """See `register_dataclass`."""
        register_dataclass(cls, data_fields, meta_fields)


default_registry: Final = PyTreeRegistry()

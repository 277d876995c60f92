"""The namespace `jax.tree`: functions of pytrees, nested containers of leaves.

>>> from pullback import tree
>>> tree.map(lambda x: 2 * x, {"a": 1, "b": (2, 3)})
{'a': 2, 'b': (4, 6)}

The helpers with which transformations relate trees (`flatten_axes`, `broadcast_prefix`,
`prefix_errors`, `treedef_tuple`) are here too; they are not part of the public namespace.
"""

from __future__ import annotations

from pullback.pytree.flatten import flatten, flatten_with_path
from pullback.pytree.keys import keystr as keystr
from pullback.pytree.operations import (
    all,
    leaves,
    leaves_with_path,
    map,
    map_with_path,
    reduce,
    reduce_associative,
    static,
    structure,
    transpose,
    unflatten,
)
from pullback.pytree.operations import build_tree as build_tree
from pullback.pytree.partial import Partial as Partial
from pullback.pytree.prefix import broadcast_prefix as broadcast_prefix
from pullback.pytree.prefix import flatten_axes as flatten_axes
from pullback.pytree.prefix import prefix_errors as prefix_errors
from pullback.pytree.prefix import tree_broadcast as broadcast
from pullback.pytree.treedef import LEAF as LEAF
from pullback.pytree.treedef import PyTreeDef as PyTreeDef
from pullback.pytree.treedef import treedef_children as treedef_children
from pullback.pytree.treedef import treedef_is_leaf as treedef_is_leaf
from pullback.pytree.treedef import treedef_tuple as treedef_tuple

__all__ = [
    "all",
    "broadcast",
    "flatten",
    "flatten_with_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "reduce",
    "reduce_associative",
    "static",
    "structure",
    "transpose",
    "unflatten",
]

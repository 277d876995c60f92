"""`PyTreeDef`: the structure of a tree without its leaves.

Structures made of tuples, lists, dicts, named tuples, None, and custom nodes without data are
interned: equal ones are the same object, so that they are compared and hashed by identity, on the
path of every call.  A structure with data of custom nodes compares by value, since these belong to
the user and must come back as the very object that was taken apart.
"""

from __future__ import annotations

import threading
import weakref
from abc import ABC
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, final

from pullback.pytree.generated import OFTEN, builder, gatherer, is_writable
from pullback.pytree.keys import KeyPath
from pullback.pytree.registry import (
    DICT,
    KINDS,
    LIST,
    NONE,
    TUPLE,
    NodeKind,
    one_level_data,
)

Spec = tuple[Any, ...]


class PyTreeDef(ABC):
    """The structure of a pytree: `flatten` makes one, `unflatten` puts leaves into it.

    >>> from pullback import tree
    >>> tree.structure({"a": 1, "b": [2, None]})
    PyTreeDef({'a': *, 'b': [*, None]})
    """

    __slots__ = (
        "__weakref__",
        "_builder",
        "_children",
        "_data",
        "_gatherer",
        "_hash",
        "_kind",
        "_paths",
        "_uses",
        "num_leaves",
        "num_nodes",
    )

    num_leaves: int
    """How many leaves there are."""
    num_nodes: int
    """How many nodes there are, leaves included."""
    _kind: NodeKind | None
    _data: Any
    _children: tuple[PyTreeDef, ...]
    _hash: int | None
    _paths: tuple[KeyPath, ...] | None
    """The paths of the leaves, once somebody has asked for them."""
    _builder: Callable[[list[Any]], Any] | None
    _gatherer: Callable[[Any], list[Any] | None] | None
    """Functions for this structure alone, once it was used often (`generated.py`)."""
    _uses: int

    def __init__(self, kind: NodeKind | None, data: Any, children: tuple[PyTreeDef, ...]) -> None:
        self._kind, self._data, self._children, self._hash = kind, data, children, None
        self._paths = self._builder = self._gatherer = None
        self._uses = 0
        leaves, nodes = (1, 1) if kind is None else (0, 1)
        for child in children:
            leaves += child.num_leaves
            nodes += child.num_nodes
        self.num_leaves, self.num_nodes = leaves, nodes

    def children(self) -> list[PyTreeDef]:
        """The structures of the children, in order."""
        return list(self._children)

    def node_data(self) -> tuple[type, Any] | None:
        """Type and auxiliary data of the root, None for a leaf."""
        if self._kind is None:
            return None
        return self._kind.type, list(self._data) if self._kind is DICT else self._data

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree of this structure with the given leaves.

        >>> from pullback import tree
        >>> tree.structure({"a": 0, "b": [0]}).unflatten([1, 2])
        {'a': 1, 'b': [2]}
        """
        values = leaves if type(leaves) is list else list(leaves)
        if len(values) != self.num_leaves:
            few = "few" if len(values) < self.num_leaves else "many"
            raise ValueError(
                f"Too {few} leaves for PyTreeDef; expected {self.num_leaves}, got {len(values)}: "
                f"{self!r}"
            )
        if self._builder is not None:
            return self._builder(values)
        self.count_use()
        return values[0] if self._kind is None else _build(self, iter(values))

    def count_use(self) -> None:
        """Have functions written for a structure that is used often and that is interned."""
        self._uses += 1
        if self._uses == OFTEN and type(self) is _Closed and is_writable(self):
            self._builder, self._gatherer = builder(self), gatherer(self)

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The subtrees of `tree` at the leaves of this structure, which must be a prefix of it.

        >>> from pullback import tree
        >>> tree.structure([0, 0]).flatten_up_to([1, (2, 3)])
        [1, (2, 3)]
        """
        gathered = self.gathered(tree)
        if gathered is not None:
            return gathered
        found: list[Any] = []
        mismatch = _up_to(self, tree, found)
        if mismatch is not None:
            raise ValueError(str(mismatch))
        return found

    @property
    def is_written(self) -> bool:
        """Whether there are functions for this structure alone."""
        return self._gatherer is not None

    def gathered(self, tree: Any) -> list[Any] | None:
        """What is in `tree` at the leaves, if a function for it was written, and it fits."""
        if self._gatherer is None:
            self.count_use()
            return None
        try:
            return self._gatherer(tree)
        except KeyError:
            return None

    def paths(self) -> tuple[KeyPath, ...] | None:
        """The paths of the leaves; None where custom nodes name their children themselves."""
        if self._paths is None:
            self._paths = _paths_of(self)
        return self._paths

    def compose(self, inner: PyTreeDef) -> PyTreeDef:
        """This structure with `inner` in place of each leaf.

        >>> from pullback import tree
        >>> tree.structure([0, 0]).compose(tree.structure((0, 0)))
        PyTreeDef([(*, *), (*, *)])
        """
        if self._kind is None:
            return inner
        return make(self._kind, self._data, tuple([c.compose(inner) for c in self._children]))

    def walk(
        self,
        f_node: Callable[[Any, Any], Any],
        f_leaf: Callable[[Any], Any] | None,
        leaves: Iterable[Any],
    ) -> Any:
        """Bottom up: `f_leaf(leaf)` at leaves, `f_node(children's results, data)` at nodes."""
        return _walk(self, f_node, f_leaf, iter(leaves))

    @staticmethod
    def from_node_data_and_children(
        registry: Any, node_data: tuple[type, Any] | None, children: Iterable[PyTreeDef]
    ) -> PyTreeDef:
        """The structure whose root has this `node_data()` and these `children()`."""
        del registry  # there is one
        return make_from_node_data_and_children(node_data, children)

    def as_spec(self) -> Spec:
        """Nested tuples for generated code: `("leaf",)`, `("tuple", [...])`, and so on.

        The others are `("none",)`, `("list", [...])`, `("dict", [keys], [...])`, and `("other",)`
        for any node that only Python can put together.

        >>> from pullback import tree
        >>> tree.structure((1, {"a": None})).as_spec()
        ('tuple', [('leaf',), ('dict', ['a'], [('none',)])])
        """
        if self._kind is None:
            return ("leaf",)
        if self._kind is NONE:
            return ("none",)
        parts = [child.as_spec() for child in self._children]
        if self._kind is TUPLE or self._kind is LIST:
            return (self._kind.type.__name__, parts)
        return ("dict", list(self._data), parts) if self._kind is DICT else ("other",)

    def __repr__(self) -> str:
        return f"PyTreeDef({_text(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return make_from_node_data_and_children, (self.node_data(), self._children)


@final
class _Closed(PyTreeDef):
    """A structure without data of custom nodes: interned, so identity is equality."""

    __slots__ = ()


@final
class _Open(PyTreeDef):
    """A structure with data of custom nodes: equal if these are."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not _Open or self._kind is not other._kind:
            return False
        if self._children != other._children:
            return False
        return self._kind is None or same_data(self._kind, self._data, other._data)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self._kind, self._children, _hash_of(self._data)))
        return self._hash


def same_data(kind: NodeKind, a: Any, b: Any) -> bool:
    """Whether two nodes of a kind are equal but for their children."""
    try:
        return a is b or bool(a == b)
    except Exception as e:
        raise ValueError(
            f"the auxiliary data of pytree node {kind.type.__qualname__} cannot be compared with "
            f"==, as they must be: {e}. Arrays belong among the children, not in the auxiliary data"
        ) from e


def _hash_of(data: Any) -> int:
    try:
        return hash(data)
    except TypeError:
        return 0  # not hashable: told apart by == alone


# --------------------------------------------------------------------------- making structures

# What users see of a structure's class is its public name.
_Closed.__name__ = _Open.__name__ = PyTreeDef.__name__
_Closed.__qualname__ = _Open.__qualname__ = PyTreeDef.__qualname__

LEAF: Final[PyTreeDef] = _Closed(None, None, ())
NONE_DEF: Final[PyTreeDef] = _Closed(NONE, None, ())

_interned: Final[dict[Any, weakref.ref[PyTreeDef]]] = {}
_recent: Final[dict[Any, PyTreeDef]] = {}  # keeps the structures of a loop alive
_RECENT_LIMIT: Final = 1024
_lock: Final = threading.RLock()

_PLAIN_KEYS: Final = frozenset([str, int, bool, float, bytes, type(None)])


def intern_def(key: Any, kind: NodeKind, data: Any, children: tuple[PyTreeDef, ...]) -> PyTreeDef:
    """The structure stored under `key`, made if there is none."""
    with _lock:
        ref = _interned.get(key)
        found = None if ref is None else ref()
        if found is None:
            found = _Closed(kind, data, children)
            _interned[key] = weakref.ref(found, lambda dead: _forget(key, dead))
        if len(_recent) >= _RECENT_LIMIT:
            _recent.clear()
        _recent[key] = found
        return found


def _forget(key: Any, dead: Any) -> None:
    with _lock:
        if _interned.get(key) is dead:
            del _interned[key]


recently_interned: Final = _recent.get
"""The structure stored under a key, if it was used lately; `make` finds all others."""


def make(kind: NodeKind, data: Any, children: tuple[PyTreeDef, ...]) -> PyTreeDef:
    """The structure of a node of a kind with the given data and children."""
    if kind is NONE:
        return NONE_DEF
    empty = data is None or (type(data) is tuple and not data)
    if not (empty or kind.builtin) or not all([type(child) is _Closed for child in children]):
        return _Open(kind, data, children)
    if kind is not DICT:
        key = (kind, children) if data is None else (kind, data, children)
        return intern_def(key, kind, data, children)
    types = tuple([type(key) for key in data])
    # Keys of other types may be equal without being interchangeable.
    if not _PLAIN_KEYS.issuperset(types):
        return _Open(kind, data, children)
    key = (data, children) if types and types[0] is str else (data, types, children)
    return intern_def(key, kind, data, children)


def make_from_node_data_and_children(
    node_data: tuple[type, Any] | None, children: Iterable[PyTreeDef]
) -> PyTreeDef:
    """The structure whose root has this `node_data()` and these `children()`."""
    if node_data is None:
        return LEAF
    cls, data = node_data
    kind = KINDS[cls]
    if kind is None:
        raise ValueError(f"{cls!r} is not a pytree node type")
    return make(kind, tuple(data) if kind is DICT else data, tuple(children))


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple whose elements have the given structures.

    >>> from pullback import tree
    >>> treedef_tuple([tree.structure(1), tree.structure([1])])
    PyTreeDef((*, [*]))
    """
    return make(TUPLE, None, tuple(treedefs))


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of the children of the root.

    >>> from pullback import tree
    >>> treedef_children(tree.structure({"a": 1}))
    [PyTreeDef(*)]
    """
    return treedef.children()


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether the structure is one node: a leaf or an empty container.

    >>> from pullback import tree
    >>> treedef_is_leaf(tree.structure(1)), treedef_is_leaf(tree.structure([1]))
    (True, False)
    """
    return treedef.num_nodes == 1


# --------------------------------------------------------------------------- recursion


def _build(treedef: PyTreeDef, leaves: Iterator[Any]) -> Any:
    kind = treedef._kind
    if kind is None:
        return next(leaves)
    children = treedef._children
    if treedef.num_leaves == len(children) == treedef.num_nodes - 1:
        values = list(islice(leaves, len(children)))
    else:
        values = [next(leaves) if c is LEAF else _build(c, leaves) for c in children]
    return values if kind is LIST else kind.join(treedef._data, values)


def _walk(
    treedef: PyTreeDef,
    f_node: Callable[[Any, Any], Any],
    f_leaf: Callable[[Any], Any] | None,
    leaves: Iterator[Any],
) -> Any:
    node, kind = treedef.node_data(), treedef._kind
    if node is None or kind is None:
        leaf = next(leaves)
        return leaf if f_leaf is None else f_leaf(leaf)
    parts = tuple([_walk(child, f_node, f_leaf, leaves) for child in treedef._children])
    return f_node(parts, one_level_data(kind, node[1]))


def _paths_of(treedef: PyTreeDef) -> tuple[KeyPath, ...] | None:
    kind = treedef._kind
    if kind is None:
        return ((),)
    if not kind.builtin:
        return None
    keys = kind.keys(None, treedef._data, len(treedef._children))
    found: list[KeyPath] = []
    for key, child in zip(keys, treedef._children, strict=True):
        below = child.paths()
        if below is None:
            return None
        found.extend([(key, *path) for path in below])
    return tuple(found)


def _text(treedef: PyTreeDef) -> str:
    if treedef._kind is None:
        return "*"
    return treedef._kind.shown(treedef._data, [_text(child) for child in treedef._children])


class Mismatch:
    """Where a tree departs from the structure it should refine, and how."""

    __slots__ = ("path", "problem")

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.path: list[Any] = []

    def at(self, key: Any) -> Mismatch:
        """The same, seen from the parent in which `key` leads to the node."""
        self.path.append(key)
        return self

    def __str__(self) -> str:
        where = "".join(str(key) for key in reversed(self.path))
        return f"{self.problem} At tree{where}." if where else self.problem


def _up_to(treedef: PyTreeDef, tree: Any, found: list[Any]) -> Mismatch | None:
    kind = treedef._kind
    if kind is None:
        found.append(tree)
        return None
    if type(tree) is not kind.type:
        return Mismatch(f"Expected {_expected(treedef)}, got {_brief(tree)}")
    children, data = kind.split(tree)
    if len(children) != len(treedef._children) or not same_data(kind, treedef._data, data):
        return Mismatch(_difference(treedef, children, data))
    for i, (child, subtree) in enumerate(zip(treedef._children, children, strict=True)):
        if child is LEAF:
            found.append(subtree)
            continue
        mismatch = _up_to(child, subtree, found)
        if mismatch is not None:
            return mismatch.at(kind.keys(tree, data, len(children))[i])
    return None


def _expected(treedef: PyTreeDef) -> str:
    kind = treedef._kind
    if kind is None or kind is NONE:
        return "None"
    return kind.type.__name__


def _brief(tree: Any) -> str:
    text = repr(tree)
    text = text if len(text) < 200 else text[:197] + "..."
    return f"{text}."


def _difference(treedef: PyTreeDef, children: tuple[Any, ...], data: Any) -> str:
    kind = treedef._kind
    assert kind is not None
    name = kind.type.__name__
    if kind is DICT:
        return (
            f"Dict key mismatch; expected keys: {list(treedef._data)}; present keys: {list(data)}."
        )
    if not same_data(kind, treedef._data, data):
        return f"Mismatch of the auxiliary data of {name}: {treedef._data} != {data}."
    return (
        f"{name.capitalize() if kind.builtin else name} arity mismatch: "
        f"{len(children)} != {len(treedef._children)}; it has {len(children)} children where "
        f"{len(treedef._children)} are expected."
    )

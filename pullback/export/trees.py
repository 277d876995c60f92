"""Pytrees in files: structures of built-in containers, and of classes that were registered for
it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pullback import tree
from pullback.export.flatbuffers import Fields, FormatError, Table
from pullback.pytree.treedef import PyTreeDef

__all__ = [
    "read_tree",
    "register_namedtuple_serialization",
    "register_pytree_node_serialization",
    "written_tree",
]

T = TypeVar("T", bound=type)
_LEAF, _NONE, _TUPLE, _LIST, _DICT, _CUSTOM = range(6)
_MAX_DEPTH: Final = 100
_MAX_NODES: Final = 1_000_000


@dataclass(frozen=True)
class _Serialization:
    """How nodes of one type are written."""

    type: type
    name: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]
    join: Callable[[Any, Any], Any] | None


_by_type: dict[type, _Serialization] = {}
_by_name: dict[str, _Serialization] = {}


def _register(made: _Serialization) -> None:
    if made.type in _by_type:
        raise ValueError(f"serialization of {made.type} is registered already")
    if made.name in _by_name:
        raise ValueError(
            f"serialization under the name {made.name!r} is registered already, for "
            f"{_by_name[made.name].type}"
        )
    _by_type[made.type] = _by_name[made.name] = made


def register_pytree_node_serialization(
    nodetype: T,
    *,
    serialized_name: str,
    serialize_auxdata: Callable[[Any], bytes | bytearray],
    deserialize_auxdata: Callable[[bytearray], Any],
    from_children: Callable[[Any, Any], Any] | None = None,
) -> T:
    """Let exported functions take and return nodes of a registered pytree class.

    `serialized_name` is what files call the class.  Its auxiliary data become bytes and back;
    `from_children(auxdata, children)` makes a node, by default as the class was registered.
    Returns the class.  ValueError if the class or the name is registered already.

    >>> import pullback as pb
    >>> class Box:
    ...     def __init__(self, x, label): self.x, self.label = x, label
    >>> pb.tree_util.register_pytree_node(
    ...     Box, lambda b: ((b.x,), b.label), lambda label, xs: Box(*xs, label))
    >>> _ = register_pytree_node_serialization(
    ...     Box, serialized_name="doc.Box", serialize_auxdata=str.encode,
    ...     deserialize_auxdata=lambda data: bytes(data).decode())
    """
    _register(
        _Serialization(
            nodetype,
            serialized_name,
            lambda data: bytes(serialize_auxdata(data)),
            lambda data: deserialize_auxdata(bytearray(data)),
            from_children,
        )
    )
    return nodetype


def register_namedtuple_serialization(nodetype: T, *, serialized_name: str) -> T:
    """Let exported functions take and return a class of named tuples. Returns the class.

    >>> import collections
    >>> Point = collections.namedtuple("Point", "x y")
    >>> register_namedtuple_serialization(Point, serialized_name="doc.Point") is Point
    True
    """
    fields = list(getattr(nodetype, "_fields", []))
    if not issubclass(nodetype, tuple) or not fields:
        raise ValueError(f"{nodetype} is no class of named tuples")

    def read(data: bytes) -> Any:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise FormatError("the fields of a named tuple are damaged") from error
        if found != fields:
            raise FormatError(f"{nodetype} has the fields {fields}, the file says {found}")
        kept = tree.structure(nodetype(*fields)).node_data()
        return None if kept is None else kept[1]

    _register(
        _Serialization(
            nodetype, serialized_name, lambda data: json.dumps(fields).encode(), read, None
        )
    )
    return nodetype


# --------------------------------------------------------------------------- writing


def written_tree(structure: PyTreeDef) -> Fields:
    """A structure as a table."""
    data = structure.node_data()
    if data is None:
        return Fields({})
    cls, extra = data
    children = [written_tree(child) for child in structure.children()]
    if cls is type(None):
        return Fields({0: ("B", _NONE)})
    if cls in (tuple, list):
        return Fields({0: ("B", _TUPLE if cls is tuple else _LIST), 1: children})
    if cls is dict:
        if not all(isinstance(key, str) for key in extra):
            raise TypeError(f"exported dictionaries have strings for keys, not {list(extra)}")
        return Fields({0: ("B", _DICT), 1: children, 2: list(extra)})
    found = _by_type.get(cls)
    if found is None:
        raise ValueError(
            f"{cls} cannot be written: use export.register_pytree_node_serialization or "
            "export.register_namedtuple_serialization"
        )
    return Fields({0: ("B", _CUSTOM), 1: children, 3: found.name, 4: found.write(extra)})


# --------------------------------------------------------------------------- reading


class _Reader:
    def __init__(self) -> None:
        self.left = _MAX_NODES

    def structure(self, table: Table, depth: int = 0) -> PyTreeDef:
        self.left -= 1
        if depth > _MAX_DEPTH or self.left < 0:
            raise FormatError("a structure of the file is too deep or too large")
        kind = table.number(0, "B")
        children = [self.structure(child, depth + 1) for child in table.tables(1)]
        if kind == _LEAF:
            return tree.structure(0)
        if kind == _NONE:
            return tree.structure(None)
        if kind in (_TUPLE, _LIST):
            cls = tuple if kind == _TUPLE else list
            return tree.structure(cls(map(_blank, children)))
        if kind == _DICT:
            keys = table.texts(2)
            if len(keys) != len(children) or len(set(keys)) != len(keys):
                raise FormatError("a dictionary of the file is damaged")
            pairs = zip(keys, map(_blank, children), strict=True)
            return tree.structure(dict(pairs))
        if kind == _CUSTOM:
            return self.custom(table, children)
        raise FormatError(f"there are no structures of kind {kind}")

    @staticmethod
    def custom(table: Table, children: list[PyTreeDef]) -> PyTreeDef:
        name = table.text(3)
        found = _by_name.get(name)
        if found is None:
            raise ValueError(
                f"the file has nodes of the class {name!r}, for which nothing is registered by "
                "export.register_pytree_node_serialization or register_namedtuple_serialization"
            )
        data = found.read(table.bytes(4))
        if found.join is not None:
            return tree.structure(found.join(data, tuple(map(_blank, children))))
        return PyTreeDef.from_node_data_and_children(None, (found.type, data), children)


def _blank(structure: PyTreeDef) -> Any:
    """A tree of a structure."""
    return structure.unflatten([0] * structure.num_leaves)


def read_tree(table: Table | None) -> PyTreeDef:
    """The structure in a table."""
    if table is None:
        raise FormatError("the file lacks a structure")
    return _Reader().structure(table)

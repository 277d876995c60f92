"""Code for structures that are used often: Python functions written for one structure each.

A walk over a structure costs several calls a node.  Written out, a tree is put together by one
display, such as `{"a": (x0, x1)}`, and taken apart by one lookup a leaf.  To compile that takes as
long as a hundred walks, so a structure counts its uses first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pullback.pytree.registry import DICT, LIST, NONE, TUPLE

if TYPE_CHECKING:
    from pullback.pytree.treedef import PyTreeDef

__all__ = ["OFTEN", "builder", "gatherer", "has_plain_keys", "is_writable"]

OFTEN: Final = 100
"""Uses after which the code of a structure is written; they took as long as that takes."""
MOST_NODES: Final = 4000
DEEPEST: Final = 40
"""Python's parser takes some hundred brackets inside of one another."""


def is_writable(treedef: PyTreeDef) -> bool:
    """Whether the code of a structure is neither too long nor too deep."""
    return treedef.num_nodes <= MOST_NODES and _fits(treedef, DEEPEST)


def _fits(treedef: PyTreeDef, levels: int) -> bool:
    return levels > 0 and all([_fits(child, levels - 1) for child in treedef._children])


def has_plain_keys(treedef: PyTreeDef) -> bool:
    """Whether the keys of all dicts are strings: what is equal to one of them is the same key."""
    if treedef._kind is DICT and not all([type(key) is str for key in treedef._data]):
        return False
    return all([has_plain_keys(child) for child in treedef._children])


class _Writer:
    """Lines of a function, and the objects that they name."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.lines: list[str] = []
        self.count = 0

    def fresh(self) -> str:
        """A name that is not used yet."""
        self.count += 1
        return f"x{self.count}"

    def constant(self, value: Any) -> str:
        """An expression for an object."""
        if value is None or type(value) is str:
            return repr(value)
        name = self.fresh()
        self.names[name] = value
        return name

    def finished(self, head: str) -> Any:
        """The function; its frames count as ours, by the name of this file."""
        text = "\n    ".join([f"def made({head}):", *self.lines])
        exec(compile(text, __file__, "exec"), self.names)
        return self.names.pop("made")


def _names(names: Sequence[str]) -> str:
    return "".join([f"{name}, " for name in names])


def builder(treedef: PyTreeDef) -> Callable[[list[Any]], Any]:
    """The function that makes the tree of a list of leaves, which are as many as needed."""
    writer, leaves = _Writer(), list[str]()
    tree = _display(treedef, writer, leaves)
    if leaves:
        writer.lines.append(f"{_names(leaves)} = leaves")
    writer.lines.append(f"return {tree}")
    made: Callable[[list[Any]], Any] = writer.finished("leaves")
    return made


def _display(treedef: PyTreeDef, writer: _Writer, leaves: list[str]) -> str:
    kind = treedef._kind
    if kind is None:
        leaves.append(writer.fresh())
        return leaves[-1]
    if kind is NONE:
        return "None"
    parts = [_display(child, writer, leaves) for child in treedef._children]
    if kind is DICT:
        keys = [writer.constant(key) for key in treedef._data]
        return "{" + ", ".join([f"{k}: {p}" for k, p in zip(keys, parts, strict=True)]) + "}"
    if kind is TUPLE:
        return f"({_names(parts)})" if parts else "()"
    if kind is LIST:
        return f"[{_names(parts)}]"
    return f"{writer.constant(kind.join)}({writer.constant(treedef._data)}, [{_names(parts)}])"


def gatherer(treedef: PyTreeDef) -> Callable[[Any], list[Any] | None]:
    """The function that lists what is in a tree at the leaves of a structure.

    None, or a KeyError, where the tree has not this structure. Keys of dicts that are no strings
    may be others that are equal (`has_plain_keys`).
    """
    writer, leaves = _Writer(), list[str]()
    _gather(treedef, "tree", writer, leaves)
    writer.lines.append(f"return [{_names(leaves)}]")
    made: Callable[[Any], list[Any] | None] = writer.finished("tree")
    return made


def _gather(treedef: PyTreeDef, node: str, writer: _Writer, leaves: list[str]) -> None:
    """Lines that take `node` apart; expressions of its leaves."""
    kind, children = treedef._kind, treedef._children
    if kind is None:
        leaves.append(node)
        return
    if kind is NONE:
        writer.lines.append(f"if {node} is not None: return None")
        return
    cls = kind.type.__name__ if kind in (TUPLE, LIST, DICT) else writer.constant(kind.type)
    writer.lines.append(f"if type({node}) is not {cls}: return None")
    parts = node if kind in (TUPLE, LIST, DICT) else _split(treedef, node, writer)
    writer.lines.append(f"if len({parts}) != {len(children)}: return None")
    if kind is DICT:
        if children and all([type(key) is str for key in treedef._data]):
            found = [writer.fresh() for _ in children]
            writer.lines.append(f"{_names(found)} = {node}")
            others = " or ".join([f"type({name}) is not str" for name in found])
            writer.lines.append(f"if {others}: return None")
        items = [f"{node}[{writer.constant(key)}]" for key in treedef._data]
    else:
        items = [writer.fresh() for _ in children]
        if items:
            writer.lines.append(f"{_names(items)} = {parts}")
    for child, item in zip(children, items, strict=True):
        if child._kind is not None and kind is DICT:
            name = writer.fresh()
            writer.lines.append(f"{name} = {item}")
            item = name
        _gather(child, item, writer, leaves)


def _split(treedef: PyTreeDef, node: str, writer: _Writer) -> str:
    """The name of the children of a node that is no container of Python's."""
    kind = treedef._kind
    assert kind is not None
    children, data = writer.fresh(), writer.fresh()
    writer.lines.append(f"{children}, {data} = {writer.constant(kind.split)}({node})")
    if treedef._data is None:
        writer.lines.append(f"if {data} is not None: return None")
    else:  # an empty tuple: other data are not interned
        writer.lines.append(f"if type({data}) is not tuple or {data}: return None")
    return children

"""The node types of pytrees: how one level of a tree comes apart and goes together again.

A `NodeKind` handles one level; everything about whole trees is built from kinds and recursion.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeVar

from pullback.pytree.keys import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

T = TypeVar("T", bound=type)

Children = tuple[Any, ...]


class NodeError(ValueError):
    """A tree cannot be taken apart; collects the path to the offending node on its way up."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[Any] = []

    def __str__(self) -> str:
        where = "".join(str(key) for key in reversed(self.path))
        return f"{self.problem} (at tree{where})" if where else self.problem


@dataclass(frozen=True, slots=True, eq=False)
class NodeKind:
    """How nodes of one type come apart and go together."""

    type: type
    split: Callable[[Any], tuple[Children, Any]]
    """The children of a node, and the data that stand for everything else in it."""
    join: Callable[[Any, Sequence[Any]], Any]
    """The node with these data and children."""
    keys: Callable[[Any, Any, int], Sequence[Any]]
    """Key entries of the children, given the node (or None), its data, how many there are."""
    shown: Callable[[Any, list[str]], str]
    """Text of the node's structure, given its data and the texts of the children."""
    builtin: bool
    """Whether the data are hashable and equal ones are interchangeable."""


class _Kinds(dict[type, NodeKind | None]):
    """The kind of each type that was met; None for leaves."""

    def __missing__(self, cls: type) -> NodeKind | None:
        named = issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)
        kind = _named_tuple_kind(cls) if named else None
        if len(self) > _MANY:
            for known, of in list(self.items()):
                if of is None:
                    del self[known]
        self[cls] = kind
        return kind


_MANY: Final = 4096  # types of leaves to remember, lest classes made on the fly live forever

KINDS: Final = _Kinds()
registered: Final[set[type]] = set()
"""The types of inner nodes, named tuples apart."""
_lock: Final = threading.Lock()
_listeners: Final[list[Callable[[type, NodeKind], None]]] = []


def on_register(listener: Callable[[type, NodeKind], None]) -> None:
    """Call `listener(type, kind)` for each type that is registered from now on."""
    _listeners.append(listener)


def kind_of(tree: Any) -> NodeKind | None:
    """The kind of a node, None for a leaf."""
    return KINDS[type(tree)]


# --------------------------------------------------------------------------- built-in kinds


def _sequence_keys(node: Any, data: Any, n: int) -> Sequence[Any]:
    return [SequenceKey(i) for i in range(n)]


def sorted_keys(node: dict[Any, Any]) -> Children:
    """Keys of a dict in the order of its leaves; raises NodeError if they cannot be ordered."""
    try:
        return tuple(sorted(node))
    except Exception as e:
        kinds = sorted({type(key).__name__ for key in node})
        raise NodeError(
            "Comparator raised exception while sorting pytree dictionary keys: the keys of a dict "
            f"must be sortable, but these are of type {', '.join(kinds)}"
        ) from e


def _split_dict(node: Any) -> tuple[Children, Any]:
    keys = sorted_keys(node)
    return tuple([node[key] for key in keys]), keys


def _split_ordered(node: Any) -> tuple[Children, Any]:
    return tuple(node.values()), tuple(node)


def _split_default(node: Any) -> tuple[Children, Any]:
    children, keys = _split_dict(node)
    return children, (node.default_factory, keys)


def _tuple_text(data: Any, texts: list[str]) -> str:
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"


def _dict_text(data: Any, texts: list[str]) -> str:
    return "{" + ", ".join(f"{key!r}: {text}" for key, text in zip(data, texts, strict=True)) + "}"


def _custom_text(name: str) -> Callable[[Any, list[str]], str]:
    def shown(data: Any, texts: list[str]) -> str:
        return f"CustomNode({name}[{data}], [{', '.join(texts)}])"

    return shown


def _named_tuple_kind(cls: Any) -> NodeKind:
    fields: Sequence[str] = cls._fields
    return NodeKind(
        type=cls,
        split=lambda node: (tuple(node), None),
        join=lambda data, children: cls(*children),
        keys=lambda node, data, n: [GetAttrKey(name) for name in fields],
        shown=lambda data, texts: f"CustomNode(namedtuple[{cls.__name__}], [{', '.join(texts)}])",
        builtin=True,
    )


TUPLE: Final = NodeKind(
    type=tuple,
    split=lambda node: (node, None),
    join=lambda data, children: tuple(children),
    keys=_sequence_keys,
    shown=_tuple_text,
    builtin=True,
)
LIST: Final = NodeKind(
    type=list,
    split=lambda node: (tuple(node), None),
    join=lambda data, children: list(children),
    keys=_sequence_keys,
    shown=lambda data, texts: f"[{', '.join(texts)}]",
    builtin=True,
)
DICT: Final = NodeKind(
    type=dict,
    split=_split_dict,
    join=lambda keys, children: dict(zip(keys, children, strict=True)),
    keys=lambda node, keys, n: [DictKey(key) for key in keys],
    shown=_dict_text,
    builtin=True,
)
NONE: Final = NodeKind(
    type=type(None),
    split=lambda node: ((), None),
    join=lambda data, children: None,
    keys=lambda node, data, n: (),
    shown=lambda data, texts: "None",
    builtin=True,
)
_ORDERED: Final = NodeKind(
    type=collections.OrderedDict,
    split=_split_ordered,
    join=lambda keys, children: collections.OrderedDict(zip(keys, children, strict=True)),
    keys=lambda node, keys, n: [DictKey(key) for key in keys],
    shown=_custom_text("OrderedDict"),
    builtin=False,
)
_DEFAULT: Final = NodeKind(
    type=collections.defaultdict,
    split=_split_default,
    join=lambda data, children: collections.defaultdict(
        data[0], zip(data[1], children, strict=True)
    ),
    keys=lambda node, data, n: [DictKey(key) for key in data[1]],
    shown=_custom_text("defaultdict"),
    builtin=False,
)
for _kind in (TUPLE, LIST, DICT, NONE, _ORDERED, _DEFAULT):
    KINDS[_kind.type] = _kind
    registered.add(_kind.type)


def one_level_data(kind: NodeKind, data: Any) -> Any:
    """What stands for a node besides its children; for a named tuple that is its class."""
    return kind.type if issubclass(kind.type, tuple) and kind is not TUPLE else data


# --------------------------------------------------------------------------- custom kinds


def _check_pair(cls: type, pair: Any, what: str) -> tuple[Children, Any]:
    if type(pair) is tuple and len(pair) == 2 and type(pair[0]) is tuple:
        return pair
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise NodeError(
            "The to_iterable function for a custom PyTree node should return a (children, "
            f"aux_data) tuple, got {pair!r} of the {what} function of {cls.__qualname__}"
        )
    try:
        return tuple(pair[0]), pair[1]
    except TypeError:
        raise NodeError(
            "The to_iterable function for a custom PyTree node should return a (children, "
            f"aux_data) tuple where 'children' is iterable, got {pair!r} of the {what} function of "
            f"{cls.__qualname__}"
        ) from None


def _keys_from(cls: type, flatten_with_keys: Callable[[Any], Any] | None) -> Callable[..., Any]:
    if flatten_with_keys is None:
        return lambda node, data, n: [FlattenedIndexKey(i) for i in range(n)]

    def keys(node: Any, data: Any, n: int) -> Sequence[Any]:
        if node is None:
            return [FlattenedIndexKey(i) for i in range(n)]
        pairs, _ = _check_pair(cls, flatten_with_keys(node), "flatten_with_keys")
        if len(pairs) != n:
            raise NodeError(
                f"the two flatten functions registered for {cls.__qualname__} disagree: "
                f"{n} children without keys, {len(pairs)} with keys"
            )
        return [key for key, _ in pairs]

    return keys


def _register(kind: NodeKind) -> None:
    cls = kind.type
    if not isinstance(cls, type):
        raise TypeError(f"a pytree node type must be a class, got {cls!r}")
    with _lock:
        if cls in registered:
            raise ValueError(f"Duplicate custom PyTreeDef type registration for {cls!r}.")
        registered.add(cls)
        KINDS[cls] = kind
    for listener in _listeners:
        listener(cls, kind)


def register_pytree_node(
    nodetype: type,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """Make instances of exactly `nodetype` inner nodes of pytrees.

    `flatten_func(node)` gives `(children, aux_data)`, where `aux_data` is hashable and comparable;
    `unflatten_func(aux_data, children)` rebuilds the node, from children of any type.

    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> register_pytree_node(Pair, lambda p: ((p.a, p.b), None), lambda _, ab: Pair(*ab))
    >>> from pullback import tree
    >>> tree.leaves([Pair(1, 2), 3])
    [1, 2, 3]
    """
    for function in (flatten_func, unflatten_func):
        if not callable(function):
            raise TypeError(f"register_pytree_node needs functions, got {function!r}")
    _register(
        NodeKind(
            type=nodetype,
            split=lambda node: _check_pair(nodetype, flatten_func(node), "flatten"),
            join=lambda data, children: unflatten_func(data, tuple(children)),
            keys=_keys_from(nodetype, flatten_with_keys_func),
            shown=_custom_text(getattr(nodetype, "__name__", "")),
            builtin=False,
        )
    )


def register_pytree_with_keys(
    nodetype: type,
    flatten_with_keys: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """`register_pytree_node` where children come in pairs `(key, child)`.

    >>> from pullback import tree, tree_util
    >>> class Named:
    ...     def __init__(self, x):
    ...         self.x = x
    >>> register_pytree_with_keys(
    ...     Named,
    ...     lambda n: (((tree_util.GetAttrKey("x"), n.x),), None),
    ...     lambda _, children: Named(*children),
    ... )
    >>> [tree_util.keystr(path) for path, _ in tree.leaves_with_path([Named(1)])]
    ['[0].x']
    """

    def without_keys(node: Any) -> tuple[Iterable[Any], Any]:
        pairs, data = _check_pair(nodetype, flatten_with_keys(node), "flatten_with_keys")
        return [child for _, child in pairs], data

    register_pytree_node(nodetype, flatten_func or without_keys, unflatten_func, flatten_with_keys)


def register_pytree_node_class(cls: T) -> T:
    """Class decorator: register by the methods `tree_flatten` and `tree_unflatten`.

    >>> @register_pytree_node_class
    ... class Box:
    ...     def __init__(self, x):
    ...         self.x = x
    ...     def tree_flatten(self):
    ...         return (self.x,), None
    ...     @classmethod
    ...     def tree_unflatten(cls, aux_data, children):
    ...         return cls(*children)
    """
    methods: Any = cls
    register_pytree_node(cls, methods.tree_flatten, methods.tree_unflatten)
    return cls


def register_pytree_with_keys_class(cls: T) -> T:
    """Class decorator: register by `tree_flatten_with_keys` and `tree_unflatten`.

    A method `tree_flatten`, where there is one, is used when no keys are needed.
    """
    methods: Any = cls
    register_pytree_with_keys(
        cls,
        methods.tree_flatten_with_keys,
        methods.tree_unflatten,
        getattr(cls, "tree_flatten", None),
    )
    return cls


def register_static(cls: T) -> T:
    """Class decorator: instances are nodes without children, compared and hashed as a whole.

    >>> from pullback import tree
    >>> @register_static
    ... class Option(str):
    ...     pass
    >>> tree.leaves([Option("fast"), 1])
    [1]
    """
    register_pytree_node(cls, lambda node: ((), node), lambda node, _: node)
    return cls


# --------------------------------------------------------------------------- dataclasses


def _field_names(cls: Any, static: bool) -> list[str]:
    return [f.name for f in dataclasses.fields(cls) if bool(f.metadata.get("static")) == static]


def _check_fields(cls: Any, given: list[str], dropped: set[str]) -> None:
    expected = {f.name for f in dataclasses.fields(cls) if f.init} - dropped
    text = (
        "data_fields and meta_fields must include all dataclass fields with ``init=True`` and only "
        "them"
    )
    if twice := {name for name in given if given.count(name) > 1}:
        raise ValueError(
            f"data_fields and meta_fields must not overlap. Overlapping fields: {twice}."
        )
    if unexpected := set(given) - expected:
        raise ValueError(f"{text}. Unexpected fields: {unexpected}. It is {cls.__qualname__}.")
    if missing := expected - set(given):
        raise ValueError(
            f"{text}. Missing fields: {missing}. Add them to drop_fields to suppress this error: "
            f"the fields of {cls.__qualname__} that keep their default."
        )


def _getter(names: Sequence[str]) -> Callable[[Any], Children]:
    if len(names) > 1:
        getter: Callable[[Any], Children] = attrgetter(*names)
        return getter
    return lambda node: tuple([getattr(node, name) for name in names])


def register_dataclass(
    nodetype: Any,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> Any:
    """Make a dataclass a pytree node: `data_fields` are children, `meta_fields` part of its type.

    Without lists of fields, those marked `field(metadata=dict(static=True))` are meta fields; so it
    also decorates.

    >>> import dataclasses
    >>> from pullback import tree
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Model:
    ...     weight: float
    ...     name: str = dataclasses.field(metadata={"static": True})
    >>> tree.map(lambda w: 2 * w, Model(1.5, "m"))
    Model(weight=3.0, name='m')
    """
    if (data_fields is None) != (meta_fields is None):
        raise TypeError(
            "register_dataclass: data_fields and meta_fields must both be specified when either is "
            f"specified. Got {data_fields=} {meta_fields=}."
        )
    if dataclasses.is_dataclass(nodetype):
        if data_fields is None or meta_fields is None:
            data_fields = [n for n in _field_names(nodetype, False) if n not in drop_fields]
            meta_fields = [n for n in _field_names(nodetype, True) if n not in drop_fields]
        _check_fields(nodetype, [*data_fields, *meta_fields], set(drop_fields))
    elif data_fields is None or meta_fields is None:
        raise TypeError(
            "register_dataclass needs data_fields and meta_fields for a class that is not a "
            f"dataclass, such as {nodetype!r}"
        )
    _register(_dataclass_kind(nodetype, tuple(data_fields), tuple(meta_fields)))
    return nodetype


def _dataclass_kind(cls: Any, data_fields: Sequence[str], meta_fields: Sequence[str]) -> NodeKind:
    children_of, meta_of = _getter(data_fields), _getter(meta_fields)

    def join(meta: Any, children: Sequence[Any]) -> Any:
        values = dict(zip(data_fields, children, strict=True))
        if meta_fields:
            values.update(zip(meta_fields, meta, strict=True))
        return cls(**values)

    return NodeKind(
        type=cls,
        split=lambda node: (children_of(node), meta_of(node)),
        join=join,
        keys=lambda node, data, n: [GetAttrKey(name) for name in data_fields],
        shown=_custom_text(cls.__name__),
        builtin=False,
    )

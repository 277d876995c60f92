"""`Partial`: a function with some arguments given, as a pytree of those arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Self, final

from pullback.pytree.registry import register_pytree_node


@final
class _Whole:
    """Keeps `functools.partial` from merging a nested `Partial` into the outer one."""

    __slots__ = ("fun",)

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fun(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Whole) and self.fun == other.fun

    def __hash__(self) -> int:
        return hash(self.fun)

    def __repr__(self) -> str:
        return repr(self.fun)


class Partial(functools.partial):  # type: ignore[type-arg]
    """A `functools.partial` whose arguments are leaves: it can be passed to transformed functions.

    >>> from pullback import tree
    >>> add = Partial(lambda a, b: a + b, 1)
    >>> add(2), tree.leaves(add)
    (3, [1])
    """

    __module__ = "pullback.tree_util"  # where it is public; its repr has it from Python 3.14 on

    def __new__(cls, func: Callable[..., Any], *args: Any, **kw: Any) -> Self:
        if isinstance(func, functools.partial):
            return super().__new__(cls, _Whole(func), *args, **kw)
        return super().__new__(cls, func, *args, **kw)


def _join(func: Any, children: Any) -> Partial:
    args, keywords = children
    return Partial(func, *args, **keywords)


register_pytree_node(Partial, lambda p: ((p.args, p.keywords), p.func), _join)

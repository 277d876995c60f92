"""Native calls with arguments that only Python can take apart: named tuples, nodes of the user's.

The native routine of `llvm.entry` reads tuples, lists and dicts.  For other structures
`JitFunction` flattens its arguments and looks here for a callable on the flat leaves, whose types
the native routine checks as ever; results are put together by the structure's own functions.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from pullback.llvm.entry import Entry, FastCallable
from pullback.llvm.entry_python import MISSED

__all__ = ["MISSED", "Entries", "FlatCalls"]

LIMIT: Final = 32
"""Structures to remember, and entries of each."""


class Entries(FastCallable):
    """Native entries; a call that fits none of them is `MISSED`."""

    __slots__ = ("__weakref__",)

    def __init__(self, *entries: Entry) -> None:
        for entry in entries:
            self.add_entry(entry)

    def _miss(self, *_args: Any, **_kwargs: Any) -> Any:
        return MISSED


class FlatCalls:
    """Flat callables by structure (and static values); the newest structures are kept."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: OrderedDict[Any, Entries] = OrderedDict()

    def call(self, key: Any, leaves: list[Any]) -> Any:
        """The result for these leaves, or MISSED."""
        found = self._calls.get(key)
        return MISSED if found is None else found(*leaves)

    def add(self, key: Any, entry: Entry) -> Entries:
        """Let `entry` take calls with this structure; returns what has it now."""
        found = self._calls.get(key)
        if found is None:
            if len(self._calls) >= LIMIT:
                self._calls.popitem(last=False)
            found = self._calls[key] = Entries()
        if len(found.entries) >= LIMIT:
            found.remove_entry(found.entries[-1])
        found.add_entry(entry)
        return found

    def clear(self) -> None:
        """Forget all structures."""
        self._calls.clear()

"""StableHLO modules as objects to look at, with the names that MLIR's Python objects have.

`jit(f).lower(x).compiler_ir()` gives one: its text, and its operations once they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

from pullback.hlo import modules, parsing

__all__ = ["BlockView", "ModuleView", "OperationView"]

_SYMBOL: Final = "sym_name"


class OperationView:
    """An operation of a module: its name, attributes, the types of its operands and results."""

    def __init__(self, operation: modules.Operation) -> None:
        self._operation = operation

    @property
    def operation(self) -> OperationView:
        """The operation itself."""
        return self

    @property
    def name(self) -> str:
        """Such as `stablehlo.add`; of a function, its own name."""
        attributes = self._operation.attributes
        symbol = attributes.get(_SYMBOL) if self.opname == "func.func" else None
        return self.opname if symbol is None else str(symbol)

    @property
    def opname(self) -> str:
        """The kind of operation, such as `stablehlo.add` or `func.func`."""
        return self._operation.name

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes by name, as Python values."""
        return dict(self._operation.attributes)

    @property
    def operands(self) -> list[modules.Value]:
        """What it is applied to; each has a `type`."""
        return list(self._operation.operands)

    @property
    def results(self) -> list[modules.Value]:
        """What it gives; each has a `type`."""
        return list(self._operation.results)

    @property
    def regions(self) -> list[BlockView]:
        """The functions that belong to it."""
        return [BlockView(region) for region in self._operation.regions]

    def walk(self, visit: Callable[[OperationView], Any]) -> None:
        """Call `visit` with every operation inside, inner ones first, and with this one."""
        for region in self.regions:
            for inner in region.operations:
                inner.walk(visit)
        visit(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.opname}>"


class BlockView:
    """A region, which has one block."""

    def __init__(self, region: modules.Region) -> None:
        self._region = region

    @property
    def blocks(self) -> list[BlockView]:
        """The one block."""
        return [self]

    @property
    def arguments(self) -> list[modules.Value]:
        """The arguments; each has a `type`."""
        return list(self._region.arguments)

    @property
    def operations(self) -> list[OperationView]:
        """The operations, in order."""
        return [OperationView(operation) for operation in self._region.operations]

    def __iter__(self) -> Iterator[OperationView]:
        return iter(self.operations)


class ModuleView(OperationView):
    """A module; `str` of it is its text.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> module = pb.jit(lambda x: jnp.sin(x) + x).lower(1.0).compiler_ir()
    >>> [function.name for function in module.body]
    ['main']
    >>> [op.name for op in module.body.operations[0].regions[0]]
    ['stablehlo.sine', 'stablehlo.add', 'func.return']
    """

    def __init__(self, text: str, debug_text: Callable[[], str]) -> None:
        self._text = text
        self._debug_text = debug_text

    @cached_property
    def _operation(self) -> modules.Operation:  # type: ignore[override]
        return parsing.parse(self._text)

    @property
    def body(self) -> BlockView:
        """The functions of the module."""
        return self.regions[0]

    def get_asm(self, *, enable_debug_info: bool = False, **_: Any) -> str:
        """The text, with lines and name scopes of operations where `enable_debug_info` is set."""
        return self._debug_text() if enable_debug_info else self._text

    def __str__(self) -> str:
        return self._text

"""StableHLO modules, as text or as bytecode, and the jaxprs that they become."""

from __future__ import annotations

from pullback.export import import_calls, import_control, import_elementwise, import_structure
from pullback.export.interpreter import program
from pullback.hlo import bytecode, parsing, printing, vhlo
from pullback.hlo.modules import ModuleError, Operation

__all__ = ["module_text", "program", "read_module"]

MAX_BYTES = 1 << 31


def read_module(data: bytes) -> Operation:
    """The module in text or in bytecode."""
    if len(data) > MAX_BYTES:
        raise ModuleError(f"a module of {len(data)} bytes: at most {MAX_BYTES} are read")
    if bytecode.is_bytecode(data):
        return vhlo.read_artifact(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ModuleError("these bytes are neither bytecode nor text of MLIR") from error
    return parsing.parse(text)


def module_text(data: bytes) -> str:
    """A module as text."""
    if bytecode.is_bytecode(data):
        return printing.text_of(vhlo.read_artifact(data))
    return data.decode()


_RULES = (import_calls, import_control, import_elementwise, import_structure)
"""Modules that declare rules when they are loaded."""

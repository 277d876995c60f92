"""StableHLO modules in MLIR text, in the generic form of operations and in StableHLO's short one.

text -> `parse` -> operations (hlo/modules)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.hlo.lexing import Lexer
from pullback.hlo.modules import (
    FunctionType,
    ModuleError,
    Operation,
    Region,
    TensorType,
    TupleType,
    Value,
)

__all__ = ["parse"]

_RESULT: Final = re.compile(r"%([\w$.-]+)(?::(\d+))?")
_OPERAND: Final = re.compile(r"%([\w$.-]+)(?:#(\d+))?")
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_FORMAT: Final = re.compile(r"e(\d+)m(\d+)")
_STRUCTURES: Final = ("dot_dimension_numbers", "dimension_numbers", "scatter_dimension_numbers")
_KEYS: Final = {
    ("broadcast_in_dim", "dims"): "broadcast_dimensions",
    ("dynamic_broadcast_in_dim", "dims"): "broadcast_dimensions",
    ("broadcast", "sizes"): "broadcast_sizes",
    ("transpose", "dims"): "permutation",
    ("reverse", "dims"): "dimensions",
    ("concatenate", "dim"): "dimension",
    ("get_dimension_size", "dim"): "dimension",
    ("set_dimension_size", "dim"): "dimension",
    ("iota", "dim"): "iota_dimension",
    ("dynamic_iota", "dim"): "iota_dimension",
    ("dynamic_slice", "sizes"): "slice_sizes",
    ("pad", "low"): "edge_padding_low",
    ("pad", "high"): "edge_padding_high",
    ("pad", "interior"): "interior_padding",
    ("fft", "type"): "fft_type",
    ("fft", "length"): "fft_length",
    ("cholesky", "lower"): "lower",
    ("rng", "distribution"): "rng_distribution",
    ("rng_bit_generator", "algorithm"): "rng_algorithm",
    ("top_k", "k"): "k",
}
"""What StableHLO's short forms call an attribute."""
_WINDOW: Final = {
    "stride": "window_strides",
    "pad": "padding",
    "lhs_dilate": "lhs_dilation",
    "rhs_dilate": "rhs_dilation",
    "reverse": "window_reversal",
}


class _Parser(Lexer):
    """Operations of one text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.scopes: list[dict[str, list[Value]]] = [{}]

    # ------------------------------------------------------------------ values

    def operand(self) -> Value:
        """A value that is used."""
        found = self.match(_OPERAND)
        if not found:
            raise self.error("a value is missing")
        for scope in reversed(self.scopes):
            values = scope.get(found[1])
            if values is not None:
                index = int(found[2] or 0)
                if index < len(values):
                    return values[index]
        raise self.error(f"the value %{found[1]} is used before it is defined")

    def operands(self, start: str = "(", end: str = ")") -> list[Value]:
        """Values in parentheses."""
        return self.listed(self.operand, start, end)

    def bare_operands(self) -> list[Value]:
        """Values without parentheses, if there are any."""
        found = []
        while self.peek("%"):
            found.append(self.operand())
            self.accept(",")
        return found

    def define(self, name: str, values: list[Value]) -> None:
        """Give values their name."""
        self.scopes[-1][name] = values

    def argument(self) -> Value:
        """An argument of a function or a block: its name and its type."""
        name = self.suffix("%")
        self.expect(":")
        value = Value(self.type())
        self.dictionary()
        self.location()
        self.define(name, [value])
        return value

    # ------------------------------------------------------------------ regions

    def body(self, arguments: list[Value] | None = None) -> Region:
        """Operations in braces, behind the label of their block if it has one."""
        self.expect("{")
        given = list(arguments or [])
        if self.peek("^"):
            self.suffix("^")
            if self.peek("("):
                given = self.listed(self.argument, "(", ")")
            self.expect(":")
        operations = []
        while not self.accept("}"):
            if self.peek("^"):
                raise self.error("regions of several blocks are not known to StableHLO")
            operations.append(self.operation())
        return Region(given, operations)

    def region(self) -> Region:
        """A region with names of its own."""

        def inside() -> Region:
            self.scopes.append({})
            out = self.body()
            self.scopes.pop()
            return out

        out: Region = self.nested(inside)
        return out

    # ------------------------------------------------------------------ operations

    def operation(self) -> Operation:
        """One operation with what it defines."""
        names = []
        while found := self.match(_RESULT):
            names.append((found[1], int(found[2] or 1)))
            if not self.accept(","):
                self.expect("=")
                break
        operation = self.generic() if self.peek('"') else self.short()
        self.location()
        values = operation.results
        total = sum(n for _, n in names)
        if names and total != len(values):
            raise self.error(f"{operation.name} has {len(values)} results, not {total}")
        at = 0
        for name, n in names:
            self.define(name, values[at : at + n])
            at += n
        return operation

    def generic(self) -> Operation:
        """`"name"(operands) <{properties}> ({regions}) {attributes} : type`."""
        name = self.string()
        operands = self.operands()
        attributes: dict[str, Any] = {}
        if self.accept("<"):
            attributes |= self.dictionary()
            self.expect(">")
        isolated = name in ("func.func", "builtin.module")
        scopes = self.scopes
        if isolated:
            self.scopes = [{}]
        regions = self.listed(self.region, "(", ")") if self.peek("(") else []
        self.scopes = scopes
        attributes |= self.dictionary()
        self.expect(":")
        type_ = self.type()
        if not isinstance(type_, FunctionType):
            raise self.error("the type of an operation is missing")
        return _made(name, operands, attributes, type_.results, regions)

    def short(self) -> Operation:
        """An operation in the form that its dialect gives it."""
        name = self.name()
        special = _FORMS.get(name)
        if special is not None:
            return special(self, name)
        dialect, _, short = name.partition(".")
        if dialect not in ("stablehlo", "chlo", "sdy"):
            raise self.error(f"the operation {name} is not known here")
        return self.usual(name, short)

    def usual(self, name: str, short: str) -> Operation:
        """`name %x, %y, key = value {attributes} : types`."""
        operands: list[Value] = []
        attributes: dict[str, Any] = {}
        words: list[str] = []
        wrapped = self.accept("(")
        while not self.peek(":") and not self.peek("{") and not self.peek("loc"):
            if self.peek("%"):
                operands.append(self.operand())
                if self.peek("["):
                    attributes |= self.bracketed(short)
            elif self.peek("<") or self.peek("["):
                self.balanced()
            else:
                self.clause(short, attributes, words)
            if not self.accept(","):
                wrapped = wrapped and not self.accept(")")
                if self.peek("%"):
                    raise self.error("a comma is missing")
        attributes |= self.dictionary()
        if words and short == "compare":
            attributes["comparison_direction"] = words[0]
            attributes["compare_type"] = words[1] if len(words) > 1 else "NOTYPE"
        self.expect(":")
        return _made(name, operands, attributes, self.result_types(short), [])

    def bracketed(self, short: str) -> dict[str, Any]:
        """What stands in brackets behind an operand."""
        if short == "get_tuple_element":
            (index,) = self.listed(self.integer)
            return {"index": index}

        def bounds() -> tuple[int, int, int]:
            start = self.integer()
            self.expect(":")
            stop = self.integer()
            return start, stop, self.integer() if self.accept(":") else 1

        rows = self.listed(bounds)
        names = ("start_indices", "limit_indices", "strides")
        return {key: [row[k] for row in rows] for k, key in enumerate(names)}

    def clause(self, short: str, attributes: dict[str, Any], words: list[str]) -> None:
        """`key = value`, or a word alone."""
        key = self.name()
        if not self.accept("="):
            words.append(key)
            return
        if key in ("contracting_dims", "batching_dims"):
            kind = key.removesuffix("_dims")
            attributes[f"lhs_{kind}_dimensions"] = self.listed(self.integer)
            self.expect("x")
            attributes[f"rhs_{kind}_dimensions"] = self.listed(self.integer)
        elif key == "precision":
            attributes["precision_config"] = self.listed(self.name)
        elif key == "algorithm" and self.peek("<"):
            self.balanced()
        elif key == "format":
            found = self.match(_FORMAT)
            if not found:
                raise self.error("a format such as e5m10 is missing")
            attributes["exponent_bits"], attributes["mantissa_bits"] = map(int, found.groups())
        else:
            target = _KEYS.get((short, key))
            if target is None:
                raise self.error(f"{key!r} is not known of {short}")
            attributes[target] = self.plain()

    def plain(self) -> Any:
        """A value without its type: behind it, a colon begins the type of the operation."""
        if self.peek("["):
            return self.listed(self.integer)
        for word, value in (("true", True), ("false", False)):
            if self.accept(word):
                return value
        found = self.match(_WORD)
        return found[0] if found else self.integer()

    def result_types(self, short: str) -> tuple[Any, ...]:
        """The types of the results, from what stands behind the colon."""
        type_ = self.type()
        if isinstance(type_, FunctionType):
            return type_.results
        types = [type_]
        while self.accept(","):
            types.append(self.type())
        if self.accept("->"):
            return tuple(self.results())
        return tuple(types) if short == "optimization_barrier" else (types[-1],)

    def signature(self) -> tuple[Any, ...]:
        """The types of the results of a type of functions."""
        self.expect(":")
        type_ = self.type()
        if not isinstance(type_, FunctionType):
            raise self.error("the type of an operation is missing")
        return type_.results


# --------------------------------------------------------------------------- forms of their own


def _made(
    name: str, operands: Any, attributes: dict[str, Any], types: Any, regions: Any
) -> Operation:
    for key in _STRUCTURES:
        found = attributes.pop(key, None)
        if isinstance(found, dict):
            attributes |= found
    name = {"call": "func.call", "return": "func.return"}.get(name, name)
    return Operation(name, operands, attributes, [Value(t) for t in types], regions)


def _module(p: _Parser, name: str) -> Operation:
    symbol = p.suffix("@") if p.peek("@") else ""
    attributes = p.dictionary() if p.accept("attributes") else {}
    return Operation("builtin.module", [], attributes | {"sym_name": symbol}, [], [p.region()])


def _function(p: _Parser, name: str) -> Operation:
    visibility = next((w for w in ("public", "private", "nested") if p.accept(w)), "public")
    symbol = p.suffix("@")
    scopes, p.scopes = p.scopes, [{}]

    def parameter() -> Value:
        return p.argument() if p.peek("%") else Value(p.type())

    def result() -> Any:
        type_ = p.type()
        p.dictionary()
        p.location()
        return type_

    arguments = p.listed(parameter, "(", ")")
    results: list[Any] = []
    if p.accept("->"):
        results = p.listed(result, "(", ")") if p.peek("(") else [p.type()]
    if p.accept("attributes"):
        p.dictionary()
    regions = [p.nested(lambda: p.body(arguments))] if p.peek("{") else []
    p.scopes = scopes
    type_ = FunctionType(tuple(a.type for a in arguments), tuple(results))
    attributes = {"sym_name": symbol, "sym_visibility": visibility, "function_type": type_}
    return Operation("func.func", [], attributes, [], regions)


def _return(p: _Parser, name: str) -> Operation:
    operands = p.bare_operands()
    attributes = p.dictionary()
    if p.accept(":"):
        p.type()
        while p.accept(","):
            p.type()
    return _made(name, operands, attributes, [], [])


def _call(p: _Parser, name: str) -> Operation:
    symbol = p.suffix("@")
    operands = p.operands()
    attributes = p.dictionary()
    key = "callee" if name.endswith("call") and "custom" not in name else "call_target_name"
    return _made(name, operands, {key: symbol, **attributes}, p.signature(), [])


def _constant(p: _Parser, name: str) -> Operation:
    attributes = p.dictionary()
    value = p.attribute()
    if not isinstance(value, np.ndarray):
        raise p.error("the elements of a constant are missing")
    return _made(
        name, [], attributes | {"value": value}, [TensorType(value.shape, value.dtype)], []
    )


def _composite(p: _Parser, name: str) -> Operation:
    label = p.string()
    operands = p.bare_operands()
    return _made(name, operands, {"name": label, **p.dictionary()}, p.signature(), [])


def _convolution(p: _Parser, name: str) -> Operation:
    operands = p.operands()
    p.expect("dim_numbers", "=")
    attributes = p.convolution()
    p.expect(",", "window", "=")
    window = p.dictionary()
    attributes |= {_WINDOW[key]: v for key, v in window.items() if key in _WINDOW}
    if p.accept(","):
        p.expect("precision", "=")
        attributes["precision_config"] = p.listed(p.name)
    return _made(name, operands, attributes | p.dictionary(), p.signature(), [])


def _reduce(p: _Parser, name: str) -> Operation:
    operands, inits = [], []
    while p.accept("("):
        operands.append(p.operand())
        p.expect("init", ":")
        inits.append(p.operand())
        p.expect(")")
        p.accept(",")
    applied = p.name() if p.accept("applies") else None
    p.expect("across", "dimensions", "=")
    attributes: dict[str, Any] = {"dimensions": p.listed(p.integer)}
    attributes |= p.dictionary()
    types = p.signature()
    region = _applied(applied, types) if applied else p.nested(lambda: _reducer(p))
    return _made(name, [*operands, *inits], attributes, types, [region])


def _applied(name: str, types: Any) -> Region:
    scalar = TensorType((), types[0].dtype)
    arguments = [Value(scalar), Value(scalar)]
    operation = _made(name, arguments, {}, [scalar], [])
    return Region(arguments, [operation, _made("stablehlo.return", operation.results, {}, [], [])])


def _reducer(p: _Parser) -> Region:
    p.expect("reducer")
    p.scopes.append({})
    pairs = []
    while p.peek("("):
        pairs.append(p.listed(p.argument, "(", ")"))
    if any(len(pair) != 2 for pair in pairs):
        raise p.error("a reduction combines two values at a time")
    out = p.body([a for a, _ in pairs] + [b for _, b in pairs])
    p.scopes.pop()
    return out


def _while(p: _Parser, name: str) -> Operation:
    def entry() -> tuple[str, Value]:
        inner = p.suffix("%")
        p.expect("=")
        return inner, p.operand()

    pairs = p.listed(entry, "(", ")")
    types: list[Any] = []
    if pairs or p.peek(":"):
        p.expect(":")
        types.append(p.type())
        while p.accept(","):
            types.append(p.type())
    attributes = p.dictionary() if p.accept("attributes") else {}
    if len(types) != len(pairs):
        raise p.error("a loop has other types than values")
    regions = []
    for word in ("cond", "do"):
        p.expect(word)
        p.scopes.append({})
        arguments = [Value(t) for t in types]
        for (inner, _), value in zip(pairs, arguments, strict=True):
            p.define(inner, [value])
        regions.append(p.nested(functools.partial(p.body, arguments)))
        p.scopes.pop()
    return _made(name, [v for _, v in pairs], attributes, types, regions)


def _tuple(p: _Parser, name: str) -> Operation:
    operands = p.bare_operands()
    attributes = p.dictionary()
    p.expect(":")
    type_ = p.type()
    types = [type_] if isinstance(type_, TupleType) else []
    return _made(name, operands, attributes, types, [])


def _mesh(p: _Parser, name: str) -> Operation:
    p.suffix("@")
    p.expect("=")
    p.balanced()
    return _made(name, [], p.dictionary(), [], [])


_FORMS: Final[dict[str, Callable[[_Parser, str], Operation]]] = {
    "builtin.module": _module,
    "module": _module,
    "func.func": _function,
    "return": _return,
    "func.return": _return,
    "stablehlo.return": _return,
    "call": _call,
    "func.call": _call,
    "stablehlo.custom_call": _call,
    "stablehlo.constant": _constant,
    "stablehlo.composite": _composite,
    "stablehlo.convolution": _convolution,
    "stablehlo.reduce": _reduce,
    "stablehlo.while": _while,
    "stablehlo.tuple": _tuple,
    "sdy.mesh": _mesh,
}


def parse(text: str) -> Operation:
    """The module in a text; functions without a module around them make one.

    >>> text = "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> { return %x : tensor<2xf32> }"
    >>> [operation.name for operation in parse(text).regions[0].operations]
    ['func.func']
    """
    parser = _Parser(text)
    operations = []
    try:
        while parser.at < len(text):
            if parser.peek("#"):
                alias = parser.suffix("#")
                parser.expect("=")
                parser.aliases[alias] = parser.attribute()
            else:
                operations.append(parser.operation())
    except RecursionError as error:
        raise ModuleError("the module is nested too deeply") from error
    except (ValueError, OverflowError, TypeError) as error:
        if isinstance(error, ModuleError):
            raise
        raise ModuleError(f"the module is damaged: {error}") from error
    if len(operations) == 1 and operations[0].name == "builtin.module":
        return operations[0]
    return Operation("builtin.module", [], {}, [], [Region([], operations)])

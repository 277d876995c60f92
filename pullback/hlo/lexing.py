"""Words of MLIR text: names, numbers, strings, types and attributes.

text -> `Lexer` -> hlo/parsing.  Attributes become plain Python values, see hlo/modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.errors import UnsupportedError
from pullback.hlo.modules import (
    FunctionType,
    ModuleError,
    TensorType,
    TokenType,
    TupleType,
    elements,
)
from pullback.hlo.text import element_type

__all__ = ["Lexer"]

_SPACE: Final = re.compile(r"(?:\s+|//[^\n]*)*")
_NUMBER: Final = re.compile(r"-?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)")
_NAME: Final = re.compile(r"[A-Za-z_][\w$.]*")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SUFFIX: Final = re.compile(r"[\w$.-]+")
_LENGTH: Final = re.compile(r"(\d+|\?)\s*x")
_ESCAPE: Final = re.compile(r"\\([0-9A-Fa-f]{2}|.)")
_MAX_DEPTH: Final = 100
_BRACKETS: Final = {"<": ">", "(": ")", "[": "]", "{": "}"}


def _unescaped(text: str) -> str:
    simple = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
    return _ESCAPE.sub(
        lambda m: simple.get(m[1]) or (chr(int(m[1], 16)) if len(m[1]) == 2 else m[1]), text
    )


class Lexer:
    """A place in a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.aliases: dict[str, Any] = {}
        self.depth = 0
        self.skip()

    # ------------------------------------------------------------------ words

    def skip(self) -> None:
        """Go to the next word."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def error(self, message: str) -> ModuleError:
        """The error of something that is not there."""
        line = self.text.count("\n", 0, self.at) + 1
        return ModuleError(
            f"line {line} of the module: {message}, found {self.text[self.at : self.at + 20]!r}"
        )

    def peek(self, word: str) -> bool:
        """Whether a word or sign is next."""
        if not self.text.startswith(word, self.at):
            return False
        after = self.text[self.at + len(word) : self.at + len(word) + 1]
        return not (word[-1].isalnum() and (after.isalnum() or after in ("_", ".", "$")))

    def accept(self, word: str) -> bool:
        """Whether a word or sign is next, which is taken then."""
        found = self.peek(word)
        if found:
            self.at += len(word)
            self.skip()
        return found

    def expect(self, *words: str) -> None:
        """Take words that have to be there."""
        for word in words:
            if not self.accept(word):
                raise self.error(f"{word!r} is missing")

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What a pattern finds here, which is taken."""
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
            self.skip()
        return found

    def name(self) -> str:
        """A bare name, with dots."""
        found = self.match(_NAME)
        if not found:
            raise self.error("a name is missing")
        return found[0]

    def string(self) -> str:
        """A string in quotes."""
        found = self.match(_STRING)
        if not found:
            raise self.error("a string is missing")
        return _unescaped(found[1])

    def suffix(self, sign: str) -> str:
        """The name behind `%`, `@`, `^`, `#` or `!`."""
        if not self.text.startswith(sign, self.at):
            raise self.error(f"a name with {sign!r} is missing")
        self.at += 1
        if sign == "@" and self.text.startswith('"', self.at):
            return self.string()
        found = self.match(_SUFFIX if sign in "%@^" else _NAME)
        if not found:
            raise self.error(f"the name behind {sign!r} is missing")
        return found[0]

    def number(self) -> int | float:
        """A number."""
        found = self.match(_NUMBER)
        if not found:
            raise self.error("a number is missing")
        text = found[0]
        if "x" in text:
            return int(text, 16)
        return int(text) if text.lstrip("-").isdigit() else float(text)

    def integer(self) -> int:
        """A whole number."""
        found = self.number()
        if not isinstance(found, int):
            raise self.error("a whole number is missing")
        return found

    def balanced(self) -> str:
        """The text in the brackets that begin here, which are taken."""
        stack, start = [], self.at
        while self.at < len(self.text):
            c = self.text[self.at]
            if c == '"':
                if not self.match(_STRING):
                    break
                continue
            if c == "-" and self.text.startswith("->", self.at):
                self.at += 2
                continue
            if c in _BRACKETS:
                stack.append(_BRACKETS[c])
            elif c in _BRACKETS.values():
                if not stack or stack.pop() != c:
                    break
                if not stack:
                    self.at += 1
                    inside = self.text[start + 1 : self.at - 1]
                    self.skip()
                    return inside
            self.at += 1
        raise self.error("a bracket has no end")

    def listed(self, item: Callable[[], Any], start: str = "[", end: str = "]") -> list[Any]:
        """Items in brackets."""
        self.expect(start)
        out: list[Any] = []
        while not self.accept(end):
            if out:
                self.expect(",")
            out.append(item())
        return out

    def nested(self, fn: Callable[[], Any]) -> Any:
        """What is inside of something else."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("it is nested too deeply")
        out = fn()
        self.depth -= 1
        return out

    def location(self) -> None:
        """Skip where something came from."""
        if self.accept("loc"):
            self.balanced()

    # ------------------------------------------------------------------ types

    def type(self) -> Any:
        """A type."""
        return self.nested(self._type)

    def _type(self) -> Any:
        if self.peek("("):
            inputs = self.types()
            self.expect("->")
            return FunctionType(tuple(inputs), tuple(self.results()))
        if self.text.startswith("!", self.at):
            return self.dialect_type()
        if self.accept("tuple"):
            return TupleType(tuple(self.listed(self.type, "<", ">")))
        if self.accept("none"):
            return None
        return self.tensor() if self.accept("tensor") else self.element()

    def dialect_type(self) -> Any:
        """A type of a dialect."""
        name = self.suffix("!")
        if self.peek("<"):
            self.balanced()
        if name in ("stablehlo.token", "mhlo.token"):
            return TokenType()
        raise UnsupportedError(f"the type !{name}")

    def tensor(self) -> TensorType:
        """The type of an array, behind its name."""
        self.expect("<")
        shape: list[int | None] = []
        while found := self.match(_LENGTH):
            shape.append(None if found[1] == "?" else int(found[1]))
        dtype = self.element()
        if self.accept(","):
            self.attribute()
        self.expect(">")
        return TensorType(tuple(shape), dtype)

    def element(self) -> np.dtype[Any]:
        """The type of an element."""
        name = self.name()
        if name == "complex":
            self.expect("<")
            name = f"complex<{self.name()}>"
            self.expect(">")
        try:
            return element_type(name)
        except UnsupportedError as error:
            raise self.error(str(error)) from error

    def types(self) -> list[Any]:
        """Types in parentheses."""
        return self.listed(self.type, "(", ")")

    def results(self) -> list[Any]:
        """One type, or several in parentheses."""
        return self.types() if self.peek("(") else [self.type()]

    # ------------------------------------------------------------------ attributes

    def dictionary(self) -> dict[str, Any]:
        """Named attributes in braces, if there are any."""
        if not self.peek("{"):
            return {}

        def entry() -> tuple[str, Any]:
            key = self.string() if self.peek('"') else self.name()
            return key, (self.attribute() if self.accept("=") else True)

        return dict(self.listed(entry, "{", "}"))

    def attribute(self) -> Any:
        """An attribute as a Python value."""
        return self.nested(self._attribute)

    def _attribute(self) -> Any:
        first = self.text[self.at : self.at + 1]
        if first == '"':
            return self.typed(self.string())
        if first == "[":
            return self.listed(self.attribute)
        if first == "{":
            return self.dictionary()
        if first == "#":
            return self.hashed()
        if first == "@":
            name = self.suffix("@")
            while self.accept("::"):
                name = self.suffix("@")
            return name
        if first.isdigit() or first == "-":
            return self.typed(self.number())
        for word, value in (("true", True), ("false", False), ("unit", True)):
            if self.accept(word):
                return value
        if self.accept("dense"):
            return self.dense()
        if self.accept("array"):
            return self.array()
        if self.peek("loc"):
            return self.location()
        if self.accept("dense_resource"):
            raise UnsupportedError("constants in resources of a module")
        return self.type()

    def typed(self, value: Any) -> Any:
        """A value, perhaps with its type, which an integer can do without."""
        if not self.accept(":"):
            return value
        dtype = self.type()
        if isinstance(value, int) and isinstance(dtype, np.dtype) and dtypes.kind_of(dtype) == "f":
            return float(_element(value, dtype))
        return value

    def array(self) -> np.ndarray[Any, Any]:
        """`array<i64: 1, 2>`, behind its name."""
        self.expect("<")
        dtype = self.element()
        values = []
        if self.accept(":"):
            values.append(self.scalar(dtype))
            while self.accept(","):
                values.append(self.scalar(dtype))
        self.expect(">")
        return np.asarray(values, dtype)

    def hashed(self) -> Any:
        """An alias, or an attribute of a dialect."""
        name = self.suffix("#")
        if name in self.aliases:
            return self.aliases[name]
        if not self.peek("<"):
            raise self.error(f"#{name} is not defined")
        if name in ("stablehlo.dot", "stablehlo.gather", "stablehlo.scatter"):
            return dict(self.listed(self.pair, "<", ">"))
        start = self.at
        inside = self.balanced()
        if name == "stablehlo.conv":
            end, self.at = self.at, start + 1
            self.skip()
            out = self.convolution()
            self.at = end
            return out
        words = inside.split()
        return words[-1] if name in ("stablehlo", "chlo", "mhlo") and words else None

    def pair(self) -> tuple[str, Any]:
        """`name = value`."""
        key = self.name()
        self.expect("=")
        return key, self.attribute()

    def convolution(self) -> dict[str, Any]:
        """`[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]`: what the axes of a convolution are."""

        def axis() -> str:
            found = self.match(_SUFFIX)
            if not found:
                raise self.error("the role of an axis is missing")
            return found[0]

        sides = [self.listed(axis)]
        self.expect("x")
        sides.append(self.listed(axis))
        self.expect("->")
        sides.append(self.listed(axis))
        out: dict[str, Any] = {}
        names = (
            ("input", {"b": "batch", "f": "feature"}),
            ("kernel", {"i": "input_feature", "o": "output_feature"}),
            ("output", {"b": "batch", "f": "feature"}),
        )
        for axes, (side, letters) in zip(sides, names, strict=True):
            for letter, kind in letters.items():
                if letter not in axes:
                    raise self.error("a convolution lacks an axis")
                out[f"{side}_{kind}_dimension"] = axes.index(letter)
            numbers = [a for a in axes if a not in letters]
            if sorted(numbers) != [str(k) for k in range(len(numbers))]:
                raise self.error("a convolution lacks an axis")
            spatial = [axes.index(str(k)) for k in range(len(numbers))]
            out[f"{side}_spatial_dimensions"] = spatial
        return out

    # ------------------------------------------------------------------ constants

    def dense(self) -> np.ndarray[Any, Any]:
        """`dense<...> : type`, behind its name."""
        self.expect("<")
        start = self.at
        if self.peek(">"):
            values: Any = []
        elif self.peek('"'):
            values = self.string()
        else:
            # The elements' type stands behind them.
            while not self.peek(">"):
                if self.peek("[") or self.peek("("):
                    self.balanced()
                elif not self.match(_NUMBER) and not self.match(_NAME):
                    raise self.error("an element is missing")
            values = None
        self.expect(">", ":")
        type_ = self.type()
        if not isinstance(type_, TensorType) or None in type_.shape:
            raise self.error("a constant needs a type of known lengths")
        if isinstance(values, str):
            return elements(type_, self.bytes_of(values))
        end = self.at
        self.at = start
        flat: list[Any] = []
        if values is None:
            self.collect(flat, type_.dtype)
        self.at = end
        shape = tuple(n for n in type_.shape if n is not None)
        array = np.asarray(flat, type_.dtype)
        if len(flat) == 1:
            return np.broadcast_to(array[0], shape)
        if array.size != np.prod(shape, dtype=object):
            raise self.error("a constant has another number of elements than its type")
        return array.reshape(shape)

    def bytes_of(self, text: str) -> bytes:
        """The bytes of a constant in hexadecimal digits."""
        try:
            return bytes.fromhex(text.removeprefix("0x"))
        except ValueError as error:
            raise self.error("the digits of a constant are damaged") from error

    def collect(self, out: list[Any], dtype: Any) -> None:
        """The elements of nested lists."""
        if self.accept("["):
            while not self.accept("]"):
                self.nested(lambda: self.collect(out, dtype))
                self.accept(",")
        else:
            out.append(self.scalar(dtype))

    def scalar(self, dtype: Any) -> Any:
        """One element."""
        if dtypes.kind_of(dtype) == "c":
            part = np.dtype(f"float{dtype.itemsize * 4}")
            self.expect("(")
            real = self.scalar(part)
            self.expect(",")
            imag = self.scalar(part)
            self.expect(")")
            return complex(real, imag)
        if self.accept("true") or self.peek("false"):
            return not self.accept("false")
        start = self.at
        value = self.number()
        bits = self.text.startswith("0x", start) or self.text.startswith("-0x", start)
        if bits and dtypes.kind_of(dtype) == "f" and isinstance(value, int):
            return _element(value, dtype)
        return value if dtype != dtypes.bool_ else bool(value)


def _element(bits: int, dtype: Any) -> Any:
    """The number with these bits."""
    try:
        return np.frombuffer(bits.to_bytes(dtype.itemsize, "little"), dtype)[0]
    except OverflowError as error:
        raise ModuleError("an element of the module has too many bits") from error

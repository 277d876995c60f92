#!/usr/bin/env python
"""Makes `docs/api.md`: for every public name of JAX whether Pullback has it, and what is missing.

    python scripts/api_table.py             write the table
    python scripts/api_table.py --check     fail if the table is out of date or a name is lost
    python scripts/api_table.py --import F  take a new list of names from F (module, name, kind,
                                            signature, separated by tabs)

`docs/api/names.tsv` is the list, `docs/api/notes.tsv` says what is known to be missing, by name or
for all absent names of a module (`module.*`; `=`: that the parameters differ).  A name is complete
if it is there and, where it can be called, takes the same parameters: names, kinds and defaults. A
name that is absent, or whose parameters differ, needs a line in the notes.
"""

from __future__ import annotations

import argparse
import ast
import csv
import importlib
import inspect
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pullback.dropin

ROOT: Final = Path(__file__).resolve().parent.parent
NAMES: Final = ROOT / "docs" / "api" / "names.tsv"
NOTES: Final = ROOT / "docs" / "api" / "notes.tsv"
TABLE: Final = ROOT / "docs" / "api.md"

_INTERNAL: Final = {
    "jax.Array",
    "jax.Ref",
    "jax.core.Trace",
    "jax.debug.DebugEffect",
    "jax.debug.OrderedDebugEffect",
    "jax.experimental.checkify.Error",
    "jax.experimental.jet.JetTrace",
    "jax.experimental.jet.JetTracer",
    "jax.experimental.rnn.Array",
    "jax.experimental.sparse.SparseTracer",
    "jax.interpreters.ad.JVPTrace",
    "jax.interpreters.mlir.LoweringRuleContext",
    "jax.interpreters.partial_eval.DynamicJaxprTracer",
    "jax.interpreters.partial_eval.JaxprTracer",
    "jax.numpy.ndarray",
    "jax.ref.Ref",
    "jax.stages.ArgInfo",
    "jax.stages.Compiled",
    "jax.stages.Lowered",
    "jax.stages.Traced",
    "jax.stages.Wrapped",
}
"""Classes whose objects users do not make: what their constructors take is nobody's concern."""

_UNIONS: Final = {
    "jax.core.Atom",
    "jax.lax.ConvGeneralDilatedDimensionNumbers",
    "jax.lax.PrecisionLike",
    "jax.typing.ArrayLike",
    "jax.typing.DTypeLike",
}
"""Unions for annotations, which the list calls classes; what they are depends on Python."""

_ENUM: Final = "(value, names=None, *, module=None"
"""How the constructor of an enumeration begins; the rest depends on the version of Python."""


# --------------------------------------------------------------------------- signatures


def split_parameters(text: str) -> Iterator[str]:
    """The parts of `(a, b=(1, 2), *, c: 'x | y' = None) -> d` between the outer commas."""
    depth, angles, quote, start = 0, 0, "", 1
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == "<" and text[i + 1 : i + 2].isalpha():
            angles += 1
        elif c == ">" and angles:
            angles -= 1
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                if part := text[start:i].strip():
                    yield part
                return
        elif c == "," and depth == 1 and not angles:
            yield text[start:i].strip()
            start = i + 1


def plain_default(text: str) -> str:
    """A default as its literal, and `...` where it is an object that has none."""
    if text.strip() == "frozenset()":
        return "frozenset()"
    try:
        return repr(ast.literal_eval(text.strip()))
    except (SyntaxError, ValueError):
        return "..."


def _default_position(part: str) -> int:
    depth, quote = 0, ""
    for i, c in enumerate(part):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "=" and depth == 0:
            return i
    return -1


def plain_parameter(part: str) -> str:
    """A parameter without its annotation."""
    at = _default_position(part)
    head = part if at < 0 else part[:at]
    name = head.split(":")[0].strip()
    return name if at < 0 else f"{name}={plain_default(part[at + 1 :])}"


def plain_signature(text: str) -> str:
    """A signature without annotations, as the list of names keeps it.

    >>> plain_signature("(x: 'Any', *, axis: 'int | None' = None) -> 'Array'")
    '(x, *, axis=None)'
    """
    return f"({', '.join(map(plain_parameter, split_parameters(text)))})" if text else ""


def signature_of(value: Any) -> str | None:
    """The plain signature of one of our callables; None if Python does not know it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signature = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    bare = [
        p.replace(annotation=inspect.Parameter.empty, default=_Shown.of(p.default))
        for p in signature.parameters.values()
    ]
    return str(inspect.Signature(bare))


class _Shown:
    """A default that is shown as the list of names shows it."""

    def __init__(self, default: Any) -> None:
        self.text = plain_default(repr(default))

    @classmethod
    def of(cls, default: Any) -> Any:
        """The default, or the absence of one."""
        return default if default is inspect.Parameter.empty else cls(default)

    def __repr__(self) -> str:
        return self.text


def same_signature(theirs: str, ours: str) -> bool:
    """Whether two plain signatures agree; a default without a literal agrees with any default.

    Ours may have more parameters by keyword, with defaults, and defaults where they have none.
    """
    left, right = list(split_parameters(theirs)), list(split_parameters(ours))
    if "*" not in left and "*" in right:
        left.append("*")
    names = {p.partition("=")[0] for p in left}
    more = {p for p in right if "=" in p and p.partition("=")[0] not in names}
    if "*" in right:
        more &= set(right[right.index("*") :])
        right = [p for p in right if p not in more]
    return len(left) == len(right) and all(map(_same_parameter, left, right))


def _same_parameter(theirs: str, ours: str) -> bool:
    name, has, default = theirs.partition("=")
    our_name, our_has, our_default = ours.partition("=")
    if name != our_name or not has:
        return name == our_name
    return bool(our_has) and ("..." in (default, our_default) or default == our_default)


# --------------------------------------------------------------------------- what is there


@dataclass(frozen=True)
class Name:
    """A public name of JAX."""

    module: str
    name: str
    kind: str
    signature: str

    @property
    def full(self) -> str:
        """With its module."""
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Entry:
    """What the table says about a name."""

    name: Name
    status: str
    note: str


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))[1:]


def read_names() -> list[Name]:
    """The list of names."""
    return [Name(*row) for row in _rows(NAMES)]


def read_notes() -> dict[str, str]:
    """What is known to be missing, by full name or by module with `.*`."""
    return {row[0]: row[1] for row in _rows(NOTES)}


def _find(name: Name) -> tuple[bool, Any]:
    try:
        return True, getattr(_namespace(name.module), name.name)
    except (AttributeError, ImportError):
        return False, None


def _namespace(path: str) -> Any:
    """A module, or an object that stands for one."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        parent, _, last = path.rpartition(".")
        return getattr(importlib.import_module(parent), last)


def _difference(name: Name, value: Any) -> str:
    """How our object differs from what the list says; empty if it does not."""
    if name.kind not in ("function", "class"):
        return ""
    if not callable(value):
        return "" if name.full in _UNIONS else "cannot be called"
    if not name.signature or name.full in _INTERNAL or name.signature.startswith(_ENUM):
        return ""
    if isinstance(value, type) and issubclass(value, BaseException):
        return ""
    ours = signature_of(value)
    if ours is None or same_signature(name.signature, ours):
        return ""
    return f"parameters {ours} instead of {name.signature}"


def entry_of(name: Name, notes: dict[str, str]) -> Entry:
    """Look a name up and compare it with the list."""
    found, value = _find(name)
    note = notes.get(name.full, "")
    if not found:
        return Entry(name, "absent", note or notes.get(f"{name.module}.*", ""))
    difference = _difference(name, value)
    if difference or note not in ("", "="):
        return Entry(name, "partial", difference if note in ("", "=") else note)
    return Entry(name, "complete", "")


def problems(entries: Iterable[Entry], notes: dict[str, str]) -> list[str]:
    """Names that are lost or differ without a note, and notes on names that are not listed."""
    entries = list(entries)
    found = [
        f"{e.name.full} is {e.status}: {e.note or 'no reason given in docs/api/notes.tsv'}"
        for e in entries
        if (e.status == "absent" and not e.note)
        or (e.status == "partial" and e.name.full not in notes)
    ]
    useful = {e.name.full for e in entries if e.status != "complete"}
    useful |= {f"{e.name.module}.*" for e in entries if e.status == "absent"}
    return found + [f"the note on {n} has nothing to say" for n in sorted(notes.keys() - useful)]


# --------------------------------------------------------------------------- the table


_HEAD: Final = """# The public names

Every public name of JAX 0.10.2 and what Pullback has of it. Made by `scripts/api_table.py` from
`docs/api/names.tsv` (the names and their parameters) and `docs/api/notes.tsv` (what is missing);
do not edit it by hand.

- **complete**: it is there and takes the same parameters (names, kinds, defaults; some that JAX
  requires may be left out here).
- **partial**: it is there; the note says what is missing.
- **absent**: it is not there; the note says why.

"""


def _summary(entries: list[Entry]) -> Iterator[str]:
    yield "| module | complete | partial | absent |"
    yield "| --- | ---: | ---: | ---: |"
    counts: dict[str, Counter[str]] = {}
    for e in entries:
        counts.setdefault(e.name.module, Counter())[e.status] += 1
    total: Counter[str] = Counter()
    for module, c in counts.items():
        total += c
        yield f"| `{module}` | {c['complete']} | {c['partial']} | {c['absent']} |"
    yield f"| all | {total['complete']} | {total['partial']} | {total['absent']} |"


def _sections(entries: list[Entry]) -> Iterator[str]:
    module = ""
    for e in entries:
        if e.name.module != module:
            module = e.name.module
            yield f"\n## `{module}`\n"
            yield "| name | | note |"
            yield "| --- | --- | --- |"
        note = e.note.replace("|", "\\|")
        yield f"| `{e.name.name}` | {e.status} | {note} |".replace("|  |", "| |")


def table(entries: list[Entry]) -> str:
    """The text of `docs/api.md`."""
    return _HEAD + "\n".join([*_summary(entries), *_sections(entries)]) + "\n"


def import_names(source: Path) -> None:
    """Write the list of names from another one, without annotations."""
    rows = [
        (module, name, kind, plain_signature(signature))
        for module, name, kind, signature in _rows(source)
    ]
    with NAMES.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("module", "name", "kind", "signature"))
        writer.writerows(rows)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Make or check docs/api.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on differences")
    parser.add_argument("--import", dest="source", type=Path, help="a new list of names")
    options = parser.parse_args()
    if options.source is not None:
        import_names(options.source)
    pullback.dropin.install()
    notes = read_notes()
    entries = [entry_of(name, notes) for name in read_names()]
    text = table(entries)
    wrong = problems(entries, notes)
    if options.check:
        if TABLE.read_text() != text:
            wrong.append("docs/api.md is out of date: run scripts/api_table.py")
    else:
        TABLE.write_text(text)
    print("\n".join(wrong) if wrong else "\n".join(_summary(entries)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

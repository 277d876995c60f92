"""A check of StableHLO text that needs no MLIR: brackets, definitions before uses, types."""

from __future__ import annotations

import re

_DEFINED = re.compile(r"^\s*(%\w+)(?::(\d+))? = ")
_ARGUMENT = re.compile(r"(%\w+): tensor<")
_USE = re.compile(r"%\w+(?:#\d+)?")
_SIGNATURE = re.compile(r" : \((.*?)\) -> ")


def check_text(text: str, arguments: int, results: int) -> None:
    """Assert that a module is well formed as far as can be seen from outside of MLIR."""
    assert text.startswith("module @")
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    for left, right in ("()", "{}", "[]"):
        assert bare.count(left) == bare.count(right), f"unbalanced {left}{right}"
    head = next(line for line in text.splitlines() if "func.func public @main" in line)
    assert len(_ARGUMENT.findall(head.split(" -> ")[0])) == arguments
    for function in bare.split("func.func ")[1:]:
        _check_function(function)
    returned = next(line for line in bare.splitlines() if line.strip().startswith("return"))
    assert len(_USE.findall(returned)) == results


def _check_function(text: str) -> None:
    """Every value has a definition above, and as many types as operands."""
    known: dict[str, int] = {}
    pending: list[tuple[str, int]] = []  # results of operations whose regions are still open
    for line in text.splitlines():
        definition = _DEFINED.match(line)
        body = line[definition.end() :] if definition else line
        for name in _ARGUMENT.findall(body):
            known[name] = 1
        operands = body.split(" : ")[0] if definition or '"' in body else ""
        for use in _USE.findall(operands):
            name, _, part = use.partition("#")
            assert name in known, f"{use} is used before it is defined: {line.strip()}"
            assert not part or int(part) < known[name], f"{use} is no result: {line.strip()}"
        if definition:
            made = definition[1], int(definition[2] or 1)
            if line.rstrip().endswith("({"):
                pending.append(made)
            else:
                known[made[0]] = made[1]
        if line.strip().startswith("})") and pending:
            name, count = pending.pop()
            known[name] = count
        signature = _SIGNATURE.search(body)
        if signature and not line.strip().startswith("})"):
            types = [t for t in signature[1].split("tensor<") if t]
            used = _USE.findall(body.split("<{")[0].split(" : ")[0])
            assert len(types) == len(used), line.strip()

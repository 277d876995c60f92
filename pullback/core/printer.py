"""Jaxprs as text, in the notation of `jax.make_jaxpr`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

__all__ = ["eqn_text", "jaxpr_text"]

_WIDTH: Final = 80

_HIDDEN: Final[dict[str, frozenset[str]]] = {
    "broadcast_in_dim": frozenset(("shape",)),
    "check": frozenset(("signatures", "sites")),
    "cond": frozenset(("linear",)),
    "jit": frozenset(("donated_invars", "inline", "keep_unused")),
    "scan": frozenset(("linear",)),
}
"""Parameters that follow from the rest of the equation, or say nothing about its meaning."""

_HIDDEN_IF_NONE: Final[dict[str, frozenset[str]]] = {
    "broadcast_in_dim": frozenset(("broadcast_dimensions", "sharding")),
    "convert_element_type": frozenset(("sharding",)),
    "custom_jvp_call": frozenset(("num_consts",)),
    "custom_vjp_call": frozenset(("num_consts",)),
    "dot_general": frozenset(("out_sharding", "precision", "preferred_element_type")),
    "scan": frozenset(("remat",)),
    "while": frozenset(("max_steps", "remat")),
}
_ORDER: Final = {
    "custom_jvp_call": ("name", "call_jaxpr", "jvp", "num_consts", "symbolic_zeros"),
    "custom_vjp_call": ("name", "bwd", "call_jaxpr", "fwd", "num_consts", "symbolic_zeros"),
    "jit": ("name", "jaxpr"),
}


class _Names:
    """Letters for variables in order of appearance: a ... z, ba, bb, ..."""

    def __init__(self, source_info: bool = False, name_stack: bool = False) -> None:
        self.names: dict[Any, str] = {}
        self.used = 0
        self.source_info, self.name_stack = source_info, name_stack

    def comment(self, eqn: Any) -> str:
        """What is written after an equation."""
        info = eqn.source_info
        parts = [f"[{info.name_stack}]"] if self.name_stack else []
        parts += [str(info)] if self.source_info else []
        return f"  # {' '.join(parts)}" if parts else ""

    def __call__(self, var: Any) -> str:
        name = self.names.get(var)
        if name is None:
            name = self.names[var] = _letters(self.used)
            self.used += 1
        return name


def _letters(n: int) -> str:
    text = chr(97 + n % 26)
    while n >= 26:
        n //= 26
        text = chr(97 + n % 26) + text
    return text


def _is_drop(var: Any) -> bool:
    return type(var).__name__ == "DropVar"


def _is_literal(atom: Any) -> bool:
    return type(atom).__name__ == "Literal"


def _atom(atom: Any, names: _Names) -> str:
    if _is_literal(atom):
        return f"{_scalar(atom.val)}:{atom.aval.str_short()}"
    return names(atom)


def _scalar(value: Any) -> str:
    array = np.asarray(value)
    if array.ndim:
        return str(value)
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        return str(array[()])
    return str(array.item() if array.dtype.kind in "biufc" else value)


def _binder(var: Any, names: _Names) -> str:
    return f"{'_' if _is_drop(var) else names(var)}:{var.aval.str_short()}"


def jaxpr_text(jaxpr: Any, source_info: bool = False, name_stack: bool = False) -> str:
    """The text of a jaxpr; on request with the user's line and the name scopes of equations."""
    return _jaxpr(jaxpr, _Names(source_info, name_stack), 0)


def _jaxpr(jaxpr: Any, names: _Names, indent: int, prefix: int = 0) -> str:
    pad = " " * indent
    consts = " ".join(_binder(v, names) for v in jaxpr.constvars)
    args = " ".join(_binder(v, names) for v in jaxpr.invars)
    head = f"{{ lambda {consts}; {args}. let"
    body = [list(_eqn_lines(eqn, names, indent + 4)) for eqn in jaxpr.eqns]
    outs = ", ".join(_atom(v, names) for v in jaxpr.outvars)
    outs += "," if len(jaxpr.outvars) == 1 else ""
    for lines, eqn in zip(body, jaxpr.eqns, strict=True):
        lines[-1] += names.comment(eqn)
    if all(len(lines) == 1 for lines in body) and not names.source_info and not names.name_stack:
        flat = f"{head} {'; '.join(lines[0].lstrip() for lines in body)} in ({outs}) }}"
        if indent + prefix + len(flat) <= _WIDTH:
            return flat
    flattened = [line for lines in body for line in lines]
    return "\n".join([head, *flattened, f"{pad}  in ({outs}) }}"])


def eqn_text(eqn: Any) -> str:
    """The text of one equation; its results have the first letters."""
    names = _Names()
    for var in eqn.outvars:
        if not _is_drop(var):
            names(var)
    return "\n".join(_eqn_lines(eqn, names, 0))


def _shown(eqn: Any) -> list[tuple[str, Any]]:
    """The parameters to print, in order."""
    name = eqn.primitive.name
    hidden, if_none = _HIDDEN.get(name, ()), _HIDDEN_IF_NONE.get(name, ())
    order = _ORDER.get(name) or sorted(eqn.params)
    return [
        (k, eqn.params[k])
        for k in order
        if k not in hidden and not k.startswith("_")
        if k not in if_none or eqn.params[k] not in (None, (), 0)
    ]


def _eqn_lines(eqn: Any, names: _Names, indent: int) -> Iterator[str]:
    pad = " " * indent
    if eqn.primitive.name in _ON_REFS:
        yield pad + _ref_line(eqn, names)
        return
    ins = " ".join(_atom(v, names) for v in eqn.invars)
    outs = " ".join(_binder(v, names) for v in eqn.outvars)
    head = f"{pad}{outs} = {eqn.primitive.name}" if outs else f"{pad}{eqn.primitive.name}"
    if eqn.primitive.name == "jit":
        names = _inlined_names(eqn, names)
    texts = [f"{k}={_param(k, v, names, indent + 2)}" for k, v in _shown(eqn)]
    if not texts:
        yield f"{head} {ins}"
        return
    one_line = f"{head}[{' '.join(texts)}]"  # JAX does not count the operands
    if "\n" not in one_line and len(one_line) <= _WIDTH:
        yield f"{one_line} {ins}"
        return
    yield head + "["
    for text in texts:
        yield f"{pad}  {text}"
    yield f"{pad}] {ins}"


_ON_REFS: Final = frozenset(("addupdate", "get", "swap"))


def _ref_line(eqn: Any, names: _Names) -> str:
    """Reads and writes of references, as assignments: `c:f32[] <- b[0]`, `b[1] <- d`."""
    name, n = eqn.primitive.name, 1 if eqn.primitive.name == "get" else 2
    operands = iter([_atom(v, names) for v in eqn.invars[n:]])
    chain = "".join(t.text(operands) for t in eqn.params["transforms"]) or "[...]"
    part = _atom(eqn.invars[0], names) + chain
    if name == "get":
        return f"{_binder(eqn.outvars[0], names)} <- {part}"
    value = _atom(eqn.invars[1], names)
    if name == "addupdate":
        return f"{part} += {value}"
    if _is_drop(eqn.outvars[0]):
        return f"{part} <- {value}"
    return f"{_binder(eqn.outvars[0], names)}, {part} <- {part}, {value}"


def _inlined_names(eqn: Any, names: _Names) -> _Names:
    """Names for the inner jaxpr of a call: its arguments and results are named as the operands."""
    inner = _Names(names.source_info, names.name_stack)
    inner.names, inner.used = dict(names.names), names.used
    jaxpr = eqn.params["jaxpr"].jaxpr
    for mine, outer in zip(jaxpr.invars, eqn.invars, strict=True):
        if not _is_literal(outer):
            inner.names[mine] = names(outer)
    for mine, outer in zip(jaxpr.outvars, eqn.outvars, strict=True):
        if not _is_literal(mine) and not _is_drop(outer):
            inner.names.setdefault(mine, names(outer))
    inner.used = names.used
    return inner


def _param(key: str, value: Any, names: _Names, indent: int) -> str:
    kind = type(value).__name__
    if kind == "ClosedJaxpr":
        return _jaxpr(value.jaxpr, names, indent, len(key) + bool(key))
    if kind == "Jaxpr":
        return _jaxpr(value, names, indent, len(key) + bool(key))
    if isinstance(value, tuple) and any(
        type(x).__name__ in ("ClosedJaxpr", "Jaxpr") for x in value
    ):
        pad = " " * (indent + 2)
        inner = "\n".join(pad + _param("", x, names, indent + 2) for x in value)
        return f"(\n{inner}\n{' ' * indent})"
    if key == "dimension_numbers" and type(value) is tuple:
        return "(" + ", ".join(f"({list(a)}, {list(b)})" for a, b in value) + ")"
    if isinstance(value, np.dtype):
        return str(value.name)
    if callable(value) and isinstance(getattr(value, "__name__", None), str):
        return str(value.__name__)
    return str(value)

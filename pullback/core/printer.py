"""Jaxprs as text, in the notation of `jax.make_jaxpr`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

__all__ = ["eqn_text", "jaxpr_text"]

_WIDTH: Final = 80


class _Names:
    """Letters for variables in order of appearance: a ... z, ba, bb, ..."""

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}

    def __call__(self, var: Any) -> str:
        name = self.names.get(var)
        if name is None:
            name = self.names[var] = _letters(len(self.names))
        return name


def _letters(n: int) -> str:
    text = chr(97 + n % 26)
    while n >= 26:
        n //= 26
        text = chr(97 + n % 26) + text
    return text


def _is_drop(var: Any) -> bool:
    return type(var).__name__ == "DropVar"


def _atom(atom: Any, names: _Names) -> str:
    if type(atom).__name__ == "Literal":
        return f"{_scalar(atom.val)}:{atom.aval.str_short()}"
    return names(atom)


def _scalar(value: Any) -> str:
    array = np.asarray(value)
    if array.ndim:
        return str(value)
    item = array.item() if array.dtype.kind in "biufc" else value
    if isinstance(item, float) and array.dtype.kind == "f":
        return str(array[()]) if array.dtype.itemsize < 8 else str(item)
    return str(item)


def _binder(var: Any, names: _Names) -> str:
    return f"{'_' if _is_drop(var) else names(var)}:{var.aval.str_short()}"


def jaxpr_text(jaxpr: Any, indent: int = 0) -> str:
    """The text of a jaxpr; lines after the first are indented by `indent`."""
    names = _Names()
    pad = " " * indent
    consts = " ".join(_binder(v, names) for v in jaxpr.constvars)
    args = " ".join(_binder(v, names) for v in jaxpr.invars)
    head = f"{{ lambda {consts + ' ' if consts else ''};{' ' + args if args else ''} . let"
    body = [line for eqn in jaxpr.eqns for line in _eqn_lines(eqn, names, indent + 4)]
    outs = ", ".join(_atom(v, names) for v in jaxpr.outvars)
    outs += "," if len(jaxpr.outvars) == 1 else ""
    head = head.replace(" . let", ". let")
    if not body:
        return f"{head} in ({outs}) }}"
    if len(body) == 1 and indent + len(head) + len(body[0].strip()) + len(outs) < _WIDTH:
        return f"{head} {body[0].strip()} in ({outs}) }}"
    return "\n".join([head, *body, f"{pad}  in ({outs}) }}"])


def eqn_text(eqn: Any) -> str:
    """The text of one equation."""
    return "\n".join(_eqn_lines(eqn, _Names(), 0))


def _eqn_lines(eqn: Any, names: _Names, indent: int) -> Iterator[str]:
    pad = " " * indent
    ins = "".join(" " + _atom(v, names) for v in eqn.invars)
    outs = " ".join(_binder(v, names) for v in eqn.outvars)
    head = f"{pad}{outs} = {eqn.primitive.name}" if outs else f"{pad}{eqn.primitive.name}"
    params = [(k, v) for k, v in sorted(eqn.params.items()) if not k.startswith("_")]
    texts = [f"{k}={_param(v, indent + 2)}" for k, v in params]
    one_line = f"{head}[{' '.join(texts)}]{ins}" if texts else head + ins
    if "\n" not in one_line and len(one_line) <= _WIDTH:
        yield one_line
        return
    yield head + "["
    for text in texts:
        yield f"{pad}  {text}"
    yield f"{pad}]{ins}"


def _param(value: Any, indent: int) -> str:
    kind = type(value).__name__
    if kind == "ClosedJaxpr":
        return jaxpr_text(value.jaxpr, indent)
    if kind == "Jaxpr":
        return jaxpr_text(value, indent)
    if isinstance(value, tuple) and any(
        type(x).__name__ in ("ClosedJaxpr", "Jaxpr") for x in value
    ):
        pad = " " * (indent + 2)
        inner = "\n".join(pad + _param(x, indent + 2) for x in value)
        return f"(\n{inner}\n{' ' * indent})"
    if isinstance(value, np.dtype):
        return str(value.name)
    if callable(value) and isinstance(getattr(value, "__name__", None), str):
        return str(value.__name__)
    return str(value)

"""The table of calls: `recipes/*.txt` name the calls that are compared, one template a line.

`{a|b}` stands for either, and all combinations are made; `$unary` for a list of operands from
`families.txt`. Calls are Python expressions of `jnp`, `lax`, `nn`, `random`, `scipy`, `jax`, `np`,
the keys `key` and `rawkey`, and operands by name (`operands`). What stands before a colon:

    jvp:    the derivative along the operands that are named floats, and not the value
    both:   the value and the derivative
    x64:    with 64-bit types

`differences.txt` says which calls differ from JAX, and why; `reasons.txt` which names have no
recipe, and why. In both `*` stands for any text; in names, for one without dots, unless doubled. A
call that is said to differ must: only what differs by rounding may agree on some machine.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "recipes"
ROOTS: Final = {
    "jnp": "jax.numpy",
    "lax": "jax.lax",
    "nn": "jax.nn",
    "random": "jax.random",
    "scipy": "jax.scipy",
    "jax": "jax",
}
_CHOICE: Final = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_FAMILY: Final = re.compile(r"\$(\w+)")


def _lines(name: str) -> Iterator[str]:
    for line in (FOLDER / name).read_text().splitlines():
        if (text := line.strip()) and not text.startswith("#"):
            yield text


@functools.cache
def families() -> dict[str, str]:
    """Lists of operands by name: `a|b|c`."""
    return {k.strip(): v.strip() for k, _, v in (x.partition("=") for x in _lines("families.txt"))}


def choices(template: str) -> Iterator[str]:
    """All texts that a template stands for.

    >>> list(choices("f({1|2}, {a|b})"))
    ['f(1, a)', 'f(1, b)', 'f(2, a)', 'f(2, b)']
    """
    parts = _CHOICE.split(template)
    options = [p.split("|") if i % 2 else [p] for i, p in enumerate(parts)]
    for chosen in itertools.product(*options):
        text = "".join(chosen)
        if _CHOICE.search(text):
            yield from choices(text)
        else:
            yield text


def _calls(line: str) -> Iterator[str]:
    template = _FAMILY.sub(lambda m: "{" + families()[m[1]] + "}", line)
    for text in choices(template):
        if "both: " in text:
            yield text.replace("both: ", "")
            yield text.replace("both: ", "jvp: ")
        else:
            yield text


def recipes() -> list[str]:
    """The files of the table."""
    others = ("families", "differences", "reasons")
    return sorted(p.stem for p in FOLDER.glob("*.txt") if p.stem not in others)


def calls(recipe: str) -> list[str]:
    """All calls of a file, each once."""
    return list(dict.fromkeys(call for line in _lines(f"{recipe}.txt") for call in _calls(line)))


def expression(call: str) -> str:
    """A call without what stands before the colon."""
    return re.sub(r"^(x64: )?(jvp: )?", "", call)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ROOTS.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def name_of(call: str) -> str:
    """The public name that a call is about: the function that is called last.

    >>> name_of("jvp: jnp.linalg.svd(f32_2x3)[0]")
    'jax.numpy.linalg.svd'
    """
    node: ast.expr = ast.parse(expression(call), mode="eval").body
    while not (isinstance(node, ast.Attribute) and not _dotted(node).startswith(".")):
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, (ast.Subscript, ast.Attribute)):
            node = node.value
        elif isinstance(node, (ast.List, ast.Tuple)):
            node = node.elts[0]
        elif isinstance(node, (ast.BinOp, ast.Compare)):
            node = node.left
        else:
            break
    return _dotted(node)


@functools.cache
def _patterns(file: str, anything: str) -> list[tuple[re.Pattern[str], str]]:
    """The patterns of a file, where `*` stands for `anything`, and what is said of each."""
    lines = (line.split("  ", 1) for line in _lines(file))
    found = []
    for pattern, why in ((p, why) for template, why in lines for p in choices(template)):
        text = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", anything)
        found.append((re.compile(text), why.strip()))
    return found


def must_differ(call: str) -> bool:
    """Whether a call differs from JAX for a reason that is no rounding."""
    why = why_different(call)
    return why is not None and "rounding" not in why


def why_different(call: str) -> str | None:
    """Why a call may differ from JAX."""
    return next((y for p, y in _patterns("differences.txt", ".*") if p.fullmatch(call)), None)


def why_without(name: str) -> str | None:
    """Why a name has no recipe."""
    return next((y for p, y in _patterns("reasons.txt", "[^.]*") if p.fullmatch(name)), None)

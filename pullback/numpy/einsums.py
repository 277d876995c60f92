"""`einsum`: each step is one `dot_general`.

Up to four operands, in whichever order takes the fewest operations, are what programs have; other
paths are found by opt_einsum, which takes longer to import than such a program to run.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any, Final

from pullback import lax
from pullback.core import dtypes
from pullback.lazy import LazyModule
from pullback.numpy.arrays import as_array, convert_with_weak_type
from pullback.numpy.products import contract
from pullback.numpy.promotion import check_arraylike, check_no_out, promote_dtypes

_opt_einsum: Final = LazyModule("opt_einsum")

__all__ = ["einsum", "einsum_path"]


def einsum(
    subscripts: Any,
    /,
    *operands: Any,
    out: None = None,
    optimize: Any = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
    _dot_general: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Sums of products in Einstein's notation: letters name axes; those not in the result go.

    `optimize` says how to find the order of the products (of opt_einsum; False: left to right).

    >>> import pullback.numpy as jnp
    >>> jnp.einsum("ij,jk->ik", jnp.ones((2, 3)), jnp.ones((3, 2)))
    Array([[3., 3.],
           [3., 3.]], dtype=float32)
    """
    check_no_out("einsum", out)
    arrays, terms, result = _parse(subscripts, operands)
    if optimize is False or len(arrays) < 3:
        last = len(arrays) - 1  # the product so far is the last of the list
        path: Sequence[tuple[int, ...]] = [(0, 1 if k == 0 else last - k) for k in range(last)]
    elif len(arrays) <= FEW_OPERANDS and optimize in (True, "auto", "optimal"):
        path = _cheapest_path(arrays, terms, result)
    else:
        equation = ",".join(terms) + "->" + result
        how = "optimal" if optimize is True else optimize
        path, _ = _opt_einsum.contract_path(
            equation, *(x.shape for x in arrays), shapes=True, optimize=how
        )
    options = {"precision": precision, "preferred_element_type": preferred_element_type}
    return _evaluate(arrays, terms, result, path, options)


def einsum_path(subscripts: Any, /, *operands: Any, optimize: Any = "auto") -> tuple[Any, Any]:
    """The order in which `einsum` multiplies, and a report on its cost.

    >>> import pullback.numpy as jnp
    >>> jnp.einsum_path("ij,jk->ik", jnp.ones((2, 3)), jnp.ones((3, 2)))[0]
    [(0, 1)]
    """
    arrays, terms, result = _parse(subscripts, operands)
    equation = ",".join(terms) + "->" + result
    how = "optimal" if optimize is True else optimize
    path, info = _opt_einsum.contract_path(
        equation, *(x.shape for x in arrays), shapes=True, optimize=how
    )
    return path, info


FEW_OPERANDS: Final = 4
"""All orders of so many operands are tried."""


def _cheapest_path(
    arrays: Sequence[Any], terms: Sequence[str], result: str
) -> list[tuple[int, int]]:
    """The order with the fewest operations, the first of several.

    In a step the product of two operands, by their places, becomes the last of the list.
    """
    sizes: dict[str, int] = {}
    for x, term in zip(arrays, terms, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            sizes[letter] = max(n, sizes.get(letter, 0))
    best: tuple[float, list[tuple[int, int]]] = math.inf, []

    def search(left: list[frozenset[str]], path: list[tuple[int, int]], cost: float) -> None:
        nonlocal best
        if len(left) == 1:
            best = cost, path
            return
        for i, j in itertools.combinations(range(len(left)), 2):
            others = [letters for k, letters in enumerate(left) if k not in (i, j)]
            both = left[i] | left[j]
            kept = both & frozenset(result).union(*others)
            total = cost + math.prod(sizes[c] for c in both) * (1 if kept == both else 2)
            if total < best[0]:
                search([*others, kept], [*path, (i, j)], total)

    search([frozenset(term) for term in terms], [], 0)
    return best[1]


def _plain(subscripts: Any, count: int) -> tuple[list[str], str] | None:
    """The terms and the result of letters, commas and an arrow; None for anything else."""
    if not isinstance(subscripts, str):
        return None
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    letters = inputs.replace(",", "")
    if not arrow:
        result = "".join(sorted(c for c, times in Counter(letters).items() if times == 1))
    known = (letters + result).isascii() and (not letters + result or (letters + result).isalpha())
    if not known or len(terms) != count or not set(result) <= set(letters):
        return None
    return (terms, result) if len(set(result)) == len(result) else None


def _as_letters(interleaved: Sequence[Any]) -> str | None:
    """Operands and lists of small numbers as an equation in letters; None for other labels."""
    labels = interleaved[1::2]
    lists = [*labels, interleaved[-1]] if len(interleaved) % 2 else labels
    if not all(type(k) is int and 0 <= k < len(ascii_lowercase) for ks in lists for k in ks):
        return None
    terms = ["".join([ascii_lowercase[k] for k in ks]) for ks in lists]
    inputs = ",".join(terms[: len(labels)])
    return f"{inputs}->{terms[-1]}" if len(terms) > len(labels) else inputs


def _parse(subscripts: Any, operands: Sequence[Any]) -> tuple[list[Any], list[str], str]:
    """The operands as arrays of one dtype, the letters of each, those of the result."""
    if isinstance(subscripts, str):
        given: list[Any] = list(operands)
    else:
        interleaved = [subscripts, *operands]
        given = interleaved[: len(interleaved) // 2 * 2 : 2]
    check_arraylike("einsum", *given)
    arrays = [as_array(x) for x in given]
    equation = subscripts if isinstance(subscripts, str) else _as_letters(interleaved)
    plain = _plain(equation, len(arrays))
    if plain is not None:
        terms, result = plain
    else:
        terms, result = _parse_any(subscripts, operands, arrays)
    _check_lengths(arrays, terms)
    if len(arrays) == 1:
        return arrays, terms, result
    return promote_dtypes(*arrays), terms, result


def _parse_any(
    subscripts: Any, operands: Sequence[Any], arrays: Sequence[Any]
) -> tuple[list[str], str]:
    """With dots or lists of numbers; raises for what cannot be read."""
    if isinstance(subscripts, str):
        asked: list[Any] = [subscripts, *(x.shape for x in arrays)]
    else:
        asked = [subscripts, *operands]
        for k, x in enumerate(arrays):
            asked[2 * k] = x.shape
    inputs, result, _ = _opt_einsum.parser.parse_einsum_input(asked, shapes=True)
    return inputs.split(","), result


def _check_lengths(arrays: Sequence[Any], terms: Sequence[str]) -> None:
    lengths: dict[str, int] = {}
    for number, (x, term) in enumerate(zip(arrays, terms, strict=True)):
        if len(term) != x.ndim:
            raise ValueError(f"einsum: {term!r} names {len(term)} axes of an operand with {x.ndim}")
        for letter, n in zip(term, x.shape, strict=True):
            known = lengths.setdefault(letter, n)
            if n != known and 1 not in (n, known):
                raise ValueError(
                    f"Size of label {letter!r} for operand {number} ({known}) does not match "
                    f"previous terms ({n})."
                )
            lengths[letter] = max(n, known) if known != 0 else known


def _evaluate(
    arrays: Sequence[Any], terms: Sequence[str], result: str, path: Any, options: dict[str, Any]
) -> Any:
    work = list(zip(arrays, terms, strict=True))
    work = _without_broadcast_axes(work)
    for step in path:
        chosen = [work.pop(k) for k in sorted(step, reverse=True)]
        while len(chosen) > 1:
            (a, ta), (b, tb) = chosen.pop(), chosen.pop()
            others = {c for _, t in (*work, *chosen) for c in t} | set(result)
            chosen.append(_pair(a, ta, b, tb, others, options))
        work.append(chosen[0])
    ((x, term),) = work
    x, term = _diagonal(x, term)
    x, term = _sum_out(x, term, set(result))
    x = lax.transpose(x, [term.index(c) for c in result])
    preferred = options["preferred_element_type"]
    if preferred is not None:
        x = convert_with_weak_type(x, dtypes.canonical(preferred), False)
    return x


def _without_broadcast_axes(work: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Axes of length 1 that are longer in another operand are dropped from this one."""
    longest: dict[str, int] = {}
    for x, term in work:
        for c, n in zip(term, x.shape, strict=True):
            longest[c] = max(n, longest.get(c, 0))
    cleaned = []
    for x, term in work:
        drop = [k for k, c in enumerate(term) if x.shape[k] == 1 and longest[c] != 1]
        if drop:
            x = lax.squeeze(x, drop)
            term = "".join(c for k, c in enumerate(term) if k not in drop)
        cleaned.append((x, term))
    return cleaned


def _diagonal(x: Any, term: str) -> tuple[Any, str]:
    """Letters that occur twice in one term: only their diagonal counts."""
    for letter, count in Counter(term).items():
        for _ in range(count - 1):
            i = term.index(letter)
            j = term.index(letter, i + 1)
            x = x.diagonal(axis1=i, axis2=j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return x, term


def _sum_out(x: Any, term: str, keep: set[str]) -> tuple[Any, str]:
    axes = tuple(k for k, c in enumerate(term) if c not in keep)
    if not axes:
        return x, term
    weak, dtype = x.aval.weak_type, x.dtype
    total = x.any(axes) if dtype == dtypes.bool_ else x.sum(axes, dtype=dtype)
    return convert_with_weak_type(total, dtype, weak), "".join(c for c in term if c in keep)


def _pair(
    a: Any, ta: str, b: Any, tb: str, others: set[str], options: dict[str, Any]
) -> tuple[Any, str]:
    """The product of two operands, summed over the letters that nobody else needs."""
    a, ta = _diagonal(a, ta)
    b, tb = _diagonal(b, tb)
    a, ta = _sum_out(a, ta, others | set(tb))
    b, tb = _sum_out(b, tb, others | set(ta))
    shared = [c for c in ta if c in tb]
    summed = [c for c in shared if c not in others]
    batch = [c for c in shared if c in others]
    numbers = (
        (tuple(ta.index(c) for c in summed), tuple(tb.index(c) for c in summed)),
        (tuple(ta.index(c) for c in batch), tuple(tb.index(c) for c in batch)),
    )
    out = contract(a, b, numbers, **options)
    free = [c for c in ta if c not in shared] + [c for c in tb if c not in shared]
    return out, "".join([*batch, *free])

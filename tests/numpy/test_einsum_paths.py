"""The order in which einsum multiplies few operands, and how texts are read, by opt_einsum."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import opt_einsum
import pytest

import pullback.numpy as jnp
from pullback.numpy import einsums


def _program(rng: random.Random) -> tuple[list[str], str, list[Any]]:
    sizes = {c: rng.randint(1, 7) for c in "abcdef"}
    terms = ["".join(rng.sample("abcdef", rng.randint(1, 3))) for _ in range(rng.choice((3, 4)))]
    used = sorted(set("".join(terms)))
    result = "".join(rng.sample(used, rng.randint(0, min(3, len(used)))))
    return terms, result, [np.zeros([sizes[c] for c in term]) for term in terms]


def test_as_cheap_as_opt_einsums_best() -> None:
    rng = random.Random(0)
    for _ in range(200):
        terms, result, arrays = _program(rng)
        equation = f"{','.join(terms)}->{result}"
        path = einsums._cheapest_path(arrays, terms, result)
        _, mine = opt_einsum.contract_path(equation, *arrays, optimize=path)
        _, best = opt_einsum.contract_path(equation, *arrays, optimize="optimal")
        assert mine.opt_cost <= best.opt_cost


@pytest.mark.parametrize(
    "text", ["ij,jk", "ij->ji", "ii", "i,i->", "a b , b c", "ba", "ij,jk->ki", ",->", "aB,Bc"]
)
def test_texts_are_read_alike(text: str) -> None:
    count = text.partition("->")[0].count(",") + 1
    shapes = [(2,) * len(t.strip().replace(" ", "")) for t in text.partition("->")[0].split(",")]
    inputs, result, _ = opt_einsum.parser.parse_einsum_input([text, *shapes], shapes=True)
    assert einsums._plain(text, count) == (inputs.split(","), result)


@pytest.mark.parametrize(
    ("text", "count"),
    [("ij,jk->ik->", 2), ("ij,jk->iz", 2), ("i...", 1), ("ab->aa", 1), ("é", 1), ("ij", 2)],
)
def test_what_is_left_to_opt_einsum(text: str, count: int) -> None:
    assert einsums._plain(text, count) is None


@pytest.mark.parametrize(
    ("lists", "equation"),
    [
        ([0, [0, 1], 0, [1, 2], [2, 0]], "ab,bc->ca"),
        ([0, [3, 1], 0, [1, 2]], "db,bc"),
        ([0, [], []], "->"),
        ([0, [0, Ellipsis], [0]], None),
        ([0, [30], [30]], None),
        ([0, ["i"], []], None),
    ],
)
def test_lists_of_small_numbers_are_letters(lists: list[Any], equation: str | None) -> None:
    assert einsums._as_letters(lists) == equation


def test_three_operands() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(s).astype("f4") for s in ((3, 40), (5, 40, 30), (3, 30)))
    found = jnp.einsum("bi,oij,bj->bo", a, b, c)
    assert np.allclose(found, np.einsum("bi,oij,bj->bo", a, b, c), atol=1e-3)


def test_few_operands_need_no_import() -> None:
    program = (
        "import sys, numpy as np, pullback.numpy as jnp\n"
        "x = np.ones((3, 3), np.float32)\n"
        "jnp.einsum('ij,jk', x, x); jnp.einsum('ij,jk,kl->il', x, x, x)\n"
        "jnp.einsum(x, [0, 1], x, [1, 2], [0, 2])\n"
        "assert 'opt_einsum' not in sys.modules\n"
        "jnp.einsum('...j,jk', x, x)\n"
        "assert 'opt_einsum' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

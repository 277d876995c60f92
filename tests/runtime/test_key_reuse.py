"""`debug_key_reuse`: which uses of keys are refused, in eager and in compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, random
from pullback.errors import KeyReuseError


def _twice(key: Any) -> Any:
    return random.normal(key) + random.normal(key)


def _split_and_used(key: Any) -> Any:
    random.split(key)
    return random.normal(key)


def _same_part_twice(key: Any) -> Any:
    keys = random.split(key)
    return random.normal(keys[0]) + random.uniform(keys[0])


def _part_of_used(key: Any) -> Any:
    keys = random.split(key, 3)
    total = pb.vmap(random.normal)(keys).sum()
    return total + random.normal(keys[1])


def _used_and_stacked(key: Any) -> Any:
    random.normal(key)
    return random.key_data(jnp.stack([key, key]))


def _every_turn(key: Any) -> Any:
    return lax.scan(lambda c, _: (c + random.normal(key), None), 0.0, length=3)[0]


def _in_a_branch(key: Any) -> Any:
    x = lax.cond(True, lambda: random.normal(key), lambda: 0.0)
    return x + random.normal(key)


def _compiled_and_used(key: Any) -> Any:
    return pb.jit(random.normal)(key) + random.normal(key)


def _folded(key: Any) -> Any:
    total = sum(random.normal(random.fold_in(key, i)) for i in range(3))
    return total + random.normal(key) + random.normal(random.fold_in(key, 9))


def _cloned(key: Any) -> Any:
    return random.normal(random.clone(key)) + random.normal(random.clone(key)) + random.normal(key)


def _parts(key: Any) -> Any:
    first, second, third = random.split(key, 3)
    return random.normal(first) + random.gamma(second, 2.0) + random.normal(third.reshape(1)[0])


def _one_branch_each(key: Any) -> Any:
    return lax.cond(True, lambda: random.normal(key), lambda: random.uniform(key))


def _carried(key: Any) -> Any:
    def turn(key: Any, _: Any) -> Any:
        key, sub = random.split(key)
        return key, random.normal(sub)

    return lax.scan(turn, key, length=4)[1]


def _rows(key: Any) -> Any:
    return lax.scan(lambda c, k: (c + random.normal(k), None), 0.0, random.split(key, 5))[0]


def _looked_at(key: Any) -> Any:
    random.normal(key)
    return random.key_data(key)


def _old_style(key: Any) -> Any:
    old = random.PRNGKey(0)
    return random.normal(old) + random.normal(old)


REFUSED = [
    _twice, _split_and_used, _same_part_twice, _part_of_used, _used_and_stacked, _every_turn,
    _in_a_branch, _compiled_and_used,
]  # fmt: skip
ALLOWED = [
    _folded, _cloned, _parts, _one_branch_each, _carried, _rows, _looked_at, _old_style,
]  # fmt: skip
RUN = pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "jit"])


@RUN
@pytest.mark.parametrize("f", REFUSED)
def test_refused(f: Callable[..., Any], run: Any) -> None:
    with pb.debug_key_reuse(True), pytest.raises(KeyReuseError, match="consumed before"):
        run(f)(random.key(0))
    run(f)(random.key(0))


@RUN
@pytest.mark.parametrize("f", ALLOWED)
def test_allowed(f: Callable[..., Any], run: Any) -> None:
    with pb.debug_key_reuse(True):
        run(f)(random.key(0))


def test_for_the_whole_process() -> None:
    f = pb.jit(random.normal)
    key = random.key(1)
    f(key), f(key)
    pb.config.update("jax_debug_key_reuse", True)
    try:
        f(key)
        with pytest.raises(KeyReuseError):
            f(key)
        f(random.key(1))
    finally:
        pb.config.update("jax_debug_key_reuse", False)
    f(key)

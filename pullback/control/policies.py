"""What `checkpoint` keeps for the backward pass: values with names, and policies.

A policy is a function `policy(primitive, *avals, **params)` that says whether the result of an
equation may be kept; what may not is recomputed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Primitive,
    Sample,
    Zero,
    registry,
)
from pullback.errors import UnsupportedError

__all__ = [
    "Binomial",
    "DotsSaveable",
    "Offloadable",
    "Policy",
    "Recompute",
    "SaveAnyNamesButThese",
    "SaveOnlyTheseNames",
    "Saveable",
    "binomial",
    "checkpoint_name",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "is_saveable",
    "name",
    "nothing_saveable",
    "offload_dot_with_no_batch_dims",
    "save_and_offload_only_these_names",
    "save_any_names_but_these",
    "save_anything_except_these_names",
    "save_from_both_policies",
    "save_only_these_names",
]

Policy = Callable[..., Any]


class _Answer:
    """What a policy may say besides True and False."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


Saveable: Final = _Answer("Saveable")
Recompute: Final = _Answer("Recompute")


@dataclass(frozen=True)
class Offloadable:
    """The answer of a policy that asks for a value to be kept in another memory."""

    src: str
    dst: str


def is_saveable(policy: Policy | None, primitive: Primitive, avals: Any, params: Any) -> bool:
    """Whether `policy` lets the result of an equation be kept."""
    if policy is None:
        return False
    answer = policy(primitive, *avals, **params)
    if isinstance(answer, Offloadable):
        raise UnsupportedError(
            f"checkpoint: the policy asks to offload the result of {primitive} from {answer.src} "
            f"to {answer.dst}; offloading is not supported"
        )
    return answer is Saveable or (answer is not Recompute and bool(answer))


# ------------------------------------------------------------------ named values


def _name_jvp(primals: Any, tangents: Any, *, name: str) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    return _bind(x, name), t if type(t) is Zero else _bind(t, name)


def _name_batch(size: int, args: Any, dims: Any, *, name: str) -> tuple[Any, Any]:
    return _bind(args[0], name), dims[0]


name: Final = Primitive(
    name="name",
    abstract=lambda x, *, name: x,
    reference=lambda x, *, name: x,
    jvp=_name_jvp,
    transpose=lambda ct, x, *, name: [ct],
    batch=_name_batch,
    partial_eval=FIRST_ORDER,
    lower=lambda b, x, *, name: x,
    hlo=lambda b, x, *, name: x,
    samples=lambda: [Sample((np.arange(3.0, dtype=np.float32),), {"name": "a"})],
    multiple_results=False,
    effects=PURE,
    literals=False,
)


def _bind(x: Any, text: str) -> Any:
    return name.bind(x, name=text)


def checkpoint_name(x: Any, name: str) -> Any:
    """`x` (a pytree), known to the policies of `checkpoint` by this name.

    >>> import pullback.numpy as jnp
    >>> checkpoint_name(jnp.arange(2), "rows").tolist()
    [0, 1]
    """
    return tree.map(lambda leaf: _bind(leaf, name), x)


# ------------------------------------------------------------------ policies


def everything_saveable(*_: Any, **__: Any) -> bool:
    """Keep all values, as without checkpoint.

    >>> everything_saveable(name)
    True
    """
    return True


def nothing_saveable(*_: Any, **__: Any) -> bool:
    """Keep the arguments only: the same as no policy.

    >>> nothing_saveable(name)
    False
    """
    return False


@dataclass(frozen=True)
class DotsSaveable:
    """Keep the results of matrix products (and of convolutions)."""

    only_if_no_batch_dims: bool

    def __call__(self, prim: Primitive, *args: Any, **params: Any) -> bool:
        if prim is registry.get("dot_general"):
            _, (lhs_batch, rhs_batch) = params["dimension_numbers"]
            return not self.only_if_no_batch_dims or not (lhs_batch or rhs_batch)
        return prim is registry.get("conv_general_dilated") and not self.only_if_no_batch_dims


dots_saveable: Final = DotsSaveable(only_if_no_batch_dims=False)
dots_with_no_batch_dims_saveable: Final = DotsSaveable(only_if_no_batch_dims=True)


@dataclass(frozen=True)
class SaveOnlyTheseNames:
    """Keep the values that `checkpoint_name` gave one of these names."""

    saveable_names: frozenset[str]

    def __call__(self, prim: Primitive, *args: Any, **params: Any) -> bool:
        return prim is name and params["name"] in self.saveable_names


@dataclass(frozen=True)
class SaveAnyNamesButThese:
    """Keep the values that `checkpoint_name` gave another name."""

    names: frozenset[str]

    def __call__(self, prim: Primitive, *args: Any, **params: Any) -> bool:
        return prim is name and params["name"] not in self.names


@dataclass(frozen=True)
class Binomial:
    """Keep nothing but some of the states of loops: `slots` of them at a time."""

    slots: int | None

    def __call__(self, *_: Any, **__: Any) -> bool:
        return False


def binomial(slots: int | None = None) -> Binomial:
    """A policy for loops: the backward pass stores `slots` carries at a time.

    The other carries are computed again, from the nearest stored one before them, by the binomial
    schedule (A. Griewank and A. Walther, "Algorithm 799: Revolve", ACM TOMS 26, 2000): a loop of
    `n` steps computes each of them at most `r` times more, where r is the smallest number with
    C(slots + r, slots) >= n. Memory is `slots` carries instead of `n` rows of residuals. Without
    `slots` there are as many as make r = 2, about sqrt(2 n).

    It is taken by `lax.scan`, `lax.fori_loop` and `lax.while_loop` (`remat=`), and by `checkpoint`
    (`policy=`), where it concerns the loops in the function.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback import lax
    >>> policy = binomial(slots=3)
    >>> def f(x):
    ...     return lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=100, remat=policy)[0]
    >>> bool(abs(pb.grad(f)(1.0)) < 1.0)
    True
    """
    if slots is not None and (slots != int(slots) or slots < 1):
        raise ValueError(f"binomial: slots must be a positive integer, got {slots!r}")
    return Binomial(None if slots is None else int(slots))


def save_only_these_names(*names_which_can_be_saved: str) -> Policy:
    """A policy that keeps the values with these names.

    >>> save_only_these_names("a")(name, name="a")
    True
    """
    return SaveOnlyTheseNames(frozenset(names_which_can_be_saved))


def save_any_names_but_these(*names_not_to_save: str) -> Policy:
    """A policy that keeps the values with other names than these, and no value without a name.

    >>> save_any_names_but_these("a")(name, name="b")
    True
    """
    return SaveAnyNamesButThese(frozenset(names_not_to_save))


def save_anything_except_these_names(*names_not_to_save: str) -> Policy:
    """A policy that keeps all values but those with these names.

    >>> save_anything_except_these_names("a")(name, name="a")
    False
    """
    names = frozenset(names_not_to_save)

    def policy(prim: Primitive, *args: Any, **params: Any) -> bool:
        return prim is not name or params["name"] not in names

    return policy


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """A policy that keeps what one of two policies keeps.

    >>> save_from_both_policies(nothing_saveable, everything_saveable)(name)
    True
    """

    def policy(prim: Primitive, *args: Any, **params: Any) -> bool:
        return is_saveable(policy_1, prim, args, params) or is_saveable(
            policy_2, prim, args, params
        )

    return policy


def offload_dot_with_no_batch_dims(offload_src: str, offload_dst: str) -> Policy:
    """Not supported: there is one memory."""
    raise UnsupportedError(
        "checkpoint_policies.offload_dot_with_no_batch_dims: offloading is not supported; use "
        "dots_with_no_batch_dims_saveable"
    )


def save_and_offload_only_these_names(
    *,
    names_which_can_be_saved: Any,
    names_which_can_be_offloaded: Any,
    offload_src: str,
    offload_dst: str,
) -> Policy:
    """Keep values with some names; offloading others is not supported: there is one memory."""
    if names_which_can_be_offloaded:
        raise UnsupportedError(
            "checkpoint_policies.save_and_offload_only_these_names: offloading is not supported; "
            "use save_only_these_names"
        )
    return save_only_these_names(*names_which_can_be_saved)

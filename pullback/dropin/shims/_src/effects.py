"""`jax._src.effects`: kinds of effects, and where they may stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, final

from pullback.core.effects import Effect as _Effect
from pullback.core.jaxpr import no_effects
from pullback.dropin.shims.extend.core import Effect, Effects

__all__ = [
    "Effect",
    "EffectTypeSet",
    "Effects",
    "JaxprInputEffect",
    "control_flow_allowed_effects",
    "custom_derivatives_allowed_effects",
    "lowerable_effects",
    "no_effects",
    "ordered_effects",
    "partial_eval_kept_effects",
    "remat_allowed_effects",
    "shardable_ordered_effects",
]


class JaxprInputEffect(Effect):
    """An effect on an argument of an equation or a jaxpr, by its number."""

    def __init__(self, input: Any) -> None:
        self.input = input

    def replace(self, *, input: Any = None) -> JaxprInputEffect:
        """The same effect on another argument."""
        return type(self)(self.input if input is None else input)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JaxprInputEffect) and type(self) is type(other) and (
            self.input == other.input
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((type(self), self.input))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.input})"


@final
class EffectTypeSet:
    """Kinds of effects: classes that libraries add, and what is known of our own.

    >>> kinds = EffectTypeSet()
    >>> kinds.add_type(JaxprInputEffect)
    >>> kinds.contains(JaxprInputEffect(0))
    True
    """

    __slots__ = ("_is_one", "_types")

    def __init__(self, is_one: Callable[[_Effect], bool] | None = None) -> None:
        self._types: list[type] = []
        self._is_one = is_one

    def add_type(self, effect_type: type) -> None:
        """One more class."""
        self._types.append(effect_type)

    def contains(self, eff: Any) -> bool:
        """Whether an effect is of one of the kinds."""
        if isinstance(eff, _Effect) and self._is_one is not None:
            return self._is_one(eff)
        return isinstance(eff, tuple(self._types))

    def filter_in(self, effects: Iterable[Any]) -> list[Any]:
        """The effects of these kinds."""
        return [e for e in effects if self.contains(e)]

    def filter_not_in(self, effects: Iterable[Any]) -> list[Any]:
        """The effects of other kinds."""
        return [e for e in effects if not self.contains(e)]


ordered_effects: Final = EffectTypeSet(lambda effect: effect.ordered)
shardable_ordered_effects: Final = EffectTypeSet(lambda effect: effect.ordered)
lowerable_effects: Final = EffectTypeSet(lambda _: True)
control_flow_allowed_effects: Final = EffectTypeSet(lambda _: True)
custom_derivatives_allowed_effects: Final = EffectTypeSet(lambda effect: not effect.ordered)
remat_allowed_effects: Final = EffectTypeSet(lambda effect: not effect.io)
partial_eval_kept_effects: Final = EffectTypeSet(lambda effect: effect.ordered)

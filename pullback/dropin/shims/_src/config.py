"""`jax._src.config`: the settings as objects with a `value`, which a call overrides for a block."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final, final

from pullback import config as _config
from pullback.config import update

__all__ = ["FLAGS", "State", "config", "parse_flags_with_absl", "update"]


@final
class State:
    """One setting.

    >>> State("jax_enable_x64").value in (True, False)
    True
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        _config.setting(name)
        self.name = name

    @property
    def value(self) -> Any:
        """What is in force in this thread."""
        return _config.read(self.name)

    def __call__(self, value: Any) -> AbstractContextManager[None]:
        """`with state(value):` overrides it in this thread."""
        return _config.setting(self.name).override(value)

    def __bool__(self) -> bool:
        raise TypeError(f"the setting {self.name} is no value: read its `value`")


@final
class _Settings:
    """The settings as attributes, by their full names."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_config, name)

    def update(self, name: str, value: Any) -> None:
        """Change a setting for the process."""
        _config.update(name, value)

    def parse_flags_with_absl(self) -> None:
        """Settings come from the environment; there are no flags to parse."""


config: Final = _Settings()
FLAGS: Final = config


def parse_flags_with_absl() -> None:
    """Settings come from the environment; there are no flags to parse."""


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    for full in (name, f"jax_{name}"):
        try:
            return State(full)
        except (AttributeError, KeyError):
            continue
    raise AttributeError(f"there is no setting {name!r}")

"""The settings `logging_level` and `debug_log_modules`: what our loggers write."""

from __future__ import annotations

from typing import Any, Final

from pullback import config
from pullback.lazy import LazyModule

__all__: list[str] = []

_logging: Final = LazyModule("logging")
_ROOT: Final = "pullback"
_verbose: Final[dict[str, Any]] = {}
"""The handlers of the modules that write everything."""


def _set_level() -> None:
    level = config.logging_level() or "NOTSET"
    _logging.getLogger(_ROOT).setLevel(level)


def _set_modules() -> None:
    names = {name.strip() for name in config.debug_log_modules().split(",") if name.strip()}
    names = {_ROOT + n.removeprefix("jax") if n.startswith("jax") else n for n in names}
    for name in _verbose.keys() - names:
        logger = _logging.getLogger(name)
        logger.removeHandler(_verbose.pop(name))
        logger.setLevel("NOTSET")
    for name in names - _verbose.keys():
        logger = _logging.getLogger(name)
        _verbose[name] = _logging.StreamHandler()
        logger.addHandler(_verbose[name])
        logger.setLevel("DEBUG")


config.logging_level.watchers.append(_set_level)
config.debug_log_modules.watchers.append(_set_modules)
if config.logging_level() not in (None, "NOTSET"):
    _set_level()
if config.debug_log_modules():
    _set_modules()

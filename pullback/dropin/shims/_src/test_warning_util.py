"""`jax._src.test_warning_util`: what tests do about warnings."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator

__all__ = [
    "ignore_warning",
    "install_threadsafe_warning_handlers",
    "raise_on_warnings",
    "record_warnings",
]


@contextlib.contextmanager
def ignore_warning(
    *, message: str | None = None, category: type[Warning] = Warning
) -> Generator[None]:
    """Warnings of a category whose message begins with a regular expression do not show.

    >>> with ignore_warning(message="old", category=UserWarning):
    ...     warnings.warn("old news", stacklevel=1)
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=message or "", category=category)
        yield


@contextlib.contextmanager
def raise_on_warnings() -> Generator[None]:
    """Warnings are exceptions."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextlib.contextmanager
def record_warnings() -> Generator[list[warnings.WarningMessage]]:
    """A list that all warnings of the block go to.

    >>> with record_warnings() as shown:
    ...     warnings.warn("news", stacklevel=1)
    >>> len(shown)
    1
    """
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        yield shown


def install_threadsafe_warning_handlers() -> None:
    """Nothing: filters of warnings are those of the `warnings` module."""

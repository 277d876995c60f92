"""`jax._src.lib` and `jaxlib`: which jaxlib is stood for; nothing of what it is made of is here."""

from __future__ import annotations

from typing import Final

from pullback.dropin.shims.version import __version__, __version_info__

__all__ = [
    "__version__",
    "check_jaxlib_version",
    "cuda_path",
    "cuda_versions",
    "ifrt_version",
    "jaxlib_extension_version",
    "version",
    "version_str",
]

version_str: Final = __version__
version: Final[tuple[int, ...]] = tuple(__version_info__)
jaxlib_extension_version: Final = 467
ifrt_version: Final = 55
cuda_versions: Final = None
cuda_path: Final = None


def _numbers(text: str) -> tuple[int, ...]:
    numbers = []
    for part in text.split(".")[:3]:
        digits = part[: next((i for i, c in enumerate(part) if not c.isdigit()), len(part))]
        numbers.append(int(digits or 0))
    return tuple(numbers)


def check_jaxlib_version(
    jax_version: str, jaxlib_version: str, minimum_jaxlib_version: str
) -> tuple[int, ...]:
    """The version of jaxlib; RuntimeError if it is older than the minimum or newer than JAX.

    >>> check_jaxlib_version("0.10.2", "0.10.2", "0.10.1")
    (0, 10, 2)
    """
    found, needed, jax = map(_numbers, (jaxlib_version, minimum_jaxlib_version, jax_version))
    if found < needed:
        raise RuntimeError(
            f"jaxlib is version {jaxlib_version}, but this version of jax requires version >= "
            f"{minimum_jaxlib_version}."
        )
    if found > jax:
        raise RuntimeError(
            f"jaxlib version {jaxlib_version} is newer than and incompatible with jax version "
            f"{jax_version}. Please update your jax and/or jaxlib packages."
        )
    return found

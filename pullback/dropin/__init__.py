"""`import jax` resolves to pullback, in this process, after `install()`.

    from pullback import dropin
    dropin.install()

    import jax                  # pullback
    import jax.numpy as jnp     # pullback.numpy

The public layout of pullback is that of JAX, so this is a finder of modules and a thin alias for
each.  What JAX has under a name that means something else here is in `pullback/dropin/shims/`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, final

from pullback.dropin import incidental
from pullback.dropin.absent import Absent, is_absent
from pullback.dropin.names import MODULES, OBJECTS, PRIVATE
from pullback.dropin.shims import version

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:  # their module takes a millisecond to import, and what they define here is overridden
    Loader = MetaPathFinder = object

__all__ = ["install", "is_installed", "uninstall"]

_OVERRIDES: Final[dict[str, dict[str, Any]]] = {
    "jax": {"__version__": version.__version__, "__version_info__": version.__version_info__},
}


# Modules of ours that stand for one of JAX with another name.
_ELSEWHERE: Final = {
    "jax": "pullback",
    "jax.ops": "pullback.segment_ops",
    "jaxlib": "pullback.dropin.shims._src.lib",
    "jaxlib.version": "pullback.dropin.shims.version",
}

# Packages of shims that stand for no module of JAX by themselves.
_HIDDEN: Final = frozenset(
    ["pullback.dropin.shims.experimental", "pullback.dropin.shims._src.random"]
)


def _target_name(name: str) -> str | None:
    """The module of ours that stands for a module of JAX; None if there is none.

    A shim comes first, then the public module of the same name; private names without a shim stand
    for a public one. What is in none of the tables is not looked for on disk: `jax.numpy.sin`.
    """
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    public = name in MODULES
    if not public and not f"{name}.".startswith("jax._src."):
        return None
    tail = name.removeprefix("jax.")
    candidates = [f"pullback.dropin.shims.{tail}"]
    if public:
        candidates.append(f"pullback.{tail}")
    found = next((c for c in candidates if c not in _HIDDEN and _exists(c)), None)
    return _target_name(PRIVATE[name]) if found is None and name in PRIVATE else found


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


_MISSING: Final = object()


def _is_public(name: str, target: ModuleType) -> bool:
    shim = target.__name__.startswith("pullback.dropin.")
    return shim or not name.startswith("_") or name in ("__all__", "__file__")


@final
class _Alias(ModuleType):
    """A module of JAX: what is asked of it and was not set on it comes from our module."""

    def __init__(self, name: str, target: ModuleType) -> None:
        super().__init__(name, target.__doc__)
        self.__dict__.update(_OVERRIDES.get(name, {}))
        self.__dict__["_target"] = target

    def __getattr__(self, name: str) -> Any:
        full = f"{self.__name__}.{name}"
        if not name.startswith("__") and _target_name(full) is not None:
            return importlib.import_module(full)
        target: ModuleType = self.__dict__["_target"]
        value = getattr(target, name, _MISSING) if _is_public(name, target) else _MISSING
        # NumPy, our own internals: modules that our module happens to import.
        if value is _MISSING or (isinstance(value, ModuleType) and full not in OBJECTS):
            value = incidental.find(self.__name__, name)
        # Found once, found at once from now on: `jnp.sin` is looked up at every call.
        return self.__dict__.setdefault(name, value)

    def __dir__(self) -> list[str]:
        target: ModuleType = self.__dict__["_target"]
        names = getattr(target, "__all__", None) or [n for n in dir(target) if n[0] != "_"]
        prefix = f"{self.__name__}."
        below = {m.removeprefix(prefix).split(".")[0] for m in MODULES if m.startswith(prefix)}
        found = {n for n in below if _target_name(prefix + n) is not None}
        return sorted({*names, *found, *(n for n in vars(self) if n != "_target")})


@final
class _AliasLoader(Loader):
    """Makes the alias for a module of ours."""

    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The alias, with our module imported."""
        if spec.name == "jax":
            importlib.import_module("pullback.dropin.attributes").attach()
        return _Alias(spec.name, importlib.import_module(self.target))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: an alias has no code of its own."""


@final
class _AbsentLoader(Loader):
    """Makes what stands for a name that is not here."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module, which has nothing."""
        return Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing."""


@final
class _Finder(MetaPathFinder):
    """Answers for `jax` and everything below, whether or not JAX is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an alias; raises ModuleNotFoundError for what pullback lacks."""
        if not _is_jax(fullname):
            return None
        ours = _target_name(fullname)
        if ours is None and is_absent(fullname):
            return ModuleSpec(fullname, _AbsentLoader(), is_package=True)
        if ours is None:
            raise ModuleNotFoundError(f"pullback lacks the module {fullname}", name=fullname)
        return ModuleSpec(fullname, _AliasLoader(ours), origin=ours, is_package=True)


_FINDER: Final = _Finder()


def _is_jax(name: str) -> bool:
    return name.partition(".")[0] in ("jax", "jaxlib")


def is_installed() -> bool:
    """Whether `import jax` gives pullback in this process."""
    return _FINDER in sys.meta_path


def install() -> None:
    """From now on `import jax` gives pullback in this process.

    Raises ImportError if the real JAX is already imported: call this first.  JAX need not be
    installed, and is not touched if it is.
    """
    if is_installed():
        return
    if "jax" in sys.modules:
        origin = getattr(sys.modules["jax"], "__file__", None) or "an unknown place"
        raise ImportError(
            f"JAX is already imported, from {origin}: call pullback.dropin.install() before the "
            "first `import jax`, and before importing libraries that import it",
            name="jax",
        )
    sys.meta_path.insert(0, _FINDER)


def uninstall() -> None:
    """Undo `install`: forget the aliases, so that the next `import jax` looks for JAX again."""
    if is_installed():
        sys.meta_path.remove(_FINDER)
    for name in [
        n for n, m in sys.modules.items() if _is_jax(n) and isinstance(m, (_Alias, Absent))
    ]:
        del sys.modules[name]

"""Names that modules of JAX have because they import them: `jax.example_libraries.stax.jnp`.

They are no part of what those modules are for, but `from jax.experimental.ode import safe_map`
works with JAX, and programs rely on it. A name means the same wherever it is, but for those that
say which module they mean.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ["find", "names_of"]

_SOURCES: Final = """
Any                       typing.Any
Array                     jax.Array
Callable                  collections.abc.Callable
DTypeLike                 jax.typing.DTypeLike
P                         jax.P
Sequence                  collections.abc.Sequence
ad                        jax.interpreters.ad
api_util                  jax.api_util
batching                  jax.interpreters.batching
core                      jax.extend.core
custom_derivatives        jax.custom_derivatives
custom_vjp                jax.custom_vjp
debug_info                jax.api_util.debug_info
dtypes                    jax.dtypes
functools                 functools
itertools                 itertools
jax                       jax
jnp                       jax.numpy
lax                       jax.lax
lru_cache                 functools.lru_cache
lu                        jax.extend.linear_util
map                       jax._src.util.safe_map
math                      math
mesh_utils                jax.experimental.mesh_utils
mlir                      jax.interpreters.mlir
namedtuple                collections.namedtuple
np                        numpy
operator                  operator
partial                   functools.partial
pe                        jax.interpreters.partial_eval
random                    jax.random
register_pytree_node      jax.tree_util.register_pytree_node
safe_map                  jax._src.util.safe_map
safe_zip                  jax._src.util.safe_zip
split_list                jax._src.util.split_list
subs_list                 jax._src.util.subs_list
tanh                      jax.numpy.tanh
tree_flatten              jax.tree_util.tree_flatten
tree_leaves               jax.tree_util.tree_leaves
tree_map                  jax.tree_util.tree_map
tree_structure            jax.tree_util.tree_structure
tree_unflatten            jax.tree_util.tree_unflatten
tree_util                 jax.tree_util
treedef_is_leaf           jax.tree_util.treedef_is_leaf
unsafe_map                builtins.map
unsafe_zip                builtins.zip
unzip2                    jax._src.util.unzip2
weakref_lru_cache         jax._src.util.weakref_lru_cache
zip                       jax._src.util.safe_zip
"""
"""What each name is."""

_PLACES: Final = """
example_libraries.optimizers      functools jax jnp map namedtuple partial safe_map safe_zip
                                  unzip2 zip
example_libraries.stax            functools jnp lax math random
experimental.jet                  Any Callable api_util core jnp lax lu np partial pe
                                  register_pytree_node safe_zip tree_flatten tree_structure
                                  tree_unflatten treedef_is_leaf unzip2 weakref_lru_cache
experimental.multihost_utils      P ad batching core dtypes jax jnp lru_cache mlir np partial
                                  safe_zip tree_flatten tree_unflatten
experimental.ode                  api_util core custom_derivatives jax jnp lax lu map operator
                                  partial safe_map safe_zip tree_leaves tree_map zip
experimental.rnn                  Array core custom_vjp jax jnp math mlir np partial tanh
experimental.scheduling_groups    ad batching core debug_info lu map mlir partial pe safe_map
                                  safe_zip split_list subs_list tree_flatten tree_unflatten
                                  unsafe_map unsafe_zip unzip2 weakref_lru_cache zip
experimental.serialize_executable Sequence jax
experimental.sparse.ad            core itertools jax safe_zip split_list tree_util
experimental.sparse.api           Array DTypeLike ad batching core dtypes jax mlir operator partial
                                  tree_util
experimental.sparse.bcoo          Any Array DTypeLike Sequence ad api_util batching core functools
                                  jax jnp lax math mlir np operator partial pe safe_zip split_list
                                  tree_util unzip2
experimental.sparse.bcsr          Any Array DTypeLike Sequence ad api_util batching core jax jnp lax
                                  mlir np operator partial safe_zip split_list tree_util
experimental.sparse.coo           Any Array DTypeLike Sequence ad core jax jnp lax mlir np operator
                                  partial tree_util
experimental.sparse.csr           Array DTypeLike ad core jax jnp lax mlir np operator partial
                                  tree_util
experimental.sparse.linalg        ad core functools jax jnp mlir np
experimental.sparse.random        Any Array Callable DTypeLike Sequence dtypes jnp math operator
                                  random split_list
experimental.sparse.transform     api_util core functools jax jnp lax lu np pe safe_map safe_zip
                                  split_list tree_flatten tree_map tree_unflatten tree_util
experimental.sparse.util          Array core functools jax jnp lax np safe_zip tree_util
experimental.topologies           jax mesh_utils
"""
"""In which modules they are; an indented line goes on with the one before."""


def _sources() -> dict[str, str]:
    lines = (line.split() for line in _SOURCES.strip().splitlines())
    return {name: source for name, source in lines}  # noqa: C416 (the type checker counts)


def _places() -> dict[str, frozenset[str]]:
    joined = _PLACES.replace("\n  ", "").strip().splitlines()
    parts = (line.split() for line in joined)
    return {f"jax.{module}": frozenset(names) for module, *names in parts}


_SOURCE_OF: Final = _sources()
_NAMES_IN: Final = _places()


def names_of(module: str) -> frozenset[str]:
    """The names that a module of JAX merely imports, as far as they are here.

    >>> sorted(names_of("jax.experimental.serialize_executable"))
    ['Sequence', 'jax']
    """
    return _NAMES_IN.get(module, frozenset())


def find(module: str, name: str) -> Any:
    """What a module of JAX imports under a name; AttributeError if it does not.

    >>> find("jax.example_libraries.stax", "math").floor(2.5)
    2
    """
    if name not in names_of(module):
        raise AttributeError(f"pullback lacks {module}.{name}", name=name)
    source = _SOURCE_OF[name]
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError:
        parent, _, last = source.rpartition(".")
        return getattr(importlib.import_module(parent), last)

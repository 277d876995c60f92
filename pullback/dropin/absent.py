"""Private names of JAX's that are not here but may be imported: they fail where they are used.

A file of tests imports what any of its tests needs, and whoever runs it wants the others. What a
module here has, and what it has not, is told by `hasattr` as ever: only `from` and `import` find
the names of the tables.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final, NoReturn, final

from pullback.errors import UnsupportedError

__all__ = ["Absent", "is_absent"]

_MODULES_TEXT: Final = """
blocked_sampler cache_key cloud_tpu_init clusters compilation_cache_interface cudnn
custom_api_util custom_partitioning custom_partitioning_sharding_rule debugger environment_info
error_check export.serialization hardware_utils indexing
internal_test_util.export_back_compat_test_data internal_test_util.export_back_compat_test_util
internal_test_util.lax_test_util internal_test_util.test_harnesses interpreters.remat jaxpr_util
lax_reference lib._jax lib._profile_data lib._profiler lib.gpu_linalg lib.gpu_prng lib.gpu_rnn
lib.gpu_solver lib.gpu_sparse lib.gpu_triton lib.ifrt_proxy lib.lapack lib.mlir lib.mosaic_gpu
lib.pytree lib.triton lib.utils lib.weakref_lru_cache lib.xla_client logging_config lru_cache
numpy.error numpy.hijax op_shardings pallas pretty_printer scipy.optimize.line_search sourcemap
state.indexing state.utils test_loader test_multiprocess third_party tpu tpu_custom_call
xla_metadata_lib xla_transform
"""

_MODULES: Final = frozenset(
    [
        "jaxlib._jax",
        "jaxlib.mlir",
        "jaxlib.xla_client",
        *(f"jax._src.{name}" for name in _MODULES_TEXT.split()),
    ]
)
"""Modules of which nothing is here."""

_NAMES_TEXT: Final = """
ad_checkpoint              remat3
checkify                   BatchedError ErrorEffect
export.shape_poly          _DimExpr
lax.lax                    _get_monoid_reducer
lax.parallel               pvary
numpy.array_methods        _IndexUpdateRef
numpy.einsum               _einsum
named_sharding             DuplicateSpecError SdyArray SdyDim
random.prng                PRNGKeyArray
scipy.optimize.line_search line_search
sharding                   common_devices_indices_map
sharding_impls             SdyArray SdyDim device_replica_id_map local_to_global_shape
                           parse_flatten_op_sharding
state.indexing             NDIndexer
tree_util                  FlatTree Static none_leaf_registry default_registry
"""

_NAMES: Final = frozenset(
    f"jax._src.{module}.{name}"
    for module, *names in map(str.split, _NAMES_TEXT.replace("\n   ", "").strip().splitlines())
    for name in names
)
"""Names that modules lack of which there is more."""


def is_absent(name: str) -> bool:
    """Whether an import of this name gives something that cannot be used.

    >>> is_absent("jax._src.cudnn.scaled_matmul_stablehlo.quantize"), is_absent("jax._src.core")
    (True, False)
    """
    parts = name.split(".")
    above = (".".join(parts[:n]) for n in range(3, len(parts) + 1))
    if parts[0] == "jaxlib":
        above = (".".join(parts[:n]) for n in range(2, len(parts) + 1))
    return name in _NAMES or any(part in _MODULES for part in above)


@final
class Absent(ModuleType):
    """A module, class or function of JAX's that is not here.

    >>> Absent("jax._src.lru_cache").LRUCache
    Traceback (most recent call last):
    AttributeError: pullback lacks jax._src.lru_cache.LRUCache
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"pullback lacks {self.__name__}.{name}", name=name)

    def _fail(self) -> NoReturn:
        raise UnsupportedError(f"pullback lacks {self.__name__}")

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        self._fail()

    def __mro_entries__(self, _: Any) -> NoReturn:
        self._fail()

    def __getitem__(self, _: Any) -> NoReturn:
        self._fail()

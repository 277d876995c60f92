"""Programs that leave the process: `export`, files, and calling them again.

An exported function is a StableHLO module for given types, the structure of its arguments and
results, and perhaps the modules of its derivatives.  Its files are those of `jax.export`, so that
JAX calls what is exported here and the other way round.  It is called like a function, under any
transformation that its derivatives allow, by our own compiler or on a plugin's device.

>>> import pullback as pb, pullback.numpy as jnp
>>> from pullback import export
>>> exported = export.export(pb.jit(lambda x: 2 * jnp.sin(x)))(jnp.ones(3))
>>> again = export.deserialize(exported.serialize(vjp_order=1))
>>> float(pb.grad(lambda x: again.call(x).sum())(jnp.zeros(3))[0])
2.0
"""

from __future__ import annotations

from pullback.core.dimension_specs import SymbolicScope
from pullback.export.exported import (
    ArtifactError,
    DisabledSafetyCheck,
    Exported,
    default_export_platform,
    deserialize,
    export,
    import_stablehlo,
    maximum_supported_calling_convention_version,
    minimum_supported_calling_convention_version,
)
from pullback.export.shapes import is_symbolic_dim, symbolic_args_specs, symbolic_shape
from pullback.export.trees import (
    register_namedtuple_serialization,
    register_pytree_node_serialization,
)

__all__ = [
    "ArtifactError",
    "DisabledSafetyCheck",
    "Exported",
    "SymbolicScope",
    "default_export_platform",
    "deserialize",
    "export",
    "import_stablehlo",
    "is_symbolic_dim",
    "maximum_supported_calling_convention_version",
    "minimum_supported_calling_convention_version",
    "register_namedtuple_serialization",
    "register_pytree_node_serialization",
    "symbolic_args_specs",
    "symbolic_shape",
]

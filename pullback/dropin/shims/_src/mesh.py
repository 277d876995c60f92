"""`jax._src.mesh`: meshes, and which one is in force."""

from __future__ import annotations

from typing import Final, final

from pullback.core.meshes import (
    AbstractDevice,
    AbstractMesh,
    AxisType,
    Mesh,
    current_mesh,
    get_abstract_mesh,
    get_mesh,
    use_abstract_mesh,
)

__all__ = [
    "AbstractDevice",
    "AbstractMesh",
    "AxisType",
    "Mesh",
    "empty_abstract_mesh",
    "get_abstract_mesh",
    "get_concrete_mesh",
    "get_mesh",
    "thread_resources",
    "use_abstract_mesh",
]

empty_abstract_mesh: Final = AbstractMesh((), ())
get_concrete_mesh = get_mesh


@final
class _Environment:
    """The mesh that is in force in this thread."""

    @property
    def physical_mesh(self) -> Mesh | None:
        """The mesh, None if there is none."""
        return current_mesh()


@final
class _ThreadResources:
    """What a thread computes on."""

    env: Final = _Environment()


thread_resources: Final = _ThreadResources()

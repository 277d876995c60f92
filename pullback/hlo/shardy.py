"""How arrays are spread over a mesh, in the words of the Shardy dialect.

The partitioner of XLA reads the mesh of a module and the shardings of its arguments and results,
chooses those of everything between, and puts in the communication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pullback.core.meshes import Mesh, PartitionSpec
from pullback.core.shardy import mesh_text, sharding_text

__all__ = ["Partitioning", "attribute"]


@dataclass(frozen=True)
class Partitioning:
    """A mesh, and over which of its axes the arguments and the results of a program are split.

    Where there is no spec, the partitioner chooses.
    """

    mesh: Mesh
    arguments: Sequence[PartitionSpec | None]
    results: Sequence[PartitionSpec | None]

    @property
    def count(self) -> int:
        """How many parts the program has."""
        return self.mesh.size

    def mesh_text(self) -> str:
        """The mesh as an operation.

        >>> from pullback.core.meshes import make_mesh
        >>> Partitioning(make_mesh((1,), ("data",)), [], []).mesh_text()
        'sdy.mesh @mesh = <["data"=1]>'
        """
        return f"sdy.mesh @mesh = {mesh_text(self.mesh)}"


def attribute(spec: PartitionSpec, ndim: int) -> str:
    """The attribute of an array, over the module's mesh.

    >>> attribute(PartitionSpec("x"), 2)
    'sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>'
    """
    return f"sdy.sharding = {sharding_text('@mesh', spec, ndim)}"

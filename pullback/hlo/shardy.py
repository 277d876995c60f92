"""How arrays are spread over a mesh, in the words of the Shardy dialect.

The partitioner of XLA reads the mesh of a module and the shardings of its arguments and results,
chooses those of everything between, and puts in the communication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pullback.core.sharding import Mesh, PartitionSpec

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

        >>> from pullback.core.sharding import make_mesh
        >>> Partitioning(make_mesh((1,), ("data",)), [], []).mesh_text()
        'sdy.mesh @mesh = <["data"=1]>'
        """
        axes = ", ".join(f"{_quoted(name)}={size}" for name, size in self.mesh.shape_tuple)
        return f"sdy.mesh @mesh = <[{axes}]>"


def attribute(spec: PartitionSpec, ndim: int) -> str:
    """The attribute of an array.

    >>> attribute(PartitionSpec(("x", "y"), None), 3)
    'sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {}, {}]>'
    """
    axes = [_axes(entry) for entry in (*spec, *[None] * (ndim - len(spec)))]
    return f"sdy.sharding = #sdy.sharding<@mesh, [{', '.join(axes)}]>"


def _axes(entry: Any) -> str:
    if entry is PartitionSpec.UNCONSTRAINED:
        return "{?}"
    names = entry if isinstance(entry, tuple) else () if entry is None else (entry,)
    return f"{{{', '.join(map(_quoted, names))}}}"


def _quoted(name: Any) -> str:
    text = str(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

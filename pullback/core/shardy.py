"""How arrays are spread over a mesh, as text of the Shardy dialect of MLIR."""

from __future__ import annotations

from typing import Any

from pullback.core.meshes import Mesh, PartitionSpec

__all__ = ["mesh_text", "sharding_text"]


def mesh_text(mesh: Mesh) -> str:
    """The axes of a mesh and their sizes.

    >>> from pullback.core.meshes import make_mesh
    >>> mesh_text(make_mesh((1, 1), ("data", "model")))
    '<["data"=1, "model"=1]>'
    """
    return f"<[{', '.join(f'{_quoted(name)}={size}' for name, size in mesh.shape_tuple)}]>"


def sharding_text(mesh: str, spec: PartitionSpec, ndim: int) -> str:
    """The sharding of an array of so many axes over a mesh, which is named or written out.

    >>> sharding_text("@mesh", PartitionSpec(("x", "y"), None), 3)
    '#sdy.sharding<@mesh, [{"x", "y"}, {}, {}]>'
    """
    axes = [_axes(entry) for entry in (*spec, *[None] * (ndim - len(spec)))]
    return f"#sdy.sharding<{mesh}, [{', '.join(axes)}]>"


def _axes(entry: Any) -> str:
    if entry is PartitionSpec.UNCONSTRAINED:
        return "{?}"
    names = entry if isinstance(entry, tuple) else () if entry is None else (entry,)
    return f"{{{', '.join(map(_quoted, names))}}}"


def _quoted(name: Any) -> str:
    text = str(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

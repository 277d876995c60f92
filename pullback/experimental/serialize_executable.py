"""The namespace `jax.experimental.serialize_executable`: compiled programs as bytes.

The bytes hold the program (as `runtime/artifact` writes it) and its machine code (as the disk
cache keeps it). On a machine of another kind, or with another version of Pullback, the program is
compiled.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from pullback.errors import UnsupportedError
from pullback.runtime import artifact, cache
from pullback.runtime.compile import Code, Executable, compile_jaxpr
from pullback.runtime.refs import RefProgram
from pullback.runtime.stages import Compiled, Signature

__all__ = ["deserialize_and_load", "serialize"]


def serialize(compiled: Compiled) -> tuple[bytes, Any, Any]:
    """A compiled function as bytes, and the structures of its arguments and its results.

    Raises UnsupportedError for programs that call back into this process.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> compiled = pb.jit(lambda x: 2 * x).lower(jnp.ones(2)).compile()
    >>> deserialize_and_load(*serialize(compiled))(jnp.ones(2))
    Array([2., 2.], dtype=float32)
    """
    program = compiled.runtime_executable()
    if isinstance(program, RefProgram):
        raise UnsupportedError(f"serialize: {compiled.fun_name} works on references")
    if not isinstance(program, Executable):
        raise UnsupportedError(
            f"serialize: {compiled.fun_name} is not compiled for this machine's processor; what a "
            "plugin compiled for a topology is given by its method `serialize`"
        )
    signature, writer = compiled._signature, artifact.Writer()
    data = tuple((name, value.tobytes()) for name, value in program.data.items())
    entry = replace(program.code, data=data).entry()
    header = {
        "format": 1,
        "name": signature.name,
        "program": writer.closed(signature.closed),
        "donated": list(signature.donated),
        "made_for": hashlib.sha256(cache.surroundings()).hexdigest(),
        "code": dict(entry.metadata),
        "code_bytes": len(entry.payload),
    }
    blob = artifact.pack(header, [*writer.arrays, entry.payload])
    return blob, compiled.in_tree, compiled.out_tree


def deserialize_and_load(
    serialized: bytes,
    in_tree: Any,
    out_tree: Any,
    backend: Any = None,
    execution_devices: Any = None,
) -> Compiled:
    """The compiled function that `serialize` wrote.

    Its machine code is run as it is: read only bytes that you trust. Programs run on the host,
    whatever `backend` and `execution_devices` say.

    Raises ArtifactError for bytes that `serialize` did not write.
    """
    header, data = artifact.unpack(bytes(serialized))
    if header.get("format") != 1 or "code" not in header:
        raise artifact.ArtifactError("these bytes are no compiled program")
    closed = artifact.Reader(data).program(header["program"])
    name, donated = str(header["name"]), tuple(map(bool, header["donated"]))
    program = compile_jaxpr(closed, name=name, donated=donated, code=_code(header, data))
    return Compiled(Signature(name, closed, in_tree, out_tree, (), donated), program)


def _code(header: dict[str, Any], data: memoryview) -> Code | None:
    """The machine code; None if it was made for other surroundings."""
    if header["made_for"] != hashlib.sha256(cache.surroundings()).hexdigest():
        return None
    payload = bytes(data[len(data) - int(header["code_bytes"]) :])
    return Code.from_entry(cache.CacheEntry(payload, header["code"]))

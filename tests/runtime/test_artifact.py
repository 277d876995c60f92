"""Jaxprs as bytes: damage and operations of the host are refused."""

from __future__ import annotations

import contextlib
import json
import random as python_random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import numpy as jnp
from pullback.runtime import artifact

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def _written(fun: Callable[..., Any]) -> bytes:
    writer = artifact.Writer()
    program = writer.closed(pb.make_jaxpr(fun)(X))
    return artifact.pack({"program": program}, writer.arrays)


def _read(blob: bytes) -> Any:
    header, data = artifact.unpack(blob)
    return artifact.Reader(data).program(header.get("program"))


def test_damaged_bytes_are_errors_and_nothing_else() -> None:
    """Cut off, or with any byte changed, a file is an error or another program in order."""
    blob = _written(lambda x: jnp.sort(x * 2, axis=1))
    _read(blob)
    for size in range(0, len(blob), 37):
        with pytest.raises(artifact.ArtifactError):
            _read(blob[:size])
    source = python_random.Random(0)
    for _ in range(150):
        damaged = bytearray(blob)
        damaged[source.randrange(len(damaged))] = source.randrange(256)
        with contextlib.suppress(artifact.ArtifactError):
            _read(bytes(damaged))


def test_host_operations_and_false_types_are_refused() -> None:
    header, data = artifact.unpack(_written(jnp.sin))

    def changed(edit: Any) -> bytes:
        copy = json.loads(json.dumps(header))
        edit(copy["program"]["jaxpr"])
        return artifact.pack(copy, [bytes(data)])

    def rename(jaxpr: Any) -> None:
        jaxpr["eqns"][0][0] = "pure_callback"

    def retype(jaxpr: Any) -> None:
        jaxpr["eqns"][0][3][0] = [[2, 2], "float32", False]

    def loop(jaxpr: Any) -> None:
        jaxpr["eqns"][0][1] = [99]

    for edit in (rename, retype, loop):
        with pytest.raises(artifact.ArtifactError):
            _read(changed(edit))

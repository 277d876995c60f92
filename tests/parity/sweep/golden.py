"""What the calls give on JAX, kept in files: JAX takes minutes to compile all of them.

One file for a file of recipes: a header that says what came out of which call, and the elements of
a dtype in one array.
"""

from __future__ import annotations

import functools
import io
import json
import lzma
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.parity.sweep.evaluation import Failure, Leaf

FOLDER: Final = Path(__file__).parent / "golden"
Results = dict[str, list[Leaf] | Failure]


def path(recipe: str) -> Path:
    """Where the results of a file of recipes are."""
    return FOLDER / f"{recipe}.xz"


def write(recipe: str, results: Results) -> None:
    """Keep the results of JAX."""
    pools: dict[str, list[Any]] = {}
    header: dict[str, Any] = {}
    for call, result in results.items():
        if isinstance(result, Failure):
            header[call] = {"classes": result.classes, "message": result.message}
            continue
        header[call] = []
        for place, kind, data in result:
            stored = None
            if data is not None:
                pools.setdefault(data.dtype.name, []).append(np.ravel(data))
                stored = [data.dtype.name, list(data.shape)]
            header[call].append([place, kind, stored])
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(file, header=text, **{k: np.concatenate(v) for k, v in pools.items()})
    FOLDER.mkdir(exist_ok=True)
    path(recipe).write_bytes(lzma.compress(file.getvalue()))


@functools.cache
def read(recipe: str) -> Results:
    """The results of JAX; none if there is no file."""
    if not path(recipe).exists():
        return {}
    with np.load(io.BytesIO(lzma.decompress(path(recipe).read_bytes()))) as file:
        header = json.loads(file["header"].tobytes().decode())
        pools = {name: file[name] for name in file.files if name != "header"}
    used = dict.fromkeys(pools, 0)
    results: Results = {}
    for call, entry in header.items():
        if isinstance(entry, dict):
            results[call] = Failure(tuple(entry["classes"]), entry["message"])
            continue
        found: list[Leaf] = []
        for place, kind, stored in entry:
            data = None
            if stored is not None:
                name, shape = stored[0], tuple(stored[1])
                size = int(np.prod(shape))
                data = pools[name][used[name] : used[name] + size].reshape(shape)
                used[name] += size
            found.append((place, kind, data))
        results[call] = found
    return results

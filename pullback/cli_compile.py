"""The command `pullback compile`: a jitted function of a script for hardware that is not here.

    pullback compile script.py:step --args script.py:args --target tpu:v5e:2x2x1 [-o FILE]
    pullback compile script.py:step --args script.py:args --target cuda:h100 [-o FILE]
    pullback compile script.py:step --args script.py:args --target c -o DIRECTORY

The last writes an object file, a header and a shared library. Both names are looked up in scripts
that are run as modules, with `import jax` giving Pullback; `args` is a tuple of example arguments
(arrays, or types), or a function that returns one.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import runpy
import sys
import time
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from pullback import dropin
from pullback.core.sharding import SingleDeviceSharding
from pullback.errors import JaxRuntimeError, PullbackError
from pullback.hlo.topology import parse_target
from pullback.llvm import embedding
from pullback.runtime.embed import embed, shared_library
from pullback.runtime.jit import JitFunction, jit
from pullback.runtime.stages import Lowered, Traced

__all__ = ["add_parser", "lower_for", "named_object"]


class _Usage(Exception):
    """What the user asked for is not there."""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    parser = commands.add_parser("compile", help="compile a function for hardware that is not here")
    parser.add_argument("function", metavar="SCRIPT:FUNCTION", help="a function in a script")
    parser.add_argument(
        "--args", metavar="SCRIPT:NAME", required=True, help="a tuple of example arguments"
    )
    parser.add_argument(
        "--target",
        required=True,
        help="tpu:v5e:2x2x1 (a TPU slice), cuda:h100 (a GPU by name), cuda:FILE (its description), "
        "c (files for C, for this processor), c:x86-64-v3 or c:TRIPLE:CPU (for another one)",
    )
    parser.add_argument(
        "-o", dest="output", metavar="PATH", help="keep the executable; the folder of files for C"
    )
    parser.add_argument("--name", default="", help="what C calls the function")
    parser.set_defaults(command=_compile)


def _compile(options: argparse.Namespace) -> int:
    dropin.install()
    try:
        traced = _traced(options.function, options.args)
        platform, _, rest = options.target.partition(":")
        if platform == "c":
            _embed(traced, rest, options)
        else:
            _ahead(traced, options.target, options.output)
    except (_Usage, PullbackError, JaxRuntimeError) as error:
        print(f"pullback compile: {error}", file=sys.stderr)
        return 2
    return 0


def _traced(function: str, arguments: str) -> Traced:
    scripts: dict[Path, dict[str, Any]] = {}
    fun, args = (named_object(name, scripts) for name in (function, arguments))
    if not callable(fun):
        raise _Usage(f"{function} is a {type(fun).__name__}, not a function")
    if callable(args):
        args = args()
    if not isinstance(args, (tuple, list)):
        raise _Usage(f"{arguments} must be a tuple of arguments, and is a {type(args).__name__}")
    jitted: JitFunction = fun if isinstance(fun, JitFunction) else jit(fun)
    return jitted.trace(*args)


def named_object(name: str, scripts: dict[Path, dict[str, Any]]) -> Any:
    """What `script.py:name.attribute` is; a script is run once, and kept in `scripts`.

    Raises an error that says what is missing.
    """
    file, _, path = name.rpartition(":")
    if not file or not path:
        raise _Usage(f"{name!r} is not of the form script.py:name")
    script = Path(file).resolve()
    if not script.is_file():
        raise _Usage(f"cannot open {file}")
    if script not in scripts:
        sys.path.insert(0, os.path.dirname(script))
        scripts[script] = runpy.run_path(str(script), run_name=script.stem)
    first, *rest = path.split(".")
    if first not in scripts[script]:
        raise _Usage(f"{file} defines no {first!r}")
    try:
        return reduce(getattr, rest, scripts[script][first])
    except AttributeError as error:
        raise _Usage(f"{name}: {error}") from None


# --------------------------------------------------------------------------- accelerators


def lower_for(traced: Traced, device: Any) -> Lowered:
    """A traced function lowered for a device of a topology; arguments of a mesh stay there."""
    s = traced._signature
    asked = any(x is not None for x in (*s.shardings, *s.out_shardings))
    if not asked:
        places = (SingleDeviceSharding(device),) * len(s.avals)
        s = dataclasses.replace(
            s, shardings=places, out_shardings=(None,) * len(s.closed.out_avals)
        )
    return Traced(s, traced._compiler).lower()


def _ahead(traced: Traced, target: str, output: str | None) -> None:
    topology = parse_target(target)
    start = time.perf_counter()
    compiled = lower_for(traced, topology.devices[0]).compile()
    seconds = time.perf_counter() - start
    _print_rows(
        f"{compiled.fun_name} for {target} ({topology.devices[0].device_kind}), "
        f"{compiled.num_devices} of {len(topology.devices)} devices, compiled in {seconds:.1f} s",
        [
            *_costs(compiled),
            *_sizes(compiled),
        ],
    )
    if output is not None:
        code = compiled.serialize()
        Path(output).write_bytes(code)
        print(f"{output}: {len(code):,} bytes")


# --------------------------------------------------------------------------- C


def _embed(traced: Traced, processor: str, options: argparse.Namespace) -> None:
    if options.output is None:
        raise _Usage("-o DIRECTORY says where the files for C are written")
    triple, _, cpu = processor.rpartition(":")
    if not triple and cpu.count("-") > 1 and not cpu.startswith("x86-64"):
        triple, cpu = cpu, ""
    made = embed(traced._signature, embedding.target(cpu, triple), options.name)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    object_file, header = folder / f"{made.name}.o", folder / f"{made.name}.h"
    object_file.write_bytes(made.code)
    header.write_text(made.header)
    written = [object_file, header]
    if made.target.is_host:
        written.append(folder / f"lib{made.name}{'.dylib' if sys.platform == 'darwin' else '.so'}")
        shared_library(object_file, written[-1])
    _print_rows(
        f"{made.name} for C on {made.target.cpu or 'any processor'} ({made.target.triple})",
        [
            ("inputs", str(len(made.inputs))),
            ("outputs", str(len(made.outputs))),
            ("bytes of workspace", f"{made.workspace:,}"),
            *((str(path), f"{path.stat().st_size:,} bytes") for path in written),
        ],
    )


# --------------------------------------------------------------------------- what is printed


def _print_rows(title: str, rows: Sequence[tuple[str, str]]) -> None:
    print(title)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")


def _costs(compiled: Any) -> list[tuple[str, str]]:
    """The totals of the cost analysis, and whose they are."""
    found = compiled.cost_analysis()
    whose = "" if compiled.has_compiler_costs else " (counted by Pullback)"
    rows = [
        (f"{name}{whose}", f"{found[name]:,.0f}")
        for name in ("flops", "transcendentals", "bytes accessed")
        if name in found
    ]
    if found.get("optimal_seconds", -1) > 0:
        rows.append(("seconds, by the compiler", f"{found['optimal_seconds']:.3g}"))
    return rows


def _sizes(compiled: Any) -> list[tuple[str, str]]:
    sizes = dataclasses.asdict(compiled.memory_analysis())
    rows = [
        (f"bytes of {name.removesuffix('_size_in_bytes').replace('_', ' ')}", f"{size:,}")
        for name, size in sizes.items()
        if size or not name.startswith("generated")  # which some plugins do not count
    ]
    return [*rows, ("bytes at the peak", f"{compiled.peak_memory_in_bytes:,}")]

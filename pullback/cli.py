"""The command `pullback`: run unmodified JAX programs, and say what is there.

    pullback run script.py arguments...       run a script, with `import jax` giving pullback
    pullback run -m module arguments...       the same for a module
    pullback compile script.py:function ...   compile a function for hardware that is not here
    pullback doctor [script.py or directory]  versions, devices, threads, cache; what is missing
    pullback prepare                          compile Pullback's own kernels into the cache now

`python -m pullback` is the same command.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import os
import platform
import runpy
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pullback
from pullback import cli_compile, dropin
from pullback.hlo.pjrt import find_plugins
from pullback.llvm import jit as native
from pullback.llvm import library as kernels
from pullback.llvm import pool
from pullback.runtime import cache

__all__ = ["main", "missing_names", "uses"]


# --------------------------------------------------------------------------- run


def _run(options: argparse.Namespace) -> int:
    dropin.install()
    sys.argv = [options.target, *options.arguments]
    if options.module:
        sys.path.insert(0, os.getcwd())
        runpy.run_module(options.target, run_name="__main__", alter_sys=True)
        return 0
    path = Path(options.target)
    if not path.exists():
        print(f"pullback: cannot open {options.target}", file=sys.stderr)
        return 2
    if not path.is_dir():
        sys.path.insert(0, str(path.resolve().parent))
    runpy.run_path(str(path), run_name="__main__")
    return 0


# --------------------------------------------------------------------------- prepare


def _prepare(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    pullback.jit(lambda x: x + 1.0)(0.0)  # the call path
    count = kernels.prepare()
    stats = cache.library_cache().stats()
    where = stats.directory or "no cache: PULLBACK_CACHE is off"
    print(f"{count} kernels in {time.perf_counter() - start:.1f} s, {where}")
    return 0


# --------------------------------------------------------------------------- doctor

_LIBRARIES: Final = ("numpy", "scipy", "llvmlite", "ml_dtypes", "opt_einsum")
_VARIABLES: Final = ("PULLBACK_", "JAX_")


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


def _facts() -> Iterator[tuple[str, str]]:
    yield "pullback", pullback.__version__
    interface = importlib.import_module("pullback.dropin.shims.version").__version__
    yield "JAX interface", f"{interface} (JAX itself: {_version('jax')})"
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    for library in _LIBRARIES:
        yield library, _version(library)
    yield "platform", platform.platform()
    yield "devices", ", ".join(map(str, pullback.devices()))
    yield "plugins", ", ".join(sorted(find_plugins())) or "none"
    yield "processor", f"{native.host_cpu()}, vectors of {native.vector_bits()} bits"
    yield "threads", str(pool.num_threads())
    stats = cache.stats()
    if stats.directory is None:
        yield "cache", "off"
    else:
        size = f"{stats.nbytes / 2**20:.1f} of {stats.limit / 2**20:.0f} MB"
        yield "cache", f"{stats.directory} ({stats.files} programs, {size})"
    changed = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(_VARIABLES)]
    yield "environment", " ".join(changed) or "no variables of ours are set"


def _doctor(options: argparse.Namespace) -> int:
    for name, value in _facts():
        print(f"{name + ':':<15} {value}")
    if options.program is None:
        return 0
    files = list(_python_files(Path(options.program)))
    if not files:
        print(f"pullback: there is no Python program at {options.program}", file=sys.stderr)
        return 2
    print()
    found = [problem for file in files for problem in _problems(file)]
    print("\n".join(found) if found else "Everything of JAX that the program names is there.")
    return 1 if found else 0


def _python_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(path.rglob("*.py"))
    elif path.is_file():
        yield path


def _problems(file: Path) -> Iterator[str]:
    try:
        source = ast.parse(file.read_text(), str(file))
    except SyntaxError as error:
        yield f"{file}:{error.lineno}: not Python: {error.msg}"
        return
    for name, line in missing_names(uses(source)):
        yield f"{file}:{line}: {name} is not supported"
    for library, line in _missing_libraries(source, file.parent):
        yield f"{file}:{line}: the library {library} is not installed"


@dataclass(frozen=True)
class Use:
    """A dotted name of JAX that a program uses."""

    name: str
    line: int


def _is_jax(name: str) -> bool:
    return name.split(".")[0] in ("jax", "jaxlib")


def uses(source: ast.Module) -> list[Use]:
    """The names of JAX in a program: what it imports, and attributes of that.

    >>> [u.name for u in uses(ast.parse("import jax.numpy as jnp; jnp.linalg.norm(1)"))]
    ['jax.numpy', 'jax.numpy.linalg.norm']
    """
    found: list[Use] = []
    aliases: dict[str, str] = {}
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_jax(alias.name):
                    found.append(Use(alias.name, node.lineno))
                    root = alias.name.split(".")[0]
                    aliases[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module and _is_jax(node.module):
            if node.level:
                continue
            for alias in node.names:
                full = node.module if alias.name == "*" else f"{node.module}.{alias.name}"
                found.append(Use(full, node.lineno))
                aliases[alias.asname or alias.name] = full
    inner = {id(n.value) for n in ast.walk(source) if isinstance(n, ast.Attribute)}
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            name = _dotted(node, aliases)
            if name is not None:
                found.append(Use(name, node.lineno))
    return found


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str | None:
    """`jax.numpy.sin` for `jnp.sin`; None for what does not begin with an alias."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return None
    return ".".join([aliases[node.id], *reversed(parts)])


def missing_names(found: Iterable[Use]) -> list[tuple[str, int]]:
    """Those names that pullback lacks, each once, with the first line that has it.

    Attributes are followed as long as they are of modules; what objects have is not known before
    the program runs.
    """
    first: dict[str, int] = {}
    for use in sorted(found, key=lambda u: u.line):
        missing = _first_missing(use.name)
        if missing is not None:
            first.setdefault(missing, use.line)
    return sorted(first.items(), key=lambda item: item[1])


def _first_missing(name: str) -> str | None:
    dropin.install()
    root, *rest = name.split(".")
    try:
        value: Any = importlib.import_module(root)
    except ImportError:
        return root
    path = root
    for part in rest:
        if not isinstance(value, ModuleType):
            return None
        path = f"{path}.{part}"
        try:
            value = importlib.import_module(path)
        except ImportError:
            try:
                value = getattr(value, part)
            except AttributeError:
                return path
    return None


def _missing_libraries(source: ast.Module, folder: Path) -> Iterator[tuple[str, int]]:
    """Modules that are neither installed nor beside the program."""
    seen = {path.stem for path in folder.iterdir()}
    for node in ast.walk(source):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            root = name.split(".")[0]
            if root in seen or _is_jax(root):
                continue
            seen.add(root)
            if importlib.util.find_spec(root) is None:
                yield root, node.lineno  # type: ignore[attr-defined]


# --------------------------------------------------------------------------- the command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pullback", description="Run JAX programs on pullback, and look at the installation."
    )
    parser.add_argument("--version", action="version", version=pullback.__version__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run a program in which `import jax` gives pullback")
    run.add_argument("-m", dest="module", action="store_true", help="the program is a module")
    run.add_argument("target", help="a script, or with -m the name of a module")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")
    run.set_defaults(command=_run)
    prepare = commands.add_parser("prepare", help="compile Pullback's own kernels into the cache")
    prepare.set_defaults(command=_prepare)
    cli_compile.add_parser(commands)
    doctor = commands.add_parser(
        "doctor", help="versions, devices, threads, cache, what is missing"
    )
    doctor.add_argument("program", nargs="?", help="a script or a directory to look through")
    doctor.set_defaults(command=_doctor)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the status to exit with."""
    options = _parser().parse_args(arguments)
    status: int = options.command(options)
    return status

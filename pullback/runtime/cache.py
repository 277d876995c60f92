"""Object code on disk, between processes: beside the way of the data, under `runtime/compile`.

A program is looked up by a key that its compiler gives (bytes that say everything about it), joined
with the machine, LLVM and our version.  What is found is checked (magic, version, lengths, SHA-256)
before a byte of it is used, and a file that fails is removed.  Files are written beside their
place and renamed, so that any number of processes may share a directory; it belongs to the user
alone (mode 0700), since what lies there is executed.

Environment: `PULLBACK_CACHE=0` switches it off, `PULLBACK_CACHE_DIR` says where,
`PULLBACK_CACHE_SIZE` bounds it (`2GB` by default, the least recently used going first).  The
settings `compilation_cache_dir`, `enable_compilation_cache` and `compilation_cache_max_size` say
the same for one process, and for programs only: our own library stays where the environment says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from pullback import config
from pullback.llvm import jit
from pullback.version import __version__

__all__ = [
    "CacheEntry",
    "CacheStats",
    "DiskCache",
    "clear",
    "connect",
    "default_cache",
    "get",
    "library_cache",
    "put",
    "stats",
]

MAGIC: Final = b"PULLBACK"
FORMAT: Final = 1
HEADER: Final = struct.Struct("<8sIIQ32s32s")
"""Magic, format, length of the metadata, length of the code, name of the file, SHA-256 of both."""

SUFFIX: Final = ".pbo"
DEFAULT_LIMIT: Final = 2 << 30
KEEP_AFTER_EVICTION: Final = 0.8
TOUCH_AFTER: Final = 60.0
"""Seconds after which a use is noted anew in the file's time."""

LOOKED: Final = "looked"
"""The file whose time says when a process last looked at the size of everything."""

LOOK_AGAIN_AFTER: Final = 900.0
"""Seconds after which the first write of a process looks again."""

FOLDERS: Final = 256
"""Folders of the directory: the first byte of a name is that of its folder."""

MANY: Final = 32
"""Files of a folder from which on it keeps its own part of the limit."""

LOOKS_OF_A_FOLDER: Final = 16
"""One of so many writes looks at whether its folder has so many files."""

ABANDONED_AFTER: Final = 3600.0
"""Seconds after which a temporary file is nobody's any more."""


@dataclass(frozen=True)
class CacheEntry:
    """Object code with what the compiler wants to know about it."""

    payload: bytes
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Anything that JSON can hold, such as the size of the arena."""


@dataclass(frozen=True)
class CacheStats:
    """What a cache did in this process, and what it holds."""

    hits: int
    misses: int
    writes: int
    rejected: int
    """Files that were damaged, foreign or of another format."""
    errors: int
    """Failures of the file system; the cache goes on without."""
    files: int
    nbytes: int
    limit: int
    directory: Path | None


class DiskCache:
    """Entries in one directory.  No method raises because of the state of the file system.

    >>> import tempfile
    >>> cache = DiskCache(Path(tempfile.mkdtemp()) / "cache", limit=1 << 20)
    >>> cache.put(b"program", CacheEntry(b"code", {"arena_bytes": 64}))
    >>> found = cache.get(b"program")
    >>> found.payload, found.metadata["arena_bytes"]
    (b'code', 64)
    """

    def __init__(self, directory: Path | None, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._counts = dict.fromkeys(("hits", "misses", "writes", "rejected", "errors"), 0)
        self._lock = threading.Lock()
        self._unchecked = limit  # bytes written since the size was looked at; at first, look
        self._wanted = directory
        self._ready: Path | None = None

    # ------------------------------------------------------------------------------------ entries

    def get(self, key: bytes) -> CacheEntry | None:
        """The entry of `key`, or None."""
        entry = self._find(_digest(key))
        self._count("misses" if entry is None else "hits")
        return entry

    def _find(self, name: bytes) -> CacheEntry | None:
        path = self._path(name)
        found = None if path is None else self._read(path)
        entry = None
        if path is not None and found is not None:
            data, changed = found
            entry = _decode(data, name)
            if entry is None:
                self._reject(path)
            elif time.time() - changed > TOUCH_AFTER:
                with contextlib.suppress(OSError):
                    os.utime(path)
        return entry

    def put(self, key: bytes, entry: CacheEntry) -> None:
        """Keep an entry; one that is there already is replaced."""
        self._keep(_digest(key), entry)

    def _keep(self, name: bytes, entry: CacheEntry) -> None:
        data = _encode(entry, name)
        path = self._path(name)
        if path is None or len(data) > self._limit:
            return
        try:
            _write_atomically(path, data)
        except OSError:
            self._count("errors")
            return
        self._count("writes")
        self._grown(len(data), name)

    def get_object(self, key: bytes) -> jit.StoredObject | None:
        """What `jit.stored_object` kept."""
        found = self.get(key)
        if found is None:
            return None
        return jit.StoredObject(found.payload, tuple(found.metadata["symbols"]))

    def put_object(self, key: bytes, found: jit.StoredObject) -> None:
        """Keep a module of `jit.stored_object`."""
        self.put(key, CacheEntry(found.code, {"symbols": found.symbols}))

    def get_host(self, described: str) -> list[str] | None:
        """What LLVM said of a machine that was described so; other entries depend on it."""
        found = self._find(_host_digest(described))
        return None if found is None else [str(part) for part in found.metadata["host"]]

    def put_host(self, described: str, found: Sequence[str]) -> None:
        """Keep what LLVM said."""
        self._keep(_host_digest(described), CacheEntry(b"", {"host": list(found)}))

    def stats(self) -> CacheStats:
        """Counts of this process, and what lies in the directory now."""
        sizes = [info.st_size for _, info in self._files()]
        return CacheStats(
            **self._counts,
            files=len(sizes),
            nbytes=sum(sizes),
            limit=self._limit,
            directory=self._directory(),
        )

    def clear(self) -> None:
        """Remove all entries."""
        for path, _ in list(self._files()):
            self._remove(path)

    # ---------------------------------------------------------------------------------- directory

    def _directory(self) -> Path | None:
        """The directory, made if need be; None where there is none that is ours alone."""
        if self._ready is None and self._wanted is not None:
            try:
                self._ready = _private_directory(self._wanted)
            except OSError:
                self._ready = None
            if self._ready is None:
                self._wanted = None
                self._count("errors")
        return self._ready

    def _path(self, digest: bytes) -> str | None:
        """Where an entry lies, as a text: paths as objects take as long as reading the file."""
        directory = self._directory()
        name = digest.hex()
        if directory is None:
            return None
        return f"{directory}{os.sep}{name[:2]}{os.sep}{name[2:]}{SUFFIX}"

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        directory = self._directory()
        for folder in () if directory is None else _scan(directory):
            yield from _files_of(folder.path, SUFFIX)

    def _remove(self, path: str | Path) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError:
            self._count("errors")

    # ------------------------------------------------------------------------------------ reading

    def _read(self, path: str) -> tuple[bytes, float] | None:
        try:
            return _read_own_file(path)
        except FileNotFoundError:
            return None
        except PermissionError:
            self._reject(path)
        except OSError:
            self._count("errors")
        return None

    def _reject(self, path: str) -> None:
        self._count("rejected")
        self._remove(path)

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    # ---------------------------------------------------------------------------------- eviction

    def _grown(self, nbytes: int, name: bytes) -> None:
        """Look at the size after each sixteenth of the limit, and at the first write.

        Not at the first write where another process has looked a while ago: there may be many
        files, and they are of all the user's processes.  Where there are very many, each folder
        keeps its part of the limit, which some of the writes to it look at: to read half a million
        files takes seconds, and names are digests, so that all folders are alike.
        """
        with self._lock:
            first, self._unchecked = self._unchecked >= self._limit, self._unchecked + nbytes
            due = self._unchecked >= self._limit // 16
            if due:
                self._unchecked = 0
        due = due and not (first and self._looked_lately())
        directory = self._directory()
        if directory is None or not (due or name[-1] % LOOKS_OF_A_FOLDER == 0):
            return
        own = directory / name.hex()[:2]
        if len(_scan(own)) >= MANY:
            self._evict([own], self._limit // FOLDERS)
        elif due:
            self._evict([Path(folder.path) for folder in _scan(directory)], self._limit)
        if due:
            with contextlib.suppress(OSError):
                (directory / LOOKED).touch(mode=0o600)

    def _looked_lately(self) -> bool:
        directory = self._directory()
        try:
            return directory is not None and time.time() - (directory / LOOKED).stat().st_mtime < (
                LOOK_AGAIN_AFTER
            )
        except OSError:
            return False

    def _evict(self, folders: Sequence[Path], limit: int) -> None:
        """Bring what lies in some folders below a limit."""
        found = [file for folder in folders for file in _files_of(folder, SUFFIX)]
        total = sum(info.st_size for _, info in found)
        goal = limit * KEEP_AFTER_EVICTION if total > limit else limit
        for path, info in sorted(found, key=lambda item: item[1].st_mtime):
            if total <= goal:
                break
            self._remove(path)
            total -= info.st_size
        for folder in folders:
            for path, info in list(_files_of(folder, ".tmp")):
                if time.time() - info.st_mtime > ABANDONED_AFTER:
                    self._remove(path)


# ---------------------------------------------------------------------------------- files and bytes


@cache
def surroundings() -> bytes:
    """What every entry depends on besides its key."""
    return f"{jit.host_fingerprint()}\0{__version__}\0{_sources()}\0{FORMAT}\0".encode()


def _sources() -> str:
    """A digest of the names, sizes and times of our own files: an edited compiler starts afresh."""
    package = str(Path(__file__).parent.parent)
    found = []
    for folder, _, names in os.walk(package):  # pathlib takes five times as long
        for name in names:
            if name.endswith(".py"):
                path = f"{folder}{os.sep}{name}"
                info = os.stat(path)
                found.append(f"{path[len(package) :]}:{info.st_size}:{info.st_mtime_ns}")
    return hashlib.sha256("\0".join(sorted(found)).encode()).hexdigest()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(surroundings() + key).digest()


def _host_digest(described: str) -> bytes:
    return hashlib.sha256(f"host\0{__version__}\0{FORMAT}\0{described}".encode()).digest()


_METADATA: Final = json.JSONDecoder()


def _encode(entry: CacheEntry, name: bytes) -> bytes:
    metadata = json.dumps(dict(entry.metadata), separators=(",", ":")).encode()
    body = metadata + entry.payload
    check = hashlib.sha256(body).digest()
    return HEADER.pack(MAGIC, FORMAT, len(metadata), len(entry.payload), name, check) + body


def _decode(data: bytes, name: bytes) -> CacheEntry | None:
    """The entry in a file's bytes, or None where they are not what was written."""
    if len(data) < HEADER.size:
        return None
    magic, version, head, length, found, check = HEADER.unpack_from(data)
    body = data[HEADER.size :]
    if (magic, version, found) != (MAGIC, FORMAT, name) or len(body) != head + length:
        return None
    if hashlib.sha256(body).digest() != check:
        return None
    metadata, _ = _METADATA.raw_decode(body[:head].decode())
    return CacheEntry(body[head:], metadata)


def _scan(directory: str | Path) -> list[os.DirEntry[str]]:
    """What lies in a directory; nothing where it cannot be read or is none."""
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []


def _files_of(folder: str | Path, suffix: str) -> Iterator[tuple[str, os.stat_result]]:
    for file in _scan(folder):
        if file.name.endswith(suffix):
            with contextlib.suppress(OSError):  # removed meanwhile by another process
                yield file.path, file.stat(follow_symlinks=False)


def _private_directory(wanted: Path) -> Path | None:
    """Make a directory that only this user can write to; None where it belongs to another."""
    path = wanted / f"objects-{FORMAT}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name != "posix":
        return path
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        return None
    if info.st_mode & 0o077:
        path.chmod(0o700)
    return path


def _read_own_file(path: str) -> tuple[bytes, float]:
    """A regular file of this user, and when it was used; PermissionError for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:  # a symbolic link, for one
        raise PermissionError(str(error)) from None
    with open(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        foreign = os.name == "posix" and info.st_uid != os.getuid()
        if foreign or not stat.S_ISREG(info.st_mode):
            raise PermissionError(f"{path} is not a file of ours")
        return file.read(), info.st_mtime


def _write_atomically(path: str, data: bytes) -> None:
    folder = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    descriptor, temporary = tempfile.mkstemp(suffix=".tmp", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


# ------------------------------------------------------------------------------- the user's cache


def _own_directory() -> Path:
    given = os.environ.get("PULLBACK_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "pullback"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / ".cache") / "pullback"


def _parse_size(text: str) -> int:
    """Bytes in a text such as `500MB`, `2 GB` or `1048576`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?\s*", text.upper())
    if found is None:
        raise ValueError(f"PULLBACK_CACHE_SIZE must be a size such as 500MB or 2GB, not {text!r}")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " "))


def _limit() -> int:
    return _parse_size(os.environ.get("PULLBACK_CACHE_SIZE") or str(DEFAULT_LIMIT))


def _opened(given: str | None, limit: int) -> DiskCache:
    """The cache in a directory, or in that of the environment, if that does not switch it off."""
    off = os.environ.get("PULLBACK_CACHE", "1").lower() in ("0", "false", "off", "no")
    if off or not limit:
        return DiskCache(None, limit)
    try:
        return DiskCache(Path(given).expanduser() if given else _own_directory(), limit)
    except RuntimeError:  # there is no home directory
        return DiskCache(None, limit)


@cache
def default_cache() -> DiskCache:
    """The cache that the settings and the environment ask for."""
    size = config.compilation_cache_max_size()
    limit = size if size >= 0 else _limit()
    if not config.enable_compilation_cache():
        return DiskCache(None, limit)
    return _opened(config.compilation_cache_dir(), limit)


def library_cache() -> DiskCache:
    """The cache of our own library (call path, pool, kernels), which programs have in common.

    Settings that move the cache of programs, or switch it off, leave it where it is.
    """
    return _opened(None, _limit())


def get(key: bytes) -> CacheEntry | None:
    """The entry of `key` in the user's cache, or None."""
    return default_cache().get(key)


def put(key: bytes, entry: CacheEntry) -> None:
    """Keep an entry in the user's cache."""
    default_cache().put(key, entry)


def stats() -> CacheStats:
    """What the user's cache holds, and what this process did with it."""
    return default_cache().stats()


def clear() -> None:
    """Remove everything from the user's cache."""
    default_cache().clear()


def connect() -> None:
    """Keep the modules that every process needs (call path, pool, kernels) on disk."""
    jit.use_store(library_cache())


for _setting in (
    config.compilation_cache_dir,
    config.compilation_cache_max_size,
    config.enable_compilation_cache,
):
    _setting.watchers.append(default_cache.cache_clear)

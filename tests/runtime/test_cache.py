"""The cache on disk: what comes back, what is refused, what is evicted, many processes."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from pullback import config
from pullback.llvm import jit
from pullback.runtime import cache
from pullback.runtime.cache import CacheEntry, DiskCache

ENTRY = CacheEntry(b"first" * 300, {"arena_bytes": 128, "flags": ["a"]})


@pytest.fixture
def disk(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", limit=1 << 20)


def only_file(disk: DiskCache) -> Path:
    (found,) = [Path(path) for path, _ in disk._files()]
    return found


def test_round_trip(disk: DiskCache) -> None:
    assert disk.get(b"key") is None
    disk.put(b"key", ENTRY)
    assert disk.get(b"key") == ENTRY
    assert disk.get(b"other") is None
    disk.put(b"key", CacheEntry(b"new"))
    assert disk.get(b"key") == CacheEntry(b"new", {})


def test_another_cache_on_the_same_directory(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(b"key", ENTRY)
    assert DiskCache(tmp_path / "cache").get(b"key") == ENTRY


def test_directory_and_files_are_private(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(b"key", ENTRY)
    for path in [only_file(disk), only_file(disk).parent, only_file(disk).parent.parent]:
        assert path.stat().st_mode & 0o077 == 0
    (tmp_path / "cache" / f"objects-{cache.FORMAT}").chmod(0o777)
    assert DiskCache(tmp_path / "cache").get(b"key") == ENTRY
    mode = (tmp_path / "cache" / f"objects-{cache.FORMAT}").stat().st_mode
    assert stat.S_IMODE(mode) == 0o700


def test_every_truncation_is_refused(disk: DiskCache) -> None:
    disk.put(b"key", CacheEntry(b"abc", {"x": 1}))
    whole = only_file(disk).read_bytes()
    path = only_file(disk)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert disk.get(b"key") is None
        assert not path.exists()


def test_every_flipped_byte_is_refused(disk: DiskCache) -> None:
    disk.put(b"key", CacheEntry(b"abc", {"x": 1}))
    path = only_file(disk)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        assert disk.get(b"key") is None
        assert not path.exists()


def test_entry_under_another_name_is_refused(disk: DiskCache) -> None:
    disk.put(b"a", ENTRY)
    first = only_file(disk)
    data = first.read_bytes()
    disk.put(b"b", ENTRY)
    (second,) = {Path(path) for path, _ in disk._files()} - {first}
    second.write_bytes(data)
    assert disk.get(b"b") is None
    assert disk.get(b"a") == ENTRY
    assert disk.stats().rejected == 1


def test_link_is_refused(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(b"key", ENTRY)
    path = only_file(disk)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert disk.get(b"key") is None
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_foreign_file_and_directory_are_refused(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(b"key", ENTRY)
    os.chown(only_file(disk), 12345, 12345)
    assert disk.get(b"key") is None
    disk.put(b"key", ENTRY)
    os.chown(tmp_path / "cache" / f"objects-{cache.FORMAT}", 12345, 12345)
    other = DiskCache(tmp_path / "cache")
    assert other.get(b"key") is None
    other.put(b"key", ENTRY)
    assert other.stats().directory is None


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    disk = DiskCache(tmp_path / "file")
    disk.put(b"key", ENTRY)
    assert disk.get(b"key") is None
    disk.clear()
    assert disk.stats().errors == 1


def test_directory_in_the_place_of_a_file(disk: DiskCache) -> None:
    disk.put(b"key", ENTRY)
    path = only_file(disk)
    path.unlink()
    path.mkdir()
    assert disk.get(b"key") is None
    disk.put(b"key", ENTRY)
    assert disk.get(b"key") is None


def test_directory_removed_under_way(disk: DiskCache) -> None:
    disk.put(b"key", ENTRY)
    path = only_file(disk)
    path.unlink()
    path.parent.rmdir()
    (path.parent.parent / cache.LOOKED).unlink()
    path.parent.parent.rmdir()
    assert disk.get(b"key") is None
    disk.put(b"key", ENTRY)
    assert disk.stats().errors >= 0


def test_least_recently_used_go_first(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path / "cache", limit=100_000)
    for i in range(9):
        disk.put(b"%d" % i, CacheEntry(bytes(10_000)))
        path = disk._path(cache._digest(b"%d" % i))
        assert path is not None
        os.utime(path, (1000 + i, 1000 + i))
    assert disk.get(b"0") is not None  # now the most recent
    for i in range(9, 12):
        disk.put(b"%d" % i, CacheEntry(bytes(10_000)))
    assert disk.stats().nbytes <= 100_000
    assert disk.get(b"0") is not None
    assert disk.get(b"1") is None
    assert disk.get(b"11") is not None


def test_too_large_for_the_cache(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path / "cache", limit=1000)
    disk.put(b"key", CacheEntry(bytes(2000)))
    assert disk.get(b"key") is None


def test_abandoned_files_are_removed(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(b"key", ENTRY)
    old = only_file(disk).parent / "left.tmp"
    old.write_bytes(b"")
    os.utime(old, (1000, 1000))
    os.utime(old.parent.parent / cache.LOOKED, (1000, 1000))
    DiskCache(tmp_path / "cache").put(b"other", ENTRY)
    assert not old.exists()


def test_clear_and_stats(disk: DiskCache) -> None:
    disk.put(b"a", ENTRY)
    disk.put(b"b", ENTRY)
    disk.get(b"a")
    disk.get(b"c")
    found = disk.stats()
    assert (found.hits, found.misses, found.writes, found.files) == (1, 1, 2, 2)
    assert found.nbytes > 1000
    disk.clear()
    assert disk.stats().files == 0


def test_switched_off() -> None:
    disk = DiskCache(None)
    disk.put(b"key", ENTRY)
    assert disk.get(b"key") is None
    assert disk.stats().directory is None


@pytest.mark.parametrize(
    ("name", "value"), [("PULLBACK_CACHE", "0"), ("PULLBACK_CACHE", "off"), ("PULLBACK_CACHE", "1")]
)
def test_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv("PULLBACK_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PULLBACK_CACHE_SIZE", "3MB")
    monkeypatch.setenv(name, value)
    disk = cache.default_cache.__wrapped__()
    assert (disk.stats().directory is not None) == (value == "1")
    assert disk.stats().limit == 3 << 20


def test_settings_move_programs_and_not_our_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PULLBACK_CACHE_DIR", str(tmp_path / "library"))
    places: tuple[tuple[Any, Any, str | None], ...] = (
        (config.compilation_cache_dir, str(tmp_path / "programs"), "programs"),
        (config.enable_compilation_cache, False, None),
    )
    for setting, value, programs in places:
        before = setting()
        config.update(setting.name, value)
        try:
            found = (c().stats().directory for c in (cache.default_cache, cache.library_cache))
            assert [where and where.parent.name for where in found] == [programs, "library"]
        finally:
            config.update(setting.name, before)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("10", 10), ("1KB", 1024), ("1.5 MB", 3 << 19), ("2g", 2 << 30), ("1TiB", 1 << 40)],
)
def test_sizes(text: str, nbytes: int) -> None:
    assert cache._parse_size(text) == nbytes


def test_bad_size() -> None:
    with pytest.raises(ValueError, match="PULLBACK_CACHE_SIZE"):
        cache._parse_size("much")


def test_other_machine_or_version(disk: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.put(b"key", ENTRY)
    monkeypatch.setattr(cache, "surroundings", lambda: b"another machine")
    assert disk.get(b"key") is None


def hammer(directory: Path, seed: int, failures: Any) -> None:
    disk = DiskCache(directory, limit=40_000)
    for i in range(150):
        key = b"%d" % ((i * 7 + seed) % 20)
        disk.put(key, CacheEntry(key * 1000, {"key": key.decode()}))
        found = disk.get(b"%d" % (i % 20))
        if found is not None and found.payload != found.metadata["key"].encode() * 1000:
            failures.value += 1
    if disk.stats().rejected:
        failures.value += 1


def test_many_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    failures = context.Value("i", 0)
    workers = [
        context.Process(target=hammer, args=(tmp_path / "cache", seed, failures))
        for seed in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0, 0, 0]
    assert failures.value == 0


def test_support_modules_come_from_the_store(disk: DiskCache) -> None:
    jit.use_store(disk)
    try:
        texts = ["define i32 @f() { ret i32 5 }", "define i32 @f() { ret i32 6 }"]

        def write() -> tuple[str, list[str]]:
            return texts.pop(0), ["g"]

        first = jit.stored_object(write, name="f")
        assert disk.stats().writes == 1
        assert first.symbols == ("g",)
        assert jit.stored_object(write, name="f") == first
        assert disk.stats().hits == 1
        assert len(texts) == 1  # nothing was written for what the store has
        assert jit.stored_object(write, name="f", variant=2).code != first.code
    finally:
        jit.use_store(None)


def test_the_first_write_looks_at_the_size_once_for_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    evict = DiskCache._evict
    monkeypatch.setattr(DiskCache, "_evict", lambda *args: (looked.append(args), evict(*args)))
    for _ in range(3):  # as if each were a process of its own
        DiskCache(tmp_path / "cache", limit=1 << 20).put(b"key", CacheEntry(b"code"))
    assert len(looked) == 1
    (stamp,) = (tmp_path / "cache").glob(f"*/{cache.LOOKED}")
    os.utime(stamp, (0, 0))
    last = DiskCache(tmp_path / "cache", limit=1 << 20)
    last.put(b"key", CacheEntry(b"code"))
    assert len(looked) == 2
    last.put(b"large", CacheEntry(b"x" * (1 << 17)))  # an eighth of the limit: looks by itself
    assert len(looked) == 3


def test_of_very_many_files_a_write_reads_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MANY", 4)
    monkeypatch.setattr(cache, "FOLDERS", 2)
    monkeypatch.setattr(cache, "_digest", lambda key: bytes([int(key) % 2]) + key.ljust(31, b"\0"))
    read = []
    scan = cache._scan
    monkeypatch.setattr(cache, "_scan", lambda path: (read.append(path), scan(path))[1])
    disk = DiskCache(tmp_path / "cache", limit=16_000)
    for k in range(10, 30):
        disk.put(b"%d" % k, CacheEntry(b"x" * 1000))
        path = disk._path(cache._digest(b"%d" % k))
        assert path is not None
        os.utime(path, (1000 + k, 1000 + k))
    sizes = [0, 0]
    for file, info in disk._files():
        sizes[Path(file).parent.name == "01"] += info.st_size
    assert all(6_400 <= size + 1_100 <= 9_200 for size in sizes), sizes
    assert disk.get(b"29") is not None
    assert disk.get(b"10") is None
    read.clear()
    disk.put(b"30", CacheEntry(b"x" * 1000))
    assert {Path(folder).name for folder in read} <= {"00"}


FROM_DISK: Final = """
import sys
import numpy as np
import pullback as pb, pullback.numpy as jnp


@pb.jit
def transform(x):  # its roots of unity are large constants
    return jnp.fft.fft(x)

transform(np.ones(3000, np.float32))
print("pullback.loops.ir" in sys.modules, "pullback.llvm.emit" in sys.modules)
"""


def test_a_program_on_disk_needs_no_compiler(tmp_path: Path) -> None:
    """Not even one with large constants; the compiler is imported when something is compiled."""
    env = {**os.environ, "PULLBACK_CACHE_DIR": str(tmp_path), "PULLBACK_CACHE": "1"}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", FROM_DISK]
    runs = [subprocess.run(command, env=env, capture_output=True, text=True) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["True", "True"], ["False", "False"]]

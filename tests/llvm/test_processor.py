"""The description of the machine under which LLVM's answers are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pullback.llvm import jit, processor
from pullback.runtime.cache import DiskCache

FIRST = """processor\t: 0
model name\t: A processor
cpu MHz\t\t: {clock}
flags\t\t: sse2 {flag}

processor\t: 1
flags\t\t: other
"""


def test_only_what_the_processor_can_do_counts(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    found = []
    for clock, flag in (("1000", "avx2"), ("2000", "avx2"), ("1000", "avx512f")):
        info.write_text(FIRST.format(clock=clock, flag=flag))
        found.append(processor.description(info))
    assert found[0] == found[1] != found[2]
    assert "avx512f" in found[2]
    info.write_text("processor: 0\nmodel name: without features\n")
    assert processor.description(info) == ""


def test_another_installation_is_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(FIRST.format(clock="1", flag="x"))
    package = tmp_path / "a_library"
    (package / "binding").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit")  # it is not imported
    monkeypatch.syspath_prepend(str(tmp_path))
    before = processor.description(info, "a_library")
    assert before
    os.utime(package / "binding", (1, 1))
    assert processor.description(info, "a_library") not in ("", before)
    assert processor.description(info, "no_such_library") == ""


def test_llvm_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Binding:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(real, name)

    real = jit.binding
    monkeypatch.setattr(jit, "binding", Binding())
    monkeypatch.setattr(jit, "_store", DiskCache(tmp_path))
    monkeypatch.setattr(processor, "description", lambda: "this machine")
    first = jit._host.__wrapped__()
    assert "get_host_cpu_name" in asked
    asked.clear()
    assert jit._host.__wrapped__() == first
    assert not asked
    (path,) = tmp_path.rglob("*.pbo")
    path.write_bytes(path.read_bytes()[:-1])
    assert jit._host.__wrapped__() == first  # asked again
    assert asked

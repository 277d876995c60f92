"""The examples run, say what they should, and draw."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Path:
    picture = folder / f"{name}.png"
    monkeypatch.setattr(sys, "argv", [name, "--output", str(picture), *options])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return picture


def test_lorenz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = run("lorenz", tmp_path, monkeypatch, "--steps", "200")
    assert picture.stat().st_size > 10_000
    assert capsys.readouterr().out.count("jacrev") == 3


def test_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = run("digits", tmp_path, monkeypatch, "--epochs", "6")
    assert picture.stat().st_size > 10_000
    found = re.search(r"test accuracy ([\d.]+)%", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) > 95

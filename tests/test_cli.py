"""The command `pullback`, as other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pullback
from pullback.llvm import (
    attention_kernels,
    direct_kernels,
    fft_kernels,
    gemm,
    library,
    sort_kernels,
    top_kernels,
)

SCRIPT = """
import sys
import jax
import jax.numpy as jnp
from jax import lax
import helper

print(sys.argv, __name__)
print(jax.grad(lambda x: helper.twice(jnp.sin(x)))(0.0), jax.__version__)
sys.exit(int(sys.argv[-1]))
"""


def _command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pullback", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def _program(folder: Path, text: str = SCRIPT) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "program.py"
    path.write_text(text)
    (folder / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    return path


def test_run_script(tmp_path: Path) -> None:
    path = _program(tmp_path / "here")
    done = _command("run", str(path), "--flag", "-m", "7")
    assert done.returncode == 7, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"{[str(path), '--flag', '-m', '7']} __main__"
    assert second == "2.0 0.10.2"


def test_run_module(tmp_path: Path) -> None:
    _program(tmp_path / "here")
    done = _command("run", "-m", "program", "0", cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "2.0 0.10.2"


def test_errors_of_the_program_are_its_own(tmp_path: Path) -> None:
    path = _program(tmp_path, "import jax\nraise ValueError('from the program')\n")
    done = _command("run", str(path))
    assert done.returncode == 1
    assert "program.py" in done.stderr
    assert "ValueError: from the program" in done.stderr


def test_no_such_script(tmp_path: Path) -> None:
    done = _command("run", str(tmp_path / "nothing.py"))
    assert done.returncode == 2
    assert "cannot open" in done.stderr


def test_doctor(tmp_path: Path) -> None:
    done = _command("doctor", str(_program(tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    assert lines["pullback"].strip() == pullback.__version__
    assert lines["devices"].strip() == "cpu:0"
    assert int(lines["threads"]) >= 1
    assert {"numpy", "scipy", "llvmlite", "cache", "processor", "plugins"} <= lines.keys()


def test_doctor_says_what_is_missing(tmp_path: Path) -> None:
    path = _program(
        tmp_path,
        "import jax, jax.numpy as jnp\n"
        "import jax.no_such_module\n"
        "from jax.numpy import sin, no_such_name\n"
        "import no_such_library\n"
        "y = jnp.no_such_function(jnp.cos(1.0).no_such_attribute)\n"
        "z = jax.lax.no_such_operation\n",
    )
    done = _command("doctor", str(tmp_path))
    assert done.returncode == 1
    problems = [line for line in done.stdout.splitlines() if line.startswith(str(path))]
    assert problems == [
        f"{path}:2: jax.no_such_module is not supported",
        f"{path}:3: jax.numpy.no_such_name is not supported",
        f"{path}:5: jax.numpy.no_such_function is not supported",
        f"{path}:6: jax.lax.no_such_operation is not supported",
        f"{path}:4: the library no_such_library is not installed",
    ]


def test_prepare_fills_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULLBACK_CACHE_DIR", str(tmp_path))
    done = _command("prepare")
    assert done.returncode == 0, done.stderr
    count = len([*attention_kernels.KERNELS, *direct_kernels.KERNELS])
    count += len([*gemm.KERNELS, *fft_kernels.KERNELS, *sort_kernels.KERNELS])
    count += len(top_kernels.KERNELS) + len(library.optional_kernels())
    assert f"{count} kernels" in done.stdout
    assert str(tmp_path) in done.stdout
    assert len(list(tmp_path.rglob("*.pbo"))) > 5

"""`jax.debug`: printing from programs, callbacks with static arguments, the breakpoint prompt."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit])
def test_formats(wrap: Any, capsys: pytest.CaptureFixture[str]) -> None:
    @wrap
    def f(x: Any, y: Any) -> None:
        pb.debug.print("{} and {b:.2f}; {c!r}", x, b=y, c="text")
        pb.debug.print("{x[0]} {{}}", x=x)
        pb.debug.print("nothing")
        pb.debug.print("{:{width}}|", "a", width="4")

    f(jnp.arange(3), 1.5)
    assert printed(capsys) == ["[0 1 2] and 1.50; 'text'", "0 {}", "nothing", "a   |"]


def test_print_in_jit(capsys: pytest.CaptureFixture[str]) -> None:
    @pb.jit
    def f(x: Any) -> Any:
        pb.debug.print("x={x} {name}", x=x, name="static", ordered=True)
        return x

    f(jnp.arange(3))
    f(jnp.arange(3) + 1)
    assert printed(capsys) == ["x=[0 1 2] static", "x=[1 2 3] static"]


def test_print_options_are_those_of_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    with np.printoptions(precision=2):
        f = pb.jit(lambda x: pb.debug.print("{}", x)).lower(jnp.ones(2) / 3).compile()
    f(jnp.ones(2) / 3)
    assert printed(capsys) == ["[0.33 0.33]"]


@pytest.mark.parametrize(
    ("error", "fmt", "args", "kwargs"),
    [
        (TypeError, 3, (), {}),
        (IndexError, "{}", (), {}),
        (KeyError, "{x}", (), {}),
        (ValueError, "{}", (1, 2), {}),
        (ValueError, "f-string", (), {"x": 1}),
    ],
)
def test_formats_are_checked_early(error: Any, fmt: Any, args: Any, kwargs: Any) -> None:
    with pytest.raises(error, match=r"debug\.print"):
        pb.debug.print(fmt, *args, **kwargs)


def test_callback_with_static_arguments() -> None:
    seen: list[Any] = []

    @pb.jit
    def f(x: Any) -> None:
        pb.debug.callback(lambda *a, **k: seen.append((a, k)), "label", [x, None], key=len)

    f(2)
    (args, kwargs), *rest = seen
    assert not rest
    assert args[0] == "label"
    assert int(args[1][0]) == 2
    assert kwargs == {"key": len}


def test_grad_of_print(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        pb.debug.print("{:.1f}", x)
        return x * x

    assert float(pb.jit(pb.grad(f))(3.0)) == 6.0
    assert float(pb.jit(pb.hessian(f))(3.0)) == 2.0
    assert printed(capsys) == ["3.0", "3.0"]


def test_breakpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    commands = "p x\npp y\nw\nlocals\nl\nz\nx + 1\n\nc\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(commands))

    @pb.jit
    def f(x: Any) -> Any:
        y = x * 2
        pb.debug.breakpoint()
        return y

    assert float(f(1.5)) == 3.0
    out = capsys.readouterr().out
    assert "1.5" in out
    assert "3.0" in out
    assert "in f" in out
    assert "*** NameError" in out
    assert "2.5" in out
    assert "pb.debug.breakpoint()" in out


def test_quitting_a_breakpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))

    def f(x: Any) -> Any:
        pb.debug.breakpoint()
        return x

    with pytest.raises(KeyboardInterrupt):
        pb.jit(f)(1.0)

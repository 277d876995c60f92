"""`jax.debug`: printing from programs, callbacks with static arguments, the breakpoint prompt."""

from __future__ import annotations

import io
from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.core.sharding import Sharding

oracle: Any = jax


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


def test_commands_of_the_breakpoint() -> None:
    out = io.StringIO()
    text = "p x\np y\nlist\nbt\nu\np outer\nd\np z\nup\nup\nfoo\ncontinue\n"

    def inner(x: Any) -> Any:
        y = x * 2
        pb.debug.breakpoint(stdin=io.StringIO(text), stdout=out, num_frames=2, backend="cli")
        return y

    def around(x: Any) -> Any:
        outer = x + 1
        return inner(outer)

    assert float(around(1.0)) == 4.0
    rows = out.getvalue().replace("(jdb) ", "").split("\n")
    assert rows[:3] == ["Entering jdb:", "2.0", "4.0"]
    assert any(row.startswith("->") and "pb.debug.breakpoint(" in row for row in rows)
    frames = [row.rsplit(" ", 1)[1] for row in rows if row.startswith('  File "')]
    assert frames == ["around", "inner"]
    after = rows[rows.index("Traceback:") :]
    assert any(row.startswith("->") and "inner(outer)" in row for row in after)
    assert "2.0" in after
    assert "*** Oldest frame" in after
    assert [row for row in after if "NameError" in row] == [
        "*** NameError: name 'z' is not defined",
        "*** NameError: name 'foo' is not defined",
    ]


def test_breakpoint_in_a_loop_sees_each_step() -> None:
    out = io.StringIO()

    @pb.jit
    def f(x: Any) -> Any:
        def step(c: Any, i: Any) -> Any:
            text = io.StringIO("p int(i), float(c)\nc\n" * 3)
            pb.debug.breakpoint(stdin=text, stdout=out, ordered=True, num_frames=1)
            return c * 2, None

        return pb.lax.scan(step, x, jnp.arange(3))[0]

    assert float(f(1.0)) == 8.0
    shown = [row for row in out.getvalue().replace("(jdb) ", "").split("\n") if "(" in row]
    assert shown == ["(0, 1.0)", "(1, 2.0)", "(2, 4.0)"]


@pytest.mark.parametrize("ordered", [False, True])
def test_breakpoint_with_a_token(ordered: bool) -> None:
    out = io.StringIO()

    def f(x: Any, used: bool) -> Any:
        y = {"a": x * 2}
        text = io.StringIO("p float(x)\nc\n")
        token = pb.debug.breakpoint(token=y, stdin=text, stdout=out, ordered=ordered, num_frames=1)
        return token["a"] + 1 if used else x

    assert float(pb.jit(f, static_argnums=1)(3.0, True)) == 7.0
    assert "3.0" in out.getvalue()
    if not ordered:
        out.truncate(0)
        assert float(pb.jit(f, static_argnums=1)(3.0, False)) == 3.0
        assert out.getvalue() == ""


def test_breakpoint_options_are_checked() -> None:
    with pytest.raises(ValueError, match="no debugger"):
        pb.debug.breakpoint(backend="web")
    with pytest.raises(TypeError, match="unexpected"):
        pb.debug.breakpoint(colour=True)


def test_log_goes_to_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="pullback.debug"):
        pb.jit(lambda x: pb.debug.log("x={x} {}", x, x=x))(1.5)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("x=1.5 1.5", "INFO")
    with pytest.raises(ValueError, match="does not use"):
        pb.debug.log("x", 1.0)


def test_options_without_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []

    @pb.debug.callback(ordered=True)
    def note(x: Any) -> None:
        seen.append(float(x))

    def f(x: Any) -> Any:
        note(x)
        pb.debug.print(ordered=True)("{}", x)
        return x

    assert repr(pb.make_jaxpr(f)(1.0).effects) == "frozenset({OrderedDebug})"
    pb.jit(f)(2.0)
    assert seen == [2.0]
    assert printed(capsys) == ["2.0"]


def test_effect_types() -> None:
    (effect,) = pb.make_jaxpr(lambda x: pb.debug.print("{}", x))(1.0).effects
    assert isinstance(effect, pb.debug.DebugEffect)
    assert pb.debug.DebugEffect() == effect
    (effect,) = pb.make_jaxpr(lambda x: pb.debug.print("{}", x, ordered=True))(1.0).effects
    assert isinstance(effect, pb.debug.OrderedDebugEffect)
    assert pb.debug.DebugEffect() != effect


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((8,), {}),
        ((4, 4), {}),
        ((2, 8), {"max_width": 40}),
        ((4, 4), {"scale": 0.5}),
        ((8, 2), {"min_width": 20}),
    ],
)
def test_pictures_of_shardings_are_those_of_jax(
    shape: Any, options: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle.debug.visualize_array_sharding(oracle.device_put(np.ones(shape)), **options)
    want = capsys.readouterr().out
    pb.debug.visualize_array_sharding(jnp.ones(shape), **options)
    assert capsys.readouterr().out == want
    pb.jit(lambda x: pb.debug.visualize_array_sharding(x, **options))(jnp.ones(shape))
    assert capsys.readouterr().out == want


class _Halves(Sharding):
    """Four quarters, the last of which two devices hold."""

    def devices_indices_map(self, global_shape: Any) -> Any:
        rows, columns = global_shape
        upper, lower = slice(0, rows // 2), slice(rows // 2, rows)
        left, right = slice(0, columns // 2), slice(columns // 2, columns)
        parts = [(upper, left), (upper, right), (lower, left), (lower, right), (lower, right)]
        return dict(zip(map(_FakeDevice, range(5)), parts, strict=True))


class _FakeDevice:
    def __init__(self, number: int) -> None:
        self.id = number


def test_a_picture_of_several_parts(capsys: pytest.CaptureFixture[str]) -> None:
    pb.debug.visualize_sharding((4, 4), _Halves())
    assert printed(capsys) == [
        "┌──────────┬──────────┐",
        *["│          │          │"] * 1,
        "│  CPU 0   │  CPU 1   │",
        *["│          │          │"] * 2,
        "├──────────┼──────────┤",
        *["│          │          │"] * 1,
        "│  CPU 2   │ CPU 3,4  │",
        *["│          │          │"] * 2,
        "└──────────┴──────────┘",
    ]
    with pytest.raises(ValueError, match="one or two axes"):
        pb.debug.visualize_array_sharding(jnp.ones((2, 2, 2)))

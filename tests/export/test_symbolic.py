"""Symbolic shapes: expressions and their bounds, texts, errors, and programs called for sizes."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import export, lax
from pullback import numpy as jnp
from pullback.core.dimension_specs import parse_shape, solve
from pullback.core.dimensions import bounds, evaluate, larger, slice_indices
from pullback.errors import InconclusiveDimensionOperation, UnsupportedError
from tests.export.programs import modules_of_ours, sample, symbolic_programs

SYMBOLIC = symbolic_programs(modules_of_ours())


def _shape(text: str, *constraints: str) -> Any:
    return export.symbolic_shape(text, constraints=constraints)


def test_expressions_are_written_as_polynomials() -> None:
    b, c = _shape("b, c")
    shown = {
        str(b * c + 2 * b - 1): "b*c + 2*b - 1",
        str(b * b): "b^2",
        str(-b + 4): "- b + 4",
        str((2 * b + 4) // 2): "b + 2",
        str((b + c) // 2): "floordiv(c + b, 2)",
        str(b % 2): "mod(b, 2)",
        str((4 * b + 2) % 4): "2",
        str(larger(b, c)): "max(b, c)",
    }
    assert list(shown) == list(shown.values())
    assert b - b == 0
    assert type(b - b) is int


def _random_expression(source: random.Random, names: str, depth: int) -> str:
    if depth == 0 or source.random() < 0.2:
        return source.choice([*names, str(source.randrange(1, 5))])
    left, right = (_random_expression(source, names, depth - 1) for _ in range(2))
    sign = source.choice(["+", "-", "*", "floordiv", "mod", "max", "min"])
    if sign in "+-*":
        return f"({left} {sign} {right})"
    if sign in ("floordiv", "mod"):
        right = str(source.randrange(1, 6))
    return f"{sign}({left}, {right})"


def test_expressions_are_the_functions_that_they_say() -> None:
    """Parsed, simplified, printed and parsed again: values and bounds are those of Python."""
    source = random.Random(1)
    scope: dict[str, Any] = {
        "floordiv": lambda x, y: x // y,
        "mod": lambda x, y: x % y,
        "max": max,
        "min": min,
    }
    for _ in range(150):
        text = _random_expression(source, "abc", 3)
        (e,) = _shape(text)
        (again,) = parse_shape(str(e), export.SymbolicScope())
        low, high = bounds(e)
        for a, b, c in itertools.product((1, 2, 5), (1, 4), (1, 3)):
            values = {"a": a, "b": b, "c": c}
            want = eval(text, scope, values)
            assert evaluate(e, values) == want, text
            assert evaluate(again, values) == want, text
            assert low <= want <= high, (text, low, high)


def test_comparisons() -> None:
    b, c = _shape("b, c")
    assert b >= 1
    assert b + c > 1
    assert not b < 1
    assert b != 0
    assert b != c
    assert 2 * b >= b + 1
    for question in (lambda: b >= 2, lambda: b < c, lambda: int(b), lambda: max(b, 3)):
        with pytest.raises(InconclusiveDimensionOperation):
            question()
    with pytest.raises(InconclusiveDimensionOperation, match=r"'b' >= '2' is inconclusive"):
        _ = b >= 2
    with pytest.raises(TypeError):
        _ = b >= "x"
    with pytest.raises(ValueError, match="scopes"):
        _ = b + _shape("b")[0]


def test_operations_have_bounds() -> None:
    b, c = _shape("b, c")
    assert larger(2, b, least=True) <= b
    assert larger(c, b) >= b
    assert b // 2 <= b
    assert 2 * (b // 2) <= b
    assert b - 1 % b > 0
    assert b % c < c


def test_constraints_decide() -> None:
    a, b, c = _shape("a, b, c", "b >= 3", "a == 2*b", "mod(c, 4) == 0", "c <= 8")
    assert str(a) == "2*b"
    assert b >= 3
    assert c % 4 == 0
    assert c < 9
    assert bounds(c) == (1, 8)
    assert solve([(2 * b, 8, "x"), (c, 4, "y")]) == {"b": 4, "c": 4}
    for pairs, message in (
        ([(2 * b, 7, "x")], "no b >= 1"),
        ([(2 * b, 4, "x")], "b >= 3"),
        ([(c, 6, "x")], r"mod\(c, 4\) == 0"),
        ([(c, 12, "x")], "c <= 8"),
        ([(b, 3, "x"), (b + 1, 5, "y")], "y is 5"),
        ([(b * c, 12, "x")], "cannot be found"),
    ):
        with pytest.raises(ValueError, match=message):
            solve(pairs)
    for wrong in ("c >= ", "3 >= 2", "b + c == 4", "b"):
        with pytest.raises(ValueError, match="constraint"):
            export.SymbolicScope([wrong])


def test_texts_of_shapes() -> None:
    assert export.symbolic_shape("2, 3") == (2, 3)
    assert export.symbolic_shape("") == ()
    assert str(export.symbolic_shape("(b, 2)")) == "(b, 2)"
    assert str(export.symbolic_shape("b, _, ...", like=(2, 3, 4))) == "(b, 3, 4)"
    assert export.symbolic_shape(None, like=(2,)) == (2,)
    for text in ("b c", "b, $", "floordiv(b)", "b ^ c", "(" * 200, "b ** 2", "..."):
        with pytest.raises(ValueError, match="symbolic shape"):
            export.symbolic_shape(text)
    with pytest.raises(ValueError, match="axes"):
        export.symbolic_shape("b", like=(2, 3))
    specs = export.symbolic_args_specs(
        (np.ones((2, 3), np.float32), {"x": np.ones(4, np.float32)}), ("b, ...", {"x": "n"})
    )
    assert str(specs[0].shape) == "(b, 3)"
    assert str(specs[1]["x"].shape) == "(n,)"


def test_slices_are_those_of_lists() -> None:
    (n,) = _shape("n", "n >= 3")
    parts = [slice(1, None), slice(None, -1), slice(None, None, -1), slice(-2, None), slice(0, 2)]
    parts += [slice(None, None, 2), slice(1, -1), slice(n - 1, None), slice(None, n - 1)]
    for s in parts:
        start, size, step = slice_indices(s, n)
        for length in (3, 4, 9):
            values = {"n": length}
            known = slice(*(evaluate(v, values) for v in (s.start, s.stop, s.step)))
            want = range(length)[known]
            assert evaluate(size, values) == len(want), s
            assert evaluate(start, values) == want.start, s
            assert step == want.step, s


@pytest.mark.parametrize("name", SYMBOLIC)
def test_programs_are_called_for_any_size(name: str) -> None:
    fun, specs = SYMBOLIC[name]
    scope = export.SymbolicScope()
    types = [pb.ShapeDtypeStruct(export.symbolic_shape(s, scope=scope), "float32") for s in specs]
    exported = export.deserialize(export.export(pb.jit(fun))(*types).serialize())
    for sizes in ({"b": 3, "c": 2}, {"b": 1, "c": 4}):
        args = [sample(s, sizes) for s in specs]
        got, want = (pb.tree.leaves(f(*args)) for f in (exported.call, pb.jit(fun)))
        for a, b in zip(got, want, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), 1e-5, 1e-6)


def test_an_exported_function_inside_of_transformations() -> None:
    types = pb.ShapeDtypeStruct(_shape("b, 3"), "float32")
    exported = export.export(pb.jit(lambda x: jnp.tanh(x).sum(1)))(types)
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(pb.vmap(exported.call)(x), np.tanh(x).sum(2), 1e-5)
    slope = pb.grad(lambda y: exported.call(y).sum())(x[0])
    np.testing.assert_allclose(slope, 1 - np.tanh(x[0]) ** 2, 1e-5, 1e-6)


def test_an_exported_function_inside_of_another() -> None:
    types = pb.ShapeDtypeStruct(_shape("b, 3"), "float32")
    inner = export.export(pb.jit(lambda x: x + 1))(types)
    outer = export.export(pb.jit(lambda x: 2 * inner.call(x)))(np.ones((4, 3), np.float32))
    assert float(outer.call(np.ones((4, 3), np.float32))[0, 0]) == 4.0
    with pytest.raises(UnsupportedError, match="called with the symbolic"):
        export.export(pb.jit(inner.call))(types)


def test_what_depends_on_a_size_is_an_error_that_says_so() -> None:
    types = pb.ShapeDtypeStruct(_shape("b, 3"), "float32")

    def branches(x: Any) -> Any:
        return x if x.shape[0] > 2 else 2 * x

    with pytest.raises(InconclusiveDimensionOperation, match="constraint"):
        export.export(pb.jit(branches))(types)
    decided = pb.ShapeDtypeStruct(_shape("b, 3", "b >= 3"), "float32")
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(export.export(pb.jit(branches))(decided).call(x), x)
    with pytest.raises(InconclusiveDimensionOperation):
        export.export(pb.jit(lambda x: x + np.ones(int(x.shape[0]))[:, None]))(types)
    both = pb.ShapeDtypeStruct(_shape("a*b, 3"), "float32")
    with pytest.raises(UnsupportedError, match="linear"):
        export.export(pb.jit(lambda x: x + 1))(both)


def test_shapes_that_do_not_fit_are_errors() -> None:
    scope = export.SymbolicScope(["b >= 2"])
    types = [
        pb.ShapeDtypeStruct(export.symbolic_shape(s, scope=scope), "float32")
        for s in ("b, c", "c, 2*b")
    ]
    exported = export.export(pb.jit(lambda x, y: x @ y))(*types)
    assert exported.call(np.ones((2, 3), "float32"), np.ones((3, 4), "float32")).shape == (2, 4)
    for first, second, message in (
        ((1, 3), (3, 2), "b >= 2"),
        ((2, 3), (3, 5), "is 5, expected"),
        ((2, 3), (4, 4), "is 4, expected"),
        ((2, 3, 1), (3, 4), "leaf 0"),
    ):
        with pytest.raises(ValueError, match=message):
            exported.call(np.ones(first, "float32"), np.ones(second, "float32"))


def test_symbolic_shapes_are_for_export() -> None:
    types = pb.ShapeDtypeStruct(_shape("b, 3"), "float32")
    lowered = pb.jit(lambda x: x + x.shape[0]).lower(types)
    assert "tensor<?x3xf32>" in lowered.as_text()
    with pytest.raises(UnsupportedError, match="not compiled"):
        lowered.compile()
    with pytest.raises(UnsupportedError, match="for export"):
        jnp.ones(types.shape)
    assert str(pb.eval_shape(lambda x: lax.concatenate([x, x], 0), types).shape) == "(2*b, 3)"

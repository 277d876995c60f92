"""What eager calls do, counted: calls of the evaluator, programs, traces; never time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.scipy.linalg
import pullback.scipy.stats
from pullback import numpy as jnp
from pullback import tree
from pullback.core.trace import EVAL
from pullback.numpy import sets
from pullback.runtime.jit import JitFunction
from pullback.transforms import staging

x = jnp.linspace(-1.0, 1.0, 6)
m = x.reshape(2, 3)
i = jnp.arange(6)
square = m.T @ m + jnp.eye(3)
pair = jnp.array([1, 2])


@pytest.fixture
def evaluated() -> Any:
    """The primitives that were evaluated one by one."""
    before, names = EVAL.evaluator, []

    def evaluate(primitive: Any, args: Any, params: Any) -> Any:
        names.append(primitive.name)
        return before(primitive, args, params)

    EVAL.evaluator = evaluate
    yield names
    EVAL.evaluator = before


def _python_calls(fun: Callable[[], Any]) -> int:
    """How many Python functions of ours a call runs."""
    count = 0

    def note(frame: Any, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and "pullback" in frame.f_code.co_filename

    fun()
    sys.setprofile(note)
    try:
        fun()
    finally:
        sys.setprofile(None)
    return count


PROGRAMS: dict[str, Callable[[], Any]] = {
    "var": lambda: jnp.var(m, axis=0),
    "std": lambda: m.std(1, keepdims=True),
    "mean": lambda: m.mean(axis=(0, 1)),
    "median": lambda: jnp.median(x),
    "quantile": lambda: jnp.quantile(m, 0.3, axis=1, method="lower"),
    "interp": lambda: jnp.interp(0.3, x, x),
    "searchsorted": lambda: jnp.searchsorted(x, 0.1, side="right"),
    "linspace": lambda: jnp.linspace(0, 1, num=4),
    "remainder": lambda: i % 4,
    "floor": lambda: i // 4,
    "allclose": lambda: jnp.allclose(x, x),
    "clip": lambda: jnp.clip(x, -0.5, 0.5),
    "take": lambda: jnp.take(x, i, axis=0, mode="clip"),
    "pad": lambda: jnp.pad(x, 2, mode="edge"),
    "trace": lambda: jnp.trace(m),
    "roll": lambda: jnp.roll(x, 2),
    "norm": lambda: jnp.linalg.norm(x, ord=1),
    "logaddexp": lambda: jnp.logaddexp(x, 0.0),
    "gcd": lambda: jnp.gcd(i, 4),
    "sinc": lambda: jnp.sinc(x),
    "nan_to_num": lambda: jnp.nan_to_num(x, posinf=2.0),
    "gradient": lambda: jnp.gradient(x),
    "nanmax": lambda: jnp.nanmax(m, axis=1),
    "average": lambda: jnp.average(m, axis=0, weights=pair),
    "vander": lambda: jnp.vander(x, 3),
    "take_along_axis": lambda: jnp.take_along_axis(x, i, 0),
    "polyfit": lambda: jnp.polyfit(x, x, 1),
    "isin": lambda: jnp.isin(i, pair),
    "fft": lambda: jnp.fft.fft(x),
    "irfft2": lambda: jnp.fft.irfft2(m, s=(2, 4)),
    "inverse": lambda: jnp.linalg.inv(square),
    "solve": lambda: jnp.linalg.solve(square, square),
    "matrix_rank": lambda: jnp.linalg.matrix_rank(m),
    "singular values": lambda: jnp.linalg.svd(m, compute_uv=False),
    "expm": lambda: pb.scipy.linalg.expm(square),
    "rankdata": lambda: pb.scipy.stats.rankdata(x),
    "resize": lambda: pb.image.resize(m, (4, 4), "linear"),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_library_functions_are_one_native_call(
    case: str, evaluated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = PROGRAMS[case]
    expected = call()
    evaluated.clear()
    monkeypatch.setattr(JitFunction, "_miss", None)
    assert np.array_equal(call(), expected)
    assert evaluated == []


def test_unique_is_one_program_for_all_numbers_of_values() -> None:
    jnp.unique(i)
    before = sets._unique_parts.__closure__
    assert before is not None
    (program,) = [c.cell_contents for c in before if isinstance(c.cell_contents, JitFunction)]
    program.clear_cache()
    for data in ([1, 1, 1, 1, 1], [1, 2, 1, 2, 1], [5, 4, 3, 2, 1]):
        found = jnp.unique(jnp.array(data))
        assert found.tolist() == sorted(set(data))
        assert jnp.setdiff1d(jnp.array(data), jnp.array([1])).tolist() == sorted(set(data) - {1})
    assert program._cache_size() == 1


def test_an_offered_array_has_the_bits_of_the_array() -> None:
    class Offered:
        def __jax_array__(self) -> Any:
            return m

    for name in ("svd", "pinv", "matrix_rank"):
        function = getattr(jnp.linalg, name)
        for a, b in zip(tree.leaves(function(m)), tree.leaves(function(Offered())), strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_the_function_itself_gets_what_no_program_takes() -> None:
    class Offered:
        def __jax_array__(self) -> Any:
            return x

    assert np.allclose(jnp.var(Offered()), jnp.var(x))
    assert jnp.mean(x, axis=jnp.array(0)).shape == ()
    assert jnp.pad(x, np.array([[1, 2]])).shape == (9,)
    with pytest.raises(TypeError, match="median requires ndarray or scalar arguments"):
        jnp.median("text")
    with pytest.raises(TypeError, match="var requires ndarray or scalar arguments"):
        jnp.var([1.0, 2.0])


SHORTCUTS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "rows": (lambda: list(m), lambda: list(np.asarray(m))),
    "elements": (lambda: list(x), lambda: list(np.asarray(x))),
    "stack": (lambda: [jnp.stack([m, m], 1)], lambda: [np.stack([m, m], 1)]),
    "where": (lambda: [jnp.where(x > 0, x, 0.0)], lambda: [np.where(x > 0, x, np.float32(0))]),
    "vectors": (lambda: [x @ x], lambda: [np.dot(x, x)]),
    "matrix and vector": (lambda: [jnp.dot(m, x[:3])], lambda: [np.dot(m, x[:3])]),
}


@pytest.mark.parametrize("case", SHORTCUTS)
def test_shortcuts_give_what_numpy_gives(case: str) -> None:
    ours, numpys = SHORTCUTS[case]
    for a, b in zip(ours(), numpys(), strict=True):
        assert isinstance(a, pb.Array)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.array_equal(a, b)


@pytest.fixture(scope="module")
def counts() -> dict[str, int]:
    """Calls of each shortcut, and of a gradient, in a process where nothing else has happened.

    Arrays on other devices, which other tests may leave, turn shortcuts off.
    """
    command = [sys.executable, "-m", "tests.runtime.test_eager_calls"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("case", SHORTCUTS)
def test_shortcuts_evaluate_nothing_else(case: str, counts: dict[str, int]) -> None:
    ours, _ = SHORTCUTS[case]
    assert counts[case] < 60
    jaxpr = pb.make_jaxpr(lambda: ours())()  # traced, every operation takes part
    assert jaxpr.out_avals


def test_rows_of_weak_arrays_and_keys() -> None:
    assert all(row.weak_type for row in jnp.full((3, 2), 1.0) * 1 if row.weak_type)
    keys = pb.random.split(pb.random.key(0), 3)
    assert [pb.random.key_data(k).tolist() for k in keys] == pb.random.key_data(keys).tolist()
    with pytest.raises(TypeError, match="0-d"):
        iter(x[0])


def test_where_keeps_to_the_rules_of_types() -> None:
    mask = jnp.array([True, False])
    assert jnp.where(mask, jnp.arange(2), 0.5).dtype == "float32"
    assert jnp.where(mask, jnp.ones(2, "bfloat16"), 1).dtype == "bfloat16"
    assert jnp.where(mask, 1.0, 2.0).weak_type
    assert jnp.where(mask, jnp.ones((3, 2)), jnp.zeros(2)).shape == (3, 2)
    assert jnp.where(jnp.array([1, 0]), jnp.ones(2), 0.0).tolist() == [1.0, 0.0]


def test_types_of_a_linear_map_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = pb.grad(lambda x: jnp.sin(x) * x)
    expected = gradient(0.7)
    calls: list[Any] = []
    before = staging.abstract_results
    monkeypatch.setattr(staging, "abstract_results", lambda *a: calls.append(a) or before(*a))
    assert gradient(0.7) == expected
    assert calls == []


def test_a_gradient_runs_few_functions(counts: dict[str, int]) -> None:
    assert counts["gradient"] <= 154


def test_the_seed_of_gradients_is_not_given_away() -> None:
    identity = pb.grad(lambda x: x)
    first = identity(jnp.float32(2.0))
    first.delete()
    assert float(identity(jnp.float32(2.0))) == 1.0


def test_attributes_of_arrays_take_no_python_route_until_elements_may_be_absent() -> None:
    program = """
import numpy as np
import pullback as pb
from pullback import numpy as jnp
from pullback.runtime.array import ArrayImpl

x = jnp.arange(3.0)
assert not hasattr(ArrayImpl, "__getattr__"), "NumPy asks for three attributes that are not there"
assert np.shares_memory(np.asarray(x), x._data) and not x.is_deleted()
y = jnp.ones(3)
step = pb.jit(lambda v: v + 1, donate_argnums=0)
z = step(y)
assert y.is_deleted() and not x.is_deleted() and not z.is_deleted()
for f in (np.asarray, lambda v: v + 1, lambda v: v.tolist(), step):
    try:
        f(y)
    except RuntimeError as error:
        assert "Array has been deleted with shape=float32[3]" in str(error), error
    else:
        raise AssertionError(f)
try:
    x.nothing
except AttributeError as error:
    assert "'ArrayImpl' object has no attribute 'nothing'" in str(error), error
assert np.asarray(x).tolist() == [0, 1, 2]
z.delete()
z.delete()
assert z.is_deleted()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


if __name__ == "__main__":
    gradient = pb.grad(jnp.sin)
    found = {case: _python_calls(ours) for case, (ours, _) in SHORTCUTS.items()}
    print(json.dumps(found | {"gradient": _python_calls(lambda: gradient(1.0))}))

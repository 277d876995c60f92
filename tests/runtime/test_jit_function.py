"""`jit` as users meet it: signatures, static arguments, pytrees, caching, other transformations."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.llvm.entry import make_entry
from pullback.runtime import compile as runtime_compile
from pullback.runtime import jit as runtime_jit


class Point(NamedTuple):
    x: Any
    y: Any


def counted(fun: Any) -> tuple[Any, list[int]]:
    """`fun` with a counter of how often Python ran it."""
    runs: list[int] = []

    @functools.wraps(fun)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        runs.append(1)
        return fun(*args, **kwargs)

    return wrapper, runs


def test_traced_once_per_type() -> None:
    fun, runs = counted(lambda x: x * 2)
    f = pb.jit(fun)
    for _ in range(3):
        assert float(f(jnp.float32(1.5))) == 3.0
    assert len(runs) == 1
    f(jnp.ones(3))
    f(jnp.ones(3, "int32"))
    f(1.0)  # weakly typed
    assert len(runs) == 4
    f(jnp.ones(3))
    f(2.0)
    assert len(runs) == 4


def test_weak_types_of_python_scalars_are_kept() -> None:
    f = pb.jit(lambda x: x)
    assert f(1.0).weak_type
    assert not f(jnp.float32(1.0)).weak_type
    assert pb.jit(lambda x, y: x + y)(jnp.ones(2, "bfloat16"), 1.0).dtype == jnp.bfloat16


def test_results_that_are_arguments_or_constants_are_not_copied() -> None:
    x, c = jnp.arange(5.0), jnp.arange(3.0)
    f = pb.jit(lambda x: (x, c, 7, x + 1))
    for _ in range(2):
        same, const, seven, new = f(x)
        assert same is not x
        assert same.unsafe_buffer_pointer() == x.unsafe_buffer_pointer()
        assert const.tolist() == c.tolist()
        assert int(seven) == 7
        assert new.tolist() == [1, 2, 3, 4, 5]
        for result in (same, const, seven):
            result.delete()  # what was returned is the caller's, and nobody else's
    assert not x.is_deleted()
    assert not c.is_deleted()


def test_an_argument_that_is_given_away_and_returned_lives_on_as_the_result() -> None:
    f = pb.jit(lambda x, y: (x, y + 1, y, 2.0), donate_argnums=(0, 1))
    for _ in range(3):
        x, y = jnp.arange(5.0) + 0, jnp.arange(5.0) + 0
        results = f(x, y)
        assert x.is_deleted()
        assert y.is_deleted()
        wanted = [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4], 2
        assert tuple(r.tolist() for r in results) == wanted
        again = f(results[0], results[1])
        assert again[1].tolist() == [2, 3, 4, 5, 6]


def test_one_array_given_away_and_returned_under_two_names() -> None:
    f = pb.jit(lambda x, y: (x + 1, y), donate_argnums=0)
    for _ in range(3):
        x = jnp.arange(3.0) + 0
        new, same = f(x, x)
        assert new.tolist() == [1, 2, 3]
        assert same.tolist() == [0, 1, 2]


def test_a_weak_argument_returned_as_a_strong_result_is_not_copied() -> None:
    x = jnp.asarray(3.0)
    assert x.weak_type
    result = pb.jit(lambda x: pb.lax.convert_element_type(x, jnp.float32))(x)
    assert not result.weak_type
    assert result.unsafe_buffer_pointer() == x.unsafe_buffer_pointer()


def test_pytrees_in_and_out() -> None:
    @pb.jit
    def f(p: Any, q: Any, *, scale: Any) -> Any:
        return {"sum": p["a"] + q[0], "point": Point(q[1] * scale, None), "empty": ()}

    for _ in range(3):
        out = f({"a": jnp.ones(2)}, [jnp.ones(2), jnp.arange(2.0)], scale=3.0)
        assert out["sum"].tolist() == [2.0, 2.0]
        assert isinstance(out["point"], Point)
        assert out["point"].x.tolist() == [0.0, 3.0]
        assert out["point"].y is None
        assert out["empty"] == ()


def test_static_arguments_by_number_and_name() -> None:
    fun, runs = counted(lambda x, n, *, mode="sum": getattr(x * n, mode)())
    f = pb.jit(fun, static_argnums=1, static_argnames=("mode",))
    assert float(f(jnp.arange(4.0), 2)) == 12.0
    assert float(f(jnp.arange(4.0), 2)) == 12.0
    assert len(runs) == 1
    assert float(f(jnp.arange(4.0), 3)) == 18.0
    assert float(f(jnp.arange(4.0), 2, mode="max")) == 6.0
    assert len(runs) == 3


def test_static_name_given_by_position() -> None:
    @functools.partial(pb.jit, static_argnames="n")
    def f(x: Any, n: int) -> Any:
        return x[:n]

    assert f(jnp.arange(4.0), 2).shape == (2,)
    assert f(jnp.arange(4.0), n=3).shape == (3,)


def test_methods_and_partial() -> None:
    class Model:
        def __init__(self, w: float) -> None:
            self.w = w

        @functools.partial(pb.jit, static_argnums=0)
        def __call__(self, x: Any) -> Any:
            return self.w * x

    a, b = Model(2.0), Model(3.0)
    assert float(a(1.0)) == 2.0
    assert float(b(1.0)) == 3.0
    assert float(pb.jit(functools.partial(lambda x, y: x - y, y=1.0))(3.0)) == 2.0


def test_numpy_arguments() -> None:
    f = pb.jit(lambda x: x + 1)
    for dtype in ("float32", "int8", "bool", "float64"):
        x = np.ones((2, 3), dtype)
        for _ in range(2):
            assert f(x).tolist() == [[2, 2, 2]] * 2
    assert f(np.float32(1)).tolist() == 2.0
    strided = np.arange(12.0, dtype=np.float32).reshape(3, 4)[:, ::2]
    assert f(strided).tolist() == (strided + 1).tolist()


def test_inner_jit_appears_as_one_equation_and_is_inlined_when_compiled() -> None:
    inner = pb.jit(jnp.sin)
    jaxpr = pb.make_jaxpr(lambda x: inner(x) + inner(x))(1.0)
    assert [e.primitive.name for e in jaxpr.eqns] == ["jit", "jit", "add"]
    assert np.isclose(float(pb.jit(lambda x: inner(x) + inner(x))(1.0)), 2 * np.sin(1.0))


def test_closed_over_tracers_are_operands() -> None:
    def f(x: Any) -> Any:
        return pb.jit(lambda y: x * y)(x)

    assert float(pb.grad(f)(3.0)) == 6.0
    assert pb.vmap(f)(jnp.arange(3.0)).tolist() == [0.0, 1.0, 4.0]


def test_large_constants_are_arguments_of_the_code() -> None:
    table = np.random.default_rng(0).normal(size=(1000,)).astype(np.float32)
    f = pb.jit(lambda i: jnp.asarray(table)[i])
    assert float(f(7)) == float(table[7])


def test_exceptions_from_python_leave_the_function_usable() -> None:
    @pb.jit
    def f(x: Any) -> Any:
        if x.shape == (2,):
            raise RuntimeError("no")
        return x

    with pytest.raises(RuntimeError, match="no"):
        f(jnp.ones(2))
    assert f(jnp.ones(3)).shape == (3,)


def test_disable_jit_runs_python_each_time() -> None:
    fun, runs = counted(lambda x: x + 1)
    f = pb.jit(fun)
    with pb.disable_jit():
        f(1.0)
        f(1.0)
    assert len(runs) == 2


def test_x64_switch_gives_other_programs() -> None:
    f = pb.jit(lambda x: x * 2)
    assert f(1.0).dtype == np.float32
    with pb.enable_x64(True):
        assert f(1.0).dtype == np.float64
    assert f(1.0).dtype == np.float32


def test_calls_during_a_trace_of_another_function() -> None:
    f = pb.jit(lambda x: x + 1)
    f(jnp.float32(1))
    jaxpr = pb.make_jaxpr(lambda: f(jnp.float32(1)))()
    assert [e.primitive.name for e in jaxpr.eqns] == ["jit"]


def test_eval_shape_of_a_jitted_function() -> None:
    out = pb.jit(lambda x: {"a": x @ x.T}).eval_shape(pb.ShapeDtypeStruct((3, 4), "float32"))
    assert out["a"].shape == (3, 3)


def test_threads_may_call_the_same_function() -> None:
    from concurrent.futures import ThreadPoolExecutor

    f = pb.jit(lambda x: jnp.sin(x).sum() + x[0])
    inputs = [jnp.full((n,), 0.5) for n in (3, 50, 70_000)]
    expected = [float(f(x)) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: float(f(inputs[i % 3])), range(60)))
    assert results == [expected[i % 3] for i in range(60)]


SECOND_PROCESS = """
import numpy as np, pullback as pb, pullback.numpy as jnp
from pullback.runtime import cache
f = pb.jit(lambda x: jnp.tanh(x @ x).sum())
print(float(f(jnp.ones((8, 8)))), cache.stats())
"""


def test_a_second_process_loads_the_program_from_the_disk_cache(tmp_path: Any) -> None:
    def run() -> tuple[float, int]:
        env = {"PULLBACK_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
        code = SECOND_PROCESS
        out = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        return float(out.stdout.split()[0]), sum(1 for _ in tmp_path.rglob("*") if _.is_file())

    first, files = run()
    assert files > 0
    second, files_again = run()
    assert second == first
    assert files_again == files


def test_scan_inside_jit_inside_grad() -> None:
    @pb.jit
    def simulate(rate: Any) -> Any:
        return lax.scan(lambda p, _: (p + rate * p * (1 - p), None), 0.1, None, length=20)[0]

    eps = 1e-2
    numeric = (float(simulate(0.3 + eps)) - float(simulate(0.3 - eps))) / (2 * eps)
    assert abs(float(pb.grad(simulate)(0.3)) - numeric) < 1e-2


def test_a_first_call_describes_itself_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call goes through the entry of its arguments; a flat one is made on demand."""
    made: list[Any] = []

    def noted(spec: Any) -> Any:
        made.append(spec)
        return make_entry(spec)

    for module in (runtime_jit, runtime_compile):
        monkeypatch.setattr(module, "make_entry", noted)
    f = pb.jit(lambda tree, k: {"sum": tree["x"] + tree["y"], "k": k})
    tree = {"x": jnp.ones(3), "y": np.ones(3, np.float32)}
    for _ in range(2):
        out = f(tree, 2)
        assert np.array_equal(out["sum"], [2, 2, 2])
        assert out["k"] == 2
    assert len(made) == 1


def test_a_first_call_deletes_what_is_donated() -> None:
    f = pb.jit(lambda x, y: (x + 1, y), donate_argnums=0)
    x, y = jnp.ones(3), jnp.zeros(2)
    first, second = f(x, y)
    assert x.is_deleted()
    assert second is not y
    assert second.tolist() == [0, 0]
    assert np.array_equal(first, [2, 2, 2])


def test_a_numpy_array_that_is_returned_is_not_the_callers_memory() -> None:
    x = np.zeros(1000, np.float32)
    for f in (lambda a: a, lambda a: (a, a + 1), lambda *a: a):
        result = pb.tree.leaves(pb.jit(f)(x))[0]
        x[0] = 1
        assert result[0] == 0
        x[0] = 0

"""Eager calls that are replayed: the same bits as the function itself, written down once."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import config, tree
from pullback import numpy as jnp
from pullback.core.trace import EVAL
from pullback.runtime import dispatch, replays
from pullback.runtime.replays import replayed_when_eager

x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4)), "float32")
KINDS: dict[str, Any] = {
    "floats": x,
    "halves": x.astype("bfloat16"),
    "complex": x + 1j,
    "integers": (4 * x).astype("int32"),
    "bytes": jnp.abs(4 * x).astype("uint8"),
    "bools": x > 0,
    "weak": jnp.full((3, 4), 2.5) * 1,
    "empty": x[:, :0],
}
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "sum": (jnp.sum, (), {}),
    "sum of rows": (jnp.sum, (1,), {"keepdims": True}),
    "product": (jnp.prod, (), {"axis": (0, 1), "initial": 2.0}),
    "max": (jnp.max, (-1,), {"initial": 0}),
    "all": (jnp.all, (0,), {}),
    "argmax": (jnp.argmax, (), {"axis": 0}),
    "count": (jnp.count_nonzero, (), {"axis": 1}),
    "range": (jnp.ptp, (0,), {}),
    "cumsum": (jnp.cumsum, (), {"axis": 1}),
    "sort": (jnp.sort, (), {"axis": None}),
    "argsort": (jnp.argsort, (), {"descending": True}),
    "ravel": (jnp.ravel, (), {}),
    "flip": (jnp.flip, (), {"axis": (0,)}),
    "rotate": (jnp.rot90, (), {"k": 3}),
    "swap": (jnp.swapaxes, (0, 1), {}),
    "split": (jnp.array_split, (2,), {}),
    "diagonal": (jnp.diagonal, (), {"offset": 1}),
    "logarithm": (jnp.log10, (), {}),
    "imaginary": (jnp.imag, (), {}),
    "truncated": (jnp.trunc, (), {}),
    "append": (jnp.append, (7,), {}),
    "or": (jnp.logical_or, (0.0,), {}),
}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is written down, while no device and no observer turn replays off."""
    if config.ACTIVE:
        gc.collect()  # arrays on meshes do so, too, as long as they live
    replays._forget()
    made: list[Any] = []
    before = replays.stage
    monkeypatch.setattr(replays, "stage", lambda *a: made.append(a) or before(*a))
    monkeypatch.setattr(replays, "REMOTE", {})
    monkeypatch.setattr(EVAL, "process", dispatch.evaluate)
    return made


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        leaves = tree.leaves(call())
    except Exception as error:
        return type(error), str(error).split("\n")[0]
    return [(a.aval, np.asarray(a).tobytes()) for a in leaves]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_replays_have_the_bits_of_the_function(case: str, kind: str, written: list[Any]) -> None:
    fun, args, kwargs = CASES[case]
    with config.debug_nans.override(False):  # an override turns replays off
        expected = _outcome(lambda: fun(KINDS[kind], *args, **kwargs))
    written.clear()
    for _ in range(4):
        assert _outcome(lambda: fun(KINDS[kind], *args, **kwargs)) == expected


def test_a_signature_is_written_down_when_it_is_met_again(written: list[Any]) -> None:
    calls: list[Any] = []

    @replayed_when_eager
    def scaled(a: Any, factor: Any = 1) -> Any:
        calls.append(factor)
        return a * factor + 1

    for _ in range(5):
        assert np.array_equal(scaled(x, 2), 2 * np.asarray(x) + 1)
    assert (len(written), len(calls)) == (1, 2)
    scaled(x[:2], 2)  # another type
    scaled(x, factor=2)  # another spelling
    assert (len(written), len(calls)) == (1, 4)


def test_python_numbers_are_told_apart(written: list[Any]) -> None:
    @replayed_when_eager
    def product(a: Any, factor: Any) -> Any:
        return a * factor

    i = jnp.arange(3)
    for factor in (1, 1.0, True, 0.0, -0.0, (1,)[0]):
        for _ in range(3):
            got, want = product(i, factor), i * factor
            assert got.aval is want.aval
            assert np.asarray(got).tobytes() == np.asarray(want).tobytes()
    assert len(written) == 5


def test_what_cannot_be_compared_is_not_kept(written: list[Any]) -> None:
    assert [jnp.sum(x, axis=(np.int64(0),)).shape for _ in range(3)] == [(4,)] * 3
    assert [len(jnp.split(x, [1, 2])) for _ in range(3)] == [3] * 3
    assert written == []


def test_results_and_arguments_keep_their_own_buffers(written: list[Any]) -> None:
    @replayed_when_eager
    def parts(a: Any) -> Any:
        return [a, jnp.full_like(a, 3), jnp.zeros_like(a) + 1]

    a = jnp.arange(3.0)
    for _ in range(4):
        same, threes, ones = parts(a)
    assert same is a
    threes.delete()
    ones.delete()
    assert [p.tolist() for p in parts(a)] == [[0, 1, 2], [3, 3, 3], [1, 1, 1]]


def test_results_are_no_views_of_the_users_arrays(written: list[Any]) -> None:
    given = np.arange(6, dtype="float32").reshape(2, 3)
    found = [f(given) for f in (jnp.ravel, jnp.real, jnp.atleast_1d, jnp.sum) for _ in range(4)]
    expected = [np.asarray(f).tolist() for f in found]
    given[:] = -1
    assert [np.asarray(f).tolist() for f in found] == expected
    assert len(written) == 4
    assert all(type(f) is type(x) for f in found)


def test_programs_and_large_arrays_are_not_replayed(written: list[Any]) -> None:
    @replayed_when_eager
    def looped(a: Any) -> Any:
        return pb.lax.fori_loop(0, 3, lambda _, c: c + 1, a)

    big = jnp.ones(dispatch.LARGE)
    for _ in range(3):
        assert looped(jnp.float32(1)) == 4
        assert float(jnp.sum(big)) == big.size
    assert len(written) == 2  # looked at once, and then left alone


def test_settings_are_obeyed(written: list[Any]) -> None:
    i = jnp.arange(4)
    assert [jnp.sum(i).dtype.name for _ in range(3)] == ["int32"] * 3
    config.update("jax_enable_x64", True)
    try:
        assert jnp.sum(jnp.ones(3, bool)).dtype == "int64"
    finally:
        config.update("jax_enable_x64", False)
    assert [jnp.sum(i > 0).dtype.name for _ in range(3)] == ["int32"] * 3


@pytest.mark.parametrize("dtype", ["float64", np.dtype("float64"), np.float64, jnp.float64])
def test_narrower_results_than_asked_for_warn_at_every_call(dtype: Any, written: list[Any]) -> None:
    for _ in range(4):
        with pytest.warns(UserWarning, match="float64"):
            jnp.cumsum(x, dtype=dtype)


def test_what_is_kept_of_a_function_is_bounded(written: list[Any]) -> None:
    @replayed_when_eager
    def product(a: Any, factor: Any) -> Any:
        return a * factor

    kept = product.__closure__
    assert kept is not None
    (table,) = [c.cell_contents for c in kept if type(c.cell_contents) is dict]
    for number in range(3 * replays._LIMIT):
        product(x, float(number))
    assert len(table) <= replays._LIMIT

"""Results that JAX's documentation shows, and neighbours of theirs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import tree_util


def test_linspace_of_whole_numbers_has_whole_numbers() -> None:
    assert jnp.linspace(0, 25, 6).tolist() == [0, 5, 10, 15, 20, 25]
    counts, edges = jnp.histogram(jnp.array([1, 2, 3, 10, 11, 15, 19, 25]), 5, (0, 25))
    assert counts.tolist() == [3, 0, 2, 2, 1]
    assert edges.tolist() == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize("right", [False, True])
def test_digitize_takes_falling_bins(right: bool) -> None:
    x, bins = np.array([1.0, 2.0, 3.0, 0.5, 3.5, 1.5]), np.array([3.0, 2.0, 1.0])
    expected = np.digitize(x, bins, right).tolist()
    assert jnp.digitize(jnp.array(x), jnp.array(bins), right).tolist() == expected


def test_edges_of_bins_have_the_type_of_the_numbers() -> None:
    x, edges = jnp.array([1, 2, 3, 10]), jnp.array([0, 10, 20])
    assert jnp.histogram(x, edges)[1].dtype == np.float32
    counts, x_edges, _ = jnp.histogram2d(x, x, bins=[edges, edges])
    assert counts.tolist() == [[3, 0], [0, 1]]
    assert x_edges.dtype == np.float32


def test_piecewise_takes_one_condition_for_each_entry() -> None:
    x = jnp.array([-4, -1, 2])
    chosen = jnp.piecewise(
        x, jnp.array([False, True, False]), [lambda v: v * 0, lambda v: v * 10, lambda v: v * 100]
    )
    assert chosen.tolist() == [-40, -10, 20]
    with pytest.raises(ValueError, match="3 condition"):
        jnp.piecewise(x, x < 0, [1, 2])


def test_polynomials_with_several_axes_are_added_at_the_end_of_the_first() -> None:
    a, b = jnp.array([[5, 7, 9], [8, 6, 4]]), jnp.array([2])
    assert jnp.polyadd(a, b).tolist() == [[5, 7, 9], [10, 8, 6]]
    assert jnp.polysub(a, b).tolist() == [[5, 7, 9], [6, 4, 2]]
    assert jnp.polyadd(jnp.array([1, 2]), jnp.array([5, 4, 1])).tolist() == [5, 5, 3]
    with pytest.raises(ValueError, match="roadcast"):
        jnp.polyadd(jnp.array([1, 3, 5]), a)


def test_roots_that_can_be_compiled_take_vanishing_coefficients_in_front() -> None:
    p = jnp.array([0.0, 0.0, 1.0, 2.0, 3.0, 0.0])
    found = pb.jit(lambda p: jnp.roots(p, strip_zeros=False))(p)
    root = 1.4142135
    np.testing.assert_allclose(np.sort_complex(found[:2]), [-1 - 1j * root, -1 + 1j * root], 1e-5)
    assert found[2] == 0
    assert jnp.isnan(found[3:]).all()
    assert jnp.roots(jnp.array([0.0, 1.0, 2.0]), strip_zeros=False)[0] == -2


def test_sort_complex_sorts_the_last_axis() -> None:
    assert jnp.sort_complex(jnp.array([[5, 3, 4], [6, 9, 2]])).tolist() == [[3, 4, 5], [2, 6, 9]]


def test_r_and_c_make_matrices() -> None:
    assert jnp.r_["r", [1, 2], [3]].tolist() == [[1, 2, 3]]
    assert jnp.r_["c", [1, 2], [3]].tolist() == [[1], [2], [3]]
    assert jnp.c_["r", [1, 2], [3, 4]].tolist() == [[1, 3], [2, 4]]


def test_predicates_of_infinity_are_strongly_typed() -> None:
    assert not jnp.isinf(np.inf).weak_type
    assert not jnp.isposinf(2.0).weak_type
    assert not jnp.isneginf(2.0).weak_type


def test_flatten_one_level_keeps_the_kind_of_the_children() -> None:
    assert tree_util.flatten_one_level({"b": 1, "a": 2}) == ((2, 1), ("a", "b"))
    assert tree_util.flatten_one_level([1, 2]) == ([1, 2], None)
    assert tree_util.flatten_one_level(None) == ((), None)


def test_a_mask_of_a_reduction_must_be_bools() -> None:
    x = jnp.arange(4)
    for f in (jnp.sum, jnp.mean, jnp.var, jnp.any, jnp.nansum):
        with pytest.raises(ValueError, match="boolean array"):
            f(x, where=1)
    with pytest.raises(ValueError, match=r"jnp\.mean"):
        jnp.mean(x, where=jnp.array([1, 0, 1, 0]))


def test_bools_are_summed() -> None:
    assert jnp.sum(jnp.arange(3), dtype=bool).item() is True
    assert jnp.prod(jnp.arange(3), dtype=bool).item() is False


def test_turns_and_shifts_may_be_floats() -> None:
    x = jnp.array([[1, 2], [3, 4]])
    assert jnp.rot90(x, k=1.0).tolist() == [[2, 4], [1, 3]]  # type: ignore[arg-type]
    assert jnp.roll(jnp.arange(3), 1.5).tolist() == [2, 0, 1]
    assert jnp.roll(jnp.arange(3), -1.5).tolist() == [1, 2, 0]


def test_arange_does_not_divide_by_a_step_of_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        jnp.arange(1, 5, 0)


def test_i0_is_flat_at_zero() -> None:
    assert pb.grad(jnp.i0)(0.0) == 0
    assert pb.grad(pb.scipy.special.i0)(0.0) == 0
    np.testing.assert_allclose(pb.grad(jnp.i0)(-1.0), -0.5651591, 1e-6)


def test_a_struct_like_an_array() -> None:
    assert pb.ShapeDtypeStruct.like(jnp.ones((2, 3))).shape == (2, 3)
    assert pb.ShapeDtypeStruct.like(1.0).weak_type


class TestWindows:
    """`x[ds(start, size)]`."""

    x = jnp.arange(6)
    m = jnp.arange(24.0).reshape(2, 3, 4)

    @pytest.mark.parametrize("start", [1, -2, 5, -7, 9])
    def test_are_moved_inside_on_reading(self, start: int) -> None:
        expected = pb.lax.dynamic_slice_in_dim(self.x, start, 2).tolist()
        assert self.x[pb.ds(start, 2)].tolist() == expected
        assert pb.jit(lambda x, i: x[pb.ds(i, 2)])(self.x, start).tolist() == expected

    def test_stand_beside_other_indices(self) -> None:
        m = np.asarray(self.m)
        np.testing.assert_array_equal(self.m[0, pb.ds(1, 2), ::2], m[0, 1:3, ::2])
        np.testing.assert_array_equal(self.m[..., pb.ds(1, 3)], m[..., 1:4])
        np.testing.assert_array_equal(self.m[None, pb.ds(0, 1)], m[None, 0:1])
        np.testing.assert_array_equal(
            self.m[jnp.array([0, 1]), pb.ds(1, 2)], m[np.array([0, 1]), 1:3]
        )
        assert self.x[pb.ds(0, 2, 2)].tolist() == [0, 2]

    def test_that_do_not_fit_write_nothing(self) -> None:
        assert self.x.at[pb.ds(1, 2)].set(9).tolist() == [0, 9, 9, 3, 4, 5]
        assert self.x.at[pb.ds(5, 3)].set(9).tolist() == [0, 1, 2, 3, 4, 5]
        assert self.x.at[pb.ds(5, 3)].set(9, mode="clip").tolist() == [0, 1, 2, 9, 9, 9]
        assert self.x.at[pb.ds(-2, 2)].add(jnp.array([1, 2])).tolist() == [0, 1, 2, 3, 5, 7]
        added = self.m.at[0, pb.ds(1, 2), 0].add(1.0)
        assert added[0, :, 0].tolist() == [0, 5, 9]

    def test_larger_than_the_axis_are_refused(self) -> None:
        with pytest.raises(TypeError):
            self.x[pb.ds(0, 8)]

    def test_have_derivatives(self) -> None:
        slopes = pb.grad(lambda x, i: (x[pb.ds(i, 2)] ** 2).sum())
        assert slopes(jnp.arange(4.0), 1).tolist() == [0, 2, 4, 0]


def test_updates_take_lists() -> None:
    x = jnp.arange(4)
    assert x.at[:2].set([7, 8]).tolist() == [7, 8, 2, 3]
    assert x.at[:2].add((1, 2)).tolist() == [1, 3, 2, 3]
    with pytest.raises(TypeError):
        x.at[0].set("a")


def test_full_cuts_integers_and_clips_floats() -> None:
    assert jnp.full(2, 2**40 + 5).tolist() == [5, 5]
    assert jnp.full((), 2**31).item() == -(2**31)
    assert jnp.full((), jnp.nan, int).item() == 0
    assert jnp.full((), 300.0, jnp.uint8).item() == 255
    assert jnp.full((), -jnp.inf, jnp.int8).item() == -128
    with pytest.raises(OverflowError):
        jnp.full(2, 2**64)
    with pytest.raises(TypeError, match="complex"):
        jnp.full(2, 1j, float)


def test_bools_are_summed_cumulatively() -> None:
    assert jnp.cumsum(jnp.arange(3), dtype=bool).tolist() == [False, True, True]
    assert jnp.cumprod(jnp.arange(3), dtype=bool).tolist() == [False, False, False]


def test_broadcast_in_dim_takes_axes_in_any_order() -> None:
    x = jnp.arange(3).reshape(3, 1)
    out = pb.jit(lambda x: pb.lax.broadcast_in_dim(x, (2, 3, 4), (1, 0)))(x)
    np.testing.assert_array_equal(out, np.broadcast_to(np.arange(3)[None, :, None], (2, 3, 4)))
    with pytest.raises(TypeError):
        pb.lax.broadcast_in_dim(jnp.ones((3, 4)), (4, 3), (1, 1))


def test_jacrev_takes_complex_inputs_of_real_functions() -> None:
    slope = pb.jacrev(lambda z: jnp.real(z) ** 2 + jnp.imag(z))(1 + 2j)
    assert slope == 2 - 1j
    with pytest.raises(TypeError, match="real-valued outputs"):
        pb.jacrev(lambda z: z)(1 + 2j)


def test_arrays_of_bfloat16_are_loaded() -> None:
    file = io.BytesIO()
    jnp.save(file, jnp.array([2, 4], jnp.bfloat16))
    file.seek(0)
    loaded = jnp.load(file)
    assert loaded.dtype == jnp.bfloat16
    assert loaded.tolist() == [2, 4]


def test_rules_of_both_decorators_can_be_set() -> None:
    @pb.custom_vjp
    @pb.custom_batching.custom_vmap  # type: ignore[untyped-decorator]
    def f(x: Any) -> Any:
        return jnp.sin(x)

    @f.def_vmap  # type: ignore[untyped-decorator]
    def rule(axis_size: int, in_batched: Any, x: Any) -> Any:
        return jnp.cos(x), True

    f.defvjp(lambda x: (f(x), None), lambda _, ct: (3.0 * ct,))
    assert pb.vmap(f)(jnp.zeros(2)).tolist() == [1, 1]
    assert pb.grad(f)(0.0) == 3
    with pytest.raises(AttributeError, match="no attribute"):
        getattr(f, "unknown")  # noqa: B009


@pytest.mark.parametrize(
    ("array", "last"),
    [
        (jnp.arange(15), "14], dtype=int32)"),
        (jnp.arange(16), "15],      dtype=int32)"),
        (jnp.arange(30), "29], dtype=int32)"),
        (jnp.arange(31), "30],      dtype=int32)"),
        (jnp.full((3, 10), 0.5, jnp.bfloat16), "0.5]],      dtype=bfloat16)"),
        (jnp.arange(5) * 1j, "0.+4.j], dtype=complex64, weak_type=True)"),
        (jnp.arange(6) * 1j, "0.+5.j],      dtype=complex64, weak_type=True)"),
        (jnp.zeros((0, 3)), "Array([], shape=(0, 3), dtype=float32)"),
    ],
)
def test_long_lines_of_arrays_are_spaced_as_in_jax(array: Any, last: str) -> None:
    assert repr(array).endswith(last)


def test_nearest_coordinates_are_rounded_away_from_zero() -> None:
    x, at = jnp.arange(8.0), [jnp.array([0.5, 1.5, -0.5, -1.5, 7.5])]
    nearest = pb.scipy.ndimage.map_coordinates
    assert nearest(x, at, 0, mode="wrap").tolist() == [1, 2, 7, 6, 0]
    assert nearest(x, at, 0, cval=-1.0).tolist() == [1, 2, -1, -1, -1]
    assert nearest(jnp.array([0, 5]), [jnp.array([0.5])], 1).tolist() == [3]


def test_attention_refuses_what_jax_refuses() -> None:
    q, k = jnp.ones((2, 5, 4, 8)), jnp.ones((2, 6, 2, 8))
    attention = pb.nn.dot_product_attention
    assert attention(q, k, k, mask=jnp.ones((5, 6), bool), bias=jnp.ones((5, 6))).shape == q.shape
    refused: list[dict[str, Any]] = [
        {"mask": jnp.ones((2, 1, 5, 6))},
        {"query_seq_lengths": jnp.array([2])},
        {"query_seq_lengths": jnp.array([2.0, 3.0])},
        {"key_value_seq_lengths": jnp.array([[2, 3]])},
    ]
    for options in refused:
        with pytest.raises(ValueError, match=next(iter(options))):
            attention(q, k, k, **options)
    with pytest.raises(ValueError, match="dtype"):
        attention(q.astype(jnp.bfloat16), k, k)


def test_device_get_leaves_keys() -> None:
    keys, numbers = pb.device_get((pb.random.split(pb.random.key(0)), jnp.ones(2)))
    assert keys.shape == (2,)
    assert isinstance(keys, pb.Array)
    assert isinstance(numbers, np.ndarray)

"""Devices, shardings on one device, and what arrays know about where they are."""

from __future__ import annotations

import contextlib
import copy
import pickle
import sys
from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import dlpack
from pullback.sharding import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    SingleDeviceSharding,
)

P = PartitionSpec
CPU = pb.devices()[0]

# --------------------------------------------------------------------------- devices


def test_queries_answer_as_those_of_jax() -> None:
    for name in ("device_count", "local_device_count", "process_count", "process_index"):
        assert getattr(pb, name)() == getattr(jax, name)()
    assert pb.default_backend() == jax.default_backend() == "cpu"
    assert repr(pb.devices()) == repr(jax.devices())
    assert str(CPU) == str(jax.devices()[0])
    assert pb.local_devices() == pb.devices("cpu") == [CPU]
    assert (CPU.platform, CPU.id, CPU.process_index) == ("cpu", 0, 0)
    assert pickle.loads(pickle.dumps(CPU)) is CPU
    assert isinstance(CPU, pb.Device)
    with pytest.raises(RuntimeError, match="gpu"):
        pb.devices("gpu")
    with pytest.raises(TypeError, match=r"jax\.devices"):
        pb.Device()


def test_where_an_array_is() -> None:
    x = jnp.arange(6.0).reshape(2, 3)
    assert x.device is CPU
    assert x.devices() == {CPU}
    assert x.sharding == SingleDeviceSharding(CPU)
    assert not x.committed
    assert x.is_fully_addressable
    assert x.is_fully_replicated
    assert x.on_device_size_in_bytes() == x.nbytes == 24
    (shard,) = x.addressable_shards
    assert shard.device is CPU
    assert shard.index == (slice(None), slice(None))
    assert shard.data.tolist() == x.tolist() == x.addressable_data(0).tolist()
    assert x.unsafe_buffer_pointer() == np.asarray(x).__array_interface__["data"][0]


# --------------------------------------------------------------------------- shardings


def test_device_put() -> None:
    x = np.arange(4.0, dtype=np.float32)
    y = pb.device_put(x)
    x[0] = 7
    assert y[0] == 0
    mesh = pb.make_mesh((1, 1), ("data", "model"))
    where = NamedSharding(mesh, P("data"))
    z = pb.device_put({"a": x, "b": [jnp.ones((2, 2))]}, where)
    assert z["a"].sharding == z["b"][0].sharding == where
    assert z["a"].committed
    assert (z["a"] + 1).sharding == where
    mixed = pb.device_put({"a": x, "b": x}, {"a": where, "b": CPU})
    assert mixed["a"].sharding == where
    assert mixed["b"].sharding == SingleDeviceSharding(CPU)
    given = jnp.ones(3)
    moved = pb.device_put(given, CPU, donate=True)
    assert given.is_deleted()
    assert moved.tolist() == [1, 1, 1]
    assert pb.jit(lambda v: pb.device_put(v, where) * 2)(jnp.ones(2)).tolist() == [2, 2]
    assert pb.device_put_replicated(x, pb.devices()).shape == (1, 4)
    with pytest.raises(ValueError, match="only accepts"):
        pb.device_put(x, 3)
    with pytest.raises(ValueError, match="rank at least 2"):
        pb.device_put(x, NamedSharding(mesh, P("data", "model")))


def test_meshes() -> None:
    mesh = Mesh(np.array(pb.devices()).reshape(1, 1), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    theirs = jax.sharding.Mesh(np.array(jax.devices()).reshape(1, 1), ("x", "y"))
    assert dict(mesh.shape) == dict(theirs.shape)
    assert (mesh.size, mesh.axis_names, mesh.empty) == (theirs.size, theirs.axis_names, False)
    assert mesh == pb.make_mesh((1, 1), ("x", "y"))
    assert hash(mesh) == hash(pb.make_mesh((1, 1), ("x", "y")))
    with pytest.raises(ValueError, match="product of mesh_shape"):
        pb.make_mesh((2,), ("x",))
    with pytest.raises(ValueError, match="as many names"):
        Mesh(np.array(pb.devices()), ("x", "y"))
    with pb.set_mesh(mesh):
        assert pb.sharding.get_mesh() is mesh
        assert pb.sharding.get_abstract_mesh().axis_names == ("x", "y")
    assert pb.sharding.get_mesh().empty


@pytest.mark.parametrize(
    "entries", [(), ("x",), (None, "x"), (("x", "y"), None), (("x",),), (None,)]
)
def test_specs_print_and_compare_as_those_of_jax(entries: Any) -> None:
    theirs = jax.sharding.PartitionSpec(*entries)
    ours = P(*entries)
    assert repr(ours) == repr(theirs)
    assert tuple(ours) == tuple(theirs)
    assert len(ours) == len(theirs)
    assert ours == P(*entries)
    assert pb.tree.leaves({"a": ours}) == [ours]


def test_named_shardings_are_checked() -> None:
    mesh = pb.make_mesh((1,), ("x",))
    with pytest.raises(ValueError, match="axis: q"):
        NamedSharding(mesh, P("q"))
    with pytest.raises(ValueError, match="duplicate entries"):
        NamedSharding(mesh, P("x", "x"))
    s = NamedSharding(mesh, P("x", None))
    assert s.shard_shape((4, 2)) == (4, 2)
    assert s.device_set == {CPU}
    assert s.is_equivalent_to(SingleDeviceSharding(CPU), 2)
    assert s.devices_indices_map((4, 2)) == {CPU: (slice(None), slice(None))}


def test_constraints() -> None:
    mesh = pb.make_mesh((1,), ("x",), axis_types=AxisType.Auto)
    constrain = pb.lax.with_sharding_constraint
    where = NamedSharding(mesh, P("x"))
    assert pb.jit(lambda v: constrain(v, where) + 1)(jnp.ones(2)).tolist() == [2, 2]
    assert pb.grad(lambda v: constrain(v, where).sum())(jnp.ones(2)).tolist() == [1, 1]
    with mesh:
        assert constrain(jnp.ones(2), P("x")).sharding == where
    with pytest.raises(RuntimeError, match="requires a non-empty mesh"):
        constrain(jnp.ones(2), P("x"))
    for wrong in ("x", 3, {"a": "x"}, (where, "x")):
        with pytest.raises(TypeError, match="shardings leaf specifications are expected"):
            constrain((jnp.ones(2), jnp.ones(2)), wrong)
    with pytest.raises(ValueError, match="got sharding None which is not allowed"):
        constrain((jnp.ones(2), jnp.ones(2)), (where, None))


# --------------------------------------------------------------------------- deletion, donation


def test_deleted_arrays_say_so() -> None:
    x = jnp.arange(3.0)
    f = pb.jit(lambda v: v * 2)
    f(x)
    x.delete()
    x.delete()
    assert x.is_deleted()
    assert x.shape == (3,)
    for use in (lambda: x + 1, lambda: np.asarray(x), lambda: repr(x), lambda: f(x), x.tolist):
        with pytest.raises(RuntimeError, match=r"deleted with shape=float32\[3\]"):
            use()
    with pytest.raises(AttributeError, match="bogus"):
        jnp.ones(2).bogus  # noqa: B018


def test_donation() -> None:
    f = pb.jit(lambda x, y: (x + y, y * 2), donate_argnums=0)
    for _ in range(4):
        x, y = jnp.ones(1000), jnp.ones(1000)
        total, twice = f(x, y)
        assert x.is_deleted()
        assert not y.is_deleted()
        np.testing.assert_array_equal(total, 2)
        np.testing.assert_array_equal(twice, 2)
    with pytest.raises(RuntimeError, match="deleted"):
        f(x, y)


def test_donation_of_what_is_returned_or_shared() -> None:
    f = pb.jit(lambda x, y: (y, x + 1), donate_argnums=(0, 1))
    for _ in range(3):
        x = jnp.ones(3)
        same, more = f(x, x)
        np.testing.assert_array_equal(same, 1)
        np.testing.assert_array_equal(more, 2)


def test_donated_steps_give_the_same_values() -> None:
    def step(state: Any, g: Any) -> Any:
        return {k: v - 0.1 * g[k] + v[::-1] * 0.01 for k, v in state.items()}

    donating, plain = pb.jit(step, donate_argnums=0), pb.jit(step)
    rng = np.random.default_rng(0)
    a = b = {k: jnp.asarray(rng.normal(size=1001).astype("f")) for k in "uv"}
    a = pb.tree.map(lambda v: v + 0, a)
    for _ in range(5):
        g = {k: jnp.asarray(rng.normal(size=1001).astype("f")) for k in "uv"}
        a, b = donating(a, g), plain(b, g)
    for k in "uv":
        np.testing.assert_array_equal(a[k], b[k])


# --------------------------------------------------------------------------- copies and protocols


def test_copies_and_pickles() -> None:
    x = jnp.arange(3.0, dtype=jnp.bfloat16)
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.dtype == x.dtype
        assert y.tolist() == x.tolist()
    weak = jnp.asarray(1.0)
    assert pickle.loads(pickle.dumps(weak)).weak_type == weak.weak_type
    key = pb.random.key(3)
    again = pickle.loads(pickle.dumps(key))
    assert again.dtype == key.dtype
    assert pb.random.key_data(again).tolist() == pb.random.key_data(key).tolist()
    assert x.__array_namespace__() is jnp


class Foreign:
    """An exporter that is not ours."""

    def __init__(self, x: Any, versions: bool) -> None:
        self.x = x
        self.versions = versions

    def __dlpack__(self, **kwargs: Any) -> Any:
        if kwargs and not self.versions:
            raise TypeError("no keywords")
        return self.x.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.x.__dlpack_device__()


@pytest.mark.parametrize("versions", [False, True])
@pytest.mark.parametrize(
    "dtype", ["float32", "int8", "uint32", "bool", "complex64", "bfloat16", "float8_e4m3fn"]
)
def test_dlpack_round_trips(dtype: str, versions: bool) -> None:
    x = jnp.arange(6).reshape(2, 3).astype(dtype)
    y = dlpack.from_dlpack(Foreign(x, versions))
    assert y.dtype == x.dtype
    assert y.unsafe_buffer_pointer() == x.unsafe_buffer_pointer()
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    held = sys.getrefcount(x._data)
    del y
    left = sys.getrefcount(x._data)
    assert left == held - 1


def test_dlpack_with_numpy_and_jax() -> None:
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(np.from_dlpack(x), x)
    np.testing.assert_array_equal(jax.numpy.from_dlpack(x), np.asarray(x))
    np.testing.assert_array_equal(jnp.from_dlpack(jax.numpy.arange(3.0)), [0, 1, 2])
    columns = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(jnp.from_dlpack(columns), columns)
    with pytest.raises(ValueError, match="without a copy"):
        jnp.from_dlpack(columns, copy=False)
    writable = np.arange(3, dtype=np.float32)
    copied = jnp.from_dlpack(writable, copy=True)
    writable[0] = 9
    assert copied[0] == 0
    x.__dlpack__()  # a capsule that nobody takes over
    assert dlpack.is_supported_dtype(jnp.bfloat16)
    with pytest.raises(BufferError):
        jnp.ones(2, jnp.int4).__dlpack__()
    with pytest.raises(TypeError, match="PRNGKey"):
        pb.random.key(0).__dlpack__()
    with contextlib.suppress(AttributeError):
        assert dlpack.from_dlpack(jnp.zeros((0, 3))).shape == (0, 3)


def test_live_arrays() -> None:
    x = jnp.ones(3)
    assert any(y is x for y in pb.live_arrays())
    x.delete()
    assert not any(y is x for y in pb.live_arrays())


# --------------------------------------------------------------------------- reused memory


def _values(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape).astype("f")) + 0


REUSED: dict[str, Any] = {
    "elementwise": (lambda x: x * 2 + 1, {0}),
    "update in place": (lambda x: x.at[3].set(5.0), {0}),
    "a loop": (lambda x: pb.lax.fori_loop(0, 9, lambda i, c: c.at[i].add(c[i + 1]), x), {0}),
    "rows": (lambda x: pb.nn.softmax(x.reshape(91, 11)).reshape(-1), None),
    "reversed": (lambda x: x[::-1] + 1, set()),
    "rotated": (lambda x: jnp.roll(x, 1), set()),
    "sorted": (jnp.sort, set()),
    "one element for all": (lambda x: x + x[0], set()),
    "loop that reverses": (
        lambda x: pb.lax.fori_loop(0, 5, lambda _, c: c[::-1] * 1.1, x),
        None,
    ),
}


@pytest.mark.parametrize("case", sorted(REUSED))
def test_memory_is_reused_only_where_values_stay_the_same(case: str) -> None:
    f, expected = REUSED[case]
    donating, plain = pb.jit(f, donate_argnums=0), pb.jit(f)
    for _ in range(3):
        x = _values(1001)
        want, before = np.asarray(plain(x)), x.unsafe_buffer_pointer()
        out = donating(x)
        np.testing.assert_array_equal(out, want)
        reused = {0} if out.unsafe_buffer_pointer() == before else set()
    assert expected is None or reused == expected


def test_memory_that_somebody_else_sees_is_not_reused() -> None:
    f = pb.jit(lambda x: x * 2, donate_argnums=0)
    for _ in range(3):
        x = _values(1001)
        seen = np.asarray(x)
        before = seen.copy()
        f(x)
        np.testing.assert_array_equal(seen, before)


def test_two_donated_arguments_trade_places() -> None:
    f = pb.jit(lambda x, y: (y * 1.5, x * 2.5), donate_argnums=(0, 1))
    for _ in range(3):
        x, y = _values(1001), _values(1002)[1:]
        a, b = np.asarray(x).copy(), np.asarray(y).copy()
        p, q = f(x, y)
        np.testing.assert_array_equal(p, b * np.float32(1.5))
        np.testing.assert_array_equal(q, a * np.float32(2.5))


# --------------------------------------------------------------------------- pmap


def test_pmap_on_one_device() -> None:
    f = pb.pmap(lambda x, n: pb.lax.psum(x, "i") * n, "i", static_broadcasted_argnums=1)
    assert f(jnp.ones((1, 2)), 3).tolist() == [[3.0, 3.0]]
    g = pb.pmap(lambda x, y: x + y, in_axes=(0, None))
    assert g(jnp.ones((1, 2)), jnp.ones(2)).tolist() == [[2.0, 2.0]]
    with pytest.raises(ValueError, match="asks for 2 devices"):
        g(jnp.ones((2, 2)), jnp.ones(2))


def test_inspecting_shardings() -> None:
    seen: list[Any] = []
    pb.debug.inspect_array_sharding({"a": jnp.ones(2)}, callback=seen.append)
    pb.jit(lambda x: pb.debug.inspect_array_sharding(x, callback=seen.append))(1.0)
    assert seen == [SingleDeviceSharding(CPU)] * 2


def test_pmap_gives_results_of_one_device() -> None:
    for lib in (pb, jax):
        f = lib.pmap(lambda x, y: (x + y, {"x": x}), in_axes=(0, None), out_axes=(0, None))
        total, same = f(lib.numpy.ones((1, 2)), 1.0)
        assert (total.shape, same["x"].tolist()) == ((1, 2), [1.0, 1.0])

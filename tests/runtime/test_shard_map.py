"""`shard_map`, meshes and arrays of parts on one device."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.sharding import AbstractMesh, Mesh, auto_axes, get_abstract_mesh, use_abstract_mesh

P = pb.P


@pytest.fixture
def mesh() -> Mesh:
    return pb.make_mesh((1, 1), ("x", "y"))


def _body(a: Any, b: Any) -> Any:
    total = pb.lax.psum(a @ b, ("x", "y"))
    gathered = pb.lax.all_gather(a, "x", tiled=True)
    return total + pb.lax.axis_index("y"), gathered * pb.lax.axis_size("x")


def test_collectives_over_one_device(mesh: Mesh) -> None:
    a, b = jnp.arange(6.0).reshape(2, 3), jnp.ones((3, 4))
    f = pb.shard_map(
        _body, mesh=mesh, in_specs=(P("x", None), P(None, "y")), out_specs=(P("x", "y"), P())
    )
    for call in (f, pb.jit(f)):
        total, gathered = call(a, b)
        np.testing.assert_allclose(total, np.asarray(a) @ np.ones((3, 4)))
        np.testing.assert_array_equal(gathered, a)
    gradient = pb.grad(lambda v: f(v, b)[0].sum())(a)
    np.testing.assert_allclose(gradient, np.full((2, 3), 4.0))
    lanes = pb.vmap(f, in_axes=(0, None))(jnp.stack([a, 2 * a]), b)[0]
    np.testing.assert_allclose(lanes[1], 2 * np.asarray(a) @ np.ones((3, 4)))


def test_control_flow_stays_control_flow(mesh: Mesh) -> None:
    """A branch that is not taken does not run: nothing has lanes that did not ask for one."""
    f = pb.shard_map(
        lambda a: pb.lax.cond(a.sum() > 0, lambda: pb.lax.psum(a, "x"), lambda: -a),
        mesh=mesh,
        in_specs=P("x"),
        out_specs=P("x"),
    )
    assert "cond" in str(pb.make_jaxpr(f)(jnp.ones(3)))
    np.testing.assert_array_equal(f(jnp.ones(3)), np.ones(3))


def test_specs_that_do_not_fit(mesh: Mesh) -> None:
    x = jnp.arange(4.0)

    def run(in_specs: Any, out_specs: Any, **options: Any) -> Any:
        options = {"mesh": mesh} | options
        return pb.shard_map(lambda a: a, in_specs=in_specs, out_specs=out_specs, **options)(x)

    with pytest.raises(ValueError, match="length 2"):
        run(P("x", None), P("x"))
    with pytest.raises(ValueError, match="length 2"):
        run(P("x"), P("x", "y"))
    with pytest.raises(ValueError, match="axis: z"):
        run(P("z"), P("x"))
    with pytest.raises(ValueError, match="not all axes"):
        run(P("x"), P("x"), axis_names={"z"})
    with pytest.raises(ValueError, match="mesh cannot be empty"):
        run(P("x"), P("x"), mesh=None)
    with pytest.raises(TypeError, match="PartitionSpec"):
        run(3, P("x"))


def test_smap_and_the_context_mesh(mesh: Mesh) -> None:
    with pb.set_mesh(mesh):
        f = pb.smap(lambda a: a + pb.lax.axis_index("x"), in_axes=0, out_axes=0, axis_name="x")
        assert f(jnp.arange(3.0)).tolist() == [0.0, 1.0, 2.0]
        assert get_abstract_mesh() == mesh.abstract_mesh
    with pytest.raises(ValueError, match="empty"):
        auto_axes(lambda a: a, out_sharding=P())(1.0)
    with use_abstract_mesh(AbstractMesh((2,), ("x",))):
        assert get_abstract_mesh().shape == {"x": 2}
        assert pb.sharding.get_mesh().empty


def test_arrays_from_parts(mesh: Mesh) -> None:
    place = pb.NamedSharding(mesh, P("x"))
    data = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    x = pb.make_array_from_callback((3, 2), place, lambda index: data[index])
    np.testing.assert_array_equal(x, data)
    assert x.sharding == place
    (shard,) = x.addressable_shards
    assert shard.index == (slice(None), slice(None))
    assert shard.replica_id == 0
    with pytest.raises(ValueError, match="shape"):
        pb.make_array_from_callback((3, 2), place, lambda index: data[:2])
    with pytest.raises(ValueError, match="dtype"):
        pb.make_array_from_callback((3, 2), place, lambda index: data[index], dtype=np.int32)
    with pytest.raises(ValueError, match="2 parts"):
        pb.make_array_from_single_device_arrays((3, 2), place, [x, x])
    tree = pb.make_array_from_process_local_data(place, {"a": data, "b": data[0]})
    assert tree["b"].shape == (2,)
    with pytest.raises(ValueError, match="global_shape"):
        pb.make_array_from_process_local_data(place, data, (6, 2))


def test_one_process() -> None:
    distributed = pb.distributed
    distributed.initialize()
    assert distributed.is_initialized()
    with pytest.raises(RuntimeError, match="once"):
        distributed.initialize()
    distributed.shutdown()
    with pytest.raises(NotImplementedError, match="one process"):
        distributed.initialize("host:1234", num_processes=2, process_id=1)


def test_slices() -> None:
    assert pb.ds(3) == pb.ds(0, 3)
    assert pb.ds(None, 2) == slice(None)
    assert pb.tree.map(lambda s: s + 1, pb.ds(1, 2, 3)) == pb.ds(2, 2, 3)
    with pytest.raises(ValueError, match="negative"):
        pb.ds(0, -1)


def _sharding(lib: Any) -> tuple[Any, Any, Any]:
    auto = lib.sharding.AxisType.Auto
    mesh = lib.make_mesh((1, 1), ("a", "b"), axis_types=(auto, auto))
    return mesh, lib.sharding.PartitionSpec, lib.numpy.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("lib", [pb, jax])
def test_the_mesh_within_is_manual(lib: Any) -> None:
    """So that a function mapped over one axis may be mapped over another one within."""
    mesh, P, x = _sharding(lib)
    seen = []

    def outer(y: Any) -> Any:
        seen.append(lib.sharding.get_abstract_mesh().manual_axes)
        names = {"axis_names": {"b"}, "in_specs": P("b"), "out_specs": P("b")}
        return lib.shard_map(lambda z: z + 1, **names)(y)

    whole = {"mesh": mesh, "axis_names": {"a"}, "in_specs": P("a"), "out_specs": P("a")}
    assert lib.shard_map(outer, **whole)(x).tolist() == (x + 1).tolist()
    assert set(seen) == {("a",)}
    assert lib.sharding.get_abstract_mesh().empty


@pytest.mark.parametrize("lib", [pb, jax])
def test_errors_of_specs_are_those_of_jax(lib: Any) -> None:
    mesh, P, x = _sharding(lib)

    def mapped(f: Any, i: Any, o: Any, **options: Any) -> Any:
        return lib.shard_map(f, in_specs=i, out_specs=o, **options)(x)

    with pytest.raises(ValueError, match="in_specs argument must refer to an axis marked as m"):
        mapped(lambda y: y, P("b"), P("b"), axis_names={"a"}, mesh=mesh)
    with pytest.raises(ValueError, match="given an in_specs entry which is too long"):
        mapped(lambda y: y, P("a", "b", "a"), P(), mesh=mesh)
    with pytest.raises(ValueError, match="given an out_specs entry which is too long"):
        mapped(lambda y: y.sum(), P("a"), P("a"), mesh=mesh)
    with pytest.raises(ValueError, match="The context mesh cannot be empty"):
        mapped(lambda y: y, P(), P())

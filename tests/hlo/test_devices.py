"""Devices of a plugin: where arrays are, where programs run, what crosses to the host."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import config
from pullback import numpy as jnp
from pullback.errors import JaxRuntimeError, UnsupportedError
from pullback.hlo import pjrt
from pullback.runtime import accelerator, array
from pullback.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

pytestmark = pytest.mark.skipif(
    "xla_cpu" not in pjrt.find_plugins() or not pjrt.installed(),
    reason="no PJRT plugin for XLA:CPU is installed (extra pjrt-test)",
)
CPU = pb.devices("cpu")[0]


@pytest.fixture
def there() -> Iterator[list[pb.Device]]:
    """Programs run on the plugin's first device."""
    with config.platform.override("xla_cpu"):
        yield pb.devices()


@pytest.fixture
def others() -> list[pb.Device]:
    """The plugin's devices, while programs run on the CPU."""
    return pb.devices("xla_cpu")


# --------------------------------------------------------------------------- devices


def test_the_devices_of_the_chosen_platform(there: list[pb.Device]) -> None:
    assert len(there) == pb.device_count() == pb.local_device_count() >= 2
    assert (
        there == pb.devices("xla_cpu") == pb.local_devices() == pb.local_devices(backend="xla_cpu")
    )
    assert pb.default_backend() == there[0].platform == "xla_cpu"
    assert [d.id for d in there] == list(range(len(there)))
    assert repr(there[0]) == "XlaCpuDevice(id=0)"
    assert pickle.loads(pickle.dumps(there[1])) is there[1]
    assert there[0].memory_stats() is None
    assert there[0].client.devices() == there
    assert pb.devices("cpu") == [CPU]
    assert pb.make_mesh((1,), ("x",)).devices.tolist() == there[:1]


def test_a_platform_without_a_plugin(others: list[pb.Device]) -> None:
    with pytest.raises(RuntimeError, match="Unknown backend 'nowhere'"):
        pb.devices("nowhere")
    with pytest.raises(ValueError, match="default_device"), pb.default_device("nowhere"):
        pass
    with pytest.raises(ValueError, match="default_device"), pb.default_device(3):
        pass


def test_names_of_one_plugin_share_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pjrt._ALIASES, "any", ("xla_cpu",))
    assert pjrt.open_backend("any") is pjrt.open_backend("xla_cpu")


# --------------------------------------------------------------------------- where arrays are


def test_device_put_and_back(others: list[pb.Device]) -> None:
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = pb.device_put(data, others[1])
    assert x.device is others[1]
    assert x.devices() == {others[1]}
    assert x.sharding == SingleDeviceSharding(others[1])
    assert x.committed
    assert not array.is_here(x)
    assert (x.nbytes, x.itemsize, x.on_device_size_in_bytes()) == (24, 4, 24)
    assert x.addressable_shards[0].device is others[1]
    assert x.addressable_shards[0].index == (slice(None), slice(None))
    np.testing.assert_array_equal(pb.device_get(x), data)
    assert x.device is others[1]
    y = pb.device_put(x, CPU)
    assert y.device is CPU
    assert array.is_here(y)
    z = pb.device_put(x, others[0])
    assert z.device is others[0]
    assert x.device is others[1]
    assert z.tolist() == x.tolist() == y.tolist()


def test_an_array_that_nobody_placed_counts_as_on_the_default_device(
    there: list[pb.Device],
) -> None:
    x = jnp.ones(3)
    assert x.device is there[0]
    assert not x.committed
    assert x.sharding == SingleDeviceSharding(there[0])
    with pb.default_device(there[1]):
        assert jnp.ones(3).device is there[1]
    y = pb.device_put(np.ones(3))
    assert not array.is_here(y)
    assert not y.committed


def test_named_shardings(others: list[pb.Device]) -> None:
    one = pb.sharding.Mesh(np.array(others[1:2]), ("x",))
    x = pb.device_put(jnp.ones(4), NamedSharding(one, PartitionSpec("x")))
    assert x.devices() == {others[1]}
    assert x.sharding == NamedSharding(one, PartitionSpec("x"))
    two = pb.sharding.Mesh(np.array(others[:2]), ("x",))
    with pytest.raises(UnsupportedError, match="2 devices"):
        pb.device_put(jnp.ones(4), NamedSharding(two, PartitionSpec("x")))


def test_donated_puts_are_deleted(others: list[pb.Device]) -> None:
    x = jnp.ones(3)
    y = pb.device_put(x, others[0], donate=True)
    assert x.is_deleted()
    assert y.tolist() == [1, 1, 1]


# --------------------------------------------------------------------------- where programs run


def test_programs_follow_committed_arguments(others: list[pb.Device]) -> None:
    f = pb.jit(lambda x, y: x * 2 + y)
    x = pb.device_put(np.float32(3), others[1])
    out = f(x, 1.0)
    assert out.device is others[1]
    assert out.committed
    assert float(out) == 7.0
    assert f(out, x).device is others[1]
    here = f(3.0, 1.0)
    assert here.device is CPU
    assert not here.committed
    assert f(x, here).device is others[1]


def test_committed_to_two_devices_is_an_error(others: list[pb.Device]) -> None:
    x, y = (pb.device_put(jnp.ones(2), d) for d in others[:2])
    with pytest.raises(ValueError, match=r"incompatible devices.*args\[0\].*args\[1\]\['a'\]"):
        pb.jit(lambda x, y: x + y["a"])(x, {"a": y})
    with pytest.raises(ValueError, match="incompatible devices"):
        x + y
    with pytest.raises(ValueError, match="incompatible devices"):
        x + pb.device_put(jnp.ones(2), CPU)


def test_the_default_device(others: list[pb.Device]) -> None:
    f = pb.jit(lambda x: x + 1)
    assert f(1.0).device is CPU
    with pb.default_device(others[1]):
        y = f(1.0)
        assert y.device is others[1]
        assert not y.committed
    with pb.default_device("xla_cpu"):
        assert f(1.0).device is others[0]
    assert f(1.0).device is CPU
    assert f(y).device is CPU  # it is not committed


def test_the_cpu_while_a_platform_is_chosen(there: list[pb.Device]) -> None:
    x = pb.device_put(np.ones(2, np.float32), CPU)
    out = pb.jit(lambda x: x + 1)(x)
    assert array.is_here(out)
    with pb.default_device(CPU):
        assert array.is_here(pb.jit(lambda x: x + 1)(2.0))
    assert not array.is_here(pb.jit(lambda x: x + 1)(2.0))


def test_jit_with_a_device_or_a_backend(others: list[pb.Device]) -> None:
    assert pb.jit(lambda x: x + 1, device=others[1])(1.0).device is others[1]
    assert pb.jit(lambda x: x + 1, backend="xla_cpu")(1.0).device is others[0]
    with pytest.raises(ValueError, match="exclude"):
        pb.jit(lambda x: x, device=others[1], backend="cpu")


def test_results_of_transformed_jitted_functions(there: list[pb.Device]) -> None:
    f = pb.jit(lambda x: jnp.sin(x).sum())
    x = pb.device_put(np.ones(3, np.float32))
    gradient = pb.grad(f)(x)
    assert not array.is_here(gradient)
    np.testing.assert_allclose(gradient, np.cos(np.ones(3)), 1e-6)
    assert not array.is_here(pb.lax.scan(lambda c, r: (c + r, c), 0.0, x)[0])


# --------------------------------------------------------------------------- eager operations


def test_eager_operations_run_where_their_operands_are(others: list[pb.Device]) -> None:
    x = pb.device_put(np.arange(6, dtype=np.float32).reshape(2, 3), others[0])
    made = {
        "sum": x + x,
        "mixed": x * 2.0 + np.ones((2, 3), np.float32),
        "product": x @ x.T,
        "broadcast": x + jnp.arange(3.0),
        "row": x[1],
        "element": x[0, 2],
        "picked": x[jnp.array([1, 0])],
        "set": x.at[0, 1].set(5.0),
        "mean": x.mean(axis=0),
        "sorted": jnp.sort(x, axis=1),
        "where": jnp.where(x > 2, x, 0.0),
    }
    y = np.arange(6, dtype=np.float32).reshape(2, 3)
    updated = y.copy()
    updated[0, 1] = 5
    want = {
        "sum": y + y,
        "mixed": y * 2 + 1,
        "product": y @ y.T,
        "broadcast": y + np.arange(3),
        "row": y[1],
        "element": y[0, 2],
        "picked": y[[1, 0]],
        "set": updated,
        "mean": y.mean(axis=0),
        "sorted": np.sort(y, axis=1),
        "where": np.where(y > 2, y, 0),
    }
    for name, got in made.items():
        assert got.device is others[0], name
        np.testing.assert_allclose(got, want[name], 1e-6, err_msg=name)


def test_an_eager_operation_is_compiled_once(
    others: list[pb.Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = pb.device_put(jnp.ones(5), others[0])
    y = x * x
    compiled: list[str] = []
    monkeypatch.setattr(
        accelerator, "compile_for_device", lambda *a, name, **k: compiled.append(name)
    )
    assert (y * y).tolist() == [1] * 5
    assert compiled == []


def test_small_operands_of_the_host_stay_there(there: list[pb.Device]) -> None:
    assert array.is_here(jnp.ones(3) + 1)


def test_large_operations_run_on_the_default_device(there: list[pb.Device]) -> None:
    x = jnp.arange(300_000.0)
    assert not array.is_here(x * 2 + 1)


# --------------------------------------------------------------------------- asynchronous copies


def test_waiting_and_copying(others: list[pb.Device]) -> None:
    f = pb.jit(lambda x: jnp.linalg.matrix_power(x, 8))
    x = f(pb.device_put(jnp.eye(64), others[0]))
    x.copy_to_host_async()
    assert x.block_until_ready() is x
    assert x.is_ready()
    assert pb.block_until_ready({"a": x})["a"] is x
    assert np.asarray(x).trace() == 64
    assert np.asarray(x) is np.asarray(x)  # copied once
    y = f(x)
    y.copy_to_host_async()
    del y  # the copy is waited for


def test_deleted_arrays(others: list[pb.Device]) -> None:
    x = pb.device_put(jnp.ones(3), others[0])
    x.delete()
    assert x.is_deleted()
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(x)
    with pytest.raises(RuntimeError, match="deleted"):
        x + 1


def test_donation_reuses_the_memory(others: list[pb.Device]) -> None:
    f = pb.jit(lambda x: x.at[0].add(1), donate_argnums=0)
    x = pb.jit(lambda x: x + 1)(pb.device_put(jnp.zeros(5000), others[0]))
    before = x.unsafe_buffer_pointer()
    y = f(x)
    assert x.is_deleted()
    assert y.unsafe_buffer_pointer() == before
    assert y[:2].tolist() == [2, 1]


# --------------------------------------------------------------------------- transfer guards


def _refused(fn: Any) -> bool:
    try:
        fn()
    except JaxRuntimeError as error:
        return "Disallowed" in str(error)
    return False


def test_transfer_guards(there: list[pb.Device], caplog: pytest.LogCaptureFixture) -> None:
    f = pb.jit(lambda x: x + 1)
    x = f(jnp.ones(3))
    numbers = np.ones(3, np.float32)
    with pb.transfer_guard("disallow"):
        assert not _refused(lambda: f(x))
        assert _refused(lambda: f(1.0))
        assert _refused(lambda: f(numbers))
        assert _refused(lambda: np.asarray(f(x)))
        assert not _refused(lambda: pb.device_put(numbers))
        assert not _refused(lambda: pb.device_put(numbers, there[0]))
        assert not _refused(lambda: pb.device_get(f(x)))
    with pb.transfer_guard("disallow_explicit"):
        assert _refused(lambda: pb.device_put(numbers))
        assert _refused(lambda: pb.device_get(f(x)))
    with pb.transfer_guard_device_to_host("disallow"):
        assert not _refused(lambda: f(numbers))
        assert _refused(lambda: float(f(x)[0]))
    with pb.transfer_guard("disallow"), pb.transfer_guard_host_to_device("allow"):
        assert not _refused(lambda: f(numbers))
    with pb.transfer_guard("disallow_explicit"):
        assert _refused(lambda: pb.device_put(x, there[1]))
    with caplog.at_level(logging.WARNING, "pullback"), pb.transfer_guard("log"):
        f(numbers)
    assert "host-to-device transfer" in caplog.text


# --------------------------------------------------------------------------- shared memory


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool", "bfloat16", "complex64"])
def test_dlpack_shares_memory(others: list[pb.Device], dtype: str) -> None:
    x = pb.device_put(jnp.arange(6).reshape(2, 3).astype(dtype), others[0])
    y = pb.dlpack.from_dlpack(x.__dlpack__(max_version=(1, 0)))
    assert array.is_here(y)
    assert y.unsafe_buffer_pointer() == x.unsafe_buffer_pointer()
    assert x.__dlpack_device__() == (1, 0)
    np.testing.assert_array_equal(y, x)
    pointer = y.unsafe_buffer_pointer()
    del x
    assert y.unsafe_buffer_pointer() == pointer
    assert y.dtype == dtype
    assert np.asarray(y).real.astype(np.float32).sum() == (5 if dtype == "bool" else 15)


def test_exported_memory_is_not_donated(others: list[pb.Device]) -> None:
    x = pb.jit(lambda x: x + 1)(pb.device_put(jnp.zeros(1000), others[0]))
    shared = np.from_dlpack(x)
    pb.jit(lambda x: x * 3, donate_argnums=0)(x).block_until_ready()
    assert shared.sum() == 1000


def test_memory_of_others_on_a_device(others: list[pb.Device]) -> None:
    room = np.empty(1000 + 16, np.float32)
    start = -(room.ctypes.data // 4) % 16
    data = room[start : start + 1000]
    data[:] = 2
    x = pb.dlpack.from_dlpack(data, device=others[0])
    assert x.device is others[0]
    assert x.unsafe_buffer_pointer() == data.ctypes.data
    assert float((x * x).sum()) == 4000
    apart = data[1::2]
    with pytest.raises(ValueError, match="copy"):
        pb.dlpack.from_dlpack(apart, device=others[0], copy=False)
    y = pb.dlpack.from_dlpack(apart, device=others[0])
    assert y.device is others[0]
    assert float(y.sum()) == 1000


# --------------------------------------------------------------------------- compile options


def test_compiler_options(others: list[pb.Device]) -> None:
    x = pb.device_put(jnp.ones(3), others[0])
    options = {"xla_cpu_enable_fast_math": False, "xla_backend_optimization_level": 1}
    assert pb.jit(lambda x: x + 1, compiler_options=options)(x).tolist() == [2, 2, 2]
    with pytest.raises(JaxRuntimeError, match="nonsense"):
        pb.jit(lambda x: x + 1, compiler_options={"nonsense": True})(x)


def test_nans_are_found_on_devices(others: list[pb.Device]) -> None:
    x = pb.device_put(np.float32(-1), others[0])
    with pb.debug_nans(True), pytest.raises(FloatingPointError):
        pb.jit(jnp.log)(x)


def test_indices_are_not_looked_at(others: list[pb.Device]) -> None:
    x = pb.device_put(jnp.ones(3), others[0])
    with pb.check_indices(True), pytest.raises(UnsupportedError, match="check_indices"):
        pb.jit(lambda x: x[1])(x)


# --------------------------------------------------------------------------- ahead of time


def test_compiled_for_the_device(there: list[pb.Device]) -> None:
    f = pb.jit(lambda x, y: {"out": x @ y["a"]}, compiler_options={"xla_cpu_use_onednn": False})
    x = jnp.ones((3, 3))
    lowered = f.lower(x, {"a": x})
    compiled = lowered.compile({"xla_cpu_enable_fast_math": False})
    out = compiled(x, {"a": np.eye(3, dtype=np.float32)})["out"]
    assert out.device is there[0]
    assert out.tolist() == [[1] * 3] * 3
    assert "stablehlo.dot_general" in compiled.as_text()
    assert compiled.cost_analysis()["flops"] >= 54
    assert compiled.memory_analysis().argument_size_in_bytes == 72
    assert compiled.output_shardings == {"out": SingleDeviceSharding(there[0])}
    with pytest.raises(
        TypeError, match="types differ from the types for which this computation was compiled"
    ):
        compiled(jnp.ones((2, 2)), {"a": x})
    with pytest.raises(ValueError, match="was compiled for"):
        compiled(pb.device_put(x, there[1]), {"a": x})
    with pytest.raises(JaxRuntimeError, match="nonsense"):
        lowered.compile({"nonsense": 1})


def test_compiled_for_another_platform() -> None:
    f = pb.jit(lambda x: x + 1)
    compiled = f.trace(1.0).lower(lowering_platforms=("xla_cpu",)).compile()
    assert compiled(2.0).device is pb.devices("xla_cpu")[0]
    with pytest.raises(RuntimeError, match="nowhere"):
        f.trace(1.0).lower(lowering_platforms=("nowhere",)).compile()


def test_compiled_and_donated(there: list[pb.Device]) -> None:
    compiled = pb.jit(lambda x: x * 2, donate_argnums=0).lower(jnp.ones(4)).compile()
    x = pb.device_put(jnp.ones(4), there[0])
    assert compiled(x).tolist() == [2] * 4
    assert x.is_deleted()

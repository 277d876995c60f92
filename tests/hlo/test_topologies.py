"""Programs compiled for devices that are not here."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.core.topology import TopologyDevice, topology_client
from pullback.errors import JaxRuntimeError, UnsupportedError
from pullback.experimental import serialize_executable, topologies
from pullback.hlo import pjrt, shardy, topology
from pullback.hlo.gpu_targets import GPUS, gpu_target
from pullback.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

TARGETS = {"tpu": "tpu:v5e:2x2x1", "cuda": "cuda:h100"}
STEPS = Path(__file__).with_name("training_steps.py")


@pytest.fixture(params=list(TARGETS))
def platform(request: pytest.FixtureRequest) -> str:
    """A platform whose plugin is installed."""
    name = str(request.param)
    if name not in pjrt.find_plugins() or not pjrt.installed():
        pytest.skip(f"no PJRT plugin for {name} is installed (extra {name})")
    return name


def _command(function: str, args: str, target: str, *rest: str) -> Any:
    """What `pullback compile` does in a process of its own."""
    command = [sys.executable, "-m", "pullback", "compile", function, "--args", args]
    command += ["--target", target, *rest]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# --------------------------------------------------------------------------- with plugins


@pytest.mark.parametrize("step", ["digits", "transformer"])
def test_training_step(
    platform: str, step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "executable"
    done = _command(
        f"{STEPS}:{step}_step", f"{STEPS}:{step}_args", TARGETS[platform], "-o", str(out)
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout
    with capsys.disabled():
        print(f"\n{text}")
    assert "flops" in text
    assert ("counted by Pullback" in text) == (platform == "cuda")
    assert "bytes at the peak" in text
    assert out.stat().st_size > 10_000


def _constrained(w: Any, x: Any) -> Any:
    """The same, with rows of the product spread over the mesh that is entered."""
    y = jnp.tanh(x @ w)
    return jnp.sum(lax.with_sharding_constraint(y, PartitionSpec(("data", "model"))) ** 2)


def _loss(w: Any, x: Any) -> Any:
    return jnp.sum(jnp.tanh(x @ w) ** 2)


def _types(w: Any, x: Any) -> tuple[Any, Any]:
    """The types of a weight and of a batch, with these shardings."""
    return (
        pb.ShapeDtypeStruct((128, 128), np.float32, sharding=w),
        pb.ShapeDtypeStruct((512, 128), np.float32, sharding=x),
    )


def _described(platform: str, count: int) -> topologies.TopologyDescription:
    names = {"tpu": {1: "v5e:1x1", 4: "v5e:2x2"}, "cuda": {1: "h100", 4: "h100:1x1x4"}}
    return topologies.get_topology_desc(names[platform][count], platform)


def test_one_device(platform: str) -> None:
    topo = _described(platform, 1)
    whole = SingleDeviceSharding(topo.devices[0])
    lowered = pb.jit(pb.grad(_loss)).lower(*_types(whole, whole))
    compiled = lowered.compile()
    products = 2 * 2 * 512 * 128 * 128
    assert products <= compiled.cost_analysis()["flops"] < 2 * products
    memory = compiled.memory_analysis()
    assert memory.argument_size_in_bytes >= 4 * (128 * 128 + 512 * 128)
    assert memory.output_size_in_bytes >= 4 * 128 * 128
    assert len(compiled.serialize()) > 1000
    assert compiled.input_shardings == ((whole, whole), {})
    with pytest.raises(UnsupportedError, match="are not here"):
        compiled(np.ones((128, 128)), np.ones((512, 128)))
    with pytest.raises(UnsupportedError, match="serialize"):
        compiled.as_text()


def test_split_over_a_mesh(platform: str) -> None:
    """A quarter of the batch, and so of the arguments' memory, is on each device."""
    topo = _described(platform, 4)
    mesh = topologies.make_mesh(topo, (2, 2), ("data", "model"))
    split = NamedSharding(mesh, PartitionSpec(("data", "model")))
    same = NamedSharding(mesh, PartitionSpec())
    grad = pb.value_and_grad(_loss)
    lowered = pb.jit(grad, out_shardings=same).lower(*_types(same, split))
    assert 'sdy.mesh @mesh = <["data"=2, "model"=2]>' in lowered.as_text()
    compiled = lowered.compile()
    whole = SingleDeviceSharding(topo.devices[3])
    alone = pb.jit(grad).lower(*_types(whole, whole)).compile()
    assert (compiled.num_devices, alone.num_devices) == (4, 1)
    saved = alone.memory_analysis().argument_size_in_bytes
    saved -= compiled.memory_analysis().argument_size_in_bytes
    assert saved >= 0.7 * 4 * 512 * 128
    if compiled.has_compiler_costs:
        flops = [c.cost_analysis()["flops"] for c in (compiled, alone)]
        assert flops[0] < 0.3 * flops[1]


def test_constraint_over_a_mesh(platform: str) -> None:
    """Every device does a quarter, though the arguments are whole on each."""
    mesh = topologies.make_mesh(_described(platform, 4), (2, 2), ("data", "model"))
    same = NamedSharding(mesh, PartitionSpec())
    with mesh:
        compiled = pb.jit(pb.value_and_grad(_constrained)).lower(*_types(same, same)).compile()
    whole = 3 * 2 * 512 * 128 * 128
    if compiled.has_compiler_costs:
        assert compiled.cost_analysis()["flops"] < 0.4 * whole


def test_program_of_jax(platform: str, tmp_path: Path) -> None:
    """A program written for JAX, run by `pullback run`."""
    name = {"tpu": "v5e:2x2", "cuda": "h100:1x1x4"}[platform]
    script = tmp_path / "script.py"
    script.write_text(f"""
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec as P

topology = topologies.get_topology_desc({name!r}, {platform!r})
mesh = topologies.make_mesh(topology, (4,), ("data",))
weight = jax.ShapeDtypeStruct((128, 128), jnp.bfloat16, sharding=NamedSharding(mesh, P()))
batch = jax.ShapeDtypeStruct((512, 128), jnp.bfloat16, sharding=NamedSharding(mesh, P("data")))
lowered = jax.jit(lambda w, x: jax.nn.relu(x @ w)).lower(weight, batch)
compiled = lowered.compile()
print(compiled.memory_analysis().output_size_in_bytes, compiled.cost_analysis()["flops"] > 0)
""")
    command = [sys.executable, "-m", "pullback", "run", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size, counted = done.stdout.split()
    assert 512 * 128 * 2 // 4 <= int(size) < 512 * 128 * 2
    assert counted == "True"


def test_sizes_that_cannot_be_split(platform: str) -> None:
    topo = _described(platform, 4)
    split = NamedSharding(topologies.make_mesh(topo, (4,), ("data",)), PartitionSpec("data"))
    type_ = pb.ShapeDtypeStruct((6,), np.float32, sharding=split)
    with pytest.raises(ValueError, match="should be divisible by 4"):
        pb.jit(jnp.sin).lower(type_).compile()


def test_unknown_names(platform: str) -> None:
    with pytest.raises((JaxRuntimeError, UnsupportedError), match="nonsense"):
        topologies.get_topology_desc("nonsense", platform)


def test_every_gpu_of_the_table() -> None:
    if "cuda" not in pjrt.find_plugins():
        pytest.skip("no PJRT plugin for cuda is installed (extra cuda)")
    for name, gpu in GPUS.items():
        (device,) = topologies.get_topology_desc(name, "cuda").devices
        assert isinstance(device, TopologyDevice)
        assert (device.device_kind, device.platform) == (gpu.name, "gpu")
        assert device.attributes["core_count"] == gpu.processors


# --------------------------------------------------------------------------- without


class _Compiler:
    """What stands for a plugin's topology: it keeps what it is asked to compile."""

    platform, name = "tpu", "imagined"

    def __init__(self) -> None:
        client = topology_client("tpu", "imagined")
        facts = ({"id": i, "kind": "TPU", "process_index": 0, "attributes": {}} for i in range(4))
        self.devices = [TopologyDevice(self, client, f) for f in facts]

    def compile(self, text: str, devices: Any, options: Any) -> topology.AheadProgram:
        self.text, self.used, self.options = text, tuple(devices), options
        return topology.AheadProgram(b"code", None, {"peak_memory_in_bytes": 7})


def _mesh(compiler: _Compiler) -> Mesh:
    return Mesh(np.array(compiler.devices[::-1], dtype=object).reshape(2, 2), ("x", "y"))


def test_what_the_compiler_is_told() -> None:
    compiler = _Compiler()
    mesh = _mesh(compiler)
    rows, columns = (NamedSharding(mesh, PartitionSpec(*s)) for s in (("x",), (None, "y")))
    compiled = pb.jit(_loss, in_shardings=(columns, rows)).lower(*_types(None, None)).compile()
    assert compiler.used == (3, 2, 1, 0)
    assert "mhlo.num_partitions = 4" in compiler.text
    head = next(line for line in compiler.text.splitlines() if "@main" in line)
    assert head.count("sdy.sharding =") == 2
    assert '%arg0: tensor<128x128xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"y"}]>}' in head
    assert '%arg1: tensor<512x128xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}' in head
    assert compiled.serialize() == b"code"
    with pytest.raises(UnsupportedError, match="its method `serialize`"):
        serialize_executable.serialize(compiled)
    assert compiled.peak_memory_in_bytes == 7
    assert compiled.cost_analysis()["flops"] >= 2 * 512 * 128 * 128


def test_specs_and_static_arguments() -> None:
    """`in_shardings` are for the arguments that are not static; a spec is of the mesh around."""
    compiler = _Compiler()

    def f(x: Any, times: int, rest: dict[str, Any]) -> Any:
        return {"sum": x * times + rest["a"], "other": rest["b"]}

    spec = PartitionSpec("y")
    jitted = pb.jit(
        f,
        static_argnums=1,
        in_shardings=(spec, {"a": None, "b": PartitionSpec()}),
        out_shardings={"sum": spec, "other": None},
    )
    with _mesh(compiler):
        jitted.lower(np.ones(4), 3, {"a": np.ones(4), "b": np.ones(2)}).compile()
    arguments, results = next(line for line in compiler.text.splitlines() if "@main" in line).split(
        "->"
    )
    assert '%arg0: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}]>}' in arguments
    assert "%arg2: tensor<2xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}" in arguments
    assert arguments.count("sdy.sharding =") == 2
    assert results.count("sdy.sharding =") == 1


def test_constraints_inside() -> None:
    """They are kept, in derivatives and under vmap, too, and do nothing on this machine."""
    compiler = _Compiler()
    mesh = _mesh(compiler)
    rows = NamedSharding(mesh, PartitionSpec("x"))

    def f(x: Any) -> Any:
        return jnp.sum(lax.with_sharding_constraint(jnp.sin(x), rows) ** 2)

    def lines(g: Any, *shape: int) -> list[str]:
        type_ = pb.ShapeDtypeStruct(
            shape, np.float32, sharding=NamedSharding(mesh, PartitionSpec())
        )
        pb.jit(g).lower(type_).compile()
        return [x for x in compiler.text.splitlines() if "sdy.sharding_constraint" in x]

    written = '#sdy.sharding<mesh<["x"=2, "y"=2]>, '
    (line,) = lines(f, 4, 2)
    assert written + '[{"x"}, {}]>' in line
    assert len(lines(pb.grad(f), 4, 2)) == 2
    (line,) = lines(pb.vmap(f, in_axes=1), 4, 3)
    assert written + '[{"x"}, {?}]>' in line
    np.testing.assert_allclose(pb.jit(f)(np.ones((4, 2))), 8 * np.sin(1) ** 2, 1e-6)
    one = pb.ShapeDtypeStruct((4,), np.float32, sharding=SingleDeviceSharding(compiler.devices[0]))
    with pytest.raises(UnsupportedError, match="it is for one device"):
        pb.jit(f).lower(one).compile()


def test_one_place_for_one_program() -> None:
    compiler = _Compiler()
    mesh = _mesh(compiler)
    on_mesh = NamedSharding(mesh, PartitionSpec())
    first, second = map(SingleDeviceSharding, compiler.devices[:2])
    other = SingleDeviceSharding(_Compiler().devices[0])
    for a, b in ((first, second), (first, on_mesh), (first, other)):
        with pytest.raises(UnsupportedError, match="one mesh, or one device"):
            pb.jit(_loss).lower(*_types(a, b))


def test_donated_arguments_are_marked() -> None:
    compiler = _Compiler()
    place = SingleDeviceSharding(compiler.devices[0])
    type_ = pb.ShapeDtypeStruct((3,), np.float32, sharding=place)
    pb.jit(jnp.sin, donate_argnums=0).lower(type_).compile()
    assert "tf.aliasing_output = 0" in compiler.text


def test_references_stay_here() -> None:
    place = SingleDeviceSharding(_Compiler().devices[0])
    ref = pb.new_ref(jnp.ones(3))
    type_ = pb.ShapeDtypeStruct((3,), np.float32, sharding=place)
    with pytest.raises(UnsupportedError, match="references"):
        pb.jit(lambda x: ref[...] + x).lower(type_).compile()


def test_nothing_runs_there() -> None:
    compiler = _Compiler()
    device, mesh = compiler.devices[0], _mesh(compiler)
    with pytest.raises(UnsupportedError, match="is not here"):
        pb.device_put(np.ones(3), device)
    with pytest.raises(UnsupportedError, match="not here"):
        pb.jit(jnp.sin, device=device)(1.0)
    with pytest.raises(UnsupportedError, match="is not here"), pb.default_device(device):
        pass
    with pytest.raises(UnsupportedError, match="over 4 devices"):
        pb.device_put(np.ones(4), NamedSharding(mesh, PartitionSpec("x")))


def test_parts_of_arrays() -> None:
    """What JAX gives for four devices in a mesh of two by two."""
    compiler = _Compiler()
    mesh = Mesh(np.array(compiler.devices, dtype=object).reshape(2, 2), ("x", "y"))
    whole, low, high = slice(None), slice(0, 4), slice(4, 8)
    first, second = slice(0, 2), slice(2, 4)
    quarters = [slice(k, k + 2) for k in (0, 2, 4, 6)]
    expected: dict[tuple[Any, ...], list[tuple[slice, slice]]] = {
        (): [(whole, whole)] * 4,
        ("x",): [(low, whole), (low, whole), (high, whole), (high, whole)],
        (None, "y"): [(whole, first), (whole, second)] * 2,
        (("x", "y"),): [(q, whole) for q in quarters],
        ("y", "x"): [(low, first), (high, first), (low, second), (high, second)],
    }
    for spec, indices in expected.items():
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        found = sharding.devices_indices_map((8, 4))
        assert [found[d] for d in compiler.devices] == indices
        one = np.zeros((8, 4))[indices[0]].shape
        assert sharding.shard_shape((8, 4)) == one
        assert sharding.is_fully_replicated == (not spec)
        assert sharding.num_devices == 4
        for other in expected:
            same = sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec(*other)), 2)
            assert same == (spec == other)


def test_devices_are_not_copied() -> None:
    with pytest.raises(TypeError, match="belongs to a topology"):
        pickle.dumps(_Compiler().devices[0])


def test_shardings_as_text() -> None:
    text = functools.partial(shardy.attribute, ndim=2)
    assert text(PartitionSpec()).endswith("[{}, {}]>")
    assert text(PartitionSpec(PartitionSpec.UNCONSTRAINED, ("a", "b"))).endswith(
        '[{?}, {"a", "b"}]>'
    )


def test_gpu_descriptions(tmp_path: Path) -> None:
    assert "core_count: 132" in gpu_target("H100")
    file = tmp_path / "mine.txt"
    file.write_text('platform_name: "CUDA"')
    assert gpu_target(str(file)) == 'platform_name: "CUDA"'
    with pytest.raises(UnsupportedError, match="known are t4, a100"):
        gpu_target("voodoo2")


def test_targets_that_are_none() -> None:
    with pytest.raises(UnsupportedError, match="names no device"):
        topology.parse_target("tpu")
    with pytest.raises(UnsupportedError, match="not for 'metal'"):
        topology.parse_target("metal:m1")


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        ("{}:f", "{}:missing", "defines no 'missing'"),
        ("{}:number", "{}:args", "is a int, not a function"),
        ("{}:f", "{}:number", "must be a tuple"),
        ("{}:f.nothing", "{}:args", "nothing"),
        ("{}:f", "{}:args", "the target 'metal' names no device"),
        ("nowhere.py:f", "x:y", "cannot open nowhere.py"),
        ("f", "x:y", "script.py:name"),
    ],
)
def test_wrong_commands(function: str, args: str, message: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import jax\nf = jax.jit(lambda x: x + 1)\nargs = (1.0,)\nnumber = 3\n")
    done = _command(function.format(script), args.format(script), "metal")
    assert done.returncode == 2
    assert message in done.stderr

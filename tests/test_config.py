"""Settings: that each does what it says, and that programs may read and set all of JAX's."""

from __future__ import annotations

import csv
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import config
from pullback.accepted_flags import ACCEPTED
from pullback.runtime import cache


@pytest.fixture
def setting() -> Iterator[Any]:
    """Sets settings of the process, and puts them back."""
    before: dict[str, Any] = {}

    def change(name: str, value: Any) -> None:
        before.setdefault(name, config.read(name))
        config.update(name, value)

    yield change
    for name, value in before.items():
        config.update(name, value)


def test_no_tracing_and_no_execution() -> None:
    f = pb.jit(lambda x: x + 1)
    x = jnp.ones(2)
    with pb.no_tracing(True), pytest.raises(RuntimeError, match="no_tracing"):
        f(x)
    f(x)
    with pb.no_tracing(True):
        assert f(x).tolist() == [2.0, 2.0]
        with pytest.raises(RuntimeError, match="no_tracing"):
            f(jnp.ones(3))
    with pb.no_execution(True):
        with pytest.raises(RuntimeError, match="no_execution"):
            f(x)
        with pytest.raises(RuntimeError, match="no_execution"):
            jnp.sin(x)
    assert jnp.sin(x).shape == (2,)


def test_no_execution_of_the_process(setting: Any) -> None:
    f = pb.jit(lambda x: x + 1)
    x = jnp.ones(2)
    f(x), f(x)
    setting("jax_no_execution", True)
    with pytest.raises(RuntimeError, match="no_execution"):
        f(x)
    with pytest.raises(RuntimeError, match="no_execution"):
        x + x


def test_f16_reductions() -> None:
    x = jnp.ones(3, jnp.float16)
    bind = pb.lax.reduce_sum_p.bind
    assert bind(x, axes=(0,), out_sharding=None).item() == 3
    with pb.allow_f16_reductions(False):
        with pytest.raises(TypeError, match="jax_allow_f16_reductions"):
            bind(x, axes=(0,), out_sharding=None)
        assert bind(jnp.ones(3), axes=(0,), out_sharding=None).item() == 3


def test_legacy_keys() -> None:
    old, new = pb.random.PRNGKey(0), pb.random.key(0)
    with pb.legacy_prng_key("error"):
        with pytest.raises(ValueError, match="old style"):
            pb.random.normal(old)
        pb.random.normal(new)
    with pb.legacy_prng_key("warn"), pytest.warns(UserWarning, match="old style"):
        pb.random.normal(old)


def test_seed_offset_and_custom_prng(setting: Any) -> None:
    setting("jax_random_seed_offset", 5)
    assert pb.random.PRNGKey(3).tolist() == [0, 8]
    with pb.enable_custom_prng(True):
        assert jnp.issubdtype(pb.random.PRNGKey(3).dtype, pb.dtypes.prng_key)


def test_gumbel_of_high_range(setting: Any) -> None:
    key = pb.random.key(3)
    high = pb.random.gumbel(key, (7,), mode="high")
    assert (pb.random.gumbel(key, (7,)) != high).any()
    setting("jax_high_dynamic_range_gumbel", True)
    np.testing.assert_array_equal(pb.random.gumbel(key, (7,)), high)


@pytest.mark.parametrize("where", [None, np.array([True, False, True, True])])
def test_softmax_with_a_rule(where: Any) -> None:
    x, t = jnp.array([0.5, 2.0, -1.0, 0.0]), jnp.array([1.0, 2.0, 3.0, -1.0])

    def f(v: Any) -> Any:
        return pb.nn.softmax(v, where=where)

    plain = pb.jvp(f, (x,), (t,))
    gradient = pb.grad(lambda v: (f(v) * t).sum())(x)
    with pb.softmax_custom_jvp(True):
        ours = pb.jvp(f, (x,), (t,))
        assert "custom_jvp_call" in str(pb.make_jaxpr(f)(x))
        np.testing.assert_allclose(pb.grad(lambda v: (f(v) * t).sum())(x), gradient, atol=1e-6)
    for a, b in zip(plain, ours, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_explicit_64_bit_types(setting: Any) -> None:
    setting("jax_explicit_x64_dtypes", "error")
    with pytest.raises(ValueError, match="float64"):
        jnp.zeros(3, "float64")
    assert jnp.zeros(3, float).dtype == np.float32
    with pytest.raises(ValueError, match="jax_enable_x64"):
        setting("jax_explicit_x64_dtypes", "allow")


def test_static_indices(setting: Any) -> None:
    x = jnp.arange(4.0)
    assert x[7].item() == 3.0
    setting("jax_check_static_indices", True)
    for index in (7, -5, (slice(None), 9)):
        with pytest.raises(IndexError, match="out of bounds"):
            _ = jnp.ones((4, 3))[index]
    with pytest.raises(IndexError, match="out of bounds"):
        pb.jit(lambda v: v[9])(x)
    assert x[-4].item() == 0.0
    assert x[2:9].tolist() == [2.0, 3.0]


def test_captured_constants(setting: Any) -> None:
    big = jnp.arange(300.0)
    setting("jax_captured_constants_warn_bytes", 1000)
    setting("jax_captured_constants_report_frames", -1)
    with pytest.warns(UserWarning, match=r"(?s)1200 bytes.*f32\[300\]: 1200 bytes"):
        pb.jit(lambda x: x + big)(1.0)
    setting("jax_captured_constants_warn_bytes", -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pb.jit(lambda x: x - big)(1.0)


def test_cache_settings(setting: Any, tmp_path: Path) -> None:
    def f(x: Any) -> Any:
        return jnp.tanh(x) + 0.28515625

    setting("jax_compilation_cache_dir", str(tmp_path / "cache"))
    assert cache.stats().directory.parent == tmp_path / "cache"
    setting("jax_persistent_cache_min_compile_time_secs", 1e9)
    pb.jit(lambda x: f(x))(1.0)
    written = cache.stats().writes
    setting("jax_persistent_cache_min_compile_time_secs", 0.0)
    pb.jit(lambda x: f(x))(1.0)
    assert cache.stats().writes == written + 1
    setting("jax_enable_compilation_cache", False)
    assert cache.stats().directory is None
    setting("jax_enable_compilation_cache", True)
    setting("jax_compilation_cache_max_size", 1 << 20)
    assert cache.stats().limit == 1 << 20


def test_dumps(setting: Any, tmp_path: Path) -> None:
    setting("jax_dump_ir_to", str(tmp_path))
    pb.jit(lambda x: jnp.cos(x) + 0.4140625)(1.0)
    suffixes = {p.suffix for p in tmp_path.iterdir()}
    assert {".jaxpr", ".loops", ".ll", ".s"} <= suffixes


def test_impossible_values_are_refused() -> None:
    for name, value in (
        ("jax_num_cpu_devices", 8),
        ("jax_platform_name", "gpu"),
        ("jax_legacy_prng_key", "sometimes"),
        ("jax_logging_level", "LOUD"),
    ):
        with pytest.raises(ValueError, match=r"."):
            config.update(name, value)
    config.update("jax_num_cpu_devices", 1)
    config.update("jax_num_cpu_devices", -1)


def test_user_context() -> None:
    context = pb.make_user_context(1)
    other = pb.make_user_context("a")
    traced = []
    f = pb.jit(lambda x: (traced.append(context.value), x * context.value)[1])
    assert f(2.0).item() == 2.0
    with context(7), other("b"):
        assert f(2.0).item() == 14.0
        assert f(2.0).item() == 14.0
    assert f(2.0).item() == 2.0
    context.set_global(3)
    assert context.get_global() == 3
    assert f(2.0).item() == 6.0
    assert traced == [1, 7, 3]


def test_accepted_settings_are_kept() -> None:
    for name, (value, reason) in ACCEPTED.items():
        assert config.values[name] == value
        assert reason
    with pb.thread_guard(True):
        assert config.jax_thread_guard is True


def test_every_setting_of_jax_is_known() -> None:
    """The list of names was taken from `jax.config.values` of JAX 0.10.2."""
    path = Path(__file__).parent / "data" / "jax_settings.tsv"
    with path.open(newline="") as file:
        names = [row[0] for row in csv.reader(file, delimiter="\t")]
    assert len(names) > 100
    assert [n for n in names if n not in config.values] == []


def _bad_rule() -> Any:
    f = pb.custom_vjp(lambda x: x * 2)
    f.defvjp(lambda x: (f(x), None), lambda _, ct: (jnp.ones(5),))
    return lambda x: f(x).sum()


def test_cotangents_of_users_rules_are_checked(setting: Any) -> None:
    with pytest.raises(ValueError, match=r"float32\[5\] .* input of shape \(3,\)"):
        pb.grad(_bad_rule())(jnp.ones(3))
    setting("jax_disable_bwd_checks", True)
    assert pb.grad(_bad_rule())(jnp.ones(3)).shape == (5,)


def test_loggers(setting: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pullback.examples")
    setting("jax_logging_level", "ERROR")
    assert logger.getEffectiveLevel() == logging.ERROR
    setting("jax_debug_log_modules", "jax.examples")
    logger.debug("a detail")
    assert "a detail" in capsys.readouterr().err
    setting("jax_debug_log_modules", "")
    logger.debug("another")
    assert "another" not in capsys.readouterr().err


FLAGS_PROGRAM = """
import sys
from absl import app
import pullback.dropin
pullback.dropin.install()
import jax

if sys.argv[1] == "absl":
    del sys.argv[1]
    jax.config.config_with_absl()
else:
    jax.config.parse_flags_with_absl()

def main(argv):
    print(jax.config.jax_enable_x64, jax.config.jax_log_compiles, jax.config.jax_random_seed_offset)

if sys.argv[1] == "plain":
    main(sys.argv)
else:
    app.run(main)
"""


@pytest.mark.parametrize("how", ["absl", "plain"])
def test_flags_of_the_command_line(how: str, tmp_path: Path) -> None:
    pytest.importorskip("absl")
    path = tmp_path / "program.py"
    path.write_text(FLAGS_PROGRAM)
    options = ["--jax_enable_x64", "--nojax_log_compiles", "--jax_random_seed_offset=7"]
    done = subprocess.run(
        [sys.executable, str(path), how, *options], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True False 7\n", done.stderr

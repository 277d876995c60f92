"""Settings as context managers, and the other names of `pullback.environment`."""

from __future__ import annotations

from typing import Any

import pytest

import pullback as pb
import pullback.numpy as jnp


def test_overrides_end_with_their_block() -> None:
    for name, value in [
        ("default_matmul_precision", "highest"),
        ("numpy_dtype_promotion", "strict"),
        ("numpy_rank_promotion", "raise"),
        ("transfer_guard", "disallow"),
        ("debug_nans", True),
        ("log_compiles", True),
    ]:
        before = pb.config.read(f"jax_{name}")
        with getattr(pb, name)(value):
            assert pb.config.read(f"jax_{name}") == value
        assert pb.config.read(f"jax_{name}") == before


def test_overrides_are_decorators() -> None:
    @pb.numpy_rank_promotion("raise")
    def f() -> Any:
        return pb.config.read("jax_numpy_rank_promotion")

    assert f() == "raise"


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="new enum value must be in"), pb.transfer_guard("never"):
        pass
    with pytest.raises(ValueError, match="a Device object"), pb.default_device(3):
        pass


def test_compile_time_evaluation() -> None:
    @pb.jit
    def f(x: Any) -> Any:
        with pb.ensure_compile_time_eval():
            n = int(jnp.sum(jnp.arange(4)))
        return x * n

    assert float(f(1.0)) == 6.0


def test_environment_info(capsys: pytest.CaptureFixture[str]) -> None:
    text = pb.print_environment_info(return_string=True)
    for word in ("pullback", "numpy", "llvmlite", "python", "cpu:0"):
        assert word in str(text)
    assert pb.print_environment_info() is None
    assert capsys.readouterr().out.strip() == str(text).strip()


def test_every_name_of_the_package_exists() -> None:
    for name in pb.__all__:
        assert getattr(pb, name) is not None

"""What every test runs under."""

from __future__ import annotations

import os

# JAX is an oracle here: on the CPU, without preallocation, whatever the machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "pullback",
    deadline=None,  # the first example compiles
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("pullback")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite; none for a selection, where starting them costs more."""
    return 0 if config.invocation_params.args and _selects(config) else 2


def _selects(config: pytest.Config) -> bool:
    return config.args_source is pytest.Config.ArgsSource.ARGS

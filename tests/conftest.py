"""What every test runs under."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator

# JAX is an oracle here: on the CPU, without preallocation, whatever the machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Whole tracebacks, ours included, where a test fails.
os.environ.setdefault("PULLBACK_TRACEBACK_FILTERING", "off")

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--golden-update` rewrites the expected texts of golden tests."""
    parser.addoption("--golden-update", action="store_true", help="rewrite golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text is that of `golden/name.txt` beside the test."""

    def check(name: str, text: str) -> None:
        path = request.path.parent / "golden" / f"{name}.txt"
        if request.config.getoption("--golden-update"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n")
        assert path.read_text() == text + "\n"

    return check


def pytest_collection_finish(session: pytest.Session) -> None:
    """Programs of the oracle are compiled once for all runs and processes: most of its time.

    By its settings, since ours would hear its environment variables, too.  The tests themselves are
    never garbage: collections need not look at them.
    """
    gc.freeze()
    oracle = sys.modules.get("jax")
    if oracle is not None:
        directory = session.config.rootpath / ".pytest_cache" / "jax"
        oracle.config.update("jax_compilation_cache_dir", str(directory))
        oracle.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        oracle.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        # Modules may have run something before.
        importlib.import_module(
            "jax.experimental.compilation_cache.compilation_cache"
        ).reset_cache()


@pytest.fixture(autouse=True, scope="module")
def _forget_what_jax_compiled() -> Iterator[None]:
    """JAX keeps every program of every eager call: gigabytes, over the whole suite."""
    yield
    oracle = sys.modules.get("jax")
    if oracle is not None:
        oracle.clear_caches()

"""`import jax` after `install()`, each time in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run(program: str) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(program)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )


def check(program: str) -> None:
    done = run("from pullback import dropin\ndropin.install()\n" + textwrap.dedent(program))
    assert done.returncode == 0, done.stderr


def test_an_import_brings_no_resources() -> None:
    done = run(
        """
        import sys
        before = set(sys.modules)
        from pullback import dropin
        dropin.install()
        import jax, jax.numpy
        assert not {"importlib.abc", "importlib.resources"} & (set(sys.modules) - before)
        """
    )
    assert done.returncode == 0, done.stderr


def test_modules_are_ours() -> None:
    check(
        """
        import jax, jax.tree_util, pullback
        from jax import tree
        from jax.tree_util import tree_map
        from pullback import tree_util
        assert tree_map is tree_util.tree_map
        assert jax.tree.map is tree_util.tree_map
        assert jax.__version__ == "0.10.2" and jax.__version_info__ >= (0, 10)
        assert jax.version.__version_info__ == (0, 10, 2)
        import sys
        assert not any(name.startswith("jaxlib") for name in sys.modules)
        assert sys.modules["jax"] is jax
        """
    )


def test_every_alias_has_a_spec() -> None:
    check(
        """
        import importlib.util
        assert importlib.util.find_spec("jax") is not None
        import jax, jax.tree_util
        assert importlib.util.find_spec("jax").name == jax.__spec__.name == jax.__name__ == "jax"
        assert jax.tree_util.__spec__.name == "jax.tree_util"
        assert jax.tree_util.__package__ == "jax.tree_util"
        assert jax.__spec__.loader is not None
        assert "pullback" in repr(jax.__spec__)
        """
    )


def test_missing_names_say_so() -> None:
    check(
        """
        import jax
        for name in ("nonsense", "transforms", "llvm", "np"):
            try:
                getattr(jax, name)
            except AttributeError as e:
                assert str(e) == f"pullback lacks jax.{name}", e
            else:
                raise AssertionError(name)
        try:
            jax.tree_util.nonsense
        except AttributeError as e:
            assert str(e) == "pullback lacks jax.tree_util.nonsense", e
        try:
            import jax.experimental.jax2tf
        except ModuleNotFoundError as e:
            assert "pullback lacks the module jax.experimental" in str(e), e
            assert e.name.startswith("jax.experimental")
        else:
            raise AssertionError
        try:
            import jax._src.nonsense
        except ModuleNotFoundError as e:
            assert "pullback lacks the module jax._src" in str(e), e
        try:
            from jax import nonsense
        except ImportError as e:
            assert "nonsense" in str(e)
        assert getattr(jax, "nonsense", None) is None
        """
    )


def test_names_are_not_looked_for_on_disk() -> None:
    check(
        """
        import jax, jax.numpy as jnp, jax.lax, sys

        asked = []

        class Watch:
            def find_spec(self, name, path=None, target=None):
                asked.append(name)

        sys.meta_path.insert(0, Watch())
        jax.jit, jax.numpy, jnp.sin, jax.lax.add, jax.core.Tracer
        assert not hasattr(jnp, "nonsense")
        assert not any("shims.numpy" in n or "jit" in n or "nonsense" in n for n in asked), asked
        assert "jax.core" in asked
        """
    )


def test_every_public_shim_can_be_imported_by_its_name() -> None:
    check(
        """
        import importlib, pkgutil
        from pullback.dropin import shims
        prefix = shims.__name__ + "."
        found = {m.name.removeprefix(prefix) for m in pkgutil.walk_packages(shims.__path__, prefix)}
        public = {n for n in found if not n.startswith("_src")}
        public -= {"experimental.sparse.primitives"}  # that other shims are made of
        assert len(public) > 30
        for name in public:
            importlib.import_module("jax." + name)
        """
    )


def test_attributes_are_live_and_can_be_patched() -> None:
    check(
        """
        import jax, pullback
        from unittest import mock
        before = jax.tree_util.tree_map
        with mock.patch("jax.tree_util.tree_map", 7):
            assert jax.tree_util.tree_map == 7
        assert jax.tree_util.tree_map is before
        pullback.tree_util.something_new = 8
        assert jax.tree_util.something_new == 8
        assert "tree_map" in dir(jax.tree_util) and "tree_util" in dir(jax)
        """
    )


def test_star_import_takes_public_names() -> None:
    check(
        """
        from jax.tree_util import *
        assert tree_map and "annotations" not in globals()
        """
    )


def test_the_real_jax_must_not_be_imported_yet() -> None:
    done = run("import jax\nfrom pullback import dropin\ndropin.install()")
    assert done.returncode != 0
    assert "ImportError: JAX is already imported, from " in done.stderr
    assert "jax/__init__.py" in done.stderr


def test_uninstall_gives_the_real_jax_back() -> None:
    check(
        """
        import jax, sys
        dropin.install()
        assert dropin.is_installed()
        dropin.uninstall()
        assert not dropin.is_installed() and "jax" not in sys.modules
        import jax
        assert "pullback" not in jax.__file__
        """
    )


def test_core_is_that_of_jax() -> None:
    check(
        """
        import jax
        import jax.core
        from pullback.core.avals import ShapedArray
        assert jax.core.ShapedArray is ShapedArray
        assert jax.core.max_dim(3, 4) == 4
        for name in ("dtypes", "primitive", "EVAL"):
            assert getattr(jax.core, name, None) is None
        """
    )

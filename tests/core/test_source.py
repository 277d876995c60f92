"""Where the user's code is found on the stack."""

from __future__ import annotations

from typing import Any

import pullback.numpy as jnp
from pullback import make_jaxpr
from pullback.core import source


def test_equations_know_the_line_that_made_them() -> None:
    def f(x: Any) -> Any:
        return jnp.sin(x)

    (eqn,) = make_jaxpr(f)(1.0).eqns
    assert eqn.source_info.function == "f"
    assert eqn.source_info.file == __file__
    assert eqn.source_info.line == f.__code__.co_firstlineno + 1


def test_code_is_known_by_identity() -> None:
    """Code objects compute their hash from all of their parts, anew each time."""
    code = compile("pass", "somewhere.py", "exec")
    assert not source.is_ours(code)
    known = source._ours[id(code)]
    assert known == (False, code)
    assert known[1] is code


def test_hidden_paths_are_not_the_users() -> None:
    code = compile("pass", "/library/module.py", "exec")
    assert not source.is_ours(code)
    source.hide_path("/library/")
    try:
        assert source.is_ours(code)
    finally:
        source.hidden_paths.remove("/library/")
        source._ours.clear()

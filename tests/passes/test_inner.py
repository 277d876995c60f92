"""Jaxprs inside equations."""

from __future__ import annotations

import numpy as np

import pullback as pb
from pullback import lax
from pullback.core.jaxpr import Jaxpr
from pullback.passes.inner import with_inner


def test_all_branches_and_bodies_are_rewritten() -> None:
    def function(i, x):
        y = lax.switch(i, [lambda x: x + 1, lambda x: x * 2], x)
        return lax.while_loop(lambda y: y[0] < 3, lambda y: y + 1, y)

    eqns = pb.make_jaxpr(function)(np.int32(0), np.ones(3, np.float32)).jaxpr.eqns
    found: list[Jaxpr] = []

    def same(jaxpr: Jaxpr) -> Jaxpr:
        found.append(jaxpr)
        return jaxpr

    assert all(with_inner(eqn, same) is eqn for eqn in eqns)
    assert len(found) == 4
    new = [with_inner(eqn, lambda jaxpr: jaxpr.replace(eqns=[])) for eqn in eqns]
    (switch,) = [eqn for eqn in new if eqn.primitive.name == "cond"]
    assert [branch.jaxpr.eqns for branch in switch.params["branches"]] == [[], []]
    assert type(switch.params["branches"]) is tuple

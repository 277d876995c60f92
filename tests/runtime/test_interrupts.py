"""Ctrl-C in long compiled loops, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

SETUP = """
import os, signal, threading
import numpy as np
import pullback as pb, pullback.numpy as jnp
from pullback import lax

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background

def interrupted(call):
    '''Whether a call that would take hours ends by Ctrl-C.'''
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        timer.join()
    return False

HOURS = 2**31 - 1
def steps(n, x):
    body = lambda s: (s[0] + 1, jnp.tanh(s[1] @ s[1]) * 0.1)
    return lax.while_loop(lambda s: s[0] < n, body, (0, x))[1]
"""

PROGRAMS = {
    "while": """
        x = jnp.ones((60, 60))
        f = pb.jit(steps)
        before = np.asarray(f(2, x))
        for _ in range(2):
            assert interrupted(lambda: f(HOURS, x))
            np.testing.assert_array_equal(f(2, x), before)
        np.testing.assert_array_equal(x, np.ones((60, 60)))
    """,
    "scan": """
        body = lambda c, _: (jnp.tanh(c @ c) * 0.1, None)
        x = jnp.ones((60, 60))
        f = pb.jit(lambda x: lax.scan(body, x, None, length=HOURS)[0]).lower(x).compile()
        assert interrupted(lambda: f(x))
    """,
    "eager": """
        body = lambda s: (s[0] + 1, s[1], jnp.sin(s[2]))
        run = lambda n: lax.while_loop(lambda s: s[0] < s[1], body, (0, n, 0.5))
        run(3)
        assert interrupted(lambda: run(HOURS))
    """,
    "inner loop": """
        inner = lambda i, x: steps(HOURS, x)
        x = jnp.ones((60, 60))
        f = pb.jit(lambda x: lax.fori_loop(0, 3, inner, x)).lower(x).compile()
        assert interrupted(lambda: f(x))
    """,
    "gradient": """
        total = lambda x: lax.while_loop(
            lambda s: s[0] < 300_000_000, lambda s: (s[0] + 1, jnp.sin(s[1])), (0, x))[1]
        f = pb.jit(pb.grad(total)).lower(0.5).compile()
        assert interrupted(lambda: f(0.5))
    """,
    "python calls": """
        os.environ["PULLBACK_PYTHON_CALLS"] = "1"
        f, x = pb.jit(steps), jnp.ones((60, 60))
        f(2, x)
        assert interrupted(lambda: f(HOURS, x))
    """,
    "handlers of the user": """
        f, x, seen = pb.jit(steps), jnp.ones((60, 60)), []
        f(2, x)
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(f(2, x).shape))
        timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        timer.start()
        assert interrupted(lambda: f(HOURS, x))
        assert seen == [(60, 60)]
    """,
    "donation": """
        grow = lambda x, n: lax.fori_loop(0, n, lambda i, c: c.at[i % 1000].add(1.0), x)
        f = pb.jit(grow, donate_argnums=0)
        for n in (5, 5, HOURS, HOURS):
            x = jnp.zeros(1000) + 0.0
            call = lambda: f(x, n)
            assert interrupted(call) if n == HOURS else call()[0] == 1.0
            assert x.is_deleted()
    """,
    "other threads go on": """
        f, x, turns = pb.jit(steps), jnp.ones((60, 60)), []
        f(2, x)
        stop = threading.Event()
        def count():
            while not stop.wait(0.01):
                turns.append(1)
        thread = threading.Thread(target=count)
        thread.start()
        assert interrupted(lambda: f(HOURS, x))
        stop.set()
        thread.join()
        assert len(turns) > 5
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c(name: str) -> None:
    program = SETUP + textwrap.dedent(PROGRAMS[name]) + "\nprint('done')\n"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "done"
    assert not run.stderr

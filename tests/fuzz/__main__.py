"""`python -m tests.fuzz --minutes N` or `--seeds N`: random programs against every law.

A failure is shrunk and printed as a test to paste into tests/fuzz/test_found.py, with the seed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax

import pullback
from tests.fuzz.laws import LAWS, case_of, obey
from tests.fuzz.program import Program
from tests.fuzz.strategies import programs

_EXAMPLES = 12
"""Programs for each seed and law."""


def main() -> int:
    """The number of failures."""
    options = _options()
    over = _limit(options)
    seed, count, failures = options.seed, [0], 0
    print(f"seed {seed}", flush=True)
    while not over(seed):
        for law in options.laws:
            if over(seed):
                break
            failures += not _search(law, seed, count)
        if failures and not options.keep_going:
            break
        seed += 1
        if options.keep_going and not seed % 10:
            print(f"# {count[0]} programs", flush=True)
        pullback.clear_caches()
        jax.clear_caches()
    print(f"{count[0]} programs, {failures} failures, seeds {options.seed} to {seed}")
    return failures


def _limit(options: argparse.Namespace) -> Callable[[int], bool]:
    """Whether a seed is beyond the last, or the time is up."""
    if options.seeds is not None:
        return lambda seed: seed >= options.seed + options.seeds
    end = time.monotonic() + 60 * options.minutes
    return lambda seed: time.monotonic() >= end


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=2.0)
    length.add_argument("--seeds", type=int, help="this many seeds, however long they take")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--laws", nargs="+", choices=sorted(LAWS), default=list(LAWS))
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    return parser.parse_args()


def _search(law: str, seed: int, count: list[int]) -> bool:
    """Whether all programs of this seed obey; the smallest that does not is printed."""
    last: list[Program] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @hypothesis.given(programs(smooth=LAWS[law][0]))
    def search(p: Program) -> None:
        count[0] += 1
        try:
            obey(law, case_of(p))
        except Exception:
            if not last:
                print(f"law {law!r} fails with seed {seed}; looking for a small one", flush=True)
            last[:] = [p]
            raise

    try:
        search()
    except Exception as error:
        _report(law, seed, last[0], error)
        return False
    return True


def _report(law: str, seed: int, p: Program, error: Any) -> None:
    error.__notes__ = []  # Hypothesis shows the program as a tree
    text = "".join(traceback.format_exception(error, limit=-6))
    print(f"\n# law {law!r}, seed {seed}\n{p.as_test(law)}\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(min(main(), 1))

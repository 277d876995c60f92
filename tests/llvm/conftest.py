"""Fixtures of the code generator's tests."""

from __future__ import annotations

import pytest

from pullback.llvm.entry import Entry, EntrySpec, make_entry
from pullback.llvm.entry_layout import supported
from tests.llvm.entry_cases import Jitted, Route

ROUTES = ["native", "python"] if supported() else ["python"]


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest) -> Route:
    """Makes a callable with one entry, by the native route or by the Python route."""

    def make(given: EntrySpec) -> Jitted:
        made = make_entry(given) if request.param == "native" else Entry(given, None, [])
        assert made.native == (request.param == "native")
        f: Jitted = Jitted()
        f.add_entry(made)
        return f

    return make

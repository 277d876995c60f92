"""Records behave as frozen dataclasses with slots do, as far as the compiler relies on it."""

from __future__ import annotations

from dataclasses import field

import pytest

from pullback.records import fields_of, record, replaced


@record()
class Point:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.x + self.y


@record(frozen=False)
class Named:
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or "somebody"


def test_fields_come_in_order_and_may_have_defaults() -> None:
    assert fields_of(Point) == ("x", "y", "tags")
    p = Point(1)
    assert (p.x, p.y, p.tags, p.total) == (1, 2, [], 3)
    assert Point(1, 5, ["a"]).tags == ["a"]
    assert Point(1).tags is not Point(1).tags


def test_there_is_no_room_for_other_attributes() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 3  # type: ignore[attr-defined]


def test_missing_and_unknown_fields_are_type_errors() -> None:
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        replaced(Point(1), z=3)


def test_replaced_copies() -> None:
    p = Point(1, tags=["a"])
    q = replaced(p, x=7)
    assert (p.x, q.x, q.tags) == (1, 7, ["a"])


def test_records_are_equal_if_they_are_the_same() -> None:
    p = Point(1)
    assert p != Point(1)
    assert len({p, p, Point(1)}) == 2


def test_what_follows_construction() -> None:
    assert Named().name == "somebody"
    assert replaced(Named("x"), name="y").name == "y"

"""Rotations against SciPy's, and derivatives against finite differences."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.spatial.transform as theirs

import pullback as pb
import pullback.numpy as jnp
from pullback.scipy.spatial.transform import Rotation, Slerp

RNG = np.random.default_rng(0)
SEQUENCES = ["".join(s) for s in itertools.product("xyz", repeat=3) if s[0] != s[1] != s[2]]


@pytest.fixture(autouse=True)
def _wide() -> Any:
    with pb.enable_x64(True):
        yield


def same(ours: Any, other: Any, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(ours.as_matrix(), other.as_matrix(), atol=atol)


@pytest.mark.parametrize("seq", ["x", "zy", *SEQUENCES])
def test_euler_angles(seq: str) -> None:
    for case in (str.lower, str.upper):
        angles = RNG.uniform(-400, 400, size=(6, len(seq)))
        name = case(seq)
        ours = Rotation.from_euler(name, angles, degrees=True)
        other = theirs.Rotation.from_euler(name, angles, degrees=True)
        same(ours, other)
        if len(seq) == 3:
            expected = other.as_euler(name, degrees=True)
            np.testing.assert_allclose(ours.as_euler(name, degrees=True), expected, atol=1e-8)


@pytest.mark.parametrize("seq", SEQUENCES)
@pytest.mark.filterwarnings("ignore:Gimbal lock")
def test_gimbal_lock(seq: str) -> None:
    locks = (0.0, 180.0) if seq[0] == seq[2] else (90.0, -90.0)
    for case, lock in itertools.product((str.lower, str.upper), locks):
        name = case(seq)
        given = theirs.Rotation.from_euler(name, [33.0, lock, -21.0], degrees=True)
        ours = Rotation.from_quat(given.as_quat())
        found = ours.as_euler(name, degrees=True)
        same(Rotation.from_euler(name, found, degrees=True), given, 1e-7)
        np.testing.assert_allclose(found, given.as_euler(name, degrees=True), atol=1e-5)


def test_representations() -> None:
    other = theirs.Rotation.random(20, random_state=1)
    ours = Rotation.from_quat(3 * other.as_quat())
    same(ours, other)
    np.testing.assert_allclose(ours.as_rotvec(), other.as_rotvec(), atol=1e-12)
    np.testing.assert_allclose(ours.as_mrp(), other.as_mrp(), atol=1e-12)
    np.testing.assert_allclose(ours.magnitude(), other.magnitude(), atol=1e-12)
    for canonical, first in itertools.product((False, True), repeat=2):
        expected = other.as_quat(canonical=canonical, scalar_first=first)
        found = ours.as_quat(canonical=canonical, scalar_first=first)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    same(Rotation.from_matrix(other.as_matrix()), other)
    same(Rotation.from_rotvec(other.as_rotvec(degrees=True), degrees=True), other)
    same(Rotation.from_mrp(other.as_mrp()), other)
    same(ours.inv(), other.inv())
    weights = RNG.uniform(size=20)
    same(ours.mean(), other.mean(), 1e-9)
    same(ours.mean(weights), other.mean(weights), 1e-9)


def test_half_turns_and_small_ones() -> None:
    for vector in (np.zeros(3), np.array([1e-12, 0, 0]), np.array([0, np.pi, 0])):
        ours, other = Rotation.from_rotvec(vector), theirs.Rotation.from_rotvec(vector)
        same(ours, other)
        same(Rotation.from_matrix(other.as_matrix()), other)
        np.testing.assert_allclose(ours.as_rotvec(), vector, atol=1e-12)


def test_products_and_vectors() -> None:
    many, one = (theirs.Rotation.random(*n, random_state=2) for n in ((5,), ()))
    ours, single = Rotation.from_quat(many.as_quat()), Rotation.from_quat(one.as_quat())
    same(ours * single, many * one)
    same(single * ours, one * many)
    vectors = RNG.normal(size=(5, 3))
    for inverse in (False, True):
        np.testing.assert_allclose(ours.apply(vectors, inverse), many.apply(vectors, inverse))
        np.testing.assert_allclose(single.apply(vectors[0]), one.apply(vectors[0]))
    assert len(ours) == 5
    same(ours[2], many[2])
    same(Rotation.concatenate([ours, single]), theirs.Rotation.concatenate([many, one]))
    same(Rotation.identity(3), theirs.Rotation.identity(3))
    assert Rotation.identity().single
    with pytest.raises(TypeError, match="no len"):
        len(single)
    with pytest.raises(TypeError, match="subscriptable"):
        single[0]


def test_random_rotations_are_uniform() -> None:
    drawn = Rotation.random(pb.random.key(0), 4000)
    np.testing.assert_allclose(np.mean(drawn.as_matrix(), 0), np.zeros((3, 3)), atol=0.05)
    np.testing.assert_allclose(np.mean(drawn.magnitude()), np.pi / 2 + 2 / np.pi, atol=0.05)
    assert Rotation.random(pb.random.key(0)).single


def test_slerp() -> None:
    times, rotations = np.array([0.0, 1.0, 3.0, 4.0]), theirs.Rotation.random(4, random_state=3)
    ours = Slerp.init(times, Rotation.from_quat(rotations.as_quat()))
    other = theirs.Slerp(times, rotations)
    at = np.linspace(0, 4, 17)
    same(pb.jit(ours)(at), other(at))
    same(ours(2.5), other(2.5))
    with pytest.raises(ValueError, match="at least 2"):
        Slerp.init(times[:1], Rotation.identity(1))
    with pytest.raises(ValueError, match="number of timestamps"):
        Slerp.init(times[:2], Rotation.identity(3))


def test_errors() -> None:
    with pytest.raises(ValueError, match="consecutive axes"):
        Rotation.from_euler("xx", jnp.zeros(2))
    with pytest.raises(ValueError, match="Expected axes"):
        Rotation.from_euler("Xy", jnp.zeros(2))
    with pytest.raises(ValueError, match="Expected `angles`"):
        Rotation.from_euler("xyz", jnp.zeros(2))
    with pytest.raises(ValueError, match="Expected `matrix`"):
        Rotation.from_matrix(jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="Expected `quat`"):
        Rotation.from_quat(jnp.zeros(3))


@pytest.mark.parametrize("size", [0.0, 1e-9, 0.7, 3.0])
def test_derivatives(size: float) -> None:
    direction, step, v = RNG.normal(size=(3, 3))
    vector = size * direction / np.linalg.norm(direction)

    def f(w: Any) -> Any:
        turn = Rotation.from_rotvec(w)
        return jnp.concatenate([turn.apply(v), turn.as_rotvec(), turn.as_mrp()])

    tangent = pb.jacrev(f)(vector) @ step
    h = 1e-6
    expected = (f(vector + h * step) - f(vector - h * step)) / (2 * h)
    np.testing.assert_allclose(tangent, expected, atol=1e-8)

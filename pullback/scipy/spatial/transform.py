"""`jax.scipy.spatial.transform`: rotations in three dimensions, kept as unit quaternions.

Both classes are named tuples of arrays, thus pytrees: they go through `jit`, `vmap` and `grad`.
Formulas that divide by an angle have a series where it is small, so that derivatives exist there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pullback import numpy as jnp
from pullback import random
from pullback.numpy.promotion import promote_dtypes_inexact

__all__ = ["Rotation", "Slerp"]


class Rotation(NamedTuple):
    """A rotation, or several: `quat` has shape (4,) or (N, 4), the scalar part last.

    >>> import pullback.numpy as jnp
    >>> turn = Rotation.from_euler("z", 90, degrees=True)
    >>> turn.apply(jnp.array([1.0, 0.0, 0.0])).round(3) + 0
    Array([0., 1., 0.], dtype=float32)
    """

    quat: Any

    @classmethod
    def concatenate(cls, rotations: Sequence[Rotation]) -> Rotation:
        """All the rotations as one object."""
        return cls(jnp.concatenate([jnp.atleast_2d(r.quat) for r in rotations]))

    @classmethod
    def from_euler(cls, seq: str, angles: Any, degrees: bool = False) -> Rotation:
        """Rotations about up to three axes, one after the other.

        `seq` names the axes: "xyz" about those of the space (extrinsic), "XYZ" about those that
        turn along (intrinsic).  `angles` has shape (), (N,), (len(seq),) or (N, len(seq)).
        """
        axes, intrinsic = _axes(seq)
        (angles,) = promote_dtypes_inexact(jnp.asarray(angles))
        angles = jnp.deg2rad(angles) if degrees else angles
        count = len(axes)
        if count == 1:
            angles = angles[..., None] if angles.ndim == 0 or angles.shape[-1] != 1 else angles
        if angles.ndim not in (1, 2) or angles.shape[-1] != count:
            raise ValueError(
                f"Expected `angles` of shape ({count},) or (N, {count}), got {angles.shape}"
            )
        quat = _elementary(axes[0], angles[..., 0])
        for k in range(1, count):
            step = _elementary(axes[k], angles[..., k])
            quat = _product(quat, step) if intrinsic else _product(step, quat)
        return cls(quat)

    @classmethod
    def from_matrix(cls, matrix: Any) -> Rotation:
        """The rotations of matrices (3, 3) or (N, 3, 3), assumed to be orthogonal."""
        (matrix,) = promote_dtypes_inexact(jnp.asarray(matrix))
        if matrix.ndim not in (2, 3) or matrix.shape[-2:] != (3, 3):
            raise ValueError(f"Expected `matrix` of shape (3, 3) or (N, 3, 3), got {matrix.shape}")
        return cls(_from_matrix(matrix))

    @classmethod
    def from_mrp(cls, mrp: Any) -> Rotation:
        """The rotations of modified Rodrigues parameters (3,) or (N, 3): tan(angle / 4) axis."""
        mrp = _vectors("mrp", mrp, 3)
        square = jnp.sum(mrp * mrp, axis=-1, keepdims=True)
        return cls(jnp.concatenate([2 * mrp, 1 - square], axis=-1) / (1 + square))

    @classmethod
    def from_quat(cls, quat: Any) -> Rotation:
        """The rotations of quaternions (4,) or (N, 4), scalar part last, of any length but 0."""
        quat = _vectors("quat", quat, 4)
        return cls(quat / jnp.linalg.norm(quat, axis=-1, keepdims=True))

    @classmethod
    def from_rotvec(cls, rotvec: Any, degrees: bool = False) -> Rotation:
        """The rotations of vectors (3,) or (N, 3) along the axis, as long as the angle."""
        rotvec = _vectors("rotvec", rotvec, 3)
        rotvec = jnp.deg2rad(rotvec) if degrees else rotvec
        angle, small = _length(rotvec)
        safe = jnp.where(small, 1, angle)
        square = jnp.sum(rotvec * rotvec, axis=-1, keepdims=True)
        scale = jnp.where(small, 0.5 - square / 48, jnp.sin(safe / 2) / safe)
        real = jnp.where(small, 1 - square / 8, jnp.cos(safe / 2))
        return cls(jnp.concatenate([scale * rotvec, real], axis=-1))

    @classmethod
    def identity(cls, num: int | None = None, dtype: Any = float) -> Rotation:
        """The rotation that does nothing, or `num` of it."""
        one = jnp.array([0, 0, 0, 1], dtype)
        return cls(one if num is None else jnp.tile(one, (num, 1)))

    @classmethod
    def random(cls, random_key: Any, num: int | None = None) -> Rotation:
        """A rotation, or `num`, uniformly distributed: normalised normal variables."""
        return cls.from_quat(random.normal(random_key, (4,) if num is None else (num, 4)))

    def __getitem__(self, indexer: Any) -> Any:
        """One or some of several rotations."""
        if self.single:
            raise TypeError("Single rotation is not subscriptable.")
        return Rotation(self.quat[indexer])

    def __len__(self) -> int:
        """How many rotations these are; TypeError for one that is not in a row."""
        if self.single:
            raise TypeError("Single rotation has no len().")
        return int(self.quat.shape[0])

    def __bool__(self) -> bool:
        """True: there is a rotation, whatever it does."""
        return True

    def __mul__(self, other: Rotation) -> Rotation:  # type: ignore[override]
        """The rotation by `other` followed by this one."""
        return Rotation(_product(self.quat, other.quat))

    def apply(self, vectors: Any, inverse: bool = False) -> Any:
        """Vectors (3,) or (N, 3), turned; turned back with `inverse`."""
        matrix = self.as_matrix()
        matrix = jnp.swapaxes(matrix, -1, -2) if inverse else matrix
        return jnp.einsum("...ij,...j->...i", matrix, jnp.asarray(vectors))

    def as_euler(self, seq: str, degrees: bool = False) -> Any:
        """Angles about three axes, as those of `from_euler`; the second one is in a half turn.

        Where the first and the third axis coincide, the third angle is 0.  (Bernardes and Viollet,
        PLOS ONE 17, 2022.)
        """
        axes, intrinsic = _axes(seq)
        if len(axes) != 3:
            raise ValueError(f"Expected 3 axes, got {seq}")
        angles = _euler(self.quat, axes, intrinsic)
        return jnp.rad2deg(angles) if degrees else angles

    def as_matrix(self) -> Any:
        """The matrices, (3, 3) or (N, 3, 3)."""
        x, y, z, w = (self.quat[..., k] for k in range(4))
        rows = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)

    def as_mrp(self) -> Any:
        """Modified Rodrigues parameters, tan(angle / 4) axis."""
        real = self.quat[..., 3:]
        sign = jnp.where(real < 0, -1, 1).astype(real.dtype)
        return sign * self.quat[..., :3] / (1 + sign * real)

    def as_rotvec(self, degrees: bool = False) -> Any:
        """Vectors along the axis, as long as the angle."""
        quat = _canonical(self.quat)
        size, small = _length(quat[..., :3])
        real = quat[..., 3:]
        safe = jnp.where(small, 1, size)
        square = jnp.sum(quat[..., :3] ** 2, axis=-1, keepdims=True)
        scale = jnp.where(small, 2 + square / 3, 2 * jnp.arctan2(safe, real) / safe)
        rotvec = scale * quat[..., :3]
        return jnp.rad2deg(rotvec) if degrees else rotvec

    def as_quat(self, canonical: bool = False, scalar_first: bool = False) -> Any:
        """The quaternions; `canonical` makes the scalar part positive."""
        quat = _canonical(self.quat) if canonical else self.quat
        return jnp.roll(quat, 1, axis=-1) if scalar_first else quat

    def inv(self) -> Rotation:
        """The inverse rotation."""
        return Rotation(self.quat * np.array([-1, -1, -1, 1], self.quat.dtype))

    def magnitude(self) -> Any:
        """The angle, between 0 and pi."""
        size, _ = _length(self.quat[..., :3])
        return 2 * jnp.arctan2(size[..., 0], jnp.abs(self.quat[..., 3]))

    def mean(self, weights: Any = None) -> Rotation:
        """The rotation nearest to all of them (Markley et al., J. Guidance 30, 2007)."""
        quat = jnp.atleast_2d(self.quat)
        w = jnp.ones(quat.shape[0], quat.dtype) if weights is None else jnp.asarray(weights)
        moments = jnp.einsum("n,ni,nj->ij", w.astype(quat.dtype), quat, quat)
        return Rotation(jnp.linalg.eigh(moments)[1][:, -1])

    @property
    def single(self) -> bool:
        """Whether this is one rotation rather than a row of them."""
        return bool(self.quat.ndim == 1)


class Slerp(NamedTuple):
    """Interpolation between rotations at given times, each pair joined at constant speed.

    Made by `init`.

    >>> import pullback.numpy as jnp
    >>> ends = Rotation.from_euler("z", jnp.array([0.0, 90.0]), degrees=True)
    >>> half = Slerp.init(jnp.array([0.0, 1.0]), ends)(0.5)
    >>> round(float(half.as_rotvec(degrees=True)[2]), 3)
    45.0
    """

    times: Any
    timedelta: Any
    rotations: Rotation
    rotvecs: Any

    @classmethod
    def init(cls, times: Any, rotations: Rotation) -> Slerp:
        """An interpolation between `rotations` (two or more) at ascending `times`."""
        times = jnp.asarray(times)
        if rotations.single or len(rotations) < 2:
            raise ValueError("`rotations` must be a sequence of at least 2 rotations.")
        if times.shape != (len(rotations),):
            raise ValueError(
                "Expected number of rotations to be equal to number of timestamps given, got "
                f"{len(rotations)} rotations and times of shape {times.shape}."
            )
        (times,) = promote_dtypes_inexact(times)
        start, stop = Rotation(rotations.quat[:-1]), Rotation(rotations.quat[1:])
        return cls(times, jnp.diff(times), start, (start.inv() * stop).as_rotvec())

    def __call__(self, times: Any) -> Rotation:
        """The rotations at `times`, a scalar or a vector; outside, the end intervals go on."""
        times = jnp.asarray(times)
        last = self.timedelta.shape[0] - 1
        k = jnp.clip(jnp.searchsorted(self.times, times, side="right") - 1, 0, last)
        share = (times - self.times[k]) / self.timedelta[k]
        return Rotation(self.rotations.quat[k]) * Rotation.from_rotvec(
            self.rotvecs[k] * share[..., None]
        )


# --------------------------------------------------------------------------- quaternions


def _vectors(name: str, x: Any, n: int) -> Any:
    (x,) = promote_dtypes_inexact(jnp.asarray(x))
    if x.ndim not in (1, 2) or x.shape[-1] != n:
        raise ValueError(f"Expected `{name}` of shape ({n},) or (N, {n}), got {x.shape}")
    return x


def _length(v: Any) -> tuple[Any, Any]:
    """Lengths of vectors, with derivatives where they are 0, and where they are very small."""
    square = jnp.sum(v * v, axis=-1, keepdims=True)
    small = square < jnp.finfo(v.dtype).eps ** 2
    return jnp.where(small, 0, jnp.sqrt(jnp.where(small, 1, square))), small


def _canonical(quat: Any) -> Any:
    return jnp.where(quat[..., 3:] < 0, -quat, quat)


def _product(p: Any, q: Any) -> Any:
    """Hamilton's product."""
    a, b = p[..., :3], q[..., :3]
    c, d = p[..., 3:], q[..., 3:]
    vector = c * b + d * a + jnp.cross(a, b)
    return jnp.concatenate([vector, c * d - jnp.sum(a * b, axis=-1, keepdims=True)], axis=-1)


def _axes(seq: str) -> tuple[list[int], bool]:
    """Numbers of the axes, and whether they turn along."""
    intrinsic = bool(seq) and seq.isupper()
    letters = seq.lower() if seq.islower() or intrinsic else ""
    if not 1 <= len(seq) <= 3:
        raise ValueError(f"Expected axis specification to be a string of up to 3 axes, got {seq}")
    if not letters or any(c not in "xyz" for c in letters):
        raise ValueError(
            "Expected axes from `seq` to be from ['x', 'y', 'z'] or ['X', 'Y', 'Z'], got " + seq
        )
    if any(a == b for a, b in itertools.pairwise(letters)):
        raise ValueError(f"Expected consecutive axes to be different, got {seq}")
    return ["xyz".index(c) for c in letters], intrinsic


def _elementary(axis: int, angle: Any) -> Any:
    zero = jnp.zeros_like(angle)
    parts = [zero, zero, zero, jnp.cos(angle / 2)]
    parts[axis] = jnp.sin(angle / 2)
    return jnp.stack(parts, axis=-1)


def _from_matrix(m: Any) -> Any:
    """The quaternion by its largest part (Markley, J. Guidance 31, 2008)."""
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    candidates = []
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        parts: list[Any] = [None] * 4
        parts[i] = 1 - trace + 2 * m[..., i, i]
        parts[j] = m[..., j, i] + m[..., i, j]
        parts[k] = m[..., k, i] + m[..., i, k]
        parts[3] = m[..., k, j] - m[..., j, k]
        candidates.append(jnp.stack(parts, axis=-1))
    turns = [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]]
    candidates.append(jnp.stack([*turns, 1 + trace], axis=-1))
    sizes = jnp.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2], trace], axis=-1)
    choice = jnp.argmax(sizes, axis=-1)[..., None]
    quat = candidates[3]
    for k in range(3):
        quat = jnp.where(choice == k, candidates[k], quat)
    return quat / jnp.linalg.norm(quat, axis=-1, keepdims=True)


def _euler(quat: Any, axes: list[int], intrinsic: bool) -> Any:
    i, j, k = axes if not intrinsic else axes[::-1]
    symmetric = i == k
    k = 3 - i - j if symmetric else k
    sign = (i - j) * (j - k) * (k - i) // 2
    a, b, c, d = quat[..., 3], quat[..., i], quat[..., j], quat[..., k] * sign
    if not symmetric:
        a, b, c, d = a - c, b + d, c + a, d - b
    second = 2 * jnp.arctan2(jnp.hypot(c, d), jnp.hypot(a, b))
    half_sum, half_difference = jnp.arctan2(b, a), jnp.arctan2(d, c)
    eps = 1e-7
    at_zero, at_half = jnp.abs(second) <= eps, jnp.abs(second - math.pi) <= eps
    first = half_sum - half_difference
    third = half_sum + half_difference
    lone = jnp.where(at_zero, 2 * half_sum, 2 * half_difference * (1 if intrinsic else -1))
    locked = at_zero | at_half
    if intrinsic:
        first, third = third, first
    first, third = jnp.where(locked, lone, first), jnp.where(locked, 0, third)
    if not symmetric:
        second = second - math.pi / 2
        first, third = (first, third * sign) if not intrinsic else (first * sign, third)
    return jnp.stack([_wrapped(first), second, _wrapped(third)], axis=-1)


def _wrapped(angle: Any) -> Any:
    """An angle within two turns brought between -pi and pi."""
    angle = jnp.where(angle > math.pi, angle - 2 * math.pi, angle)
    return jnp.where(angle < -math.pi, angle + 2 * math.pi, angle)

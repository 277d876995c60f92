"""What the array API standard asks of a namespace and of its arrays, beyond single functions."""

from __future__ import annotations

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp


def test_namespace_of_an_array_says_what_it_can() -> None:
    namespace = jnp.ones(2).__array_namespace__(api_version="2024.12")
    assert namespace is jnp
    assert namespace.__array_api_version__ == "2024.12"
    info = namespace.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] is False
    assert info.default_device() is None
    assert info.devices() == [None, *pb.devices()]


def test_dtypes_by_kind_follow_the_switch_for_64_bits() -> None:
    info = jnp.__array_namespace_info__()
    assert set(info.dtypes(kind="integral")) == {
        "int8", "int16", "int32", "uint8", "uint16", "uint32"
    }  # fmt: skip
    assert info.dtypes(kind=("bool", "real floating")) == {
        "bool": np.dtype(bool),
        "float32": np.dtype(np.float32),
    }
    assert info.default_dtypes()["complex floating"] == np.complex64
    with pb.enable_x64(True):
        assert "float64" in info.dtypes(kind="real floating")
        assert info.default_dtypes()["indexing"] == np.int64
        assert info.default_dtypes()["complex floating"] == np.complex128
    with pytest.raises(KeyError):
        info.dtypes(kind="rational")


def test_arrays_move_to_a_device() -> None:
    x = jnp.arange(3)
    assert x.to_device(pb.devices()[0]).tolist() == [0, 1, 2]
    with pytest.raises(NotImplementedError, match="stream"):
        x.to_device(pb.devices()[0], stream=1)

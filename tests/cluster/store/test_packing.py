"""Nested state to flat arrays and JSON, and back without loss."""

import enum
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.numpy import load, save

from cluster.store.packing import pack, unpack

DTYPES = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(),
    npst.unicode_string_dtypes(),
    npst.byte_string_dtypes(),
    npst.datetime64_dtypes(max_period="us"),
)
ARRAYS = DTYPES.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**100, max_value=2**128),
    st.floats(),
    st.text(),
    st.binary(),
    ARRAYS,
    npst.from_dtype(np.dtype("float32")),
    npst.from_dtype(np.dtype("int64")),
    npst.from_dtype(np.dtype("bool")),
)
STATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(), inner, max_size=3),
        st.dictionaries(st.one_of(st.integers(), st.text(), st.tuples(st.integers())), inner, max_size=3),
    ),
    max_leaves=8,
)


def same(one: object, other: object) -> bool:
    """Equality of type, dtype, shape, bytes and order, in which a NaN equals itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one) == len(other) and all(same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic) and isinstance(other, np.ndarray | np.generic):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return repr(one) == repr(other)


@given(STATES)
@settings(max_examples=300, deadline=None)
def test_a_state_survives_the_way_through_both_files(state: object) -> None:
    arrays, tree = pack(state)
    read_arrays, read_tree = load(save(arrays)), json.loads(json.dumps(tree, allow_nan=False))
    assert same(unpack(read_arrays, read_tree), state)


@given(npst.arrays(np.dtype([("x", "<f4"), ("flags", "u1", (2,))]), npst.array_shapes(max_dims=2, max_side=3)))
@settings(max_examples=25, deadline=None)
def test_structured_arrays_survive(array: np.ndarray) -> None:
    assert same(unpack(*pack(array)), array)


def test_a_bit_generator_continues_where_it_was() -> None:
    rng = np.random.default_rng(3)
    arrays, tree = pack({"rng": rng.bit_generator.state})
    drawn = rng.random(5)
    again = np.random.default_rng(0)
    again.bit_generator.state = unpack(arrays, json.loads(json.dumps(tree)))["rng"]
    np.testing.assert_array_equal(again.random(5), drawn)


def test_paths_that_read_alike_stay_apart() -> None:
    state = {"a/b": np.array(1), "a": {"b": np.array(2)}, "__metadata__": np.array(3), "": {"": np.array(4)}}
    arrays, tree = pack(state)
    assert len(arrays) == 4
    assert same(unpack(load(save(arrays)), tree), state)


def test_a_view_with_strides_is_stored_by_value() -> None:
    array = np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1].T
    assert same(unpack(load(save(pack(array)[0])), pack(array)[1]), array)


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize("value", [object(), Colour.RED, {1, 2}, np.array([None]), np.array([{}]), lambda: 0])
def test_what_would_come_back_as_something_else_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(TypeError, match=r"cannot hold .* in a checkpoint .*at /actors/1/x"):
        pack({"actors": [0, {"x": value}]})

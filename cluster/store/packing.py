"""Nested plain data to flat arrays and JSON, and back without loss: the format of states in checkpoints.

A state is made of None, bool, int (of any size: bit generators hold 128-bit ones), float (NaN and infinities too), str, bytes, numpy
arrays and numpy scalars of any dtype but `object`, and dicts, lists and tuples of these. What JSON cannot hold is in it
as a dict with the single key `$`, whose value starts with a tag:

    (1, 2)            {"$": ["tuple", [1, 2]]}
    array             {"$": ["array", "learner/params/weight"]}               the array itself is in the flat dict under that name
    array, odd dtype  {"$": ["raw", name, dtype, shape]}                      its bytes are in the flat dict
    {3: "x"}          {"$": ["items", [[3, "x"]]]}                            a dict with keys other than strings, or with the key "$"

Types are matched exactly: a subclass (an enum, a dataclass, a named tuple) would not be restored as such, so it is refused.
"""

from __future__ import annotations

import ast
import math
from typing import Any

import numpy as np

Packed = tuple[dict[str, np.ndarray], Any]
"""Flat arrays by name, and a JSON-able tree that refers to them."""

NATIVE_DTYPES = frozenset("?bBhHiIlLqQefd")
"""Type codes that safetensors stores as they are; the others travel as bytes."""


def pack(state: Any) -> Packed:
    """Convert `state` to flat arrays and a JSON-able tree.

    Raises:
        TypeError: names the path of a value of another type.
    """
    arrays: dict[str, np.ndarray] = {}
    return arrays, _pack(state, "", arrays)


def unpack(arrays: dict[str, np.ndarray], tree: Any) -> Any:
    """The inverse of `pack`: equal values of equal types, arrays with equal dtype, shape and bytes."""
    if isinstance(tree, list):
        return [unpack(arrays, item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "$" not in tree:
        return {key: unpack(arrays, value) for key, value in tree.items()}
    tag, *rest = tree["$"]
    if tag == "tuple":
        return tuple(unpack(arrays, item) for item in rest[0])
    if tag == "items":
        return {unpack(arrays, key): unpack(arrays, value) for key, value in rest[0]}
    if tag == "float":
        return float(rest[0])
    if tag == "bytes":
        return arrays[rest[0]].tobytes()
    array = arrays[rest[0]]
    if "raw" in tag:
        array = np.frombuffer(array.tobytes(), dtype=_dtype_from_text(rest[1])).reshape(rest[2]).copy()
    return array[()] if tag.endswith("scalar") else array


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    exact = type(value)
    if value is None or exact in (bool, int, str):
        return value
    if exact is float:
        return value if math.isfinite(value) else {"$": ["float", repr(value)]}
    if exact is list:
        return [_pack(item, f"{path}/{index}", arrays) for index, item in enumerate(value)]
    if exact is tuple:
        return {"$": ["tuple", [_pack(item, f"{path}/{index}", arrays) for index, item in enumerate(value)]]}
    if exact is dict:
        return _pack_dict(value, path, arrays)
    if exact is bytes:
        return {"$": ["bytes", _add(arrays, path, np.frombuffer(value, dtype=np.uint8))]}
    if exact is np.ndarray:
        return {"$": _pack_array(value, path, arrays, "")}
    if isinstance(value, np.generic):
        return {"$": _pack_array(np.asarray(value), path, arrays, "-scalar")}
    raise TypeError(f"cannot hold a {exact.__module__}.{exact.__qualname__} in a checkpoint (at {path or 'the top'})")


def _pack_dict(value: dict[Any, Any], path: str, arrays: dict[str, np.ndarray]) -> Any:
    if all(type(key) is str and key != "$" for key in value):
        return {key: _pack(item, f"{path}/{key}", arrays) for key, item in value.items()}
    pairs = [
        [_pack(key, f"{path}/key{i}", arrays), _pack(item, f"{path}/{i}", arrays)] for i, (key, item) in enumerate(value.items())
    ]
    return {"$": ["items", pairs]}


def _pack_array(array: np.ndarray, path: str, arrays: dict[str, np.ndarray], suffix: str) -> list[Any]:
    if array.dtype.hasobject:
        raise TypeError(f"cannot hold an array of Python objects in a checkpoint (at {path or 'the top'})")
    if array.dtype.char in NATIVE_DTYPES and array.dtype.isnative:
        # Not ascontiguousarray: that turns an array without axes into one of shape [1].
        return ["array" + suffix, _add(arrays, path, np.asarray(array, order="C"))]
    raw = np.frombuffer(array.tobytes(), dtype=np.uint8)
    return ["raw" + suffix, _add(arrays, path, raw), repr(np.lib.format.dtype_to_descr(array.dtype)), list(array.shape)]


def _dtype_from_text(text: str) -> np.dtype[Any]:
    return np.lib.format.descr_to_dtype(ast.literal_eval(text))


def _add(arrays: dict[str, np.ndarray], path: str, array: np.ndarray) -> str:
    """Add `array` under the name of its path; `a/b` may be two paths, so a name that is taken gets a suffix."""
    # Names go into a file header as UTF-8, which has no lone surrogates.
    name = base = (path.lstrip("/") or "value").encode("utf-8", "backslashreplace").decode("utf-8")
    tail = 1
    while name in arrays or name == "__metadata__":  # the one name that the file format reserves
        name, tail = f"{base}~{tail}", tail + 1
    arrays[name] = array
    return name

"""Any state as nested dicts of arrays and plain values, and back: what a checkpoint holds.

    frozen dataclass --> dict by field name      tensor, array --> array      tuple --> list      dict --> dict      plain values unchanged

The type hints of a state determine its structure, so a file needs no class names: where a field may hold one of several dataclasses, the
one with the saved fields is chosen. `like`, an initial state of the same config, gives the required names and shapes.

A field's metadata may hold `misfit`, the message for a value that does not fit; it may use

    {name}, {have}, {want}     which parameter, its shape in the checkpoint and here
    {num_have}, {num_want}     how many numbers these are
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from envs.errors import InvalidInputError

State = TypeVar("State")

MISFIT = "checkpoint does not fit the network: parameter {name} is {have} there, {want} here"
"""Message for a tensor of another shape, where its field has none."""


def state_to_arrays(state: Any) -> Any:
    """Return `state` as nested dicts and lists of numpy arrays and plain values, copied off the device.

    Raises:
        TypeError: it holds a value of another type.
    """
    match state:
        case Tensor():
            return state.detach().cpu().numpy().copy()
        case np.ndarray():
            return state.copy()
        case dict():
            return {name: state_to_arrays(value) for name, value in state.items()}
        case tuple() | list():
            return [state_to_arrays(value) for value in state]
        case None | bool() | int() | float() | str():
            return state
        case _ if is_dataclass(state):
            return {field.name: state_to_arrays(getattr(state, field.name)) for field in fields(state)}
    raise TypeError(f"cannot hold a {type(state).__qualname__} in a checkpoint")


def state_from_arrays(saved: Mapping[str, Any], *, like: State, device: torch.device) -> State:
    """Return the saved state.

    Args:
        saved: what `state_to_arrays` returned.
        like: an initial state of the same config, with the required names and shapes.
        device: where the tensors go.

    Raises:
        InvalidInputError: another network, or another config; names the parameter and both shapes.
    """
    state: State = _Reader(device).dataclass(type(like), _of_now(saved), like, "")
    return state


@dataclass(frozen=True)
class _Reader:
    """Reads values by their type hints; `path` is the dotted name of the value, `misfit` the message for one that does not fit."""

    device: torch.device

    def value(self, saved: Any, hint: Any, like: Any, path: str, misfit: str) -> Any:
        hint = _chosen(hint, saved)
        if saved is None or hint is None:
            return saved
        if is_dataclass(hint):
            return self.dataclass(hint, saved, like if isinstance(like, hint) else None, path)  # type: ignore[arg-type]
        if _form_of(hint) is dict:
            return self._dict(saved, get_args(hint)[1], like, path, misfit)
        if _form_of(hint) is list:
            return self._tuple(saved, get_args(hint), like, path, misfit)
        if not isinstance(saved, np.ndarray):
            return saved
        if _shape(like) not in (None, _shape(saved)):
            raise _misfit(misfit, path, saved, like)
        return torch.from_numpy(np.array(saved)).to(self.device) if _array_type(hint) is Tensor else np.array(saved)

    def dataclass(self, cls: type[Any], saved: Mapping[str, Any], like: Any, path: str) -> Any:
        hints = get_type_hints(cls)
        found = {}
        for field in fields(cls):
            misfit, before = field.metadata.get("misfit", MISFIT), getattr(like, field.name, None)
            here = f"{path}.{field.name}".lstrip(".")
            if field.name not in saved and not _is_required(field):
                continue
            known = saved.get(field.name)
            if (known is None) != (before is None) and like is not None and "misfit" in field.metadata:
                raise _misfit(misfit, here, known, before)
            if field.name not in saved:
                raise InvalidInputError(f"checkpoint does not fit the config: it holds no {here}")
            found[field.name] = self.value(known, hints[field.name], before, here, misfit)
        if left := sorted(set(saved) - set(found)):
            raise InvalidInputError(f"checkpoint does not fit the config: it holds {', '.join(left)} besides")
        return cls(**found)

    def _dict(
        self, saved: Mapping[Any, Any], hint: Any, like: Mapping[Any, Any] | None, path: str, misfit: str
    ) -> dict[Any, Any]:
        known = {} if like is None else like
        for name in sorted({*saved, *known}, key=str) if like is not None else ():
            there, here = saved.get(name), known.get(name)
            if (there is None) != (here is None) or _shape(there) != _shape(here):
                raise _misfit(misfit, f"{path}.{name}", there, here)
        each = ((name, one, known.get(name)) for name, one in saved.items())
        return {name: self.value(one, hint, other, f"{path}.{name}", misfit) for name, one, other in each}

    def _tuple(self, saved: Sequence[Any], hints: tuple[Any, ...], like: Sequence[Any] | None, path: str, misfit: str) -> Any:
        hints = (hints[0],) * len(saved) if hints[-1] is ... else hints
        likes = like if like is not None and len(like) == len(saved) else [None] * len(saved)
        each = zip(saved, hints, likes, strict=True)
        return tuple(self.value(one, hint, other, f"{path}.{index}", misfit) for index, (one, hint, other) in enumerate(each))


def _chosen(hint: Any, saved: Any) -> Any:
    """The member of a union that `saved` has the form of."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    for one in get_args(hint):
        if is_dataclass(one):
            names = {field.name for field in fields(one)}
            required = {field.name for field in fields(one) if _is_required(field)}
            if isinstance(saved, Mapping) and required <= set(saved) <= names:
                return one
        elif one is not types.NoneType and _form_of(one) is _form(saved):
            return one
    return None


def _form(saved: Any) -> type:
    """Which of the four forms of saved values it has: dict, list, array, or plain."""
    return next((form for form in (dict, list, np.ndarray) if isinstance(saved, form)), object)


def _form_of(hint: Any) -> type:
    """The form in which a value of this type is saved."""
    if _array_type(hint) in (Tensor, np.ndarray):
        return np.ndarray
    return {dict: dict, Mapping: dict, tuple: list}.get(get_origin(hint), object)


def _array_type(hint: Any) -> Any:
    """The array type of a jaxtyping hint; any other hint unchanged."""
    return getattr(hint, "array_type", hint)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _shape(array: Any) -> tuple[int, ...] | None:
    """The shape of an array or tensor; None for anything else."""
    return tuple(array.shape) if isinstance(array, np.ndarray | Tensor) else None


def _misfit(line: str, path: str, have: Any, want: Any) -> InvalidInputError:
    """The error, with the shapes in the checkpoint and here."""
    said: dict[str, Any] = {"name": path.rpartition("params.")[2]}
    for name, array in (("have", have), ("want", want)):
        shape = _shape(array)
        said |= {name: "nothing" if shape is None else shape, f"num_{name}": "none" if shape is None else math.prod(shape)}
    return InvalidInputError(line.format(**said))


def _of_now(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """Convert a state of IMPALA from the layout of checkpoints before this module; return any other unchanged."""
    if "optimiser_step" not in saved:
        return saved
    learner = {name: saved[name] for name in ("params", "moments", "version", "env_steps")}
    learner["optimiser"] = {name: saved[name] for name in ("second_moment", "first_moment")} | {"step": saved["optimiser_step"]}
    if "meta" not in saved:
        return learner

    def moments(optimiser: Mapping[str, Any]) -> dict[str, Any]:
        return {"second_moment": optimiser["second"], "first_moment": optimiser["first"], "step": optimiser["step"]}

    meta, pending = saved["meta"], saved["meta"]["pending"]
    if pending is not None and "z" not in pending:
        batch = pending["batch"] | {name: pending[name] for name in ("initial_state", "env_steps")}
        kept = {name: pending[name] for name in ("arrays", "gradient", "rate", "cotangents")}
        pending = kept | {"batch": batch, "optimiser": moments(pending["optimiser"])}
    return {"learner": learner, "logits": meta["logits"], "optimiser": moments(meta["optimiser"]), "pending": pending}

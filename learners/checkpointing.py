"""A learner's state as nested dicts of arrays, and back: what a checkpoint file holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.errors import InvalidInputError
from learners.impala import LearnerState
from learners.ops.normaliser import RunningMoments
from learners.ops.optimisers import OptimiserState


def state_to_arrays(state: LearnerState) -> dict[str, Any]:
    """Return `state` as nested dicts of numpy arrays and integers, copied off the device."""
    moments = state.moments
    return {
        "params": _arrays(state.params),
        "moments": None if moments is None else _arrays({"mean": moments.mean, "m2": moments.m2, "count": moments.count}),
        "second_moment": _arrays(state.optimiser.second_moment),
        "first_moment": _arrays(state.optimiser.first_moment),
        "optimiser_step": state.optimiser.step,
        "version": state.version,
        "env_steps": state.env_steps,
    }


def state_from_arrays(saved: Mapping[str, Any], *, like: LearnerState, device: torch.device) -> LearnerState:
    """Return the state that `saved` holds.

    Args:
        saved: what `state_to_arrays` returned.
        like: a fresh state of the same network, whose names and shapes must be met.
        device: where the tensors go.

    Raises:
        InvalidInputError: a parameter is missing, left over, or of another shape.
    """
    params = saved["params"]
    for name in sorted(set(params) | set(like.params)):
        have = tuple(params[name].shape) if name in params else "nothing"
        want = tuple(like.params[name].shape) if name in like.params else "nothing"
        if have != want:
            raise InvalidInputError(f"checkpoint does not fit the network: parameter {name} is {have} there, {want} here")
    moments = saved["moments"]
    if (moments is None) != (like.moments is None):
        raise InvalidInputError("checkpoint does not fit the network: one of them normalises observations, the other does not")
    return LearnerState(
        params=_tensors(params, device),
        moments=None if moments is None else RunningMoments(**_tensors(moments, device)),
        optimiser=OptimiserState(
            second_moment=_tensors(saved["second_moment"], device),
            first_moment=_tensors(saved["first_moment"], device),
            step=int(saved["optimiser_step"]),
        ),
        version=int(saved["version"]),
        env_steps=int(saved["env_steps"]),
    )


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()}

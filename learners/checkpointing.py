"""A learner's state as nested dicts of arrays, and back: what a checkpoint file holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.errors import InvalidInputError
from learners.batch import Batch
from learners.impala import LearnerState
from learners.metagradient import MetaState, PendingUpdate, Trace
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


def meta_state_to_arrays(state: MetaState) -> dict[str, Any]:
    """Return `state` as nested dicts: the inner learner's, with all of the meta-gradient's under `meta`."""
    return state_to_arrays(state.learner) | {
        "meta": {
            "logits": _arrays({"logits": state.logits})["logits"],
            "optimiser": _optimiser_to_arrays(state.optimiser),
            "pending": None if state.pending is None else _pending_to_arrays(state.pending),
        }
    }


def meta_state_from_arrays(saved: Mapping[str, Any], *, like: MetaState, device: torch.device) -> MetaState:
    """Return the state that `saved` holds; see `state_from_arrays`.

    Raises:
        InvalidInputError: another network, or another number of meta-parameters.
    """
    meta = saved.get("meta")
    if meta is None or meta["logits"].shape != tuple(like.logits.shape):
        have = "none" if meta is None else str(meta["logits"].size)
        raise InvalidInputError(
            f"checkpoint does not fit eta: it holds {have} meta-parameters, the config names {like.logits.numel()}"
        )
    return MetaState(
        learner=state_from_arrays(saved, like=like.learner, device=device),
        logits=_tensors({"logits": meta["logits"]}, device)["logits"],
        optimiser=_optimiser_from_arrays(meta["optimiser"], device),
        pending=None if meta["pending"] is None else _pending_from_arrays(meta["pending"], device),
    )


def _pending_to_arrays(pending: PendingUpdate | Trace) -> dict[str, Any]:
    if isinstance(pending, Trace):
        return {"z": _arrays(pending.z)}
    batch = {name: value for name, value in vars(pending.batch).items() if isinstance(value, torch.Tensor)}
    return {
        "arrays": _arrays(pending.arrays),
        "batch": _arrays(batch),
        "initial_state": [tensor.cpu().numpy().copy() for tensor in pending.batch.initial_state],
        "env_steps": pending.batch.env_steps,
        "gradient": _arrays(pending.gradient),
        "optimiser": _optimiser_to_arrays(pending.optimiser),
        "rate": pending.rate,
        "cotangents": _arrays({"all": pending.cotangents})["all"],
    }


def _pending_from_arrays(saved: Mapping[str, Any], device: torch.device) -> PendingUpdate | Trace:
    if "z" in saved:
        return Trace(z=_tensors(saved["z"], device))
    states = tuple(_tensors({"state": array}, device)["state"] for array in saved["initial_state"])
    return PendingUpdate(
        arrays=_tensors(saved["arrays"], device),
        batch=Batch(**_tensors(saved["batch"], device), initial_state=states, env_steps=int(saved["env_steps"])),
        gradient=_tensors(saved["gradient"], device),
        optimiser=_optimiser_from_arrays(saved["optimiser"], device),
        rate=float(saved["rate"]),
        cotangents=_tensors({"all": saved["cotangents"]}, device)["all"],
    )


def _optimiser_to_arrays(state: OptimiserState) -> dict[str, Any]:
    return {"second": _arrays(state.second_moment), "first": _arrays(state.first_moment), "step": state.step}


def _optimiser_from_arrays(saved: Mapping[str, Any], device: torch.device) -> OptimiserState:
    return OptimiserState(
        second_moment=_tensors(saved["second"], device), first_moment=_tensors(saved["first"], device), step=int(saved["step"])
    )


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()}

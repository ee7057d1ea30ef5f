"""Stacked policies of many tasks: an agent's network with separate parameters for each task.

    y[n] = head_n( torso_n( x[n] ) ),      x [N, R, O],  every parameter with the tasks along its first axis

Names are those of `Agent`, shapes those of `Agent` after the axis of tasks, and the outputs equal those of `Agent.policy` with the same
parameters up to the rounding of batched products. A task has few parameters and a call costs more than its arithmetic, so all tasks act
and are differentiated in as many calls as one task. For feed-forward MLPs on vectors only (`check`). Written out and not `torch.func.vmap`
over `Agent`, which gives the same bits in three times the time (620 against 190 us of one core for 20 tasks of 16 rows, 64-64).

Letters: N tasks, R rows of a task, O observation, P distribution parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from envs.errors import InvalidInputError
from learners.networks.config import NetworkConfig
from learners.networks.spaces import SpaceSpec
from learners.networks.stacked import linear
from learners.ops.normaliser import standardise


def check(spec: SpaceSpec, network: NetworkConfig) -> None:
    """Refuse networks that cannot be stacked.

    Raises:
        InvalidInputError: names the setting and the allowed value.
    """
    if spec.obs_dtype not in ("float32", "float64"):
        raise InvalidInputError(f"policies that adapt need vectors of float32 or float64; observations are {spec.obs_dtype}")
    allowed = {"torso": "mlp", "core": "none", "use_previous_action": False, "use_previous_reward": False}
    for name, value in allowed.items():
        if getattr(network, name) != value:
            raise InvalidInputError(
                f"network.{name} = {getattr(network, name)}: policies that adapt allow {str(value).lower()} only"
            )


def stacked(arrays: Mapping[str, Tensor], num_tasks: int) -> dict[str, Tensor]:
    """Return the arrays of one network as those of N equal ones, [N, *shape]. Gradient: flows to `arrays`."""
    return {name: array.expand(num_tasks, *array.shape) for name, array in arrays.items()}


def policy_params(
    spec: SpaceSpec, network: NetworkConfig, arrays: Mapping[str, Tensor], obs: Shaped[Tensor, "N R *O"]
) -> Float[Tensor, "N R P"]:
    """Return the distribution parameters of each task's policy on its rows, for `learners.ops.distributions.distribution`.

    Args:
        spec: the spaces acted in.
        network: shape of the network.
        arrays: parameters, and moments of the observations where it normalises them, by their names in `Agent`, [N, *shape].
        obs: observations.

    Gradient: flows to `arrays`, and may be taken twice.
    """
    x = obs.flatten(2).to(arrays["policy_head.weight"].dtype)
    if network.normalise_observations:
        mean, std = (arrays[name].flatten(1).unsqueeze(1) for name in ("observation_mean", "observation_std"))
        x = standardise(x, mean, std)
    for index in range(len(network.hidden_sizes)):
        x = _layer(x, arrays, f"torso.layers.{index}")
        x = x.tanh() if network.activation == "tanh" else x.relu()
    x = _layer(x, arrays, "policy_head")
    if spec.is_discrete:
        return x
    mean = x.tanh() if network.bounded_mean else x
    return torch.cat((mean, arrays["log_std"].unsqueeze(1).expand_as(mean)), dim=-1)


def _layer(x: Tensor, arrays: Mapping[str, Tensor], name: str) -> Tensor:
    return linear(x, arrays[f"{name}.weight"].mT, arrays[f"{name}.bias"])

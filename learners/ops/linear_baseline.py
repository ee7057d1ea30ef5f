"""The linear feature baseline: a value linear in fixed features of observation and time, fitted per task by least squares to its returns.

    phi(o, t) = [o, o^2, t/100, (t/100)^2, (t/100)^3, 1],      o clipped to [-10, 10]
    beta_i    = argmin_beta sum_r w_r (phi_r . beta - G_r)^2 + c |beta|^2,      V_r = phi_r . beta_i,      c = 1e-5

It is fitted on the same steps that it is used on; nothing is kept between updates. Solved in float64: the features' squares span ten orders
of magnitude.

Reference: Duan et al. (2016), "Benchmarking Deep Reinforcement Learning for Continuous Control", arXiv 1604.06778, section 6.1, as in
rllab's linear_feature_baseline.py (MAML's released code uses the same).
Letters: N tasks, R steps of a task, O observation, D features.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

MAX_OBSERVATION = 10.0
TIME_SCALE = 100.0
RIDGE = 1e-5


def features(obs: Shaped[Tensor, "N R *O"], time: Shaped[Tensor, "N R"]) -> Float[Tensor, "N R D"]:
    """Return phi of every step, float64.

    Args:
        obs: observations.
        time: number of earlier steps of the episode.
    """
    clipped = obs.flatten(2).double().clamp(-MAX_OBSERVATION, MAX_OBSERVATION)
    scaled = time.double().unsqueeze(-1) / TIME_SCALE
    return torch.cat((clipped, clipped.square(), scaled, scaled**2, scaled**3, torch.ones_like(scaled)), dim=-1)


@torch.no_grad()
def linear_values(
    *,
    obs: Shaped[Tensor, "N R *O"],
    time: Shaped[Tensor, "N R"],
    target: Float[Tensor, "N R"],
    weight: Float[Tensor, "N R"],
    ridge: float = RIDGE,
) -> Float[Tensor, "N R"]:
    """Return V of every step, in the type of `target`.

    Args:
        obs: observations; finite, also where the weight is zero.
        time: number of earlier steps of the episode.
        target: the return from the step on.
        weight: one where a step is experience, zero at a reset, which is left out of the fit.
        ridge: c, which makes the solution unique for constant or collinear features.

    Gradient: none.
    """
    phi = features(obs, time)
    weighted = (phi * weight.double().unsqueeze(-1)).mT
    normal = weighted @ phi + ridge * torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device)
    beta = torch.linalg.solve(normal, weighted @ target.double().unsqueeze(-1))
    values: Tensor = (phi @ beta).squeeze(-1)
    return values.to(target)

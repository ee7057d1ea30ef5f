"""The derivative of one clipped optimiser step by the gradient it is made from.

    theta' = theta - step(clip(g)),      pull_back(v)   = (d theta' / d g)^T v
                                         push_forward(x) = (d theta' / d g) x

The step moves every parameter by a function of its own gradient alone, so its Jacobian D is diagonal; that of the clip, C, is
s (I - g g^T / |g|^2) or I, symmetric either way. So the vector-Jacobian products of both, which reverse mode gives through a few
elementwise operations, serve in both directions: pull_back = C D v, push_forward = D C x. No network is differentiated here.

Reference: Xu, van Hasselt and Silver (2018), appendix C.2 (RMSProp is differentiated through).
"""

from __future__ import annotations

import torch
from torch import Tensor

from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.optimisers import OptimiserConfig, OptimiserState

Tensors = dict[str, Tensor]


def pull_back(
    config: OptimiserConfig, state: OptimiserState, grads: Tensors, max_norm: float, learning_rate: float, cotangent: Tensors
) -> Tensors:
    """Return the gradient by `grads` of <cotangent, theta'>.

    Args:
        config: of the optimiser.
        state: of the optimiser, before the step.
        grads: the gradient before clipping, by parameter name.
        max_norm: of the clip.
        learning_rate: of the step.
        cotangent: derivative of something by theta', by the same names.

    Gradient: none is kept.
    """
    flat = _Flat(grads)
    gradient, vector = flat.join(grads), flat.join(cotangent)
    step = _through_step(config, flat.state(state), _clipped(gradient, max_norm), learning_rate, vector)
    return flat.split(_through_clip(gradient, max_norm, step))


def push_forward(
    config: OptimiserConfig, state: OptimiserState, grads: Tensors, max_norm: float, learning_rate: float, tangent: Tensors
) -> Tensors:
    """Return the change of theta' along `tangent`, a change of `grads`.

    Args:
        config: of the optimiser.
        state: of the optimiser, before the step.
        grads: the gradient before clipping, by parameter name.
        max_norm: of the clip.
        learning_rate: of the step.
        tangent: derivative of `grads` by something, by the same names.

    Gradient: none is kept.
    """
    flat = _Flat(grads)
    gradient, vector = flat.join(grads), flat.join(tangent)
    after_clip = _through_clip(gradient, max_norm, vector)
    return flat.split(_through_step(config, flat.state(state), _clipped(gradient, max_norm), learning_rate, after_clip))


_ALL = "all"
"""Name of the one flat parameter that stands for all of them: elementwise arithmetic on one vector costs less than on twenty tensors."""


class _Flat:
    """Tensors by name, joined into one vector and split again."""

    def __init__(self, like: Tensors) -> None:
        self._shapes = {name: tensor.shape for name, tensor in like.items()}

    def join(self, tensors: Tensors) -> Tensor:
        return torch.cat([tensors[name].detach().flatten() for name in self._shapes])

    def split(self, vector: Tensor) -> Tensors:
        parts = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def state(self, state: OptimiserState) -> OptimiserState:
        first = {_ALL: self.join(state.first_moment)} if state.first_moment else {}
        return OptimiserState(second_moment={_ALL: self.join(state.second_moment)}, first_moment=first, step=state.step)


def _clipped(gradient: Tensor, max_norm: float) -> Tensor:
    return clip_by_global_norm({_ALL: gradient}, max_norm)[0][_ALL]


def _through_clip(gradient: Tensor, max_norm: float, vector: Tensor) -> Tensor:
    leaf = gradient.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(_clipped(leaf, max_norm), leaf, vector)[0]


def _through_step(
    config: OptimiserConfig, state: OptimiserState, clipped: Tensor, learning_rate: float, vector: Tensor
) -> Tensor:
    leaf = clipped.detach().requires_grad_()
    with torch.enable_grad():
        # where the parameters are changes nothing of how far they move
        moved, _ = optimisers.apply(config, state, {_ALL: torch.zeros_like(clipped)}, {_ALL: leaf}, learning_rate)
        return torch.autograd.grad(moved[_ALL], leaf, vector)[0]

from __future__ import annotations

import pytest
import torch

from learners.ops.losses import entropy_loss, policy_gradient_loss, value_loss

WEIGHT = torch.tensor([[1.0, 1.0], [0.0, 1.0]])


def test_policy_gradient_loss_is_a_weighted_sum_with_a_constant_advantage() -> None:
    log_prob = torch.tensor([[-1.0, -2.0], [-50.0, -0.5]], requires_grad=True)
    advantage = torch.tensor([[2.0, -1.0], [99.0, 4.0]], requires_grad=True)
    loss = policy_gradient_loss(log_prob, advantage, WEIGHT)
    assert loss.item() == pytest.approx(2.0 - 2.0 + 2.0)
    slopes = torch.autograd.grad(loss, (log_prob, advantage), allow_unused=True)
    assert slopes[0].tolist() == [[-2.0, 1.0], [0.0, -4.0]]
    assert slopes[1] is None


def test_value_loss_is_half_the_weighted_sum_of_squares_with_a_constant_target() -> None:
    value = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    target = torch.tensor([[2.0, 0.0], [99.0, 7.0]], requires_grad=True)
    loss = value_loss(value, target, WEIGHT)
    assert loss.item() == pytest.approx(0.5 * (1 + 4 + 9))
    slopes = torch.autograd.grad(loss, (value, target), allow_unused=True)
    assert slopes[0].tolist() == [[-1.0, 2.0], [0.0, -3.0]]
    assert slopes[1] is None


def test_entropy_loss_is_minus_the_weighted_sum() -> None:
    entropy = torch.tensor([[0.1, 0.2], [99.0, 0.4]], requires_grad=True)
    loss = entropy_loss(entropy, WEIGHT)
    assert loss.item() == pytest.approx(-0.7)
    (slope,) = torch.autograd.grad(loss, entropy)
    assert torch.equal(slope, -WEIGHT)

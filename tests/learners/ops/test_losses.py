from __future__ import annotations

import pytest
import torch
from oracles import clipped

from learners.ops.losses import clipped_surrogate, clipped_value_error, entropy_loss, policy_gradient_loss, value_loss

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


def grid(*axes: list[float]) -> list[torch.Tensor]:
    """Every combination of the values, float64."""
    points = torch.cartesian_prod(*(torch.tensor(axis, dtype=torch.float64) for axis in axes))
    return list(points.unbind(dim=1))


LOG_RATIOS, ADVANTAGES = [-3.0, -0.4, -0.1, 0.0, 0.15, 0.5, 4.0], [-2.0, -0.3, 0.0, 0.7]
VALUES, OLDS, TARGETS = [-1.0, -0.12, 0.03, 0.27, 2.0], [0.0, 0.1], [-0.5, 0.05, 1.5]


def test_the_surrogate_gains_no_more_than_the_clip_allows() -> None:
    log_ratio, advantage = grid(LOG_RATIOS, ADVANTAGES)
    got = clipped_surrogate(log_ratio, advantage, 0.2)
    want = [clipped.surrogate(x.item(), a.item(), 0.2) for x, a in zip(log_ratio, advantage, strict=True)]
    assert got.tolist() == pytest.approx(want, rel=1e-12)
    assert (got < log_ratio.exp() * advantage).any()  # a clip was crossed, on both sides
    assert {bool(a > 0) for a in advantage[got < log_ratio.exp() * advantage - 1e-12]} == {True, False}


def test_gradients_of_the_clips_are_those_of_central_differences() -> None:
    pair = [tensor.requires_grad_() for tensor in grid(LOG_RATIOS, [-2.0, 0.7])]
    assert torch.autograd.gradcheck(lambda *args: clipped_surrogate(*args, 0.2), pair)
    three = [tensor.requires_grad_() for tensor in grid(VALUES, OLDS, TARGETS)]
    assert torch.autograd.gradcheck(lambda *args: clipped_value_error(*args, 0.2), three)


def test_a_ratio_that_overflows_has_a_gradient_all_the_same() -> None:
    log_ratio = torch.tensor([100.0, 100.0, -100.0], requires_grad=True)
    gain = clipped_surrogate(log_ratio, torch.tensor([1.0, -1.0, 1.0]), 0.2)
    (slope,) = torch.autograd.grad(gain.sum(), log_ratio)
    assert gain.isfinite().all() and slope.isfinite().all()
    assert gain[0].item() == pytest.approx(1.2)


@pytest.mark.parametrize("clip", [0.0, 0.2])
def test_the_value_profits_from_moving_no_further_than_the_clip(clip: float) -> None:
    value, old, target = grid(VALUES, OLDS, TARGETS)
    got = clipped_value_error(value, old, target, clip)
    each = zip(value, old, target, strict=True)
    assert got.tolist() == pytest.approx([clipped.value_error(v.item(), o.item(), t.item(), clip) for v, o, t in each], rel=1e-12)
    if clip:
        assert (got > 0.5 * (value - target).square() + 1e-12).any()

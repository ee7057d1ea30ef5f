from __future__ import annotations

import pytest
import torch

from learners.networks.spaces import SpaceSpec
from learners.ops.distributions import MAX_LOG_STD, MIN_LOG_STD, Categorical, DiagonalGaussian, distribution


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_categorical_equals_torch() -> None:
    logits, others = 3 * double(4, 5, 6), double(4, 5, 6, seed=1)
    ours, theirs = Categorical(logits), torch.distributions.Categorical(logits=logits)
    action = torch.randint(6, (4, 5))
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(
        ours.kl(Categorical(others)), torch.distributions.kl_divergence(theirs, torch.distributions.Categorical(logits=others))
    )
    assert torch.equal(ours.mode(), logits.argmax(-1))


def test_gaussian_equals_torch() -> None:
    mean, log_std = double(4, 5, 3), double(4, 5, 3, seed=1)
    ours = DiagonalGaussian(mean, log_std)
    theirs = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    action = 2 * double(4, 5, 3, seed=2)
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    other = DiagonalGaussian(mean + 0.3, log_std - 0.7)
    other_theirs = torch.distributions.Independent(torch.distributions.Normal(other.mean, other.log_std.exp()), 1)
    torch.testing.assert_close(ours.kl(other), torch.distributions.kl_divergence(theirs, other_theirs))
    assert torch.equal(ours.mode(), mean)


def test_categorical_samples_have_the_right_frequencies() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    num_samples = 40_000
    sample = Categorical(probabilities.log().expand(num_samples, 4)).sample(torch.Generator().manual_seed(0))
    frequencies = sample.bincount(minlength=4) / num_samples
    assert (frequencies - probabilities).abs().max() < 5 * (0.5 * 0.5 / num_samples) ** 0.5


def test_gaussian_samples_have_the_right_moments_and_log_densities() -> None:
    mean, log_std = torch.tensor([1.0, -2.0]), torch.tensor([0.0, -1.0])
    policy = DiagonalGaussian(mean.expand(40_000, 2), log_std.expand(40_000, 2))
    sample = policy.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(sample.std(0), log_std.exp(), atol=0.02, rtol=0)
    torch.testing.assert_close(-policy.log_prob(sample).mean(), policy.entropy()[0], atol=0.03, rtol=0)


@pytest.mark.parametrize("policy", [Categorical(torch.zeros(8, 3)), DiagonalGaussian(torch.zeros(8, 3), torch.zeros(8, 3))])
def test_a_generator_decides_the_sample(policy: Categorical | DiagonalGaussian) -> None:
    first, second, third = (policy.sample(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_forbidden_action_is_never_sampled_and_spoils_nothing() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 1.0]], requires_grad=True)
    policy = Categorical(logits)
    sample = Categorical(logits.detach().expand(2000, 3)).sample(torch.Generator().manual_seed(0))
    assert set(sample.tolist()) == {0, 2}
    assert policy.entropy().item() == pytest.approx(Categorical(torch.tensor([[0.0, 1.0]])).entropy().item())
    assert policy.kl(Categorical(torch.tensor([[0.0, -torch.inf, 1.0]]))).item() == 0.0
    (slope,) = torch.autograd.grad(policy.entropy().sum() + policy.log_prob(torch.tensor([2])).sum(), logits)
    assert slope.isfinite().all()


def test_extreme_logits_have_finite_log_probabilities() -> None:
    policy = Categorical(torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True))
    assert policy.log_prob(torch.tensor([1])).item() == -2e4
    assert policy.entropy().item() == 0.0


def test_gradients() -> None:
    logits, action = double(4, 3).requires_grad_(), torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradcheck(
        lambda z: (Categorical(z).log_prob(action), Categorical(z).entropy(), Categorical(z).kl(Categorical(2 * z))), (logits,)
    )
    mean, log_std, target = double(4, 3, seed=1).requires_grad_(), double(4, 3, seed=2).requires_grad_(), double(4, 3, seed=3)
    assert torch.autograd.gradcheck(
        lambda m, s: (
            DiagonalGaussian(m, s).log_prob(target),
            DiagonalGaussian(m, s).entropy(),
            DiagonalGaussian(m, s).kl(DiagonalGaussian(target, 2 * s)),
        ),
        (mean, log_std),
    )


def test_distribution_splits_the_parameters_of_the_policy_head() -> None:
    discrete = distribution(SpaceSpec((4,), "float32", num_actions=3), torch.zeros(2, 3))
    assert isinstance(discrete, Categorical)
    params = torch.tensor([[1.0, 2.0, -99.0, 99.0]])
    continuous = distribution(SpaceSpec((4,), "float32", action_size=2), params)
    assert isinstance(continuous, DiagonalGaussian)
    assert continuous.mean.tolist() == [[1.0, 2.0]]
    assert continuous.log_std.tolist() == [[MIN_LOG_STD, MAX_LOG_STD]]


@pytest.mark.parametrize("log_std", [-5.0, -1.0, 1.9])
def test_a_deviation_that_a_config_may_ask_for_is_the_one_that_acts(log_std: float) -> None:
    """`network.initial_log_std` may lie in [-5, 2]."""
    params = torch.tensor([0.5, log_std], requires_grad=True)
    policy = distribution(SpaceSpec((3,), "float32", action_size=1), params)
    assert isinstance(policy, DiagonalGaussian)
    assert policy.log_std.item() == pytest.approx(log_std)
    (slope,) = torch.autograd.grad(policy.entropy(), params)
    assert slope[1].item() == 1.0

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.ops import normaliser
from learners.ops.normaliser import EPSILON, RunningMoments


def assert_moments_equal(moments: RunningMoments, kept: np.ndarray) -> None:
    np.testing.assert_allclose(moments.mean.numpy(), kept.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.m2.numpy(), kept.var(0) * len(kept), rtol=1e-7, atol=1e-7)
    assert moments.count.item() == len(kept)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    offset=st.floats(-1e3, 1e3),
    share=st.floats(0.2, 1.0),
)
def test_merging_batches_equals_two_passes_over_all(seed: int, sizes: list[int], offset: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    moments, kept = RunningMoments.empty((3,)), []
    for size in sizes:
        batch = rng.normal(size=(size, 4, 3)) + offset
        weight = (rng.random((size, 4)) < share).astype(np.float32)
        moments = normaliser.update(moments, torch.tensor(batch), torch.tensor(weight))
        kept.append(batch[weight > 0])
    rows = np.concatenate(kept)
    if len(rows):
        assert_moments_equal(moments, rows)


def test_a_batch_of_no_weight_changes_nothing() -> None:
    batch = torch.randn(5, 3)
    once = normaliser.update(RunningMoments.empty((3,)), batch, torch.ones(5))
    for moments in (once, RunningMoments.empty((3,))):
        same = normaliser.update(moments, 1e6 + batch, torch.zeros(5))
        assert all(torch.equal(getattr(same, name), getattr(moments, name)) for name in ("mean", "m2", "count"))


def test_update_is_pure_and_takes_float32() -> None:
    moments = normaliser.update(RunningMoments.empty((3,)), torch.randn(5, 3), torch.ones(5))
    before = moments.mean.clone()
    after = normaliser.update(moments, torch.randn(5, 3) + 7, torch.ones(5))
    assert torch.equal(moments.mean, before)
    assert after.mean.dtype == torch.float64


def test_an_offset_far_beyond_the_deviation_costs_no_digits() -> None:
    rng = np.random.default_rng(0)
    rows = 1e7 + rng.normal(size=(10_000, 2))
    moments = RunningMoments.empty((2,))
    for batch in np.split(rows, 20):
        moments = normaliser.update(moments, torch.tensor(batch), torch.ones(len(batch)))
    np.testing.assert_allclose(moments.std.numpy(), rows.std(0), rtol=1e-6)


def test_observations_are_standardised_and_clipped() -> None:
    moments = RunningMoments(
        mean=torch.tensor([1.0, 0.0, 5.0], dtype=torch.float64),
        m2=torch.tensor([8.0, 2.0, 0.0], dtype=torch.float64),  # the last has never changed
        count=torch.tensor(2.0, dtype=torch.float64),
    )
    mean, std = moments.mean.float(), moments.std.float()
    got = normaliser.standardise(torch.tensor([[3.0, 50.0, 5.0], [-1.0, -0.5, 6.0]]), mean, std)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.tensor([[1.0, 10.0, 0.0], [-1.0, -0.5, 10.0]]))
    assert EPSILON > 0
    np.testing.assert_array_equal(RunningMoments.empty((2,)).std.numpy(), np.sqrt(1 + EPSILON))


def test_the_gradient_stops_at_the_clip() -> None:
    moments = RunningMoments.empty((1,))
    x = torch.tensor([[0.5], [20.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(normaliser.standardise(x, moments.mean, moments.std).sum(), x)
    torch.testing.assert_close(slope.flatten(), torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-7, rtol=0)

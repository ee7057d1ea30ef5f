from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.ops.clip import clip_by_global_norm


def gradients() -> dict[str, torch.Tensor]:
    return {"a": torch.tensor([3.0, 0.0], dtype=torch.float64), "b": torch.tensor([[4.0]], dtype=torch.float64)}


def test_a_norm_above_the_limit_is_scaled_down_to_it() -> None:
    clipped, norm = clip_by_global_norm(gradients(), 2.5)
    assert norm.item() == 5.0
    assert clipped["a"].tolist() == [1.5, 0.0]
    assert clipped["b"].tolist() == [[2.0]]


def test_a_norm_below_the_limit_changes_no_bit_and_zero_stays_zero() -> None:
    clipped, norm = clip_by_global_norm(gradients(), 5.0)
    assert norm.item() == 5.0
    assert all(torch.equal(clipped[name], gradient) for name, gradient in gradients().items())
    zeros, norm = clip_by_global_norm({"a": torch.zeros(3)}, 1.0)
    assert norm.item() == 0.0
    assert not zeros["a"].any()


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), max_norm=st.floats(1e-3, 1e3))
def test_the_result_never_exceeds_the_limit_and_keeps_its_direction(values: list[float], max_norm: float) -> None:
    vector = torch.tensor(values, dtype=torch.float64)
    clipped, norm = clip_by_global_norm({"a": vector, "b": 2 * vector}, max_norm)
    assert norm.item() == pytest.approx(5**0.5 * vector.norm().item())
    assert torch.linalg.vector_norm(torch.cat([*clipped.values()])).item() <= max_norm * (1 + 1e-12)
    if norm > 0:
        scale = min(1.0, max_norm / norm.item())
        torch.testing.assert_close(clipped["b"], 2 * vector * scale, rtol=1e-12, atol=0)


def test_the_gradient_is_the_projection() -> None:
    def clip(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        clipped, norm = clip_by_global_norm({"a": a, "b": b}, 2.5)
        return clipped["a"], clipped["b"], norm

    assert torch.autograd.gradcheck(clip, tuple(gradient.requires_grad_() for gradient in gradients().values()))

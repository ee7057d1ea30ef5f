"""Stacks rebuilt on the learner's side equal a queue of frames, cleared at every episode's start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.frames import stack_frames as oracle

from learners.ops.frames import stack_frames


def unroll(
    length: int, num_envs: int, num_stacked: int, frame: tuple[int, ...], seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = rng.integers(
        1, 256, (length + 1, num_envs, *frame), np.uint8
    )  # no zeros, so that a masked frame cannot pass for a true one
    history = rng.integers(1, 256, (num_stacked - 1, num_envs, *frame), np.uint8)
    return frames, history, rng.random((length + 1, num_envs)) < 0.25


@pytest.mark.parametrize("num_stacked", [1, 2, 4])
@pytest.mark.parametrize("length", [0, 1, 2, 20])
@pytest.mark.parametrize("frame", [(), (3,), (5, 4)])
def test_equals_a_queue_of_frames(num_stacked: int, length: int, frame: tuple[int, ...]) -> None:
    for seed in range(3):
        frames, history, is_first = unroll(length, 5, num_stacked, frame, seed)
        got = stack_frames(torch.from_numpy(frames), torch.from_numpy(history), torch.from_numpy(is_first))
        assert got.dtype == torch.uint8
        np.testing.assert_array_equal(got.numpy(), oracle(frames, history, is_first))


def test_adjacent_starts_and_starts_at_either_end() -> None:
    frames, history, is_first = unroll(6, 4, 4, (2,), seed=0)
    is_first[:] = False
    is_first[0, 0] = is_first[6, 1] = is_first[2:4, 2] = True  # the fourth has no start at all
    got = stack_frames(torch.from_numpy(frames), torch.from_numpy(history), torch.from_numpy(is_first))
    np.testing.assert_array_equal(got.numpy(), oracle(frames, history, is_first))
    assert not got[0, 0, :3].any() and got[0, 1].all()


def test_two_unrolls_give_what_one_gives() -> None:
    frames, history, is_first = (torch.from_numpy(array) for array in unroll(11, 3, 4, (2, 2), seed=1))
    whole = stack_frames(frames, history, is_first)
    tail = stack_frames(frames[6:], whole[6, :, :-1].movedim(1, 0), is_first[6:])
    assert torch.equal(tail, whole[6:])


def test_gradient_reaches_the_frames_of_the_episode_and_no_others() -> None:
    frames, history, is_first = (torch.from_numpy(array) for array in unroll(3, 1, 3, (1,), seed=2))
    is_first[:] = torch.tensor([[False], [False], [True], [False]])
    frames, history = frames.double().requires_grad_(), history.double().requires_grad_()
    stack_frames(frames, history, is_first)[3].sum().backward()
    assert frames.grad is not None and frames.grad.flatten().tolist() == [0, 0, 1, 1]
    assert history.grad is not None and not history.grad.any()

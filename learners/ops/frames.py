"""Frame stacks, rebuilt on the learner's device from frames that are sent one by one.

An observation at t stacks the frames t - S + 1 .. t, oldest first, and holds zeros in place of frames from before its episode:

    stack[t, s] = frame[t - k] if no is_first in t - k + 1 .. t, else 0,      k = S - 1 - s

Actors send one uint8 frame per step, 1/S of the stacked observations.

Reference: DQN (Mnih et al. 2015), "Preprocessing"; the rule at an episode's start is that of `ale_py`'s vector environment.
Letters: T time (Tp1: T + 1), B environments, O the shape of a frame, S stacked frames (Sm1: S - 1).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor


def stack_frames(
    frames: Shaped[Tensor, "Tp1 B *O"], history: Shaped[Tensor, "Sm1 B *O"], is_first: Bool[Tensor, "Tp1 B"]
) -> Shaped[Tensor, "Tp1 B Sm1+1 *O"]:
    """Return the stacked observations of an unroll.

    Args:
        frames: the newest frame at every step, any dtype, on any device.
        history: the older frames of the stack at row 0, oldest first; any values where `is_first[0]` is true.
        is_first: the frame is the first of its episode.

    Returns:
        The stacks, in the dtype and on the device of `frames`; S is one more than the rows of `history`.

    Gradient: flows to `frames` and `history` where their dtype carries one.
    """
    num_older, length = history.shape[0], frames.shape[0]
    padded = torch.cat([history, frames])
    stacked = [frames]
    is_same_episode = torch.ones_like(is_first)
    for older in range(1, num_older + 1):
        # Frame t - older belongs to the episode of frame t if frame t - older + 1 does and does not begin it.
        begins = torch.zeros_like(is_first)
        begins[older - 1 :] = is_first[: length - older + 1]
        is_same_episode = is_same_episode & ~begins
        frame = padded[num_older - older : num_older - older + length]
        mask = is_same_episode.reshape(*is_same_episode.shape, *[1] * (frames.dim() - 2))
        stacked.append(torch.where(mask, frame, 0))
    return torch.stack(stacked[::-1], dim=2)

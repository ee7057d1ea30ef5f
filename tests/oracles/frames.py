"""The slow truth for frame stacks: a queue of frames for one environment, cleared at an episode's first frame."""

from __future__ import annotations

from collections import deque

import numpy as np


def stack_frames(frames: np.ndarray, history: np.ndarray, is_first: np.ndarray) -> np.ndarray:
    """Stacks [T+1, B, S, *O] of frames [T+1, B, *O], history [S-1, B, *O] and is_first [T+1, B]."""
    num_stacked = len(history) + 1
    stacked = np.zeros((*frames.shape[:2], num_stacked, *frames.shape[2:]), frames.dtype)
    for b in range(frames.shape[1]):
        queue = deque(history[:, b], maxlen=num_stacked)
        for t in range(len(frames)):
            if is_first[t, b]:
                queue = deque([np.zeros_like(frames[0, 0])] * num_stacked, maxlen=num_stacked)
            queue.append(frames[t, b])
            stacked[t, b] = np.stack(queue)
    return stacked

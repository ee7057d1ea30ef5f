"""The channel axes of image observations, and their conversion to [C, height, width].

    [height, width]                       one channel
    [C, height, width]                    unchanged
    [height, width, C]                    transposed, as a view: torch convolves fastest with channels last in memory
    [S, C, height, width], [S, ..., C]    S stacked frames: S * C channels, the oldest frame's first

The channels are the first or the last axis of a frame, whichever is smaller than both other axes; (64, 3, 64) and (4, 84, 4) are
ambiguous, and are refused unless the config sets it.

Letters: N images, C channels, O observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Shaped
from torch import Tensor

from envs.errors import InvalidInputError

Channels = Literal["auto", "first", "last"]


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """The image layout of observations.

    Attributes:
        shape: channels of all frames, height and width.
        is_last: whether the channels of a frame are its last axis.
    """

    shape: tuple[int, int, int]
    is_last: bool

    def images(self, x: Shaped[Tensor, "N *O"]) -> Shaped[Tensor, "N C height width"]:
        """Return observations as images, without a copy where no frames of several channels are stacked last. Gradient: flows to `x`."""
        if self.is_last:
            x = x.movedim(-1, -3)
        return x.unsqueeze(1) if x.dim() == 3 else x.flatten(1, -3)


def image_layout(torso: str, obs_shape: tuple[int, ...], channels: Channels, *, has_frames_first: bool) -> ImageLayout:
    """Return the image layout of observations of this shape.

    Args:
        torso: name of the torso, for the error.
        obs_shape: of one observation.
        channels: the channel axis of a frame; `auto` for the smallest.
        has_frames_first: whether the first axis is known to be stacked frames.

    Raises:
        InvalidInputError: they are no images, or ambiguous.
    """
    frame = obs_shape[1:] if has_frames_first else obs_shape[-3:]
    if len(frame) not in (2, 3) or len(obs_shape) > 4:
        raise InvalidInputError(
            f"torso {torso} needs images [C, height, width] or [height, width, C]; observations have shape {obs_shape}: try torso mlp"
        )
    if len(frame) == 2:
        channels = "first"  # there is no channel axis
    elif channels == "auto":
        first, middle, last = frame
        if min(first, last) >= middle or first == last:
            raise InvalidInputError(
                f"torso {torso}: images of shape {frame} may have their channels first or last: set network.channels=first "
                "or network.channels=last"
            )
        channels = "first" if first < last else "last"
    height, width = frame[:2] if channels == "last" else frame[-2:]
    return ImageLayout(shape=(math.prod(obs_shape) // (height * width), height, width), is_last=channels == "last")

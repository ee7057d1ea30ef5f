"""Task families to evolve a loss on, by name: each lists only what differs from the defaults of `cluster.epg.config`. Plain data.

The lengths of lives (updates x steps between two) are those of the paper's captions as remembered, and unverified but for the hopper's, which
is the released default.
"""

from __future__ import annotations

from typing import Any

from cluster.presets import Preset


def _preset(name: str, shows: str, time: str, updates: int, every: int, **settings: Any) -> Preset:
    """A preset whose lives are of `updates` updates, one after `every` steps."""
    life = {"life.num_updates": updates, "life.update_every": every}
    return Preset(name=name, shows=shows, time=time, settings={"family": name, **life, **settings})


_SMALL = {"num_workers": 64, "num_vectors": 32, "lives_per_chunk": 16}
_PUBLISHED = {"num_workers": 256, "num_vectors": 64, "lives_per_chunk": 32}

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _preset("point-goal", "a point that learns to go to a goal it cannot see", "10 min", 16, 32, **_SMALL, num_epochs=200),
        _preset(
            "random-hopper",
            "a hopper with another gravity, friction, mass and thickness in each life",
            "2 days",
            128,
            64,
            **_PUBLISHED,
        ),
        _preset("random-walker", "the same for a walker", "weeks", 256, 128, **_PUBLISHED),
        _preset("random-reacher", "an arm whose links have other lengths in each life", "weeks", 512, 128, **_PUBLISHED),
        _preset(
            "directional-hopper",
            "a hopper that shall go forward in one life and backward in another",
            "2 days",
            128,
            64,
            **_PUBLISHED,
        ),
        _preset("directional-halfcheetah", "the same for a half cheetah", "2 days", 256, 32, **_PUBLISHED),
        _preset(
            "goal-ant",
            "an ant that walks to a goal, in training on one side, in testing on the other",
            "2 weeks",
            512,
            32,
            **_PUBLISHED,
        ),
    )
}

"""How a policy is scored on Atari: the published evaluation protocols, as data. Importing this imports no emulator.

    no-op     whole games that start with 1 to 30 frames without action, 200 of them, the mean of their scores
    sticky    whole games from the console's own start, in which the last action is repeated at random

Under either one a game is truncated after half an hour, the score is the sum of unclipped rewards over all lives, and the policy samples
its actions. A third one, human starts, cannot be reproduced: its initial states were never published.

Reference: Mnih et al. (2015) for no-ops and the half hour; Espeholt et al. (2018), table C.1, for no-ops and 200 games; Machado et al.
(2018), "Revisiting the Arcade Learning Environment", section 5.2, for sticky actions; Nair et al. (2015) for human starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from envs.errors import InvalidInputError, unknown

ACTION_REPEAT = 4
"""Frames that an action lasts: papers count frames, runs count steps."""

MAX_NOOPS = 30
MAX_FRAMES = 108_000
"""Half an hour of play at 60 frames/s; a game is truncated there."""

STICKY_PROBABILITY = 0.25
"""Of playing the last action in place of the given one, frame by frame."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How games are played for a score.

    Attributes:
        name: as users type it.
        doc: one line.
        max_noops: a game starts with 1 to so many frames without action; 0 for none.
        repeat_action_probability: of the last action in place of the given one, frame by frame.
        num_episodes: games that a score is the mean of.
    """

    name: str
    doc: str
    max_noops: int
    repeat_action_probability: float
    num_episodes: int = 200


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="no-op",
            doc="1 to 30 frames without action at the start of a game",
            max_noops=MAX_NOOPS,
            repeat_action_probability=0.0,
        ),
        Protocol(
            name="sticky",
            doc=f"the last action repeats with probability {STICKY_PROBABILITY}, no frames without action",
            max_noops=0,
            repeat_action_probability=STICKY_PROBABILITY,
        ),
    )
}

HUMAN_STARTS = "human-starts"


def find_protocol(name: str) -> Protocol:
    """Return the protocol called `name`.

    Raises:
        InvalidInputError: there is none, or its start states were never published.
    """
    if name.replace("_", "-") in (HUMAN_STARTS, "human-start", "human"):
        raise InvalidInputError(
            f"protocol {name!r} cannot be played: its start states, taken from human play, were never published; "
            "take --protocol no-op or --protocol sticky"
        )
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]

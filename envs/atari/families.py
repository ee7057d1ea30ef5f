"""The registered families of Atari: each game alone, and all 57 as one family. Importing this imports no emulator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from envs.atari.games import GAMES, SUFFIX_STICKY
from envs.atari.protocols import MAX_NOOPS, STICKY_PROBABILITY, Protocol
from envs.batched import BatchedEnv
from envs.errors import unknown
from envs.family import TaskFamily
from envs.task import Mode, Parameter, Split, Task


class AtariFamily(TaskFamily):
    """One game with its own actions, or all 57 games with the 18 actions of the console, so that one policy can play them all.

    No game is held out: training and testing are on the same games, and differ in how an episode is played (`Mode`).
    """

    def __init__(self, *, game: str | None = None, is_sticky: bool = False) -> None:
        suffix = SUFFIX_STICKY if is_sticky else ""
        self.game = game
        self.repeat_action_probability = STICKY_PROBABILITY if is_sticky else 0.0
        self.max_noops = MAX_NOOPS
        how = f"; the last action repeats with probability {STICKY_PROBABILITY}" if is_sticky else ""
        if game is None:
            self.name = f"atari57{suffix}"
            self.doc = f"all 57 Atari games, 18 actions; one game alone, with its own actions, is atari:<game>{suffix}{how}"
            self.parameters = (Parameter(name="game", doc="which game", choices=GAMES),)
        else:
            self.name = f"atari:{game}{suffix}"
            self.doc = f"the Atari game {game}{how}"

    def game_of(self, task: Task) -> str:
        """The game that `task` names.

        Raises:
            InvalidInputError: none of the 57.
        """
        game = self.game if self.game is not None else str(dict(task.params).get("game", ""))
        if game not in GAMES:
            raise unknown("Atari game", game, GAMES)
        return game

    def under(self, protocol: Protocol) -> AtariFamily:
        """This family, with the same name, games and actions, whose games start and stick as `protocol` says and not as in training."""
        family = copy.copy(self)
        family.max_noops = protocol.max_noops
        family.repeat_action_probability = protocol.repeat_action_probability
        return family

    def all_tasks(self) -> list[Task]:
        """The one task of a game, or one for each of the 57."""
        if self.game is not None:
            return [Task(family=self.name)]
        return [Task(family=self.name, params=(("game", game),)) for game in GAMES]

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        """Draw `num_tasks` tasks; of all 57 games, every run of 57 draws holds each game once."""
        if self.game is not None:
            return [Task(family=self.name)] * num_tasks
        num_rounds = -(-num_tasks // len(GAMES))
        drawn = [GAMES[index] for _ in range(num_rounds) for index in rng.permutation(len(GAMES))]
        return [Task(family=self.name, params=(("game", game),)) for game in drawn[:num_tasks]]

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment; in `train` mode the loss of a life ends an episode, in `evaluate` mode only the game does."""
        from envs.atari.engine import Emulators
        from envs.atari.env import AtariEnv

        return AtariEnv(
            tasks,
            game_of=self.game_of,
            is_one_game=self.game is not None,
            engine=partial(
                Emulators,
                num_threads=num_threads,
                has_all_actions=self.game is None,
                repeat_action_probability=self.repeat_action_probability,
                max_noops=self.max_noops,
            ),
            num_threads=num_threads,
            ends_with_life=mode == "train",
        )


ATARI_FAMILIES: dict[str, Callable[[], TaskFamily]] = {
    family.name: partial(AtariFamily, game=game, is_sticky=is_sticky)
    for is_sticky in (False, True)
    for game in (None, *GAMES)
    for family in (AtariFamily(game=game, is_sticky=is_sticky),)
}

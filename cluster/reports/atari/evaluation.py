"""The file of an evaluation of an Atari run under a published protocol.

evaluation-no-op-s0-4000-steps.json               as many episodes as in the protocol, after 4,000 steps of training
evaluation-no-op-2-episodes-s0-4000-steps.json    another number, which is among `deviations` in the file
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from cluster.store.run_directory import read_json, write_json
from envs.atari.protocols import Protocol


@dataclass(frozen=True, kw_only=True)
class GameScore:
    """The scores of one game.

    Attributes:
        game: its name.
        mean_return: mean score of its episodes.
        standard_error: of that mean; None for a single episode.
        human_normalised_percent: of the mean; a random policy has 0, the human tester 100.
        min_return, max_return: smallest and largest score.
        mean_length: steps of an episode.
        returns, lengths: of every episode, in order.
    """

    game: str
    mean_return: float
    standard_error: float | None
    human_normalised_percent: float
    min_return: float
    max_return: float
    mean_length: float
    returns: tuple[float, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The content of the file.

    Attributes:
        family: of the run.
        protocol: name of the protocol.
        episodes_per_game: whole episodes of each game.
        deviations: differences from the protocol, in words; empty where there are none.
        env_steps: steps of training behind the weights; 0 for those before the first update.
        seed: of the evaluation's resets and actions.
        command: the command line.
        games: the scores.
    """

    family: str
    protocol: str
    episodes_per_game: int
    deviations: tuple[str, ...]
    env_steps: int
    seed: int
    command: str
    games: tuple[GameScore, ...]

    @property
    def file_name(self) -> str:
        """Name of the file."""
        fewer = f"-{self.episodes_per_game}-episodes" if self.deviations else ""
        weights = f"{self.env_steps}-steps" if self.env_steps else "untrained"
        return f"evaluation-{self.protocol}{fewer}-s{self.seed}-{weights}.json"


def deviations(protocol: Protocol, num_episodes: int) -> tuple[str, ...]:
    """The difference of `num_episodes` of a game from `protocol`, in words; empty where there is none."""
    if num_episodes == protocol.num_episodes:
        return ()
    return (f"{num_episodes:,} {'episode' if num_episodes == 1 else 'episodes'} a game in place of {protocol.num_episodes}",)


def write(run: Path, evaluation: Evaluation) -> Path:
    """Write an evaluation to its run directory and return the file."""
    file = run / evaluation.file_name
    write_json(file, msgspec.to_builtins(evaluation))
    return file


def read(file: Path) -> Evaluation:
    """Read an evaluation; InvalidInputError when the file holds none."""
    found: Evaluation = read_json(file, Evaluation)
    return found


def newest(run: Path, protocol: str) -> Evaluation | None:
    """The evaluation of `run` under `protocol` with the most training steps, then the most episodes; None without one.

    Evaluations of the weights before the first update are ignored.
    """
    found = [read(file) for file in sorted(run.glob(f"evaluation-{protocol}-*.json"))]
    trained = [evaluation for evaluation in found if evaluation.env_steps > 0]
    return max(trained, key=lambda evaluation: (evaluation.env_steps, evaluation.episodes_per_game), default=None)

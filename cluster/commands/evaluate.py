"""`metaray evaluate`: whole episodes with the newest checkpoint of a run, of held-out tasks or under one of Atari's protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from envs.errors import InvalidInputError, out_of_range

if TYPE_CHECKING:
    from cluster.config import RunConfig
    from cluster.store.run_directory import RunDirectory
    from envs.atari.protocols import Protocol
    from learners.trajectory import Episode, Snapshot

DEFAULT_EPISODES = 64
DEFAULT_MAX_STEPS = 30_000
"""More than half an hour of Atari at four frames a step (27,000), where the longest published episodes are cut."""
MAX_SLOTS = 64
"""Environments side by side: enough to fill the simulators' threads, few enough for Atari's memory."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Play whole episodes with the newest checkpoint of a run, by default on tasks held out from training.

    Prints the mean return with its 95 % interval and writes every episode to RUN/evaluation-<tasks>-s<seed>.json. With --protocol an
    Atari run is scored as published: whole games, sampled actions, half an hour of play at most, for a run on atari57 each of the games.
    """

    run_directory: Annotated[Positional[str], arg(metavar="RUN", help="run directory", help_behavior_hint="")]
    episodes: Annotated[
        int | None,
        arg(
            metavar="N",
            help=f"episodes to play, spread over sampled tasks (default: {DEFAULT_EPISODES}; with --protocol 200 of each game)",
            help_behavior_hint="",
        ),
    ] = None
    protocol: Annotated[
        str,
        arg(
            metavar="NAME",
            help="score an Atari run: no-op (1 to 30 no-ops at the start of a game) or sticky (the last action repeats with "
            "probability 0.25, no no-ops); human starts were never published",
            help_behavior_hint="",
        ),
    ] = ""
    max_episode_steps: Annotated[
        int | None,
        arg(
            metavar="N",
            help=f"cut an episode after N steps and count its return so far (default: {DEFAULT_MAX_STEPS:,}, over half an hour of Atari)",
            help_behavior_hint="",
        ),
    ] = None
    tasks: Annotated[Literal["test", "train"], arg(help="tasks held out from training, or tasks as in training")] = "test"
    seed: Annotated[int, arg(metavar="N", help="root of tasks, resets and actions")] = 0
    greedy: Annotated[bool, arg(help="take the likeliest action instead of sampling one", help_behavior_hint="")] = False
    untrained: Annotated[
        bool, arg(help="play with the weights before the first update, to compare with", help_behavior_hint="")
    ] = False

    def run(self, command: str) -> int:
        """Play, print and write."""
        from cluster import algorithms
        from cluster.store import run_directory

        if self.episodes is not None and not 1 <= self.episodes <= 1_000_000:
            raise out_of_range("--episodes", self.episodes, "[1, 1,000,000]")
        if not 0 <= self.seed < 2**53:
            raise out_of_range("--seed", self.seed, "[0, 2^53)")
        if self.max_episode_steps is not None and not 1 <= self.max_episode_steps <= 2**53:
            raise out_of_range("--max-episode-steps", self.max_episode_steps, "[1, 2^53]")
        protocol = self._find_protocol() if self.protocol else None
        directory = run_directory.open_run(Path(self.run_directory))
        if directory.algorithm == "epg":
            raise InvalidInputError(f"the run {directory.path} evolved a loss (epg) and holds no policy that could be evaluated")
        if protocol is not None:
            _check_atari(directory)
        if not self.untrained:
            self._check_checkpoint(directory)
        config = algorithms.config_of_run(directory)
        assert config.algorithm == "impala"
        snapshot, step = self._weights(directory, config)
        if protocol is not None:
            from cluster.reports.atari.scoring import score

            score(directory.path, config, snapshot, step, protocol, num_episodes=self.episodes, seed=self.seed, command=command)
            return 0
        episodes = self._play(config, snapshot)
        figures = _figures(episodes)
        name = (
            f"evaluation-{self.tasks}-s{self.seed}{'-greedy' if self.greedy else ''}{'-untrained' if self.untrained else ''}.json"
        )
        rows = [_row(episode) for episode in episodes]
        content = {
            "family": config.family,
            "tasks": self.tasks,
            "seed": self.seed,
            "greedy": self.greedy,
            "env_steps": step,
            "max_episode_steps": self._max_steps,
            "command": command,
        }
        run_directory.write_json(directory.path / name, content | figures | {"episodes": rows})
        _warn_of_cut_episodes(figures, self._max_steps)
        _print(config, figures, episodes, f"{self.tasks} tasks, weights after {step:,} steps", directory.path / name)
        return 0

    def _find_protocol(self) -> Protocol:
        """The protocol that was named, with no option beside it that it settles itself."""
        from envs.atari.protocols import find_protocol

        protocol = find_protocol(self.protocol)
        if self.greedy:
            raise InvalidInputError(
                f"--greedy and --protocol {self.protocol} contradict each other: the protocol samples actions"
            )
        if self.tasks != "test":
            raise InvalidInputError(
                f"--tasks and --protocol {self.protocol} contradict each other: it plays every game of the run"
            )
        if self.max_episode_steps is not None:
            raise InvalidInputError(
                f"--max-episode-steps and --protocol {self.protocol} contradict each other: the protocol ends its games"
            )
        return protocol

    def _check_checkpoint(self, directory: RunDirectory) -> None:
        """Refuse a run without any checkpoint before torch is loaded."""
        from cluster.store.checkpoint import saved

        if not saved(directory.checkpoints):
            raise InvalidInputError(f"the run {directory.path} has no checkpoint yet (--untrained plays with its first weights)")

    def _weights(self, directory: RunDirectory, config: RunConfig) -> tuple[Snapshot, int]:
        """The weights to play with, and the environment steps behind them."""
        from dataclasses import replace

        import torch

        from cluster.algorithms import find
        from cluster.run.assembly import make_learner
        from cluster.run.recorder import warn
        from cluster.store.checkpoint import load_newest

        torch.set_num_threads(1)
        # acting is done on the CPU, also with what a GPU on another machine learned
        host = make_learner(find(config.algorithm), replace(config, learner_device="cpu"))
        if self.untrained:
            return host.snapshot(), 0
        checkpoint = load_newest(directory.checkpoints, warn)
        _, snapshot = host.build(checkpoint.payload["learner"])
        return snapshot, checkpoint.step

    @property
    def _max_steps(self) -> int:
        return DEFAULT_MAX_STEPS if self.max_episode_steps is None else self.max_episode_steps

    def _play(self, config: RunConfig, snapshot: Snapshot) -> list[Episode]:
        import os

        from actors.evaluate import evaluate
        from cluster.run.episodes_bar import episodes_bar
        from envs.contract import sample_tasks
        from envs.registry import resolve
        from learners.seeds import Stream, generator

        family = resolve(config.family)
        num_episodes = DEFAULT_EPISODES if self.episodes is None else self.episodes
        per_task = -(-num_episodes // MAX_SLOTS)
        num_tasks = -(-num_episodes // per_task)
        tasks = sample_tasks(family, num_tasks, generator(self.seed, Stream.EVALUATION, 2), self.tasks)
        with episodes_bar(num_tasks * per_task) as on_progress:
            return evaluate(
                family,
                tasks,
                config.network,
                snapshot,
                seed=self.seed,
                episodes_per_task=per_task,
                num_threads=os.cpu_count() or 1,
                greedy=self.greedy,
                on_progress=on_progress,
                conditioning=config.conditioning,
                max_episode_steps=self._max_steps,
            )


def _check_atari(directory: RunDirectory) -> None:
    """Refuse a run on anything but Atari before torch is loaded."""
    from cluster.store.run_directory import read_json
    from envs.atari.families import ATARI_FAMILIES

    tree = read_json(directory.config_file)
    family = str(tree.get("family", "")) if isinstance(tree, dict) else ""
    if family not in ATARI_FAMILIES:
        raise InvalidInputError(
            f"--protocol is for Atari, and {directory.path} was trained on {family or 'no family'}: leave it out"
        )


def _warn_of_cut_episodes(figures: dict[str, Any], max_steps: int) -> None:
    if figures["num_cut"]:
        from cluster.run.recorder import warn

        warn(
            f"{figures['num_cut']} of {figures['num_episodes']} episodes had not ended after {max_steps:,} steps and count with their "
            "return so far; --max-episode-steps N sets another limit"
        )


def _row(episode: Episode) -> dict[str, Any]:
    """An episode in the file."""
    row = {"task": dict(episode.task.params), "return": episode.episode_return, "length": episode.length}
    return row | {"cut": True} if episode.is_cut else row


def _figures(episodes: list[Episode]) -> dict[str, Any]:
    """Return what the episodes come to; standard error and interval are over sampled tasks, for episodes of one task have it in common."""
    import numpy as np

    from cluster.reports.bootstrap import mean_estimate

    returns = np.array([episode.episode_return for episode in episodes])
    of_tasks = returns.reshape(-1, -(-returns.size // MAX_SLOTS)).mean(axis=1)
    estimate = mean_estimate(of_tasks.tolist())
    spread = float(of_tasks.std(ddof=1) / np.sqrt(of_tasks.size)) if of_tasks.size > 1 else None
    low, median, high = (float(value) for value in np.percentile(returns, (0, 50, 100)))
    return {
        "num_episodes": int(returns.size),
        "num_cut": sum(episode.is_cut for episode in episodes),
        "mean_return": float(returns.mean()),
        "standard_error": spread,
        "interval_95": None if estimate.low is None else [estimate.low, estimate.high],
        "min_return": low,
        "median_return": median,
        "max_return": high,
        "mean_length": float(np.mean([episode.length for episode in episodes])),
    }


def _print(config: RunConfig, figures: dict[str, Any], episodes: list[Episode], what: str, file: Path) -> None:
    from rich.markup import escape

    from cluster.run.display import Terminal, number

    console = Terminal(highlight=False)
    ends = figures["interval_95"]
    interval = (
        "no interval: too few, or all the same" if ends is None else f"95 % interval {number(ends[0])} to {number(ends[1])}"
    )
    num_tasks = len({episode.task for episode in episodes})
    of = f"{num_tasks} {'task' if num_tasks == 1 else 'tasks'}"
    lines = [
        f"[bold]{escape(config.family)}[/], {what}",
        f"  return   [bold green]{number(figures['mean_return'])}[/] (mean; {interval})",
        f"  spread   {number(figures['min_return'])} to {number(figures['max_return'])}, median {number(figures['median_return'])}",
        f"  played   {figures['num_episodes']} episodes of {of}, {figures['mean_length']:,.0f} steps each",
        f"  written  {escape(str(file))}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)

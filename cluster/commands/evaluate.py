"""`metaray evaluate`: whole episodes with the newest checkpoint of a run, on held-out tasks or under an Atari protocol."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from cluster import algorithms
from cluster.algorithms import find
from cluster.commands.arguments import RunArgument, check_range, check_seed, option
from cluster.reports.results import again, own_name
from cluster.run.episodes_bar import episodes_bar
from cluster.store import run_directory
from cluster.store.checkpoint import load_newest, saved
from cluster.store.run_directory import read_json
from envs.atari.protocols import find_protocol
from envs.errors import InvalidInputError
from learners.seeds import Stream, generator

if TYPE_CHECKING:
    from cluster.config import RunConfig
    from cluster.reports.evaluation import Plan
    from cluster.store.run_directory import RunDirectory
    from envs.atari.protocols import Protocol
    from learners.trajectory import Episode, Snapshot

DEFAULT_EPISODES = 64
DEFAULT_MAX_STEPS = 30_000
"""More than half an hour of Atari at four frames a step (27,000), the limit of the longest published episodes."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate the newest checkpoint of a run on whole episodes, by default on tasks held out from training.

    Prints the mean return with its 95 % interval over tasks and writes all episodes to RUN/evaluation-<tasks>-s<seed>-<steps>-steps.json,
    with options that are not the default in the name. With --protocol an Atari run is scored as published: whole games, sampled actions,
    half an hour at most, and each of the games for a run on atari57.
    """

    run_directory: RunArgument
    episodes: Annotated[
        int | None,
        option(
            f"number of episodes, spread over sampled tasks (default: {DEFAULT_EPISODES}; with --protocol 200 of each game)", "N"
        ),
    ] = None
    num_tasks: Annotated[
        int | None,
        option("sampled tasks that the episodes are spread over (default: one each, up to 64)", "N"),
    ] = None
    protocol: Annotated[
        str,
        option(
            "score an Atari run: no-op (1 to 30 no-ops at the start of a game) or sticky (the last action repeats with "
            "probability 0.25, no no-ops); human starts were never published",
            "NAME",
        ),
    ] = ""
    max_episode_steps: Annotated[
        int | None,
        option(
            f"truncate an episode after N steps and count its return so far (default: {DEFAULT_MAX_STEPS:,}, over half an hour of Atari)",
            "N",
        ),
    ] = None
    tasks: Annotated[Literal["test", "train"], arg(help="tasks held out from training, or training tasks")] = "test"
    seed: Annotated[int, arg(metavar="N", help="seed of tasks, resets and actions")] = 0
    greedy: Annotated[bool, option("take the most likely action instead of sampling one")] = False
    untrained: Annotated[bool, option("use the weights before the first update, for comparison")] = False

    def run(self, command: str) -> int:
        """Check everything, run the episodes, print and write."""
        check_range("--episodes", self.episodes, 1, 1_000_000)
        check_range("--num-tasks", self.num_tasks, 1, self._num_episodes, ", the number of episodes")
        check_seed(self.seed)
        check_range("--max-episode-steps", self.max_episode_steps, 1, 2**53)
        protocol = self._find_protocol() if self.protocol else None
        directory = run_directory.open_run(Path(self.run_directory))
        if directory.algorithm == "epg":
            raise InvalidInputError(f"the run {directory.path} evolved a loss (epg) and holds no policy that could be evaluated")
        if protocol is not None:
            _check_atari(directory)
        if not self.untrained and not saved(directory.checkpoints):
            raise InvalidInputError(f"the run {directory.path} has no checkpoint yet (--untrained evaluates its first weights)")
        config = algorithms.config_of_run(directory)
        snapshot, step = self._weights(directory, config)
        if protocol is not None:
            from cluster.reports.atari.scoring import score

            score(directory.path, config, snapshot, step, protocol, num_episodes=self.episodes, seed=self.seed, command=command)
            return 0
        from cluster.reports.evaluation import figures, plan_for, row, show

        plan = plan_for(config.family, self._num_episodes, self.num_tasks)
        settings = {
            "family": config.family,
            "tasks": self.tasks,
            "seed": self.seed,
            "greedy": self.greedy,
            "env_steps": step,
            "max_episode_steps": self.max_episode_steps or DEFAULT_MAX_STEPS,
            "num_tasks": plan.num_tasks,
            "num_episodes": plan.num_episodes,
        }
        file = directory.path / f"{self._name(step)}.json"
        overwritten = again(file, settings)
        episodes = self._evaluate(config, snapshot, plan)
        content = settings | {"command": command} | figures(episodes, plan)
        run_directory.write_json(file, content | {"episodes": [row(episode) for episode in episodes]})
        show(content, plan, f"{file}{overwritten}")
        return 0

    @property
    def _num_episodes(self) -> int:
        return max(DEFAULT_EPISODES, self.num_tasks or 0) if self.episodes is None else self.episodes

    def _name(self, step: int) -> str:
        """Name of the file, with the options that are not the default."""
        options = {"episodes": self.episodes, "tasks": self.num_tasks, "max-steps": self.max_episode_steps}
        defaults = {"episodes": DEFAULT_EPISODES, "max-steps": DEFAULT_MAX_STEPS}
        changed = {name: value for name, value in options.items() if value not in (None, defaults.get(name))}
        words = [*(["greedy"] if self.greedy else []), "untrained" if self.untrained else f"{step}-steps"]
        return own_name("evaluation", self.tasks, f"s{self.seed}", *words, changed=changed)

    def _find_protocol(self) -> Protocol:
        """The protocol, refusing options that it fixes itself."""
        protocol = find_protocol(self.protocol)
        for name, is_given, why in (
            ("--greedy", self.greedy, "samples actions"),
            ("--tasks", self.tasks != "test", "runs every game of the run"),
            ("--num-tasks", self.num_tasks is not None, "runs every game of the run"),
            ("--max-episode-steps", self.max_episode_steps is not None, "ends its games"),
        ):
            if is_given:
                raise InvalidInputError(f"{name} and --protocol {self.protocol} contradict each other: the protocol {why}")
        return protocol

    def _weights(self, directory: RunDirectory, config: RunConfig) -> tuple[Snapshot, int]:
        """The weights to evaluate, and the environment steps behind them."""
        import torch

        from cluster.backends.learner import LearnerHost
        from cluster.run.recorder import warn

        torch.set_num_threads(1)
        # on the CPU, also where a GPU on another machine learned
        host = LearnerHost(find(config.algorithm), replace(config, learner_device="cpu"))
        if self.untrained:
            return host.snapshot(), 0
        checkpoint = load_newest(directory.checkpoints, warn)
        _, snapshot = host.build(checkpoint.payload["learner"])
        return snapshot, checkpoint.step

    def _evaluate(self, config: RunConfig, snapshot: Snapshot, plan: Plan) -> list[Episode]:
        from actors.evaluate import evaluate
        from envs.contract import sample_tasks
        from envs.registry import resolve

        family = resolve(config.family)
        tasks = sample_tasks(family, plan.num_draws, generator(self.seed, Stream.EVALUATION, 2), self.tasks)
        with episodes_bar(plan.num_episodes) as on_progress:
            return evaluate(
                family,
                [task for task in tasks for _ in range(plan.slots_per_draw)],
                config.network,
                snapshot,
                seed=self.seed,
                episodes_per_task=plan.per_slot,
                num_threads=os.cpu_count() or 1,
                greedy=self.greedy,
                on_progress=on_progress,
                conditioning=config.conditioning,
                max_episode_steps=self.max_episode_steps or DEFAULT_MAX_STEPS,
            )


def _check_atari(directory: RunDirectory) -> None:
    """Refuse a run on anything but Atari, before torch is loaded."""
    from envs.atari.families import ATARI_FAMILIES

    tree = read_json(directory.config_file)
    family = str(tree.get("family", "")) if isinstance(tree, dict) else ""
    if family not in ATARI_FAMILIES:
        raise InvalidInputError(
            f"--protocol is for Atari, and {directory.path} was trained on {family or 'no family'}: leave it out"
        )

"""Whole lives, many in lockstep: each trains a policy from nothing on one task, and then shows what it has become.

    U steps, all lives one step at a time          an update every M of them (`learners.lives`)
    an episode that ends                           the life goes on in the next one, at once
    fitness                                        mean return of whole episodes with the final policy, all of them side by side

Every random number of a life is drawn from the life's own seed: task, start, action noise, shuffles, starts of episodes. So a life is
the same whatever lives beside it, up to the rounding of batched products, and two lives of one seed differ by their loss alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actors.bounds import ActionBounds
from envs.batched import BatchedEnv
from envs.errors import InvalidInputError
from envs.task import Split, Task, TaskFamily
from learners.life_memory import Steps
from learners.lives import LifeConfig, Lives, Objective, draw_start
from learners.networks.spaces import SpaceSpec

NOISE_BLOCK = 64
"""Steps for which a final policy's noise is drawn at a time."""


class LifeSeed:
    """All randomness of one life, as generators that are kept apart.

    Args:
        root: the life's node in the seed tree of the run.
    """

    def __init__(self, root: np.random.SeedSequence) -> None:
        # children of the entropy and key, and not `spawn`, which counts up: a seed gives the same life however often it is used
        nodes = [np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, child)) for child in range(7)]
        self.task, self.start, self.noise, self.order, self.final_noise = (np.random.default_rng(node) for node in nodes[:5])
        self.episodes, self.final_episodes = nodes[5:]

    def draw_task(self, family: TaskFamily, split: Split) -> Task:
        """The task of the life."""
        return family.sample(1, self.task, split)[0]


@dataclass(frozen=True, kw_only=True)
class LivedEpisode:
    """An episode that ended during a life.

    Attributes:
        life: index of the life.
        end_step: steps of the life behind its end.
        episode_return: undiscounted.
        length: in steps.
    """

    life: int
    end_step: int
    episode_return: float
    length: int


@dataclass(frozen=True, kw_only=True)
class LifeRecord:
    """What became of L lives.

    Attributes:
        fitness: of each, [L].
        episodes: that ended while they learned, in order of their ends.
        env_steps: of all lives, those of the fitness included.
        seconds: of wall time.
    """

    fitness: np.ndarray
    episodes: list[LivedEpisode]
    env_steps: int
    seconds: float


class Stage:
    """The environments of L lives: one slot each to live in, and E each for the final episodes. Made once, used for any lives.

    Args:
        family: whose tasks are played.
        num_lives: L.
        num_episodes: E.
        num_threads: C++ threads that step them.

    Raises:
        InvalidInputError: the family's engine cannot start a slot's next episode on its own.
    """

    def __init__(self, family: TaskFamily, num_lives: int, num_episodes: int, num_threads: int = 1) -> None:
        tasks = family.sample(1, np.random.default_rng(0)) * num_lives
        self.num_lives, self.num_episodes = num_lives, num_episodes
        self.living = family.make(tasks, num_threads=num_threads)
        try:
            check_can_be_lived_in(family, self.living)
        except InvalidInputError:
            self.living.close()
            raise
        self.final = family.make(tasks * num_episodes, num_threads=num_threads)
        self.spec = SpaceSpec.of(self.living)
        self.bounds = ActionBounds(self.living.single_action_space)

    def begin(self, env: BatchedEnv, tasks: Sequence[Task], seeds: Sequence[np.random.SeedSequence]) -> np.ndarray:
        """Start the first episode of `tasks` in the slots of `env`; return the observations."""
        for slot, task in enumerate(tasks):
            env.assign(slot, task)
        env.seed_slots(seeds)
        return env.reset()[0]

    def close(self) -> None:
        """End the environments."""
        self.living.close()
        self.final.close()


def check_can_be_lived_in(family: TaskFamily, env: BatchedEnv) -> None:
    """Make sure that an environment of `family` can start a slot's next episode on its own; InvalidInputError when not."""
    if not env.can_restart:
        raise InvalidInputError(f"family {family.name} cannot be lived in: its engine has no restart of single slots")


def live(
    stage: Stage,
    config: LifeConfig,
    objective: Objective,
    tasks: Sequence[Task],
    seeds: Sequence[LifeSeed],
    *,
    dtype: torch.dtype = torch.float32,
    on_update: Callable[[int, Lives], None] | None = None,
) -> LifeRecord:
    """Live a whole life on each of `tasks`.

    Args:
        stage: the environments, with a slot for each life.
        config: of the lives.
        objective: what they minimise.
        tasks: one for each life.
        seeds: fresh ones, one for each life.
        dtype: of what is learned; float64 is for tests.
        on_update: told the number of updates made and the lives, after each.
    """
    began = time.perf_counter()
    lives = Lives(config, stage.spec, objective, [draw_start(config, stage.spec, seed.start) for seed in seeds], dtype)
    episodes = _grow_up(stage, lives, tasks, seeds, on_update)
    fitness, final_steps = _final_episodes(stage, lives, tasks, seeds)
    env_steps = len(tasks) * config.num_steps + final_steps
    return LifeRecord(fitness=fitness, episodes=episodes, env_steps=env_steps, seconds=time.perf_counter() - began)


def _grow_up(
    stage: Stage,
    lives: Lives,
    tasks: Sequence[Task],
    seeds: Sequence[LifeSeed],
    on_update: Callable[[int, Lives], None] | None,
) -> list[LivedEpisode]:
    """Take all U steps, with all updates."""
    config = lives.config
    obs = stage.begin(stage.living, tasks, [seed.episodes for seed in seeds])
    record = _Experience(lives, config.update_every)
    for index in range(config.num_updates):
        noise = _noise(lives, [seed.noise for seed in seeds], (config.update_every, 1))
        for step in range(config.update_every):
            action = lives.act(record.tensor(obs)[:, None], noise[:, step])[:, 0].numpy()
            next_obs, reward, terminated, truncated, _ = stage.living.step(_given(stage, action))
            record.write(step, obs, action, reward, terminated, truncated, next_obs)
            obs = next_obs
            slots = np.flatnonzero(terminated | truncated)
            if slots.size:
                record.end_episodes(slots, index * config.update_every + step + 1)
                obs = next_obs.copy()
                obs[slots] = stage.living.restart(slots)
        lives.update(record.steps(), _orders(seeds, config))
        if on_update is not None:
            on_update(index + 1, lives)
    return record.episodes


def _final_episodes(stage: Stage, lives: Lives, tasks: Sequence[Task], seeds: Sequence[LifeSeed]) -> tuple[np.ndarray, int]:
    """Play E whole episodes with each final policy; return the mean returns [L], and the steps of all."""
    num_lives, num_episodes = stage.num_lives, stage.num_episodes
    starts = [node for seed in seeds for node in seed.final_episodes.spawn(num_episodes)]
    obs = stage.begin(stage.final, [task for task in tasks for _ in range(num_episodes)], starts)
    returns, lengths = np.zeros(num_lives * num_episodes), np.zeros(num_lives * num_episodes, np.int64)
    is_playing = np.ones(num_lives * num_episodes, np.bool_)
    generators, step = [seed.final_noise for seed in seeds], 0
    while is_playing.any():
        if step % NOISE_BLOCK == 0:
            noise = _noise(lives, generators, (NOISE_BLOCK, num_episodes))
        grouped = torch.from_numpy(obs).to(lives.dtype).view(num_lives, num_episodes, -1)
        action = lives.act(grouped, noise[:, step % NOISE_BLOCK]).flatten(0, 1).numpy()
        obs, reward, terminated, truncated, _ = stage.final.step(_given(stage, action))
        returns += np.where(is_playing, reward, 0.0)
        lengths += is_playing
        over = is_playing & (terminated | truncated)
        if over.any():
            is_playing &= ~over
            stage.final.rest(np.flatnonzero(over))
        step += 1
    return returns.reshape(num_lives, num_episodes).mean(axis=1), int(lengths.sum())


class _Experience:
    """The steps of one update, and the episodes that ended, as they come; time-major while they are written."""

    def __init__(self, lives: Lives, num_steps: int) -> None:
        spec, num_lives = lives.spec, lives.num_lives
        self.episodes: list[LivedEpisode] = []
        self._dtype = lives.dtype
        kind = torch.empty((), dtype=lives.dtype).numpy().dtype
        size = (num_steps, num_lives)
        self._obs, self._next_obs = (np.empty((*size, spec.obs_shape[0]), kind) for _ in range(2))
        self._action = np.empty((*size, spec.num_actions or spec.action_size), kind)
        self._reward, self._terminated, self._truncated = np.empty(size, kind), np.empty(size, np.bool_), np.empty(size, np.bool_)
        self._returns, self._lengths = np.zeros(num_lives), np.zeros(num_lives, np.int64)

    def tensor(self, obs: np.ndarray) -> torch.Tensor:
        """Observations as the policies take them."""
        return torch.from_numpy(obs).to(self._dtype)

    def write(
        self,
        step: int,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        next_obs: np.ndarray,
    ) -> None:
        """Note one step of every life."""
        self._obs[step], self._action[step], self._reward[step] = obs, action, reward
        self._terminated[step], self._truncated[step], self._next_obs[step] = terminated, truncated, next_obs
        self._returns += reward
        self._lengths += 1

    def end_episodes(self, slots: np.ndarray, end_step: int) -> None:
        """Note that the episodes of these lives ended."""
        for life in slots.tolist():
            episode_return, length = float(self._returns[life]), int(self._lengths[life])
            self.episodes.append(LivedEpisode(life=life, end_step=end_step, episode_return=episode_return, length=length))
        self._returns[slots], self._lengths[slots] = 0.0, 0

    def steps(self) -> Steps:
        """The steps, life-major."""

        def turned(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).transpose(0, 1).contiguous()

        return Steps(
            obs=turned(self._obs),
            action=turned(self._action),
            reward=turned(self._reward),
            is_terminated=turned(self._terminated),
            is_truncated=turned(self._truncated),
            next_obs=turned(self._next_obs),
        )


def _noise(lives: Lives, generators: Sequence[np.random.Generator], shape: tuple[int, int]) -> torch.Tensor:
    """What `Lives.act` takes, [L, steps, E, A], each life's from its own generator."""
    if lives.spec.is_discrete:
        drawn = [rng.random((*shape, 1)) for rng in generators]
    else:
        drawn = [rng.standard_normal((*shape, lives.spec.action_size)) for rng in generators]
    return torch.from_numpy(np.stack(drawn)).to(lives.dtype)


def _orders(seeds: Sequence[LifeSeed], config: LifeConfig) -> torch.Tensor:
    """Each life's indices of the newest steps, shuffled anew for each pass."""
    size = config.update_every
    return torch.from_numpy(
        np.stack([np.concatenate([seed.order.permutation(size) for _ in range(config.passes)]) for seed in seeds])
    )


def _given(stage: Stage, action: np.ndarray) -> np.ndarray:
    """What the environment is given: named actions by number, others within their bounds."""
    return action.argmax(axis=-1) if stage.spec.is_discrete else stage.bounds.apply(action)

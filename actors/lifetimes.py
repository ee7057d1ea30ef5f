"""Whole lives, many in lockstep: each trains a policy from nothing on one task, and then shows what it has become.

    U steps, all lives one step at a time          an update every M of them (`learners.learned_loss.inner_loop`)
    an episode that ends                           the life goes on in the next one, at once
    fitness                                        mean return of whole episodes with the final policy, all of them side by side;
                                                   one that has not ended after `max_episode_steps` is cut, and counts as it stands

Every random number of a life is drawn from the life's own seed: task, start, action noise, shuffles, starts of episodes. So a life is
the same whatever lives beside it, up to the rounding of batched products, and two lives of one seed differ by their loss alone. What is
NaN stays in its life, whose moments keep it to the end, and comes back by name in the record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actors.bounds import ActionBounds
from actors.life_experience import Experience, LivedEpisode, What
from envs.batched import BatchedEnv
from envs.contract import CheckedEnv, make_env, sample_tasks
from envs.errors import InvalidInputError
from envs.family import TaskFamily
from envs.one_hot import as_vectors
from envs.task import Split, Task
from learners.learned_loss.inner_loop import LifeConfig, Lives, Objective, draw_start
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
        return sample_tasks(family, 1, self.task, split)[0]


@dataclass(frozen=True, kw_only=True)
class LifeRecord:
    """What became of L lives.

    Attributes:
        fitness: of each, [L].
        episodes: that ended while they learned, in order of their ends.
        env_steps: of all lives, those of the fitness included.
        seconds: of wall time.
        not_finite: what was NaN or infinite in each, None where nothing was, [L]. Every life whose fitness is not finite has a name here;
            one whose fitness is may have, where its learning came to nothing.
        cut_episodes: of the fitness, of all lives, that were cut at `LifeConfig.max_episode_steps`.
    """

    fitness: np.ndarray
    episodes: list[LivedEpisode]
    env_steps: int
    seconds: float
    not_finite: tuple[What | None, ...]
    cut_episodes: int


class LivesStoppedError(Exception):
    """Lives were ended in the middle because somebody asked for it; nothing comes of them."""


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
        tasks = sample_tasks(family, 1, np.random.default_rng(0)) * num_lives
        self.num_lives, self.num_episodes = num_lives, num_episodes
        self.living, self.final = (
            # a number that is not finite is of its life alone, which says so at its end
            CheckedEnv(as_vectors(make_env(family, played, num_threads=num_threads)), family.name, takes_nan=True)
            for played in (tasks, tasks * num_episodes)
        )
        try:
            check_can_be_lived_in(family, self.living)
        except InvalidInputError:
            self.close()
            raise
        self.spec = SpaceSpec.of(self.living)
        self.bounds = ActionBounds(self.living.single_action_space)

    def begin(self, env: CheckedEnv, tasks: Sequence[Task], seeds: Sequence[np.random.SeedSequence]) -> np.ndarray:
        """Start the first episode of `tasks` in the slots of `env`; return the observations."""
        for slot, task in enumerate(tasks):
            env.assign(slot, task)
        env.seed_slots(seeds)
        return env.reset()

    def close(self) -> None:
        """End the environments."""
        self.living.close()
        self.final.close()


def check_can_be_lived_in(family: TaskFamily, env: BatchedEnv | CheckedEnv) -> None:
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
    stop: threading.Event | None = None,
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
        stop: set by another thread to end them within a step; None where nobody does.

    Raises:
        LivesStoppedError: `stop` was set.
    """
    began, stop = time.perf_counter(), stop or threading.Event()
    lives = Lives(config, stage.spec, objective, [draw_start(config, stage.spec, seed.start) for seed in seeds], dtype)
    experience = _grow_up(stage, lives, tasks, seeds, on_update, stop)
    final = _final_episodes(stage, lives, tasks, seeds, stop)
    return LifeRecord(
        fitness=final.fitness,
        episodes=experience.episodes,
        env_steps=len(tasks) * config.num_steps + final.env_steps,
        seconds=time.perf_counter() - began,
        not_finite=_what_is_not_finite(lives, experience, final),
        cut_episodes=final.num_cut,
    )


def _grow_up(
    stage: Stage,
    lives: Lives,
    tasks: Sequence[Task],
    seeds: Sequence[LifeSeed],
    on_update: Callable[[int, Lives], None] | None,
    stop: threading.Event,
) -> Experience:
    """Take all U steps, with all updates."""
    config = lives.config
    obs = stage.begin(stage.living, tasks, [seed.episodes for seed in seeds])
    record = Experience(lives, config.update_every)
    for index in range(config.num_updates):
        noise = _noise(lives, [seed.noise for seed in seeds], (config.update_every, 1))
        for step in range(config.update_every):
            _check_going(stop)
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
    return record


@dataclass(frozen=True, kw_only=True)
class _Final:
    """The final episodes of L lives: mean return and whether the newest observations were finite, [L]; steps and cut ones of all."""

    fitness: np.ndarray
    is_obs_finite: np.ndarray
    env_steps: int
    num_cut: int


def _final_episodes(
    stage: Stage, lives: Lives, tasks: Sequence[Task], seeds: Sequence[LifeSeed], stop: threading.Event
) -> _Final:
    """Play E whole episodes with each final policy."""
    num_lives, num_episodes, max_steps = stage.num_lives, stage.num_episodes, lives.config.max_episode_steps
    starts = [node for seed in seeds for node in seed.final_episodes.spawn(num_episodes)]
    obs = stage.begin(stage.final, [task for task in tasks for _ in range(num_episodes)], starts)
    returns, lengths = np.zeros(num_lives * num_episodes), np.zeros(num_lives * num_episodes, np.int64)
    is_playing, is_obs_finite = np.ones(num_lives * num_episodes, np.bool_), np.ones(num_lives * num_episodes, np.bool_)
    generators, step = [seed.final_noise for seed in seeds], 0
    while is_playing.any() and step < max_steps:
        _check_going(stop)
        if step % NOISE_BLOCK == 0:
            noise = _noise(lives, generators, (NOISE_BLOCK, num_episodes))
        grouped = torch.from_numpy(obs).to(lives.dtype).view(num_lives, num_episodes, -1)
        action = lives.act(grouped, noise[:, step % NOISE_BLOCK]).flatten(0, 1).numpy()
        obs, reward, terminated, truncated, _ = stage.final.step(_given(stage, action))
        returns += np.where(is_playing, reward, 0.0)
        lengths += is_playing
        over = is_playing & (terminated | truncated)
        if over.any():
            is_obs_finite[over] = np.isfinite(obs[over]).all(axis=1)
            is_playing &= ~over
            stage.final.rest(np.flatnonzero(over))
        step += 1
    is_obs_finite[is_playing] = np.isfinite(obs[is_playing]).all(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite returns: what comes of them has a name
        fitness = returns.reshape(num_lives, num_episodes).mean(axis=1)
    return _Final(
        fitness=fitness,
        is_obs_finite=np.logical_and.reduce(is_obs_finite.reshape(num_lives, num_episodes), axis=1),
        env_steps=int(lengths.sum()),
        num_cut=int(is_playing.sum()),
    )


def _what_is_not_finite(lives: Lives, experience: Experience, final: _Final) -> tuple[What | None, ...]:
    """Name what was not finite in each life; of several things the one nearest to the environment."""
    is_fit, learned = np.isfinite(final.fitness), lives.is_finite()
    finite: dict[What, np.ndarray] = {
        "observation": learned.observation & (final.is_obs_finite | is_fit),
        "reward": experience.are_rewards_finite,
        "action": learned.action,
        "parameters": learned.parameters,
        "gradient": learned.gradient,
    }
    names: list[What | None] = []
    for life in range(lives.num_lives):
        found = [what for what, is_finite in finite.items() if not is_finite[life]]
        names.append(found[0] if found else None if is_fit[life] else "reward")
    return tuple(names)


def _check_going(stop: threading.Event) -> None:
    if stop.is_set():
        raise LivesStoppedError


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

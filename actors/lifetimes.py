"""Whole lifetimes, many in lockstep: each trains a policy from its initial weights on one task, and is then scored.

    U steps, all lifetimes one step at a time      an update every M of them (`learners.learned_loss.inner_loop`)
    an episode that ends                           the lifetime continues in the next one, at once
    fitness                                        mean return of whole episodes with the final policy, all of them side by side;
                                                   one that has not ended after `max_episode_steps` is cut, and its return so far counts

Every random number of a lifetime is drawn from its own seed: task, initial weights, action noise, shuffles, episode starts. So a lifetime
does not depend on those beside it, up to the rounding of batched products, and two lifetimes of one seed differ by their loss alone. A NaN
stays in its own lifetime, whose moments keep it to the end, and is named in the result.

Letters: L lifetimes, E episodes of the fitness, U steps, M steps of an update.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actors.bounds import ActionBounds
from actors.inner_loop_buffer import InnerEpisode, InnerLoopBuffer, Quantity
from envs.batched import BatchedEnv
from envs.contract import CheckedEnv, make_env, sample_tasks
from envs.errors import InvalidInputError
from envs.family import TaskFamily
from envs.one_hot import as_vectors
from envs.task import Split, Task
from learners.learned_loss.inner_loop import LifetimeConfig, Lifetimes, Objective, draw_start
from learners.networks.spaces import SpaceSpec

NOISE_BLOCK = 64
"""Steps for which a final policy's noise is drawn at a time."""


class LifetimeSeed:
    """All randomness of one lifetime, as generators that are kept apart.

    Args:
        root: the lifetime's node in the seed tree of the run.
    """

    def __init__(self, root: np.random.SeedSequence) -> None:
        # children of the entropy and key, not `spawn`, which counts up: a seed gives the same lifetime however often it is used
        nodes = [np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, child)) for child in range(7)]
        self.task, self.start, self.noise, self.order, self.final_noise = (np.random.default_rng(node) for node in nodes[:5])
        self.episodes, self.final_episodes = nodes[5:]

    def draw_task(self, family: TaskFamily, split: Split) -> Task:
        """The task of the lifetime."""
        return sample_tasks(family, 1, self.task, split)[0]


@dataclass(frozen=True, kw_only=True)
class LifetimesResult:
    """The results of L lifetimes.

    Attributes:
        tasks: of each.
        fitness: of each, [L].
        episodes: that ended while they learned, in order of their ends.
        env_steps: of all lifetimes, those of the fitness included.
        seconds: of wall time.
        not_finite: what was NaN or infinite in each, None where nothing was, [L]. Named wherever the fitness is not finite; it may be named
            where the fitness is, if the lifetime learned nothing.
        cut_episodes: of the fitness, of all lifetimes, that were cut at `LifetimeConfig.max_episode_steps`.
    """

    tasks: tuple[Task, ...]
    fitness: np.ndarray
    episodes: list[InnerEpisode]
    env_steps: int
    seconds: float
    not_finite: tuple[Quantity | None, ...]
    cut_episodes: int


class LifetimesStoppedError(Exception):
    """Lifetimes were stopped in the middle on request; they have no result."""


class LifetimeEnvs:
    """The environments of L lifetimes: one slot each to learn in, and E each for the final episodes. Made once, used for any lifetimes.

    Args:
        family: whose tasks are used.
        num_lifetimes: L.
        num_episodes: E.
        num_threads: C++ threads that step them.

    Raises:
        InvalidInputError: the family's engine cannot restart single slots.
    """

    def __init__(self, family: TaskFamily, num_lifetimes: int, num_episodes: int, num_threads: int = 1) -> None:
        tasks = sample_tasks(family, 1, np.random.default_rng(0)) * num_lifetimes
        self.family, self.num_lifetimes, self.num_episodes = family, num_lifetimes, num_episodes
        self.training, self.final = (
            # a number that is not finite concerns its lifetime alone, whose result names it
            CheckedEnv(as_vectors(make_env(family, of_slots, num_threads=num_threads)), family.name, takes_nan=True)
            for of_slots in (tasks, tasks * num_episodes)
        )
        try:
            check_restarts(family, self.training)
        except InvalidInputError:
            self.close()
            raise
        self.spec = SpaceSpec.of(self.training)
        self.bounds = ActionBounds(self.training.single_action_space)

    def begin(self, env: CheckedEnv, tasks: Sequence[Task], seeds: Sequence[np.random.SeedSequence]) -> np.ndarray:
        """Start the first episode of `tasks` in the slots of `env`; return the observations."""
        for slot, task in enumerate(tasks):
            env.assign(slot, task)
        env.seed_slots(seeds)
        return env.reset()

    def given(self, action: np.ndarray) -> np.ndarray:
        """What the environments are given: discrete actions as integers, others within their bounds."""
        return action.argmax(axis=-1) if self.spec.is_discrete else self.bounds.apply(action)

    def close(self) -> None:
        """Free the environments."""
        self.training.close()
        self.final.close()


def check_restarts(family: TaskFamily, env: BatchedEnv | CheckedEnv) -> None:
    """Make sure that an environment of `family` can restart single slots; InvalidInputError when not."""
    if not env.can_restart:
        raise InvalidInputError(f"family {family.name} cannot be used for lifetimes: its engine cannot restart single slots")


def run_lifetimes(
    envs: LifetimeEnvs,
    config: LifetimeConfig,
    objective: Objective,
    seeds: Sequence[LifetimeSeed],
    split: Split = "train",
    *,
    dtype: torch.dtype = torch.float32,
    on_update: Callable[[int, Lifetimes], None] | None = None,
    stop: threading.Event | None = None,
) -> LifetimesResult:
    """Run whole lifetimes, each on the task that its seed draws.

    Args:
        envs: the environments, with a slot for each lifetime.
        config: of the lifetimes.
        objective: what they minimise.
        seeds: fresh ones, one for each lifetime.
        split: of the tasks.
        dtype: of what is learned; float64 is for tests.
        on_update: called with the number of updates made and the lifetimes, after each.
        stop: set by another thread to end them within a step; None if not needed.

    Raises:
        LifetimesStoppedError: `stop` was set.
    """
    began, stop = time.perf_counter(), stop or threading.Event()
    tasks = tuple(seed.draw_task(envs.family, split) for seed in seeds)
    lifetimes = Lifetimes(config, envs.spec, objective, [draw_start(config, envs.spec, seed.start) for seed in seeds], dtype)
    buffer = _train(envs, lifetimes, tasks, seeds, on_update, stop)
    final = _final_episodes(envs, lifetimes, tasks, seeds, stop)
    return LifetimesResult(
        tasks=tasks,
        fitness=final.fitness,
        episodes=buffer.episodes,
        env_steps=len(tasks) * config.num_steps + final.env_steps,
        seconds=time.perf_counter() - began,
        not_finite=_not_finite(lifetimes, buffer, final),
        cut_episodes=final.num_cut,
    )


def _train(
    envs: LifetimeEnvs,
    lifetimes: Lifetimes,
    tasks: Sequence[Task],
    seeds: Sequence[LifetimeSeed],
    on_update: Callable[[int, Lifetimes], None] | None,
    stop: threading.Event,
) -> InnerLoopBuffer:
    """Take all U steps, with all updates."""
    config = lifetimes.config
    obs = envs.begin(envs.training, tasks, [seed.episodes for seed in seeds])
    buffer = InnerLoopBuffer(lifetimes, config.update_every)
    for index in range(config.num_updates):
        noise = _noise(lifetimes, [seed.noise for seed in seeds], (config.update_every, 1))
        for t in range(config.update_every):
            _check_stop(stop)
            action = lifetimes.act(buffer.tensor(obs)[:, None], noise[:, t])[:, 0].numpy()
            next_obs, reward, terminated, truncated, _ = envs.training.step(envs.given(action))
            buffer.write(
                t, obs=obs, action=action, reward=reward, is_terminated=terminated, is_truncated=truncated, next_obs=next_obs
            )
            obs = next_obs
            slots = np.flatnonzero(terminated | truncated)
            if slots.size:
                buffer.end_episodes(slots, index * config.update_every + t + 1)
                obs = next_obs.copy()
                obs[slots] = envs.training.restart(slots)
        lifetimes.update(buffer.steps(), _orders(seeds, config))
        if on_update is not None:
            on_update(index + 1, lifetimes)
    return buffer


@dataclass(frozen=True, kw_only=True)
class _Final:
    """The final episodes of L lifetimes: mean return and whether the newest observations were finite, [L]; steps and cut ones of all."""

    fitness: np.ndarray
    is_obs_finite: np.ndarray
    env_steps: int
    num_cut: int


def _final_episodes(
    envs: LifetimeEnvs, lifetimes: Lifetimes, tasks: Sequence[Task], seeds: Sequence[LifetimeSeed], stop: threading.Event
) -> _Final:
    """Take E whole episodes with each final policy."""
    num_lifetimes, num_episodes, max_steps = envs.num_lifetimes, envs.num_episodes, lifetimes.config.max_episode_steps
    starts = [node for seed in seeds for node in seed.final_episodes.spawn(num_episodes)]
    obs = envs.begin(envs.final, [task for task in tasks for _ in range(num_episodes)], starts)
    returns, lengths = np.zeros(num_lifetimes * num_episodes), np.zeros(num_lifetimes * num_episodes, np.int64)
    is_running, is_obs_finite = np.ones(num_lifetimes * num_episodes, np.bool_), np.ones(num_lifetimes * num_episodes, np.bool_)
    generators, step = [seed.final_noise for seed in seeds], 0
    while is_running.any() and step < max_steps:
        _check_stop(stop)
        if step % NOISE_BLOCK == 0:
            noise = _noise(lifetimes, generators, (NOISE_BLOCK, num_episodes))
        grouped = torch.from_numpy(obs).to(lifetimes.dtype).view(num_lifetimes, num_episodes, -1)
        action = lifetimes.act(grouped, noise[:, step % NOISE_BLOCK]).flatten(0, 1).numpy()
        obs, reward, terminated, truncated, _ = envs.final.step(envs.given(action))
        returns += np.where(is_running, reward, 0.0)
        lengths += is_running
        over = is_running & (terminated | truncated)
        if over.any():
            is_obs_finite[over] = np.isfinite(obs[over]).all(axis=1)
            is_running &= ~over
            envs.final.rest(np.flatnonzero(over))
        step += 1
    is_obs_finite[is_running] = np.isfinite(obs[is_running]).all(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite returns, which are named
        fitness = returns.reshape(num_lifetimes, num_episodes).mean(axis=1)
    return _Final(
        fitness=fitness,
        is_obs_finite=np.logical_and.reduce(is_obs_finite.reshape(num_lifetimes, num_episodes), axis=1),
        env_steps=int(lengths.sum()),
        num_cut=int(is_running.sum()),
    )


def _not_finite(lifetimes: Lifetimes, buffer: InnerLoopBuffer, final: _Final) -> tuple[Quantity | None, ...]:
    """Name what was not finite in each lifetime; of several quantities the one nearest to the environment."""
    is_fit, learned = np.isfinite(final.fitness), lifetimes.is_finite()
    finite: dict[Quantity, np.ndarray] = {
        "observation": learned.observation & (final.is_obs_finite | is_fit),
        "reward": buffer.are_rewards_finite,
        "action": learned.action,
        "parameters": learned.parameters,
        "gradient": learned.gradient,
    }
    names: list[Quantity | None] = []
    for lifetime in range(lifetimes.num_lifetimes):
        found = [quantity for quantity, is_finite in finite.items() if not is_finite[lifetime]]
        names.append(found[0] if found else None if is_fit[lifetime] else "reward")
    return tuple(names)


def _check_stop(stop: threading.Event) -> None:
    if stop.is_set():
        raise LifetimesStoppedError


def _noise(lifetimes: Lifetimes, generators: Sequence[np.random.Generator], shape: tuple[int, int]) -> torch.Tensor:
    """The noise of `Lifetimes.act`, [L, steps, E, A], each lifetime's from its own generator."""
    if lifetimes.spec.is_discrete:
        drawn = [rng.random((*shape, 1)) for rng in generators]
    else:
        drawn = [rng.standard_normal((*shape, lifetimes.spec.action_size)) for rng in generators]
    return torch.from_numpy(np.stack(drawn)).to(lifetimes.dtype)


def _orders(seeds: Sequence[LifetimeSeed], config: LifetimeConfig) -> torch.Tensor:
    """Each lifetime's indices of the newest steps, shuffled anew for each pass."""
    size = config.update_every
    return torch.from_numpy(
        np.stack([np.concatenate([seed.order.permutation(size) for _ in range(config.passes)]) for seed in seeds])
    )

"""How a run is put together, by how its experience is collected: what the trainer asks of `cluster.run.unrolls` or `cluster.run.lifetimes`.

An assembly knows no algorithm: learner and headline come from the row, the rest from config fields that all runs with that collection
share.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cluster.backends.base import Backend
from cluster.backends.hosts import MakeCollector
from cluster.backends.learner import LearnerHost
from cluster.run.keeper import Keeper
from cluster.run.where import Where
from cluster.store.run_directory import RunDirectory
from learners.networks.spaces import SpaceSpec

if TYPE_CHECKING:
    from cluster.algorithms import Row

ALWAYS = ("max_train_seconds", "keep_checkpoints", "log_every_s")
"""Settings that may change in every resumed run."""
Payload = dict[str, Any]
"""Of a checkpoint: `learner`, `statistics`, and what the schedule needs."""


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """The parts of all runs with the same collection of experience.

    Attributes:
        length, length_unit: the setting of how long a run is, and what it counts, in words.
        schedule: the setting of the length of schedules; null for that of the run.
        in_threads: on one machine its actors are threads; else more than one are processes.
        learner_on_driver: its learner takes so little that on Ray it is a thread of the driver.
        unit: the work of an actor, in words: `unroll`.
        stopping, stopped: what a stop does and did, in words.
        preflight: (config, is local) -> nothing: checks the config against the family and the machine, before any process starts.
        collector: config -> what makes the collectors.
        spaces: config -> the spaces that the learner acts in.
        deadline_s: config -> seconds after which an actor counts as hung.
        num_cpus: config -> logical CPUs of an actor.
        store_bytes: config -> bytes of shared memory for what travels on Ray.
        restore: (directory, config, is resumed) -> where the run continues; None at its beginning.
        keeper: (directory, config, payload) -> what the run keeps, open for as long as it goes.
        length_done: directory -> how much of its length a run has behind it.
        may_change: config -> the settings that may change when a run is resumed (`cluster.run.resuming`).
        sizes: those among them that a driver follows while it runs (`cluster.store.scaling`).
        schedule_line: (config, progress) -> a line about its schedules in a run that is longer or shorter than they are.
    """

    length: str
    length_unit: str
    schedule: str
    in_threads: bool
    learner_on_driver: bool
    unit: str
    stopping: str
    stopped: str
    preflight: Callable[[Any, bool], None]
    collector: Callable[[Any], MakeCollector]
    spaces: Callable[[Any], SpaceSpec]
    deadline_s: Callable[[Any], float]
    num_cpus: Callable[[Any], int]
    store_bytes: Callable[[Any], int]
    restore: Callable[[RunDirectory, Any, bool], Payload | None]
    keeper: Callable[[RunDirectory, Any, Payload | None], AbstractContextManager[Keeper]]
    length_done: Callable[[RunDirectory], int]
    may_change: Callable[[Any], tuple[str, ...]]
    schedule_line: Callable[[Any, int], str | None]
    sizes: tuple[str, ...] = ()

    def scheduled(self, config: Any) -> int:
        """The length of schedules."""
        length = getattr(config, self.schedule)
        return int(getattr(config, self.length) if length is None else length)


def make_learner(row: Row, config: Any) -> LearnerHost:
    """The learner of a run; called in the process or thread where it will run."""
    assembly = row.assembly()
    spaces = partial(assembly.spaces, config)
    return LearnerHost(row.learner(), config, spaces, total=assembly.scheduled(config), has_digests=assembly.learner_on_driver)


def backend_of(row: Row, assembly: Assembly, config: Any, where: Where) -> Backend:
    """Build the backend; only this one imports what it needs."""
    make, collector = partial(make_learner, row, config), assembly.collector(config)
    unit, deadline_s = assembly.unit, assembly.deadline_s(config)
    if where.is_local:
        from cluster.backends.local import LocalBackend

        return LocalBackend(make, collector, config.num_actors, in_threads=assembly.in_threads, unit=unit, deadline_s=deadline_s)
    from cluster.backends.ray.backend import RayBackend

    return RayBackend(
        make,
        collector,
        config.num_actors,
        where=where,
        family=config.family,
        unit=unit,
        deadline_s=deadline_s,
        num_cpus=assembly.num_cpus(config),
        store_bytes=partial(assembly.store_bytes, config),
        learner_device=None if assembly.learner_on_driver else config.learner_device,
    )

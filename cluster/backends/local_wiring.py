"""The wiring of one process: a thread for each actor, a thread for the learner, and nothing but queues between them.

Simulators and tensor kernels release the interpreter lock, so the threads fill as many cores as there are; what is sent is never copied.
This path imports no Ray.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from actors.messages import UnrollRequest
from actors.rollout import RolloutActor, RolloutSpec
from cluster.backends.learner import LearnerHost, first_env_spec
from cluster.backends.wiring import ActorFailed, Event, Handle, Learned, Unrolled
from cluster.config import RunConfig
from envs.registry import resolve
from learners.trajectory import Snapshot, Trajectory

_Work = Callable[[], Event]


class LocalWiring:
    """Actors and learner as threads of this process, none of which gets lost: a failure of either ends the run with its error."""

    def __init__(self, config: RunConfig) -> None:
        self.num_actors = config.num_actors
        self._config = config
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._inboxes: list[queue.SimpleQueue[_Work | None]] = [queue.SimpleQueue() for _ in range(config.num_actors + 1)]
        self._threads: list[threading.Thread] = []

    def start(self, learner_state: dict[str, Any] | None) -> tuple[int, Handle]:
        """See `cluster.backends.wiring.Wiring`."""
        # one thread a process: beside busy simulators, a second OpenMP thread spins and slows everything down
        torch.set_num_threads(1)
        config = self._config
        family = resolve(config.family)
        self._learner = LearnerHost(config, first_env_spec(config))
        if learner_state is not None:
            self._learner.restore(learner_state)
        spec = RolloutSpec(
            num_envs=config.rollout.envs_per_actor,
            unroll_length=config.rollout.unroll_length,
            env_threads=config.rollout.env_threads,
            run_seed=config.seed,
            anchored=config.deterministic,
            conditioning=config.conditioning,
        )
        self._actors = [RolloutActor(family, config.network, spec, actor) for actor in range(config.num_actors)]
        for index, inbox in enumerate(self._inboxes):
            name = "learner" if index == self.num_actors else f"actor-{index}"
            thread = threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        snapshot = self._learner.snapshot()
        return snapshot.version, snapshot

    def _work(self, inbox: queue.SimpleQueue[_Work | None]) -> None:
        while (work := inbox.get()) is not None:
            try:
                self._events.put(work())
            except BaseException as error:  # handed to the loop's thread, which raises it
                self._events.put(error)
                return

    def weights_of(self, snapshot: Snapshot) -> Handle:
        """See `cluster.backends.wiring.Wiring`."""
        return snapshot

    def snapshot_of(self, weights: Handle) -> Snapshot:
        """See `cluster.backends.wiring.Wiring`."""
        assert isinstance(weights, Snapshot)
        return weights

    def unroll(self, request: UnrollRequest, weights: Handle) -> None:
        """See `cluster.backends.wiring.Wiring`."""

        def work() -> Event:
            try:
                report, trajectory = self._actors[request.actor].unroll(request, weights)
            except Exception as error:
                return ActorFailed(error=error)
            return Unrolled(report=report, trajectory=trajectory)

        self._inboxes[request.actor].put(work)

    def learn(self, trajectories: Sequence[Handle]) -> None:
        """See `cluster.backends.wiring.Wiring`."""
        given: list[Trajectory] = list(trajectories)

        def work() -> Event:
            report, snapshot = self._learner.learn(given)
            return Learned(report=report, weights=snapshot)

        self._inboxes[-1].put(work)

    def wait(self, timeout_s: float) -> list[Event]:
        """See `cluster.backends.wiring.Wiring`."""
        events: list[Event] = []
        try:
            item = self._events.get(timeout=timeout_s)
            while True:
                if isinstance(item, BaseException):
                    raise item
                events.append(item)
                item = self._events.get_nowait()
        except queue.Empty:
            return events

    def learner_state(self) -> dict[str, Any]:
        """See `cluster.backends.wiring.Wiring`; the loop asks only while no call is under way."""
        return self._learner.state()

    def actors_alive(self) -> int:
        """See `cluster.backends.wiring.Wiring`: threads do not get lost."""
        return self.num_actors

    def close(self) -> None:
        """See `cluster.backends.wiring.Wiring`; waits for the unrolls under way, which are short."""
        for inbox in self._inboxes:
            inbox.put(None)
        for thread in self._threads:
            thread.join(timeout=self._config.actor_deadline_s)
        for actor in getattr(self, "_actors", []):
            actor.close()

"""The wiring of a Ray cluster: a process for each actor on any node with room, one for the learner, on a GPU where there is one.

    driver --unroll(request, weights ref)--> actor i     report to the driver, trajectory to the object store of its node
    driver --learn(trajectory refs)--------> learner     trajectories from node to node; report to the driver, weights to the object store

The driver holds references, and never a trajectory or a parameter. Weights are put once per version, by the learner's return. Bounds are
the schedule's: one unroll an actor, a few trajectories ready, two learner calls.

No Ray is imported with this module: `cluster.backends.ray.session` settles the authentication first.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.messages import UnrollRequest
from cluster.backends.learner import first_env_spec
from cluster.backends.ray.session import RaySession
from cluster.backends.wiring import ActorFailed, Event, Handle, Notice
from cluster.config import RunConfig
from envs.errors import InvalidInputError
from learners.networks.agent import SpaceSpec
from learners.trajectory import Snapshot

if TYPE_CHECKING:
    from cluster.backends.ray.fleet import ActorSeat, Learner

log = logging.getLogger("metaray")

PLACEMENT_WAIT_S = 60.0
"""How long the learner may wait for a node, or a cluster for nodes that are on their way: a worker joins in 4 to 10 s."""
ACTOR_GRACE_S = 10.0
"""How long training waits for actors to be up, so that its clock does not count their start; later ones join on the way."""
PENDING_NOTICE_S = 30.0
"""After so long, actors that found no room are mentioned, once."""


class RayWiring:
    """Actors and learner as processes of a Ray cluster; lost actors are replaced, a lost learner ends the run.

    Args:
        config: the run.
        run_name: what the processes are called by: `<run_name>/actor-3`, `<run_name>/learner`.
        address: cluster to attach to; None for RAY_ADDRESS, or a new one on this machine for the time of the run.
        insecure: without Ray's token authentication.
    """

    def __init__(self, config: RunConfig, *, run_name: str, address: str | None = None, insecure: bool = False) -> None:
        self.num_actors = config.num_actors
        self._config, self._run_name = config, run_name
        self._address, self._insecure = address, insecure
        self._session: RaySession | None = None
        self._learner: Learner | None = None
        self._seats: list[ActorSeat] = []
        self._started = math.inf

    def start(self, learner_state: dict[str, Any] | None) -> tuple[int, Handle]:
        """See `cluster.backends.wiring.Wiring`.

        Raises:
            InvalidInputError: there is no cluster, or no room in it for a learner and an actor.
        """
        config = self._config
        self._session = RaySession(
            self._address,
            insecure=self._insecure,
            num_cpus=config.num_actors * config.rollout.env_threads + 1,
            store_bytes=store_bytes(config, first_env_spec(config)),
            family=config.family,
        )
        from cluster.backends.ray.fleet import ActorSeat, Learner

        folder = os.getcwd()
        self._await_nodes()
        self._learner = Learner(config, self._run_name, folder, self._learner_gpus())
        self._await_learner()
        self._seats = [ActorSeat(config, self._run_name, index, folder) for index in range(config.num_actors)]
        self._started = time.monotonic()
        version, weights = self._learner.build(learner_state)  # while the actors make their environments
        self._await_actors()
        return version, weights

    def _await_nodes(self) -> None:
        """Make sure that the cluster has CPUs for a learner and one actor, or gets them soon."""
        from cluster.backends.ray.calls import resources

        needed, give_up = 1 + self._config.rollout.env_threads, time.monotonic() + PLACEMENT_WAIT_S
        while (cpus := resources(free=False)["CPU"]) < needed:
            if time.monotonic() > give_up:
                raise InvalidInputError(
                    f"the Ray cluster has {cpus:.0f} CPUs in all, a learner and one actor need {needed}: add a node to it, or use --local"
                )
            log.info("waiting for nodes: the cluster has %.0f CPUs, a learner and one actor need %d", cpus, needed)
            time.sleep(1.0)

    def _learner_gpus(self) -> int:
        """One where the learner may have a GPU and one is free; more is never used."""
        from cluster.backends.ray.calls import resources

        device = self._config.learner_device
        if device == "cuda" and resources(free=False)["GPU"] < 1:
            raise InvalidInputError(
                "learner_device = cuda, and no node of the Ray cluster has a GPU: allowed here is cpu or auto"
            )
        return int(device == "cuda" or (device == "auto" and resources(free=True)["GPU"] >= 1))

    def _await_learner(self) -> None:
        """Wait until the learner has its node; the actors come after it, so that they cannot take its place."""
        import ray

        from cluster.backends.ray.calls import resources

        assert self._learner is not None
        give_up = time.monotonic() + PLACEMENT_WAIT_S
        while not ray.wait([self._learner.placed], timeout=0.25, fetch_local=False)[0]:
            if time.monotonic() > give_up:
                free, total = resources(free=True), resources(free=False)
                have = ", ".join(f"{free[kind]:.0f} of {total[kind]:.0f} {kind}s free" for kind in ("CPU", "GPU"))
                raise InvalidInputError(
                    f"the Ray cluster has no room for the learner ({have}): wait for other work to end, or add a node"
                )

    def _await_actors(self) -> None:
        import ray

        give_up = time.monotonic() + ACTOR_GRACE_S
        while time.monotonic() < give_up:
            gates = {ref: seat for seat in self._seats for ref in seat.watched()}
            if not gates:
                return
            for ref in ray.wait(list(gates), num_returns=1, timeout=0.25, fetch_local=False)[0]:
                event = gates[ref].take_in(ref)
                if isinstance(event, ActorFailed):
                    raise event.error

    def weights_of(self, snapshot: Snapshot) -> Handle:
        """See `cluster.backends.wiring.Wiring`."""
        import ray

        return ray.put(snapshot)

    def snapshot_of(self, weights: Handle) -> Snapshot:
        """See `cluster.backends.wiring.Wiring`; the arrays are copies, which outlive the cluster."""
        from cluster.backends.ray.calls import fetch

        snapshot: Snapshot = fetch(weights, "the learner")
        return Snapshot(version=snapshot.version, arrays={name: np.array(array) for name, array in snapshot.arrays.items()})

    def unroll(self, request: UnrollRequest, weights: Handle) -> None:
        """See `cluster.backends.wiring.Wiring`."""
        self._seats[request.actor].unroll(request, weights)

    def learn(self, trajectories: Sequence[Handle]) -> None:
        """See `cluster.backends.wiring.Wiring`."""
        assert self._learner is not None
        self._learner.learn(trajectories)

    def wait(self, timeout_s: float) -> list[Event]:
        """See `cluster.backends.wiring.Wiring`.

        Raises:
            LearnerLostError: the learner died or hung.
        """
        from cluster.backends.ray.calls import first_ready

        assert self._learner is not None
        owners: dict[Any, ActorSeat | Learner] = {ref: seat for seat in self._seats for ref in seat.watched()}
        owners |= dict.fromkeys(self._learner.watched(), self._learner)
        events = [owners[ref].take_in(ref) for ref in first_ready(list(owners), timeout_s)]
        now = time.monotonic()
        events += [seat.overdue(now) for seat in self._seats]
        self._learner.overdue(now)
        return [event for event in (*events, self._pending_notice(now)) if event is not None]

    def _pending_notice(self, now: float) -> Notice | None:
        if now - self._started < PENDING_NOTICE_S:
            return None
        self._started = math.inf  # once
        pending = sum(seat.stage == "pending" for seat in self._seats)
        if not pending:
            return None
        from cluster.backends.ray.calls import pending_line

        line = pending_line(pending, self.num_actors)
        return Notice(line=line + ("; a deterministic run waits for them" if self._config.deterministic else ""))

    def learner_state(self) -> dict[str, Any]:
        """See `cluster.backends.wiring.Wiring`."""
        assert self._learner is not None
        return self._learner.state()

    def actors_alive(self) -> int:
        """See `cluster.backends.wiring.Wiring`."""
        return sum(seat.stage == "up" for seat in self._seats)

    def close(self) -> None:
        """See `cluster.backends.wiring.Wiring`: ends the run's processes, and the cluster if it was started for the run."""
        for part in (*self._seats, self._learner):
            if part is not None:
                part.close()
        self._seats, self._learner = [], None
        if self._session is not None:
            self._session.close()
            self._session = None


def store_bytes(config: RunConfig, spec: SpaceSpec) -> int:
    """Bytes of shared memory for the trajectories that may exist at once, and half as much again for weights and what is not freed yet."""
    rollout = config.rollout
    obs = math.prod(spec.frame_shape) * np.dtype(spec.sent_dtype).itemsize
    action = 8 if spec.is_discrete else 4 * spec.action_size
    row = obs + action + 11  # and reward, log-probability and three flags
    trajectory = rollout.envs_per_actor * (rollout.unroll_length + spec.frame_stack) * row
    per_call = max(1, config.batch_unrolls // rollout.envs_per_actor)
    return int(1.5 * trajectory * ((config.lag + 2) * config.num_actors + 4 * per_call + 4))

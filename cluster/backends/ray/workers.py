"""The processes of a run on Ray: the same rollout actor and learner as in one process, wrapped for calls from afar.

Plain classes, made remote at the end of the file, so that types hold and tests need no cluster. A call's large result (a trajectory, a
snapshot) is returned beside its small report as an object of its own: the driver reads the report and passes the other on by reference.
Arrays go into shared memory as they are (pickle protocol 5, out of band), and are read from there without a copy.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from typing import Any

import ray
import torch

from actors.messages import UnrollReport, UnrollRequest
from actors.rollout import RolloutActor, RolloutSpec
from cluster.backends.learner import LearnerHost, first_env_spec
from cluster.backends.ray.metrics import LearnerMetrics, RolloutMetrics
from cluster.backends.wiring import LearnReport
from cluster.config import RunConfig
from envs.registry import resolve
from learners.trajectory import Snapshot, Trajectory


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process of the run lives.

    Attributes:
        host: name of its machine.
        address: of its node in the cluster.
        pid: its process.
        actor_id: Ray's id of it.
    """

    host: str
    address: str
    pid: int
    actor_id: str

    def __str__(self) -> str:
        return f"{self.actor_id[:12]}, pid {self.pid} on {self.host} ({self.address})"


def here() -> Place:
    """The place of the calling process."""
    context = ray.get_runtime_context()
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return Place(host=socket.gethostname(), address=address, pid=os.getpid(), actor_id=context.get_actor_id() or "driver")


def settle(folder: str) -> None:
    """Make this process like the driver: in its working folder where that exists, and with one thread for tensors.

    The folder comes last on sys.path, where it serves a person's own family and can hide none of our packages.
    """
    torch.set_num_threads(1)
    if os.path.isdir(folder):
        os.chdir(folder)
        if folder not in sys.path:
            sys.path.append(folder)


class RolloutWorker:
    """A process that acts.

    It is up in no time, and `build` makes its environments: so a worker that waits for a node is told from one that hangs.
    """

    def __init__(self, config: RunConfig, run_name: str, actor: int, folder: str) -> None:
        self._config, self._run_name, self._actor, self._folder = config, run_name, actor, folder

    def __repr__(self) -> str:
        return f"{type(self).__name__}(actor={self._actor})"

    def place(self) -> Place:
        """Answer at once, with where this is."""
        return here()

    def build(self) -> None:
        """Make the environments and the policy."""
        settle(self._folder)
        config = self._config
        spec = RolloutSpec(
            num_envs=config.rollout.envs_per_actor,
            unroll_length=config.rollout.unroll_length,
            env_threads=config.rollout.env_threads,
            run_seed=config.seed,
            anchored=config.deterministic,
            conditioning=config.conditioning,
        )
        self._rollout = RolloutActor(resolve(config.family), config.network, spec, self._actor)
        self._metrics = RolloutMetrics(self._run_name)

    @ray.method(num_returns=2)
    def unroll(self, request: UnrollRequest, snapshot: Snapshot) -> tuple[UnrollReport, Trajectory]:
        """Act for one unroll; report and trajectory are two objects to Ray."""
        report, trajectory = self._rollout.unroll(request, snapshot)
        self._metrics.unrolled(report)
        return report, trajectory


class LearnerWorker:
    """The process that learns."""

    def __init__(self, config: RunConfig, run_name: str, folder: str) -> None:
        self._config, self._run_name, self._folder = config, run_name, folder

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._run_name})"

    def place(self) -> Place:
        """Answer, with where this is; calls are worked off in order, so this says also that all before it are done."""
        return here()

    @ray.method(num_returns=2)
    def build(self, state: dict[str, Any] | None) -> tuple[int, Snapshot]:
        """Make the learner, from a checkpointed state if one is given; return its version and its weights."""
        settle(self._folder)
        self._host = LearnerHost(self._config, first_env_spec(self._config))
        if state is not None:
            self._host.restore(state)
        self._metrics = LearnerMetrics(self._run_name)
        snapshot = self._host.snapshot()
        return snapshot.version, snapshot

    @ray.method(num_returns=2)
    def learn(self, *trajectories: Trajectory) -> tuple[LearnReport, Snapshot]:
        """Make the updates that these trajectories hold; report and weights are two objects to Ray."""
        report, snapshot = self._host.learn(trajectories)
        self._metrics.learned(report)
        return report, snapshot

    def state(self) -> dict[str, Any]:
        """The learner's whole state, after all calls before this one."""
        return self._host.state()


RemoteRolloutWorker = ray.remote(RolloutWorker)
RemoteLearnerWorker = ray.remote(LearnerWorker)

"""The processes of a run on Ray: the same collectors and learner as on one machine, wrapped for remote calls.

Plain classes, made remote at the end of the file, so that they are typed and tests need no cluster. A call's large result (a trajectory,
a snapshot) is returned beside its small report as an object of its own: the driver reads the report and passes the reference of the other
on. Arrays go into shared memory (pickle protocol 5, out of band), and are read without a copy.

A process starts at once, and `build` makes its collector or learner: so a worker that waits for a node differs from one that hangs.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch

from actors.messages import Report, Work
from cluster.backends.base import LearnCall, LearnReport, MakeCollector
from cluster.backends.learner import LearnerHost
from cluster.backends.ray.metrics import Metrics
from learners.trajectory import Snapshot


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process of the run is.

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
    """Set up this process like the driver: its working folder, where that exists, and one thread for torch.

    The folder comes last on sys.path, so that a family of the user is found and none of our packages is hidden.
    """
    torch.set_num_threads(1)
    if os.path.isdir(folder):
        os.chdir(folder)
        if folder not in sys.path:
            sys.path.append(folder)


class CollectorWorker:
    """A process that collects."""

    def __init__(self, make: MakeCollector, run_name: str, index: int, folder: str) -> None:
        self._make, self._run_name, self._index, self._folder = make, run_name, index, folder
        self._weights_ref: Any = None
        self._weights: Snapshot | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(actor={self._index})"

    def place(self) -> Place:
        """Return its place at once."""
        return here()

    def build(self) -> None:
        """Make the collector."""
        settle(self._folder)
        self._collector = self._make(self._index)
        self._metrics = Metrics(self._run_name, "actor")

    @ray.method(num_returns=2)
    def collect(self, work: Work, weights: list[Any]) -> tuple[Report, Any]:
        """Do a unit of work; report and payload are two objects to Ray.

        Args:
            work: which.
            weights: a reference to them, in a list so that Ray does not fetch them for every unit: they are fetched when they are new.
        """
        ref = weights[0]
        if ref != self._weights_ref:
            self._weights_ref, self._weights = ref, ray.get(ref)
        assert self._weights is not None
        report, payload = self._collector.collect(work, self._weights)
        self._metrics.collected(report)
        return report, payload


class LearnerWorker:
    """The process that learns."""

    def __init__(self, make: Callable[[], LearnerHost], run_name: str, folder: str) -> None:
        self._make, self._run_name, self._folder = make, run_name, folder

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._run_name})"

    def place(self) -> Place:
        """Return its place; calls run in order, so those before it are complete."""
        return here()

    @ray.method(num_returns=2)
    def build(self, state: dict[str, Any] | None) -> tuple[LearnReport, Snapshot]:
        """Make the learner, from a checkpointed state if one is given; return its version and its weights."""
        settle(self._folder)
        self._host = self._make()
        self._metrics = Metrics(self._run_name, "learner")
        return self._host.build(state)

    @ray.method(num_returns=2)
    def learn(self, call: LearnCall, *experience: Any) -> tuple[LearnReport, Snapshot]:
        """Update on this experience; report and weights are two objects to Ray."""
        report, snapshot = self._host.learn(call, experience)
        self._metrics.learned(report)
        return report, snapshot

    def state(self) -> dict[str, Any]:
        """The learner's whole state, after all calls before this one."""
        return self._host.state()


RemoteCollectorWorker = ray.remote(CollectorWorker)
RemoteLearnerWorker = ray.remote(LearnerWorker)


def copied(snapshot: Snapshot) -> Snapshot:
    """A snapshot with copied arrays: those of the object store end with the session."""
    return Snapshot(version=snapshot.version, arrays={name: np.array(array) for name, array in snapshot.arrays.items()})

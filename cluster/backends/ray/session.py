"""A connection to Ray: to a cluster started for this run, or to an existing one; closing it ends only what it started.

    no address            `ray.init(address="local")`: this machine, with a logical CPU for every requested actor, so that all of them run
    host:port or `auto`   that cluster; it stays when the run ends
    Ray initialised       (a program that calls metaray, or a test) used as it is, and not shut down

Ray is imported in here only, after its mode of authentication is settled (`cluster.backends.ray.auth`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.backends.ray import auth
from cluster.rooms import ROOMS
from cluster.run.preflight import check_ray, cluster_on_this_machine, ray_address
from envs.errors import InvalidInputError, described
from envs.registry import module_of

log = logging.getLogger("metaray")

ROOT = Path(__file__).resolve().parents[3]
"""The checkout or site-packages folder that holds the four rooms."""

_STORE_BYTES = (128 << 20, 16 << 30)
_SHM_SHARE = 0.6
"""Share of the free shared memory for objects: Ray warns and spills to disk when it is full."""


class RaySession:
    """An open connection.

    Args:
        address: cluster to attach to; None for RAY_ADDRESS, or a new one.
        insecure: without token authentication.
        num_cpus: logical CPUs of a new cluster; more than the machine has only means that processes share cores.
        store_bytes: shared memory of a new cluster for trajectories and weights.
        family: the task family; a module of the user's own is sent to the cluster.

    Attributes:
        address: of the cluster attached to, as typed; None for one of our own.

    Raises:
        InvalidInputError: the cluster cannot be reached, refuses the token, or runs another version.
    """

    def __init__(self, address: str | None, *, insecure: bool, num_cpus: int, store_bytes: int, family: str) -> None:
        self.address = None if _is_initialised() else ray_address(address)
        if self.address == "local":
            self.address = None
        self._opened = not _is_initialised()
        if not self._opened:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # only the first of a failed call's two results is read; Ray would print the error of the other
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
        os.environ.setdefault(
            "RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed"
        )  # the run says so itself, once and shorter
        if self.address is None:
            self._start(insecure, num_cpus, store_bytes)
        else:
            self._attach(self.address, insecure, family)

    def _start(self, insecure: bool, num_cpus: int, store_bytes: int) -> None:
        check_ray(None)
        auth.prepare_own_cluster(insecure=insecure)
        # Ray starts its workers at niceness 15: beside anything else on the machine they would starve first
        os.environ.setdefault("RAY_worker_niceness", "0")
        free = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else store_bytes
        lowest, highest = _STORE_BYTES
        store = max(lowest, min(store_bytes, highest, int(_SHM_SHARE * free)))
        options = {"address": "local", "num_cpus": num_cpus, "object_store_memory": store, "include_dashboard": False}
        try:
            _init(**options)
        except Exception as error:  # Ray gives its own processes 30 s, which a machine full of other work may not keep
            log.warning("Ray did not start (%s); once more", error)
            try:
                _init(**options)
            except Exception as again:
                raise InvalidInputError(f"Ray cannot start a cluster on this machine: {described(again)}") from again

    def _attach(self, address: str, insecure: bool, family: str) -> None:
        check_ray(address)
        auth.prepare_attaching(cluster_on_this_machine() if address == "auto" else address, insecure=insecure)
        try:
            _init(address=address, runtime_env=_what_travels(family) or None)
        except Exception as error:  # Ray raises RuntimeError, ConnectionError, ValueError and its own for one and the same
            reason = " ".join(str(error).split())
            raise InvalidInputError(
                f"cannot attach to the Ray cluster at {address}: {reason}{_what_to_do(reason, address, family)}"
            ) from error

    def close(self) -> None:
        """End the connection, and with it the cluster if this session started it."""
        if self._opened:
            import ray

            ray.shutdown()


def _is_initialised() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _init(**options: Any) -> None:
    import ray

    with _own_signal_handlers(), _rooms_in_front():
        ray.init(log_to_driver=False, logging_level=logging.WARNING, **options)


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Keep the handlers that stop a run with a checkpoint: `ray.init` puts one that exits at once in place of SIGTERM's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _rooms_in_front() -> Iterator[None]:
    """Start Ray with our own folder as the working folder of the driver.

    Ray puts that folder in front of sys.path in every worker, where a package `envs` of the user would hide ours. Workers change to the
    user's folder once they have imported our packages (`cluster.backends.ray.workers.settle`).
    """
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        yield
    finally:
        os.chdir(before)


def _what_travels(family: str) -> dict[str, Any]:
    """The runtime environment for a cluster whose nodes may not have this code: the rooms of a checkout, and a module of the user's own.

    An installed wheel is expected on the nodes as well (in their image); a submitted job has its working_dir there already.
    """
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    modules = [] if _is_installed(ROOT) else [str(ROOT / room) for room in ROOMS]
    module = module_of(family)
    if module:
        spec = importlib.util.find_spec(module.partition(".")[0])
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin)
            path = path.parent if spec.submodule_search_locations else path
            modules += [] if _is_installed(path) else [str(path)]
    return {"py_modules": modules} if modules else {}


def _what_to_do(reason: str, address: str, family: str) -> str:
    """A hint after a failure to attach; empty where the message of Ray is enough."""
    if "Version mismatch" in reason:
        return ""
    if "exceeds the maximum size" in reason:
        return (
            f" (the package of {family} is sent to the cluster whole: move its large files out of it, or install it on every node, where "
            "it is found without being sent)"
        )
    return f" (a driver has to run on a node of the cluster: `ray start --address={address}` makes this machine one)"


def _is_installed(path: Path) -> bool:
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    return any(path.resolve().is_relative_to(place) for place in places)

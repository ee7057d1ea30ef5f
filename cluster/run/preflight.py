"""What is checked before any process starts, cheapest first: Ray and its address, the family, and whether the network fits it."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from pathlib import Path

from envs.errors import InvalidInputError
from envs.registry import module_of, resolve

CONNECT_TIMEOUT_S = 3.0
"""A head in the same network answers in milliseconds; ray.init would try for a minute."""

RAY_SOCKET_BYTES = len("/session_2026-01-02_03-04-05_123456_1234567/sockets/plasma_store")
"""What Ray appends to its folder for the longest path of a socket."""
SOCKET_PATH_BYTES = 107
"""Of `sockaddr_un.sun_path` on Linux, less the zero at its end."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(?P<port>\d{1,5})")


def check_ray(address: str | None) -> None:
    """Make sure that Ray is installed and that a head listens at `address`, without importing Ray.

    Args:
        address: `host:port`, `auto` for the cluster on this machine, `local` or None for a new one.

    Raises:
        InvalidInputError: says what is wrong and what to type instead.
    """
    if importlib.util.find_spec("ray") is None:
        raise InvalidInputError("Ray is not installed: add --local to train in this process, or `pip install 'metaray[ray]'`")
    if address is None or address == "local":
        return _check_ray_folder()
    if address.startswith("ray://"):
        raise InvalidInputError(
            f"{address} is the address of Ray Client, which hands every object through a proxy: run metaray on a node of the cluster "
            "with --ray auto, or hand it in with `ray job submit --working-dir . -- metaray train ...`"
        )
    shown = address
    if address == "auto":
        address = cluster_on_this_machine()
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise InvalidInputError(f"Ray address {shown!r} is not one: expected host:port (such as 10.0.0.1:6379) or auto")
    host, port = match["host"].strip("[]"), int(match["port"])
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = "timed out" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        raise InvalidInputError(
            f"no Ray cluster answers at {shown} ({reason}): start one with `ray start --head`, or leave out --ray and RAY_ADDRESS"
        ) from None


def _check_ray_folder() -> None:
    """Make sure that the sockets of a cluster on this machine have paths that the system takes."""
    folder = _ray_folder()
    length, limit = len(os.fsencode(folder)) + RAY_SOCKET_BYTES, SOCKET_PATH_BYTES
    if length > limit:
        raise InvalidInputError(
            f"Ray cannot start below {folder.parent} (RAY_TMPDIR or TMPDIR): the paths of its sockets would have {length} bytes and the "
            f"system takes {limit}: set RAY_TMPDIR to a folder with a path of at most {limit - RAY_SOCKET_BYTES - len('/ray')} bytes, "
            "such as /tmp"
        )


def _ray_folder() -> Path:
    """Where Ray keeps its sessions: see `ray._common.utils.get_default_system_temp_dir`."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"


def ray_address(typed: str | None) -> str | None:
    """The address to attach to: that of `--ray`, else of RAY_ADDRESS; None to start a cluster for the run."""
    return typed or os.environ.get("RAY_ADDRESS") or None


def check_environment(name: str) -> None:
    """Make sure that an environment of a person's own, or one of Gymnasium's, works for a few steps; ours are known to.

    Raises:
        InvalidInputError: there is no such family, or its environment cannot be made, raises, or returns what its spaces do not allow.
    """
    from envs.contract import try_out

    family = resolve(name)
    if module_of(name) or name.startswith("gym:"):
        # of a batched environment more than one slot, since one may hide that it mixes them up; Gymnasium's are made one by one
        try_out(family, name, num_slots=1 if name.startswith("gym:") else 2)


def cluster_on_this_machine() -> str:
    """Address of the cluster that `ray start` began on this machine, which `auto` means; InvalidInputError when there is none."""
    try:
        return (_ray_folder() / "ray_current_cluster").read_text().strip()  # see ray._common.utils.get_ray_address_file
    except OSError:
        raise InvalidInputError(
            "Ray address 'auto': no Ray cluster runs on this machine; start one with `ray start --head`, or leave out --ray"
        ) from None

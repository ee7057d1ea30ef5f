"""What every test shares: checked shapes, one thread per process, and one Ray for all tests that need it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

# Before torch loads, here and in every process that a test starts: two pools of threads on shared cores slow each other down many times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
# Ray reads its mode once, when it is first imported; this is the mode that metaray itself chooses.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray starts workers at nice 15: beside other work the tests would starve
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # Ray's own 30 s are too few beside other work
os.environ.setdefault("MPLBACKEND", "agg")

# The shapes in the signatures of these rooms hold at every call that a test makes.
jaxtyping.install_import_hook(["learners.ops", "learners.networks"], "beartype.beartype")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference data beside a checkout, where there is one."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the reference data in {path}")
    return path


@pytest.fixture(scope="session")
def ray_local() -> Iterator[Any]:
    """Ray on this machine, on four logical CPUs, for all tests that take it; shut down by this process alone."""
    import ray  # after RAY_AUTH_MODE is set, and only in sessions that need it

    with pytest.MonkeyPatch.context() as environment:
        if "RAY_AUTH_TOKEN" not in os.environ:  # else Ray writes one to the home folder of whoever runs the tests
            environment.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init(
            address="local", num_cpus=4, num_gpus=0, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False
        )
    yield ray
    ray.shutdown()

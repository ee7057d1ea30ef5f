"""What attaching refuses, and which code is sent to the cluster: decided before any connection, and tested without one."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import pytest

from cluster.algorithms import find
from cluster.backends.ray import session
from cluster.backends.ray.session import ROOT, RaySession
from cluster.config import RolloutConfig, RunConfig
from envs.errors import InvalidInputError
from learners.networks.spaces import SpaceSpec


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Attach to a head that answers, with `ray.init` failing in the way that is given."""
    monkeypatch.setattr(session, "_is_initialised", lambda: False)
    monkeypatch.setattr(session, "check_ray", lambda address: None)
    monkeypatch.setattr(session.auth, "prepare_attaching", lambda address, insecure: None)

    def run(address: str, error: Exception) -> RaySession:
        def fail(**options: Any) -> None:
            raise error

        monkeypatch.setattr(session, "_init", fail)
        return RaySession(address, insecure=False, num_cpus=2, store_bytes=0, family="cartpole")

    return run


def test_another_version_of_ray_is_one_line(attach: Any) -> None:
    error = RuntimeError(
        "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.11.7\nThis process was ..."
    )
    with pytest.raises(
        InvalidInputError, match=r"at 10\.0\.0\.1:6379: Version mismatch: .* Ray: 2\.9\.0 Python: 3\.11\.7"
    ) as caught:
        attach("10.0.0.1:6379", error)
    assert "\n" not in str(caught.value)
    assert "ray start" not in str(caught.value)


def test_on_a_machine_outside_the_cluster_the_error_tells_how_to_join(attach: Any) -> None:
    with pytest.raises(
        InvalidInputError, match=r"Could not find any running Ray instance.*`ray start --address=10\.0\.0\.1:6379`"
    ):
        attach("10.0.0.1:6379", ConnectionError("Could not find any running Ray instance."))


def test_a_package_that_is_too_large_to_send_is_named_with_what_helps(attach: Any) -> None:
    cause = (
        "Package size (612.00MiB) exceeds the maximum size of 500.00MiB. To exclude large files, add them to '.gitignore' or ..."
    )
    with pytest.raises(InvalidInputError, match=r"Package size \(612.00MiB\) exceeds the maximum size of 500.00MiB") as caught:
        attach("10.0.0.1:6379", RuntimeError(f"Failed to upload module /home/me/mine to the Ray cluster: {cause}"))
    assert "move its large files out of it, or install it on every node" in str(caught.value)
    assert "ray start" not in str(caught.value)


def test_a_local_cluster_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(**options: Any) -> None:
        tried.append(options)
        raise RuntimeError("The current node timed out during startup.\nThis could happen because ...")

    monkeypatch.setattr(session, "_is_initialised", lambda: False)
    monkeypatch.setattr(session, "_init", fail)
    monkeypatch.setattr(session.auth, "prepare_own_cluster", lambda insecure: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(
        InvalidInputError, match="Ray cannot start a cluster on this machine: RuntimeError: The current node"
    ) as caught:
        RaySession(None, insecure=False, num_cpus=2, store_bytes=0, family="cartpole")
    assert len(tried) == 2
    assert "\n" not in str(caught.value)


def test_a_checkout_travels_and_a_wheel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = [str(ROOT / room) for room in ("cluster", "actors", "learners", "envs")]
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert session._what_travels("cartpole") == {"py_modules": rooms}
    assert session._what_travels("gym:CartPole-v1") == {"py_modules": rooms}
    monkeypatch.setattr(session, "ROOT", Path(sysconfig.get_path("purelib")))
    assert session._what_travels("cartpole") == {}


def test_a_family_of_a_persons_own_travels_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setattr(session, "ROOT", Path(sysconfig.get_path("purelib")))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_family.py").write_text("")
    (tmp_path / "my_package" / "inner").mkdir(parents=True)
    (tmp_path / "my_package" / "__init__.py").write_text("")
    assert session._what_travels("my_family:Mine") == {"py_modules": [str(tmp_path / "my_family.py")]}
    assert session._what_travels("my_package.inner:Mine") == {"py_modules": [str(tmp_path / "my_package")]}
    assert session._what_travels("json:Mine") == {}  # installed: expected on the nodes too
    assert session._what_travels("gym:my_family:Mine-v0") == {"py_modules": [str(tmp_path / "my_family.py")]}
    assert session._what_travels("gym:my_package.inner:Mine-v0") == {"py_modules": [str(tmp_path / "my_package")]}
    assert session._what_travels("gym:ale_py:ALE/Pong-v5") == {}


def test_a_submitted_job_has_its_code_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert session._what_travels("my_family:Mine") == {}


def test_the_store_is_large_enough_for_every_trajectory_that_may_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(num_actors=3, batch_unrolls=64, rollout=RolloutConfig(envs_per_actor=32, unroll_length=20))

    def store_bytes(spec: SpaceSpec) -> int:
        workload = find("impala").workload(config)
        monkeypatch.setattr(workload, "spaces", lambda: spec)
        return workload.store_bytes()

    one = 32 * 21 * (17 + 6 + 3) * 4
    assert store_bytes(SpaceSpec((17,), "float64", action_size=6)) > one * 3 * 3
    frames = store_bytes(SpaceSpec((4, 84, 84), "uint8", num_actions=6, frame_stack=4))
    assert frames > 32 * 24 * 84 * 84 * 9
    assert frames < 32 * 24 * 84 * 84 * 60  # frames travel one by one, not stacked
    states = store_bytes(SpaceSpec((), "int64", num_actions=6, index_sizes=(20_000,)))
    assert states < 32 * 21 * 100 * 60  # an index travels, and no vector of 20,000

"""Whole runs from a process of their own: on a cluster started for the run, and attached to one that asks for a token."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.config import RunConfig
from tests.cluster.run import running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
TOKEN = "f00d" * 16

RUN = """
    import hashlib, signal, sys, time
    from pathlib import Path
    from cluster.algorithms import find
    from cluster.config import RolloutConfig, RunConfig
    from cluster.backends.ray.backend import RayBackend
    from cluster.run.loop import Loop
    from cluster.run.observer import RunObserver
    from cluster.run.where import Where
    from cluster.store.run_directory import RunDirectory
    from envs.errors import InvalidInputError
    from learners.impala import ImpalaConfig
    from learners.networks.agent import NetworkConfig

    class Observer(RunObserver):
        stopped = False
        def on_status(self, status):
            print("steps", status.env_steps, flush=True)
        def stop_requested(self):
            return self.stopped

    def stop(number, frame):
        Observer.stopped = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    config = RunConfig(
        family="cartpole-physics", total_env_steps=int(sys.argv[2]), batch_unrolls=8, deterministic=True, lag=1, log_every_s=0.2,
        rollout=RolloutConfig(envs_per_actor=8, unroll_length=10),
        network=NetworkConfig(hidden_sizes=(16,), core="lstm", core_size=8, use_previous_action=True),
        learner=ImpalaConfig(learning_rate=1e-3), learner_device="cpu",
    )
    began = time.monotonic()
    try:
        where = Where(is_local=False, address=sys.argv[1] or None, run_name="apart")
        workload = find("impala").workload(config)
        with workload.opened(RunDirectory(path=Path()), None):
            result = Loop(workload, RayBackend(workload, where), Observer()).run()
    except InvalidInputError as error:
        print(f"refused: {error}")
        sys.exit(2)
    arrays = [array.tobytes() for _, array in sorted(result.parameters.items())]
    print(hashlib.sha256(b"".join(arrays)).hexdigest(), result.reason, result.lost_actors)
"""

CLUSTER = """
    import ray, sys
    ray.init(address="local", num_cpus=2, num_gpus=0, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a package of their own called `envs`."""
    folder = tmp_path_factory.mktemp("person")
    (folder / "envs").mkdir()
    (folder / "envs" / "__init__.py").write_text("raise ImportError('not the envs of metaray')\n")
    return folder


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "run.py"
    path.write_text(textwrap.dedent(RUN))
    return path


@pytest.fixture
def start(script: Path, folder: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def run(address: str = "", steps: int = 800, **environment: str) -> subprocess.Popen[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        process = subprocess.Popen(
            [sys.executable, script, address, str(steps)],
            cwd=folder,
            env=plain | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)} | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Ray cluster that asks for TOKEN."""
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    command = [sys.executable, "-c", textwrap.dedent(CLUSTER)]
    with subprocess.Popen(
        command, cwd="/", env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


@pytest.fixture(scope="module")
def want(config: RunConfig) -> str:
    """Digest of the parameters of the run in this process."""
    return running.digest(running.run(replace(config, total_env_steps=800)))


def last_line(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=240)
    assert out, err
    return out.splitlines()[-1]


def session_of(process: subprocess.Popen[str]) -> list[int]:
    """The living processes of a session that `start_new_session` began."""
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
            if os.getsid(pid) == process.pid and state != "Z":
                found.append(pid)
    return found


def await_end_of_session(process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 20
    while left := session_of(process):
        assert time.monotonic() < give_up, left
        time.sleep(0.2)


def test_a_run_starts_its_own_cluster_and_leaves_nothing_behind(
    start: Callable[..., subprocess.Popen[str]], want: str, tmp_path: Path
) -> None:
    process = start()
    assert last_line(process).split() == [want, "total", "steps", "0"]
    assert process.returncode == 0
    token = tmp_path / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    await_end_of_session(process)


@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_reaches_the_run_and_not_its_workers(start: Callable[..., subprocess.Popen[str]], to_all: bool) -> None:
    """A terminal sends SIGINT to every process in the foreground; a scheduler sends SIGTERM to the driver alone."""
    process = start(steps=10**9)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("steps") and int(line.split()[1]) > 0:
            break
    niceness = {os.getpriority(os.PRIO_PROCESS, pid) for pid in session_of(process)}
    assert niceness == {os.getpriority(os.PRIO_PROCESS, 0)}  # Ray's own choice for workers is 15
    if to_all:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    assert last_line(process).endswith("stopped by signal 0")
    assert process.returncode == 0
    await_end_of_session(process)


def test_attaching_with_the_token(
    start: Callable[..., subprocess.Popen[str]],
    cluster: str,
    want: str,
    tmp_path: Path,
) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN + "\n")
    process = start(cluster)
    assert last_line(process).split() == [want, "total", "steps", "0"]


@pytest.mark.parametrize(
    ("token", "says"), [("", "there is none here"), ("wrong", "does not accept the token of RAY_AUTH_TOKEN")]
)
def test_attaching_with_no_token_or_a_wrong_one_is_one_line(
    start: Callable[..., subprocess.Popen[str]], cluster: str, token: str, says: str
) -> None:
    process = start(cluster, **({"RAY_AUTH_TOKEN": token} if token else {}))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    (line,) = out.splitlines()
    assert line.startswith(f"refused: the Ray cluster at {cluster} ")
    assert says in line
    assert err == ""


def test_ray_address_is_attached_to(start: Callable[..., subprocess.Popen[str]], cluster: str) -> None:
    process = start(RAY_ADDRESS=cluster)
    assert last_line(process).startswith(f"refused: the Ray cluster at {cluster} asks for a token")

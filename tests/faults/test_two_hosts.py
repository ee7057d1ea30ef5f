"""A run over two machines, one of which is lost and comes back: simulated hosts with networks, processes and memory of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.store.metrics import read_metrics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HEAD, OTHER = "10.77.0.1", "10.77.0.2"


class Hosts:
    """Two simulated hosts and the Ray nodes on them."""

    def __init__(self, tool: Path, home: Path) -> None:
        self._tool = str(tool)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._environment = plain | {
            "HOME": str(home),
            "SIMHOSTS_STATE": str(home / "hosts"),
            "RAY_AUTH_TOKEN": "f00d" * 16,
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            # a lost machine is missed after some 8 s; Ray's own choice is half a minute
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "5",
        }

    def do(self, *arguments: str) -> None:
        """Run the tool."""
        subprocess.run([self._tool, *arguments], env=self._environment, check=True, timeout=120, capture_output=True)

    def start_ray(self, host: int, *options: str) -> None:
        """Make `host` a node."""
        address = HEAD if host == 0 else OTHER
        # Ray notes in /tmp/ray what runs on a machine
        line = 'mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray; exec "$@"'
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--node-ip-address={address}"]
        self.do("on", str(host), "bash", "-c", line, "bash", *ray, "--object-store-memory=100000000", *options)

    def train(self, *options: str) -> subprocess.Popen[str]:
        """Start a run on the first host."""
        command = [self._tool, "on", "0", sys.executable, "-m", "cluster.main", "train", "impala", "--preset", "cartpole"]
        return subprocess.Popen(
            [*command, "--ray", f"{HEAD}:6379", *options],
            cwd=ROOT,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture
def hosts(shared_dir: Path, tmp_path: Path) -> Iterator[Hosts]:
    tool = shared_dir / "tools" / "simhosts.sh"
    if os.geteuid() != 0 or not tool.is_file() or not all(map(shutil.which, ("ip", "nsenter", "unshare"))):
        pytest.skip(f"needs root, {tool}, ip of iproute2, nsenter and unshare of util-linux")
    if "simswitch" in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("needs the simulated hosts for itself, and they are up already")
    hosts = Hosts(tool, tmp_path)
    try:
        hosts.do("up", "2")
        hosts.start_ray(0, "--head", "--port=6379", "--num-cpus=3", "--include-dashboard=false")
        hosts.start_ray(1, f"--address={HEAD}:6379", "--num-cpus=2")
        yield hosts
    finally:
        hosts.do("down")


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.2)


def test_a_machine_is_lost_and_comes_back_while_the_run_continues(hosts: Hosts, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--actors", "3", "--steps", "1e9", "--out", str(run), "--set", "stop_return=null", "log_every_s=0.2")
    process = hosts.train(*options)

    def ups(address: str) -> list[str]:
        return re.findall(rf"actor \d \(.*\({address}\)\) is up", (run / "log.txt").read_text())

    def steps() -> int:
        records = read_metrics(run / "metrics.jsonl")
        return int(records[-1]["env_steps"]) if records else 0

    try:
        wait_for(lambda: steps() > 0 and len(ups(HEAD)) + len(ups(OTHER)) == 3, process, 90)
        assert ups(HEAD)
        before = len(ups(OTHER))
        assert before
        hosts.do("crash", "1")
        wait_for(lambda: f"({OTHER})) died" in (run / "log.txt").read_text(), process, 60)
        at_loss = steps()
        wait_for(lambda: steps() > at_loss + 10_000, process, 60)
        hosts.do("boot", "1")
        hosts.start_ray(1, f"--address={HEAD}:6379", "--num-cpus=2")
        wait_for(lambda: len(ups(OTHER)) > before, process, 90)
        back = steps()
        wait_for(lambda: steps() > back + 10_000, process, 60)
        driver = int(re.findall(r"process (\d+) on", (run / "lock").read_text())[0])
        hosts.do("on", "0", "kill", f"-{signal.SIGINT.value}", str(driver))
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, out
    summary = json.loads((run / "summary.json").read_text())
    assert summary["reason"] == "stopped by signal"
    assert summary["lost_actors"] >= before
    assert (run / "log.txt").read_text().count(f"({OTHER})) died") == before
    assert "Traceback" not in out

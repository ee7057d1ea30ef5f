"""Actors that wait for a node are used when it joins, and those of a lost node are replaced: phi is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys
from pathlib import Path
os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0", RAY_AUTH_TOKEN="0" * 64)
import ray
from ray.cluster_utils import Cluster
from cluster.run.replay import phi_sha256
from tests.cluster.epg.evolving import Watcher, evolve, on_ray, sized
from tests.cluster.epg.sleeping import Sleeping

folder = Path(sys.argv[1])
want = phi_sha256(evolve(folder / "calm", sized(num_epochs=40)).parameters["phi"])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80_000_000})
ray.init(address=cluster.address, log_to_driver=False)
nodes = []
alive = []

class Nodes(Watcher):
    def on_status(self, status):
        super().on_status(status)
        alive.append(status.actors_alive)
        if status.rounds >= 2 and not nodes:
            nodes.append(cluster.add_node(num_cpus=2, object_store_memory=80_000_000))
        if len(nodes) == 1 and status.actors_alive == 3:
            nodes.append(None)
            cluster.remove_node(nodes[0], allow_graceful=False)

config = sized(num_actors=3, num_epochs=40)
watcher = Nodes()
result = evolve(folder / "run", config, backend=on_ray(config, Sleeping(sleep_s=0.1), "nodes"), observer=watcher)
assert phi_sha256(result.parameters["phi"]) == want, "phi differs"
assert max(alive) == 3 and alive[0] == 1, alive
assert result.lost_actors >= 1, watcher.events
print("as it should be", result.lost_actors)
ray.shutdown()
cluster.shutdown()
"""


def test_a_node_comes_and_goes(tmp_path: Path) -> None:
    """In a process of its own: the session's cluster has one node."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as it should be" in done.stdout  # Ray has words of its own there

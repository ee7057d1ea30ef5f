"""`ray job submit --working-dir . -- metaray train ...`, from the head's start to the summary, in namespaces where no other Ray is seen."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]

APART = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--mount", "bash", "-euc"]
"""Ray finds clusters by looking through all processes and /tmp, so a network of its own is not enough."""

SCRIPT = """
    mkdir -p /tmp/ray
    mount -t tmpfs tmpfs /tmp/ray
    ip link set lo up
    ray start --head --num-cpus=4 --object-store-memory=100000000 >&2
    train="metaray train impala --preset cartpole --actors 1 --set log_every_s=0.1"
    ray job submit --submission-id long --no-wait --working-dir . -- $train stop_return=null --steps 1e9 --out "$OUT/long"
    ray job submit --working-dir . -- $train --steps 2e4 --out "$OUT/done"
    until [ -s "$OUT/long/metrics.jsonl" ]; do sleep 0.2; done
    ray job stop long
    ray job logs long
"""


@pytest.fixture
def apart() -> list[str]:
    if shutil.which("ip") is None or subprocess.run([*APART, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to make namespaces (root), unshare of util-linux and ip of iproute2")
    return APART


def test_a_submitted_job_trains_and_stops_with_a_checkpoint(apart: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = plain | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "OUT": str(tmp_path),
        "NO_COLOR": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "f00d" * 16,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    process = subprocess.Popen(
        [*apart, textwrap.dedent(SCRIPT)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, out + err
    done, long = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("done", "long"))
    assert (done["finished"], done["reason"]) == (True, "total steps")
    assert done["env_steps"] >= 20_000
    assert (long["finished"], long["reason"]) == (False, "stopped by signal")
    assert list((tmp_path / "long" / "checkpoints").iterdir())
    assert "SIGTERM: saving a checkpoint and stopping" in out

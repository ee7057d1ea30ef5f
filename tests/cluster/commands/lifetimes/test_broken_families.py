"""Real lifetimes in environments that return NaN, or never end: what the commands say, leave and end with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.main import main

ROOT = Path(__file__).resolve().parents[4]
MODULE = "gym:tests.cluster.commands.lifetimes.broken"
SIZES = ["--workers", "16", "--vectors", "16", "--lives-per-chunk", "8", "--epochs", "2"]
SETTINGS = ["--set", "evaluate_every=2", "evaluation_lives=8", "evaluation_lives_per_chunk=8", "life.num_updates=4"]
RUN = ["train", "epg", "--preset", "point-goal", "--local", "--no-progress", *SIZES, *SETTINGS]


def trained(run: Path, name: str, *settings: str) -> int:
    return main([*RUN, *settings, "--family", f"{MODULE}:{name}", "--out", str(run)])


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, which hears SIGINT however the tests were started."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.main", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_lifetimes_with_nan_are_named_and_left_out_of_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert trained(run, "SometimesNan-v0") == 0
    assert f"lifetimes in {MODULE}:SometimesNan-v0 are not finite (observation: li" in capsys.readouterr().out
    summary = json.loads((run / "summary.json").read_text())
    assert 0 < summary["counts"]["lives/not_finite"] < summary["counts"]["lives"] / 2
    assert summary["figures"]["fitness/mean"] < 0 and summary["figures"]["evaluation/best"] < 0
    assert main(["journal", str(run), "--verify"]) == 0
    capsys.readouterr()
    assert main(["adapt", str(run), "--seeds", "16", "--no-progress", "--baseline", "none"]) == 0
    captured = capsys.readouterr()
    found = json.loads((run / "adaptation-test-s0-seeds-16-baseline-none.json").read_text())
    (group,), lifetimes = found["groups"], found["lives"]
    bad = [lifetime["life"] for lifetime in lifetimes if lifetime["fitness"] is None]
    assert len(bad) == group["num_not_finite"] and 0 < len(bad) < 8
    assert all(lifetime["not_finite"] == ("observation" if lifetime["life"] in bad else None) for lifetime in lifetimes)
    finite = [lifetime["fitness"] for lifetime in lifetimes if lifetime["fitness"] is not None]
    assert group["fitness"]["value"] == pytest.approx(sum(finite) / len(finite))
    assert f"{len(finite)} of 16" in captured.out
    assert captured.err.startswith(
        f"metaray: learned loss, held-out tasks: {len(bad)} of 16 lifetimes are not finite (observation: li"
    )


def test_where_most_lifetimes_have_nan_training_and_adaptation_fail_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert trained(run, "OftenNan-v0") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("metaray: the run failed: NotFiniteError: epoch 1: ")
    assert trained(tmp_path / "well", "SometimesNan-v0") == 0
    capsys.readouterr()
    options = ["--seeds", "8", "--no-progress", "--baseline", "none", "--family", f"{MODULE}:OftenNan-v0"]
    assert main(["adapt", str(tmp_path / "well"), *options]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("metaray: the adaptation failed: learned loss, held-out tasks: ")


def test_episodes_without_an_end_are_cut_with_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert trained(run, "Endless-v0", "life.max_episode_steps=40") == 0
    out = capsys.readouterr().out
    assert "epoch 1: 32 episodes of the fitness had not ended at life.max_episode_steps = 40: the return so far counts" in out
    assert out.count("had not ended") == 1
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["counts"]["episodes/cut"], summary["env_steps"]) == (2 * 2 * 16 + 2 * 8, (2 * 16 + 8) * (4 * 16 + 2 * 40))
    assert main(["adapt", str(run), "--seeds", "4", "--no-progress", "--baseline", "none"]) == 0
    err = capsys.readouterr().err
    assert err == "metaray: 8 episodes of the fitness had not ended at life.max_episode_steps = 40: the return so far counts\n"


@pytest.mark.parametrize(
    ("number", "actors", "code"), [(signal.SIGINT, "1", 130), (signal.SIGTERM, "1", 143), (signal.SIGTERM, "2", 143)]
)
def test_one_signal_ends_training_in_the_middle_of_an_episode_without_an_end(
    tmp_path: Path, number: signal.Signals, actors: str, code: int
) -> None:
    run = tmp_path / "run"
    options = ["--family", f"{MODULE}:Endless-v0", "--actors", actors, "--out", str(run)]
    arguments = [*RUN[: -len(SETTINGS)], *options, *SETTINGS, "life.max_episode_steps=1000000000"]
    with started(*arguments, cwd=tmp_path) as process:
        wait_for(lambda: (run / "observed.json").exists())
        time.sleep(2.0)
        try:
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, err) == (code, "")
    assert "stopped with all that was collected" in out
    assert (run / "journal.jsonl").exists()


def test_sigterm_ends_an_adaptation_and_its_processes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert trained(run, "Endless-v0", "life.max_episode_steps=4") == 0
    options = ["--seeds", "4", "--actors", "2", "--no-progress", "--baseline", "none"]
    with started(
        "adapt", str(run), *options, "--set", "lives_per_chunk=2", "life.max_episode_steps=1000000000", cwd=tmp_path
    ) as process:
        wait_for(lambda: len(children_of(process)) == 3)
        time.sleep(5.0)
        children = children_of(process)
        try:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
            wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
        finally:
            process.kill()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
    assert (process.returncode, out, err) == (143, "", "")

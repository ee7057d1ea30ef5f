"""A longer run of a central learner: what its learning rate is annealed over, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.main import main
from cluster.run.unrolls import extend, schedule_line
from cluster.store.metrics import read_metrics
from cluster.store.run_directory import RunDirectory
from learners.actor_critic import learning_rate

ANNEALED = RunConfig(total_env_steps=1000)
KEPT = replace(ANNEALED, learner=replace(ANNEALED.learner, anneal=False))


def extended(folder: Path, config: RunConfig, steps: str, summary: Mapping[str, Any] | None = None) -> RunConfig:
    folder.mkdir(exist_ok=True)
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return extend(RunDirectory(path=folder), config, {"steps": steps})


@pytest.mark.parametrize(
    "summary", [None, {"finished": True, "reason": "total steps", "env_steps": 1000}], ids=["stopped", "finished"]
)
def test_more_steps_leave_the_learning_rate_where_it_was_laid(tmp_path: Path, summary: Mapping[str, Any] | None) -> None:
    once = extended(tmp_path, ANNEALED, "3000", summary)
    twice = extended(tmp_path, once, "9000")
    for config in (once, twice):
        assert config.scheduled_env_steps == 1000
        for taken in (0, 250, 999, 1000, 2000):
            was, now = (learning_rate(one.learner, taken, one.scheduled_env_steps) for one in (ANNEALED, config))
            assert was == now
    assert extended(tmp_path, ANNEALED, "800").scheduled_env_steps == 1000
    assert extended(tmp_path, ANNEALED, "1000") == ANNEALED
    anew = replace(twice, schedule_env_steps=None)  # as a person may write it into config.json
    assert (anew.scheduled_env_steps, extended(tmp_path, anew, "9000").schedule_env_steps) == (9000, None)


def test_what_becomes_of_the_learning_rate_is_one_line_where_it_is_no_matter_of_course() -> None:
    longer = replace(ANNEALED, total_env_steps=3000, schedule_env_steps=1000)
    assert schedule_line(longer, 250) == (
        "the learning rate is annealed over 1,000 steps (schedule_env_steps in config.json) and the run has 3,000: 0.00045 now, 0 at the "
        "end, so nothing is learned from 1,000 steps on; schedule_env_steps = null anneals it over all steps, learner.anneal = false "
        "keeps its first value"
    )
    assert "0 now, 0 at the end, so nothing is learned from 1,200 steps on" in str(schedule_line(longer, 1200))
    shorter = replace(ANNEALED, total_env_steps=500, schedule_env_steps=1000)
    assert str(schedule_line(shorter, 0)).endswith("and the run has 500: 0.0006 now, 0.0003 at the end")
    for silent in (ANNEALED, KEPT, replace(KEPT, schedule_env_steps=50), replace(ANNEALED, schedule_env_steps=1000)):
        assert schedule_line(silent, 100) is None


def test_a_finished_run_that_is_trained_for_longer_says_that_it_learns_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    small = [
        "train",
        "impala",
        "--preset",
        "cartpole",
        "--local",
        "--no-progress",
        "--set",
        "learner.anneal=true",
        "stop_return=none",
    ]
    assert main([*small, "log_every_s=0.05", "--steps", "4000", "--out", str(run)]) == 0
    assert "annealed over" not in capsys.readouterr().out
    assert main(["resume", str(run), "--steps", "9000", "--no-progress"]) == 0
    assert (
        "annealed over 4,000 steps (schedule_env_steps in config.json) and the run has 9,000: 0 now, 0 at the end, so nothing is"
        in (capsys.readouterr().out)
    )
    assert (run / "log.txt").read_text().count("annealed over 4,000 steps") == 1
    rates = [one["learning_rate"] for one in read_metrics(run / "metrics.jsonl") if one.get("learning_rate") is not None]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0 == rates[-1]
    config = json.loads((run / "config.json").read_text())
    assert (config["total_env_steps"], config["schedule_env_steps"]) == (9000, 4000)

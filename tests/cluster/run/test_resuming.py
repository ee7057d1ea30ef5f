"""Resumed runs: which settings may change, and the learning rate of a longer one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.algorithms import config_of_run, find
from cluster.config import RunConfig
from cluster.main import main
from cluster.run.resuming import resumed
from cluster.store.metrics import read_metrics
from cluster.store.run_directory import RunDirectory
from envs.errors import InvalidInputError
from learners.actor_critic import learning_rate

ANNEALED = RunConfig(total_env_steps=1000)
KEPT = replace(ANNEALED, learner=replace(ANNEALED.learner, anneal=False))


def extended(folder: Path, config: RunConfig, steps: str, summary: Mapping[str, Any] | None = None) -> RunConfig:
    folder.mkdir(exist_ok=True)
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    changed, _ = resumed(find("impala").workload(config), RunDirectory(path=folder), {"total_env_steps": steps})
    assert isinstance(changed, RunConfig)
    return changed


def over(config: RunConfig) -> int:
    """The steps that its schedules are laid over."""
    return find("impala").workload(config).scheduled


def schedule_line(config: RunConfig, taken: int) -> str | None:
    return find("impala").workload(config).schedule_line(taken)


@pytest.mark.parametrize(
    "summary", [None, {"finished": True, "reason": "total steps", "env_steps": 1000}], ids=["stopped", "finished"]
)
def test_more_steps_leave_the_learning_rate_where_it_was_laid(tmp_path: Path, summary: Mapping[str, Any] | None) -> None:
    once = extended(tmp_path / "run", ANNEALED, "3000", summary)
    twice = extended(tmp_path / "run", once, "9000")
    for config in (once, twice):
        assert over(config) == 1000
        for taken in (0, 250, 999, 1000, 2000):
            was, now = (learning_rate(one.learner, taken, over(one)) for one in (ANNEALED, config))
            assert was == now
    assert over(extended(tmp_path / "shorter", ANNEALED, "800")) == 1000
    assert extended(tmp_path / "equal", ANNEALED, "1000") == ANNEALED
    anew = replace(twice, schedule_env_steps=None)  # as a person may write it into config.json
    assert (over(anew), extended(tmp_path / "anew", anew, "9000").schedule_env_steps) == (9000, None)


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


@pytest.fixture
def started(tmp_path: Path) -> RunDirectory:
    """A run that was started and is not finished."""
    directory = RunDirectory(path=tmp_path / "run")
    directory.begin(RunConfig(num_actors=2), {"local": True})
    return directory


def go_on(directory: RunDirectory, **changes: str) -> list[str]:
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return resumed(find("impala").workload(config_of_run(directory)), directory, changed)[1]


def edit(directory: RunDirectory, **settings: object) -> None:
    tree = json.loads(directory.config_file.read_text())
    directory.config_file.write_text(json.dumps(tree | settings))


def test_changed_settings_of_a_resumed_run_are_logged_with_both_values(started: RunDirectory) -> None:
    lines = go_on(started, learner__learning_rate="1e-4", log_every_s="5", num_actors="2", total_env_steps="2000000")
    assert sorted(lines) == [
        "learner.learning_rate: 0.0006 -> 0.0001",
        "log_every_s: 1.0 -> 5.0",
        "total_env_steps: 1000000 -> 2000000",
    ]
    config = config_of_run(started)
    assert (config.learner.learning_rate, config.log_every_s, config.schedule_env_steps) == (1e-4, 5.0, 1_000_000)
    assert go_on(started) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rollout.unroll_length": "40"}, "rollout.unroll_length = 40: it cannot change in a resumed run"),
        ({"network.hidden_sizes": "8"}, "network.hidden_sizes = 8: it cannot change in a resumed run"),
        ({"seed": "1"}, "seed = 1: it cannot change in a resumed run"),
        ({"learner.learning_rat": "1"}, "unknown key 'learner.learning_rat'; did you mean learner.learning_rate or"),
        ({"learner.learning_rate": "7"}, "learner.learning_rate = 7 is out of range"),
    ],
)
def test_what_may_not_change_is_refused_with_what_may(started: RunDirectory, changes: dict[str, str], line: str) -> None:
    before = started.config_file.read_text()
    with pytest.raises(InvalidInputError) as caught:
        resumed(find("impala").workload(config_of_run(started)), started, {"log_every_s": "5"} | changes)
    assert str(caught.value).startswith(line)
    assert "cannot" not in line or "(these can: max_train_seconds, keep_checkpoints" in str(caught.value)
    assert started.config_file.read_text() == before


def test_what_the_learner_tunes_and_what_a_round_is_may_not_change(tmp_path: Path) -> None:
    directory = RunDirectory(path=tmp_path)
    directory.begin(RunConfig(eta=("gamma",), deterministic=True), {})
    for name in ("learner.gamma", "num_actors", "lag"):
        with pytest.raises(InvalidInputError, match="cannot change"):
            resumed(find("impala").workload(config_of_run(directory)), directory, {name: "1"})
    assert go_on(directory, learner__lambda_="0.9") == ["learner.lambda_: 1.0 -> 0.9"]


def test_a_config_that_was_changed_by_hand_is_noticed(started: RunDirectory) -> None:
    edit(started, log_every_s=3.0)
    assert go_on(started) == ["config.json was changed by hand since the last start: log_every_s (1.0 -> 3.0)"]
    assert go_on(started) == []  # once
    edit(started, seed=7)
    with pytest.raises(InvalidInputError, match=r"config.json was changed by hand .*: seed \(0 -> 7\); seed cannot change"):
        go_on(started)
    edit(started, seed=0)
    launch = json.loads(started.launch_file.read_text())
    started.launch_file.write_text(json.dumps({name: value for name, value in launch.items() if name != "config"}))
    edit(started, seed=7)
    assert go_on(started) == []  # an older version kept no config of the last start


def test_the_change_is_in_the_log_and_more_actors_continue_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    small = ["train", "impala", "--preset", "cartpole", "--local", "--no-progress", "--set", "stop_return=none"]
    assert main([*small, "--steps", "2000", "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["resume", str(run), "--steps", "4000", "--set", "num_actors=2", "--no-progress"]) == 0
    assert "num_actors: 1 -> 2" in capsys.readouterr().out
    assert (run / "log.txt").read_text().count("num_actors: 1 -> 2") == 1

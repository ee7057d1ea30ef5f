"""Runs whose actors adapt: the same parameters with any number of actors, after failures and a resume, and what they refuse."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.messages import Report, Work
from cluster.algorithms import config_of, find
from cluster.backends.base import Handle
from cluster.backends.local import LocalBackend
from cluster.main import main
from cluster.overrides import apply
from cluster.run.loop import Loop
from cluster.run.observer import LoopResult, RunObserver
from cluster.store.metrics import read_metrics
from cluster.store.run_directory import RunDirectory
from envs.errors import EnvFaultError, InvalidInputError
from tests.cluster.run.running import digest

ROW = find("maml")
ROUND = 6 * 2 * 32 * 2  # tasks, environments of each, steps, unrolls
SMALL = {
    "num_actors": 1,
    "tasks_per_round": 6,
    "envs_per_task": 2,
    "rollout.envs_per_actor": 4,
    "network.hidden_sizes": (8,),
    "evaluation_tasks": 4,
    "total_env_steps": 4 * ROUND,
}


def config(**settings: Any) -> Any:
    """A small run of the preset."""
    return apply(config_of(ROW.presets["point-goal"], ROW), SMALL | settings)


class Local(LocalBackend):
    """Its actors are threads of this process; the unit that is named fails so many times."""

    def __init__(self, run: Any, failing: tuple[int, int] | None = None, times: int = 0) -> None:
        def make(actor: int) -> Any:
            collector = ROW.workload(run).collector()(actor)
            collect = collector.collect

            def failed(work: Work, weights: Any) -> Any:
                nonlocal times
                if (work.round, work.index) == failing and times:
                    times -= 1
                    raise EnvFaultError("step", "gave up", family="point-goal")
                return collect(work, weights)

            collector.collect = failed  # type: ignore[method-assign]
            return collector

        workload = ROW.workload(run)
        workload.in_threads, workload.collector = True, lambda: make  # type: ignore[method-assign]
        super().__init__(workload)
        self.asked: list[tuple[int, Work]] = []

    def submit(self, work: Work, actor: int, weights: Handle) -> None:
        self.asked.append((actor, work))
        super().submit(work, actor, weights)


class Keeping(RunObserver):
    """Keeps checkpoints, metrics and lines."""

    def __init__(self) -> None:
        self.checkpoints: list[dict[str, Any]] = []
        self.metrics: list[dict[str, float]] = []
        self.lines: list[str] = []

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        self.checkpoints.append(payload)

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        self.metrics.append(scalars)

    def on_event(self, line: str) -> None:
        self.lines.append(line)


def run(
    it: Any, backend: Local | None = None, observer: Keeping | None = None, checkpoint: Mapping[str, Any] | None = None
) -> LoopResult:
    payload, workload = None if checkpoint is None else dict(checkpoint), ROW.workload(it)
    with workload.opened(RunDirectory(path=Path()), payload):
        return Loop(workload, backend or Local(it), observer or Keeping(), payload).run()


@pytest.fixture(scope="module")
def alone() -> LoopResult:
    """What one actor makes of it."""
    return run(config())


def test_a_run_counts_rounds_steps_and_episodes(alone: LoopResult) -> None:
    assert (alone.rounds, alone.learner_updates, alone.env_steps, alone.reason) == (4, 4, 4 * ROUND, "total steps")
    assert alone.num_episodes == 4 * 6 * 2  # those after the inner step
    assert alone.max_lag == 0
    assert alone.mean_return is not None and alone.mean_return < 0


@pytest.mark.parametrize("num_actors", [2, 3])
def test_the_parameters_are_the_same_with_any_number_of_actors(alone: LoopResult, num_actors: int) -> None:
    backend = Local(config(num_actors=num_actors))
    result = run(config(num_actors=num_actors), backend)
    assert digest(result) == digest(alone)
    assert len({actor for actor, _ in backend.asked}) > 1
    assert all(work.actor is None for _, work in backend.asked)
    assert result.mean_return == alone.mean_return


def test_and_with_units_that_failed_twice(alone: LoopResult) -> None:
    observer = Keeping()
    assert digest(run(config(num_actors=2), Local(config(num_actors=2), failing=(2, 1), times=2), observer)) == digest(alone)
    assert sum("tasks 2 to 3 of round 2 failed: EnvFaultError" in line for line in observer.lines) == 2


def test_a_unit_that_fails_three_times_ends_the_run_with_its_learner_saved() -> None:
    observer = Keeping()
    with pytest.raises(EnvFaultError, match="gave up") as caught:
        run(config(), Local(config(), failing=(2, 1), times=3), observer)
    assert caught.value.__notes__ == ["tasks 2 to 3 of round 2 failed 3 times"]
    assert observer.checkpoints[-1]["first_round"] == 2


def test_and_after_a_resume_from_any_round(alone: LoopResult) -> None:
    for steps in (1, 3):
        observer = Keeping()
        run(config(total_env_steps=steps * ROUND), observer=observer)
        saved = observer.checkpoints[-1]
        assert saved["first_round"] == steps
        result = run(config(num_actors=2), checkpoint=saved)
        assert digest(result) == digest(alone)
        assert (result.rounds, result.env_steps, result.num_episodes) == (4, 4 * ROUND, alone.num_episodes)


def test_another_seed_makes_another_run(alone: LoopResult) -> None:
    assert digest(run(config(seed=1))) != digest(alone)


def test_evaluations_are_scored_and_change_nothing(alone: LoopResult) -> None:
    observer, it = Keeping(), config(evaluate_every=3, num_actors=2)
    backend = Local(it)
    result = run(it, backend, observer)
    assert digest(result) == digest(alone)
    assert (result.env_steps, result.counts) == (4 * ROUND, {"evaluation/env_steps": 2 * ROUND * 4 // 6})
    judged = sorted({(work.round, work.index) for _, work in backend.asked if work.part == "evaluate"})
    assert judged == [(3, 0), (3, 1), (4, 0), (4, 1)]  # every third round, and the last
    scores = [one.get("evaluation/score") for one in observer.metrics]
    assert scores[0] is scores[1] is None
    assert scores[2] == pytest.approx(observer.metrics[2]["evaluation/post_update"])
    assert result.figures["evaluation/best"] == max(scores[2:])


def test_there_is_a_line_of_metrics_for_each_round_with_the_returns_of_its_own_tasks() -> None:
    observer, it = Keeping(), config(num_actors=2)
    run(it, observer=observer)
    assert [one["round"] for one in observer.metrics[:4]] == [1, 2, 3, 4]
    for one in observer.metrics[:4]:
        assert -100 < one["return/post_update"] < 0 and one["return/post_update"] != one["return/pre_update"]
        assert {"gradient/norm", "gradient/inner", "policy/entropy", "learning_rate"} <= set(one)
    assert [shown.figure for shown in ROW.headline] == ["return/post_update", "return/pre_update"]


def test_a_config_travels_to_processes() -> None:
    it = config(seed=7)
    assert pickle.loads(pickle.dumps(it)) == it
    assert type(pickle.loads(pickle.dumps(it))) is type(it)
    pickle.dumps(ROW.workload(it).collector())


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"rollout.envs_per_actor": 5}, r"rollout.envs_per_actor = 5 must be a multiple of envs_per_task = 2: try 4"),
        ({"rollout.envs_per_actor": 1}, r"rollout.envs_per_actor = 1 must be a multiple of envs_per_task = 2: try 2"),
        ({"tasks_per_round": 7}, r"tasks_per_round = 7 must be a multiple of the 2 tasks of a unit of work .*: try 8"),
        ({"evaluation_tasks": 1, "evaluate_every": 1}, r"evaluation_tasks = 1 must be a multiple of the 2 .*: try 2"),
        ({"lag": 1}, r"lag = 1: an inner step is of the weights that its unrolls acted with: allowed is 0"),
        ({"network.core": "lstm"}, r"network.core = lstm: policies that adapt allow none only"),
        ({"family": "atari:pong"}, r"observations are uint8"),
    ],
)
def test_what_cannot_be_run_is_refused_before_it_begins(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidInputError, match=line):
        ROW.workload(config(**settings)).preflight(is_local=True)
    ROW.workload(config(evaluation_tasks=1)).preflight(is_local=True)  # of evaluations that never are


@pytest.mark.parametrize("name", ROW.presets)
def test_presets_are_possible(name: str) -> None:
    workload = ROW.workload(config_of(ROW.presets[name], ROW))
    workload.preflight(is_local=True)
    assert workload.store_bytes() > 0


def test_a_score_is_a_mean_over_units_and_none_without_an_episode() -> None:
    plan = ROW.workload(config())
    reports = [Report(env_steps=0, busy_s=0.0, figures={"evaluation/post_update": value}) for value in (-3.0, -5.0)]
    assert plan.score(reports) == -4.0
    assert np.isnan(plan.score([replace(reports[0], figures={})]))
    assert "tasks 2 to 3 of the evaluation after round 4" in plan.describe(Work(round=4, index=1, part="evaluate"))


def test_the_command_trains_resumes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With two processes, then one thread: the same parameters as in one go."""
    changed = [f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for key, value in SMALL.items()]
    train = ["train", "maml", "--preset", "point-goal", "--local", "--no-progress", "--set", *changed, "total_env_steps=1"]
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    assert main([*train, "num_actors=2", "--out", str(parts)]) == 0
    assert main(["resume", str(parts), "--steps", str(2 * ROUND), "--no-progress"]) == 0
    out = capsys.readouterr().out
    assert "adapted" in out and "mean return after the inner steps" in out
    assert main([*train, f"total_env_steps={2 * ROUND}", "--out", str(whole)]) == 0
    summaries = [json.loads((one / "summary.json").read_text()) for one in (parts, whole)]
    assert summaries[0]["parameters_sha256"] == summaries[1]["parameters_sha256"]
    assert summaries[0]["learner_updates"] == 2
    assert RunDirectory(path=parts).picture.exists()
    records = read_metrics(parts / "metrics.jsonl")
    assert [one["env_steps"] for one in records if "return/post_update" in one][:2] == [ROUND, 2 * ROUND]

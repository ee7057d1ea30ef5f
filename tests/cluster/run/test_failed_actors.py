"""An actor that fails ends the run, with the learner saved first: in its exact state, also in the middle of a round."""

from __future__ import annotations

import copy
import functools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.backends.base import LearnCall
from cluster.backends.learner import LearnerHost
from cluster.config import RolloutConfig, RunConfig
from cluster.run.observer import LoopResult, RunObserver
from cluster.store import checkpoint as checkpoints
from envs.errors import EnvFaultError, InvalidInputError
from learners.networks.agent import NetworkConfig
from tests.cluster.run.running import Failing, Local, digest, run

CONFIG = RunConfig(
    family="cartpole-physics",
    num_actors=3,
    total_env_steps=1200,
    batch_unrolls=4,
    deterministic=True,
    rollout=RolloutConfig(envs_per_actor=4, unroll_length=10),
    network=NetworkConfig(hidden_sizes=(8,), core="lstm", core_size=4, use_previous_action=True),
)

FAULT = EnvFaultError("step", "raised ValueError: boom", family="mine", slot=3, step=17)


class Keeper(RunObserver):
    """Keeps the newest checkpoint, written and read back, and what was said."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self.payload, self.events = folder, None, list[str]()

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        self.payload = copy.deepcopy(payload)
        if self._folder is not None:
            self.payload = checkpoints.read(checkpoints.save(self._folder, step, payload, keep=1)).payload

    def on_event(self, line: str) -> None:
        self.events.append(line)


@functools.cache
def undisturbed(lag: int) -> LoopResult:
    config = replace(CONFIG, lag=lag)
    return run(config)


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize(("actor", "round_"), [(0, 0), (2, 0), (0, 4), (1, 4)])
def test_a_deterministic_run_that_failed_anywhere_resumes_as_if_it_had_not(
    tmp_path: Path, lag: int, actor: int, round_: int
) -> None:
    config, want = replace(CONFIG, lag=lag), undisturbed(lag)
    keeper = Keeper(tmp_path)
    with pytest.raises(EnvFaultError) as caught:
        run(config, keeper, backend=Failing(config, actor, round_, FAULT))
    assert caught.value is FAULT
    assert keeper.payload is not None
    assert (keeper.payload["first_round"], keeper.payload["first_actor"]) == (round_, actor)
    got = run(config, checkpoint=keeper.payload)
    assert digest(got) == digest(want)
    assert (got.env_steps, got.num_episodes, got.mean_return) == (want.env_steps, want.num_episodes, want.mean_return)
    assert (got.mean_lag, got.learner_updates) == (want.mean_lag, want.learner_updates)


def test_a_free_run_saves_the_learner_once_its_calls_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    learn, versions = LearnerHost.learn, list[int]()

    def slowly(self: LearnerHost, call: LearnCall, experience: Any) -> Any:
        time.sleep(0.1)
        report, snapshot = learn(self, call, experience)
        versions.append(report.version)
        return report, snapshot

    config, keeper = replace(CONFIG, deterministic=False), Keeper()
    with monkeypatch.context() as patch:
        patch.setattr(LearnerHost, "learn", slowly)
        with pytest.raises(EnvFaultError, match="boom"):
            run(config, keeper, backend=Failing(config, 1, 3, FAULT))
    assert keeper.payload is not None
    assert keeper.payload["learner"]["version"] == versions[-1] > 0
    rest = run(config, checkpoint=keeper.payload)
    assert rest.learner_updates > versions[-1]


def test_a_learner_that_fails_as_well_is_not_reported_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: LearnerHost) -> Any:
        raise OSError("the disk is full")

    monkeypatch.setattr(LearnerHost, "state", fail)
    keeper = Keeper()
    with pytest.raises(EnvFaultError, match="boom"):
        run(CONFIG, keeper, backend=Failing(CONFIG, 1, 2, FAULT))
    assert len(keeper.events) == 1
    assert keeper.events[0].startswith("the learner could not be saved: OSError: the disk is full")


def test_an_environment_that_cannot_be_made_before_anything_was_learned_is_wrong_input_and_saves_nothing() -> None:
    keeper = Keeper()
    with pytest.raises(InvalidInputError, match="cannot be made"):
        run(CONFIG, keeper, backend=Failing(CONFIG, 0, 0, InvalidInputError("environment mine cannot be made")))
    assert keeper.payload is None


def test_a_fault_while_the_actors_are_made_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise EnvFaultError("reset", "returned None", family="mine", slot=0)

    monkeypatch.setattr(Local, "start", start)
    with pytest.raises(InvalidInputError, match="environment mine, slot 0: reset returned None"):
        run(CONFIG)

"""An actor that fails ends the run, with the learner saved first: exactly where it stands, also in the middle of a round."""

from __future__ import annotations

import copy
import functools
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster.backends.local_wiring import LocalWiring
from cluster.backends.wiring import ActorFailed, Event, Handle

from actors.messages import UnrollRequest
from cluster.config import RolloutConfig, RunConfig
from cluster.run.loop import Loop
from cluster.run.observer import LoopResult, SilentObserver
from cluster.store import checkpoint as checkpoints
from envs.errors import EnvFaultError, InvalidInputError
from learners.networks.agent import NetworkConfig

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


class Failing(LocalWiring):
    """An actor's unroll of a round fails, once everybody else has done what can be done without it."""

    def __init__(self, config: RunConfig, actor: int, round_: int, error: Exception = FAULT) -> None:
        super().__init__(config)
        self._at, self._error = (actor, round_), error

    def unroll(self, request: UnrollRequest, weights: Handle) -> None:
        if (request.actor, request.round) != self._at:
            super().unroll(request, weights)
            return

        def work() -> Event:
            time.sleep(0.3)
            return ActorFailed(error=self._error)

        self._inboxes[request.actor].put(work)


class Keeper(SilentObserver):
    """Keeps the newest checkpoint, written and read back, and what was said."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self.payload, self.events = folder, None, list[str]()

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        self.payload = copy.deepcopy(payload)
        if self._folder is not None:
            self.payload = checkpoints.read(checkpoints.save(self._folder, step, payload, keep=1)).payload

    def on_event(self, line: str) -> None:
        self.events.append(line)


def digest(result: LoopResult) -> str:
    return hashlib.sha256(b"".join(result.parameters[name].tobytes() for name in sorted(result.parameters))).hexdigest()


@functools.cache
def undisturbed(lag: int) -> LoopResult:
    config = replace(CONFIG, lag=lag)
    return Loop(config, LocalWiring(config), SilentObserver()).run()


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize(("actor", "round_"), [(0, 0), (2, 0), (0, 4), (1, 4)])
def test_a_deterministic_run_that_failed_anywhere_resumes_as_if_it_had_not(
    tmp_path: Path, lag: int, actor: int, round_: int
) -> None:
    config, want = replace(CONFIG, lag=lag), undisturbed(lag)
    keeper = Keeper(tmp_path)
    with pytest.raises(EnvFaultError) as caught:
        Loop(config, Failing(config, actor, round_), keeper).run()
    assert caught.value is FAULT
    assert keeper.payload is not None
    assert (keeper.payload["first_round"], keeper.payload["first_actor"]) == (round_, actor)
    got = Loop(config, LocalWiring(config), SilentObserver(), keeper.payload).run()
    assert digest(got) == digest(want)
    assert (got.env_steps, got.num_episodes, got.final_return) == (want.env_steps, want.num_episodes, want.final_return)
    assert (got.mean_lag, got.learner_updates) == (want.mean_lag, want.learner_updates)


def test_a_free_run_saves_the_learner_once_its_calls_are_over() -> None:
    class SlowLearner(Failing):
        def learn(self, trajectories: Sequence[Handle]) -> None:
            given = list(trajectories)

            def work() -> Event:
                time.sleep(0.1)
                return learn(given)

            learn = self._learned
            self._inboxes[-1].put(work)

        def _learned(self, trajectories: Any) -> Event:
            from cluster.backends.wiring import Learned

            report, snapshot = self._learner.learn(trajectories)
            self.version = report.version
            return Learned(report=report, weights=snapshot)

    config, keeper = replace(CONFIG, deterministic=False), Keeper()
    wiring = SlowLearner(config, 1, 3)
    with pytest.raises(EnvFaultError, match="boom"):
        Loop(config, wiring, keeper).run()
    assert keeper.payload is not None
    assert keeper.payload["learner"]["version"] == wiring.version > 0
    rest = Loop(config, LocalWiring(config), SilentObserver(), keeper.payload).run()
    assert rest.learner_updates > wiring.version


def test_a_learner_that_fails_as_well_is_not_said_to_be_the_cause() -> None:
    class BothFail(Failing):
        def learner_state(self) -> dict[str, Any]:
            raise OSError("the disk is full")

    keeper = Keeper()
    with pytest.raises(EnvFaultError, match="boom"):
        Loop(CONFIG, BothFail(CONFIG, 1, 2), keeper).run()
    assert len(keeper.events) == 1
    assert keeper.events[0].startswith("the learner could not be saved: OSError: the disk is full")


def test_an_environment_that_cannot_be_made_before_anything_was_learned_is_wrong_input_and_saves_nothing() -> None:
    keeper = Keeper()
    with pytest.raises(InvalidInputError, match="cannot be made"):
        Loop(CONFIG, Failing(CONFIG, 0, 0, InvalidInputError("environment mine cannot be made")), keeper).run()
    assert keeper.payload is None


def test_a_fault_while_the_actors_are_made_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise EnvFaultError("reset", "returned None", family="mine", slot=0)

    monkeypatch.setattr(LocalWiring, "start", start)
    with pytest.raises(InvalidInputError, match="environment mine, slot 0: reset returned None"):
        Loop(CONFIG, LocalWiring(CONFIG), SilentObserver()).run()

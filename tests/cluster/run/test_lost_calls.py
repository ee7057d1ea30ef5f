"""A learner call whose experience is lost: a stream continues without it, a synchronous run ends with one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from actors.messages import Report
from cluster.backends.base import CallLost, Collected, Event, Handle, LearnCall, Notice
from cluster.config import RolloutConfig, RunConfig
from cluster.run.observer import RunObserver
from cluster.run.schedule import Stream
from learners.algorithm import Progress
from learners.networks.agent import NetworkConfig
from tests.cluster.run.running import Local, run

CONFIG = RunConfig(
    family="cartpole",
    total_env_steps=800,
    batch_unrolls=8,
    rollout=RolloutConfig(envs_per_actor=8, unroll_length=10),
    network=NetworkConfig(hidden_sizes=(8,)),
)


class LosesTheThirdCall(Local):
    """As if a machine died with the trajectories of the third learner call."""

    calls = 0

    def start(self, learner_state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        started = super().start(learner_state)
        learn = self.learner.learn

        def learn_but_not_the_third(call: LearnCall, experience: Sequence[Handle]) -> None:
            self.calls += 1
            if self.calls != 3:
                learn(call, experience)

        self.learner.learn = learn_but_not_the_third  # type: ignore[method-assign]
        return started

    def wait(self, timeout_s: float) -> list[Event]:
        events = super().wait(timeout_s)
        if self.calls == 3:
            self.calls += 1
            events += [Notice(line="by the way"), CallLost(reason="the third call is lost")]
        return events


class Listener(RunObserver):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_event(self, line: str) -> None:
        self.events.append(line)


def test_a_stream_continues_and_counts_only_what_it_learned_from() -> None:
    listener = Listener()
    backend = LosesTheThirdCall(replace(CONFIG, lag=0))
    result = run(replace(CONFIG, lag=0), listener, backend=backend)
    assert sorted(listener.events) == ["by the way", "the third call is lost"]
    assert result.reason == "total steps"
    assert result.learner_updates == backend.calls - 2
    assert result.env_steps >= CONFIG.total_env_steps
    assert result.env_steps <= result.learner_updates * 80  # none of the lost call's
    assert result.dropped >= 1


def test_a_deterministic_run_ends_with_the_command_to_continue() -> None:
    config = replace(CONFIG, deterministic=True, lag=0)
    with pytest.raises(RuntimeError, match=r"actor 0 round 2 was lost .* `metaray resume`"):
        run(config, backend=LosesTheThirdCall(config))


def test_a_lost_call_makes_no_lag() -> None:
    """The next call's lag is counted from the updates that were really made."""
    schedule = Stream(
        num_actors=1,
        units_per_call=1,
        updates_per_call=4,
        lag=1,
        max_lag=100,
        version=0,
        weights="w0",
        progress=Progress(round=0, total=1, run_seed=0),
    )

    def collect() -> None:
        assignment = schedule.next_work([0])
        assert assignment is not None
        schedule.collected(Collected(work=assignment.work, report=Report(env_steps=1, busy_s=0.0)))

    collect()
    lost = schedule.next_call()
    assert lost is not None
    schedule.call_lost(lost)
    collect()
    call = schedule.next_call()
    assert call is not None
    assert call.lags == (0,)
    assert schedule.dropped == 1

"""A learner call whose trajectories are lost: a free run goes on without them, a deterministic one says that it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cluster.backends.local_wiring import LocalWiring
from cluster.backends.wiring import CallLost, Event, Handle, Notice

from actors.messages import UnrollReport
from cluster.config import RolloutConfig, RunConfig
from cluster.run.loop import Loop
from cluster.run.observer import SilentObserver
from cluster.run.schedule import FreeSchedule, Ready, Shape
from learners.networks.agent import NetworkConfig

CONFIG = RunConfig(
    family="cartpole",
    total_env_steps=800,
    batch_unrolls=8,
    rollout=RolloutConfig(envs_per_actor=8, unroll_length=10),
    network=NetworkConfig(hidden_sizes=(8,)),
)


class LosesTheThirdCall(LocalWiring):
    """As if a machine died with the trajectories of the third learner call."""

    calls = 0

    def learn(self, trajectories: Sequence[Handle]) -> None:
        self.calls += 1
        if self.calls != 3:
            super().learn(trajectories)
            return

        def work() -> Event:
            return CallLost(reason="the third call is lost")

        self._inboxes[-1].put(work)
        self._events.put(Notice(line="by the way"))


class Listener(SilentObserver):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_event(self, line: str) -> None:
        self.events.append(line)


def test_a_free_run_goes_on_and_counts_only_what_it_learned_from() -> None:
    listener = Listener()
    wiring = LosesTheThirdCall(CONFIG)
    result = Loop(CONFIG, wiring, listener).run()
    assert sorted(listener.events) == ["by the way", "the third call is lost"]
    assert result.reason == "total steps"
    assert result.learner_updates == wiring.calls - 1
    assert result.env_steps >= CONFIG.total_env_steps
    assert result.env_steps <= result.learner_updates * 80  # none of the lost call's
    assert result.dropped_trajectories >= 1


def test_a_deterministic_run_ends_with_the_way_to_go_on() -> None:
    config = replace(CONFIG, deterministic=True, lag=0)
    with pytest.raises(RuntimeError, match=r"actor 0 round 2 was lost .* `metaray resume`"):
        Loop(config, LosesTheThirdCall(config), SilentObserver()).run()


def test_a_lost_call_makes_no_lag() -> None:
    """The next call's lag is counted from the updates that were really made."""
    schedule = FreeSchedule(
        shape=Shape(num_actors=1, unrolls_per_call=1, updates_per_call=4), lag=1, max_lag=100, version=0, weights="w0"
    )

    def ready() -> Ready:
        report = UnrollReport(actor=0, round=0, policy_version=0, env_steps=1, episodes=(), busy_s=0.0, where="")
        return Ready(report=report, trajectory="t")

    schedule.unrolled(ready())
    lost = schedule.next_call()
    assert lost is not None
    schedule.call_lost(lost)
    schedule.unrolled(ready())
    call = schedule.next_call()
    assert call is not None
    assert call.lags == (0,)
    assert schedule.dropped == 1

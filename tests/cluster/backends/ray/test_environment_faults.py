"""An environment that fails in a process of Ray: the run ends with its line, the learner is saved, and there is no retry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from cluster.config import RunConfig
from cluster.run.observer import RunObserver
from envs.errors import EnvFaultError, InvalidInputError
from tests.cluster.run.running import on_ray, run

MODULE = """
import os
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

class Fails(gymnasium.Env):
    observation_space, action_space = Box(-1.0, 1.0, (2,), np.float32), Discrete(2)

    def __init__(self, first_bad_reset, first_bad_step):
        self._first_bad_reset, self._first_bad_step = first_bad_reset, first_bad_step
        self._num_resets = self._num_steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._num_resets += 1
        return (np.zeros(2, np.float32), {}) if self._num_resets < self._first_bad_reset else np.zeros(2, np.float32)

    def step(self, action):
        self._num_steps += 1
        if self._num_steps >= self._first_bad_step:
            with open(os.path.join(os.path.dirname(__file__), "failures"), "a") as file:
                file.write("x")
            raise OSError(5, "the simulator has gone", "sim.sock")
        return np.zeros(2, np.float32), 1.0, self._num_steps % 20 == 0, False, {}

gymnasium.register("Step-v0", entry_point=Fails, kwargs={"first_bad_reset": 10**9, "first_bad_step": 45})
gymnasium.register("Reset-v0", entry_point=Fails, kwargs={"first_bad_reset": 1, "first_bad_step": 10**9})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, where the processes of Ray find the module too."""
    (tmp_path / "ray_faults.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ray_faults", raising=False)
    yield tmp_path
    for name in ("Step", "Reset"):
        gymnasium.registry.pop(f"{name}-v0", None)


class Keeper(RunObserver):
    payload: dict[str, Any] | None = None

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        self.payload = payload

    def on_event(self, line: str) -> None:
        self.events.append(line)


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_a_step_that_raises_ends_the_run_with_the_learner_saved(
    ray_local: Any, config: RunConfig, folder: Path, is_deterministic: bool
) -> None:
    config = replace(config, family="gym:ray_faults:Step-v0", deterministic=is_deterministic)
    keeper = Keeper()
    with pytest.raises(EnvFaultError) as caught:
        run(config, keeper, backend=on_ray(config, f"fault-{is_deterministic}"))
    line = "environment gym:ray_faults:Step-v0, actor 0, slot 0, step 5: step raised OSError: [Errno 5] the simulator has gone"
    assert str(caught.value).startswith(line)
    assert "(ray_faults.py:" in str(caught.value)
    assert "the simulator has gone" in "".join(caught.value.__notes__)  # the far side's traceback, for the log
    assert keeper.payload is not None
    assert keeper.payload["learner"]["version"] > 0
    assert keeper.events == []  # no actor counts as lost
    assert (folder / "failures").read_text() == "x"


def test_a_first_reset_that_fails_over_there_is_wrong_input(ray_local: Any, config: RunConfig, folder: Path) -> None:
    config, keeper = replace(config, family="gym:ray_faults:Reset-v0"), Keeper()
    with pytest.raises(
        InvalidInputError, match=r"^environment gym:ray_faults:Reset-v0, actor 0, slot 0: reset returned an array"
    ):
        run(config, keeper, backend=on_ray(config, "fault-at-first"))
    assert keeper.payload is None

"""The commands with custom environments: what they refuse, and their messages when one fails or does not end."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from cluster.main import main
from cluster.store.checkpoint import saved
from learners.learned_loss.loss import LearnedLoss
from learners.learned_loss.network import LossShape

MODULE = """
import signal

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.classic.base import NumpyEnv
from envs.classic.family import NumpyFamily


class Walk(NumpyEnv):
    observation, action, max_steps = Box(-100.0, 100.0, (1,), np.float32), Discrete(2), 30

    def initial_state(self, slots, rng):
        return rng.uniform(-1, 1, (len(slots), 1))

    def advance(self, state, actions):
        return state + 0.1 * (2 * actions[:, None] - 1), self.reward(state), np.zeros(len(state), bool)

    def reward(self, state):
        return -np.abs(state[:, 0])

    def observe(self, state):
        return state.astype(np.float32)


class ColumnOfRewards(Walk):
    def reward(self, state):
        return -np.abs(state)


class LeavesTheDomain(Walk):
    def reward(self, state):
        return np.where(self._elapsed > 20, np.nan, 1.0)


class Raises(Walk):
    def observe(self, state):
        if self._elapsed.max() > 20:
            raise LookupError("off the map")
        return super().observe(state)


def family(kind):
    return lambda: NumpyFamily(name="walk", doc="walk on a line", env=kind)


walk, column, domain, off_map = (family(kind) for kind in (Walk, ColumnOfRewards, LeavesTheDomain, Raises))


class Endless(gymnasium.Env):
    observation_space, action_space = Box(-1.0, 1.0, (2,), np.float32), Discrete(2)
    is_broken = is_interrupted = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        if Endless.is_broken:
            raise RuntimeError("worn out")
        if Endless.is_interrupted:
            signal.raise_signal(signal.SIGINT)
        return np.zeros(2, np.float32), 1.0, False, False, {}


gymnasium.register("Endless-v0", entry_point=Endless)
"""

SMALL = ["train", "impala", "--preset", "cartpole", "--local", "--no-progress", "--out", "run"]
TINY = ["--set", "rollout.envs_per_actor=4", "rollout.unroll_length=10", "batch_unrolls=4", "network.hidden_sizes=4"]
TINY += ["stop_return=none", "total_env_steps=2000"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, with a module of environments."""
    (tmp_path / "own_walks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_walks", raising=False)
    monkeypatch.delitem(gymnasium.registry, "Endless-v0", raising=False)  # there is another one in `lives`
    yield tmp_path
    gymnasium.registry.pop("Endless-v0", None)


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("own_walks:column", "environment own_walks:column, step 1: step returned the rewards an array of shape (2, 1), float64"),
        ("gym:own_walks:Endles-v0", "unknown Gymnasium environment 'Endles-v0'; did you mean gym:own_walks:Endless-v0?"),
    ],
)
@pytest.mark.parametrize("command", ["train", "tasks", "adapt"])
def test_what_the_trial_finds_is_one_line_and_leaves_nothing(
    folder: Path, command: str, family: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = LossShape(obs_size=1, action_size=2, is_discrete=True, architecture="release", reward_input=True)
    LearnedLoss(shape, np.zeros(shape.num_parameters), {"family": "cartpole"}).save("loss.safetensors")
    before = sorted(folder.iterdir())
    commands = {"train": [*SMALL, "--family", family, *TINY], "tasks": ["tasks", family]}
    assert main(commands.get(command, ["adapt", "loss.safetensors", "--family", family])) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"metaray: {said}")
    assert error.count("\n") == 1
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("own_walks:domain", "environment walk, actor 0, slot "),
        ("own_walks:off_map", "environment walk, actor 0, step 21: step raised LookupError: off the map (own_walks.py:41)"),
    ],
)
def test_a_custom_family_that_fails_later_is_one_line_with_the_learner_saved(
    folder: Path, family: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--family", family, *TINY]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"metaray: {said}")
    assert error.endswith(f" (details in {Path('run') / 'log.txt'}); `metaray resume run` goes on from there\n")
    assert error.count("\n") == 1
    if family.endswith("domain"):
        assert re.search(r"slot 0, step 22: step returned the reward nan after action [01]; it must be a finite number", error)
    assert "Traceback" in (folder / "run" / "log.txt").read_text()
    assert len(saved(folder / "run" / "checkpoints")) == 1


def test_a_run_whose_environment_was_broken_meanwhile_is_not_resumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--family", "gym:own_walks:Endless-v0", *TINY]) == 0
    summary = (folder / "run" / "summary.json").read_text()
    sys.modules["own_walks"].Endless.is_broken = True
    capsys.readouterr()
    assert main(["resume", "run", "--steps", "4000", "--no-progress"]) == 2
    assert capsys.readouterr().err.startswith(
        "metaray: environment gym:own_walks:Endless-v0, slot 0, step 1: step raised RuntimeError: worn"
    )
    assert (folder / "run" / "summary.json").read_text() == summary
    assert main(["evaluate", "run", "--episodes", "2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "metaray: environment gym:own_walks:Endless-v0, slot 0, step 1: step raised RuntimeError: worn out (own_walks.py"
    )
    assert error.count("\n") == 1


def test_an_evaluation_of_what_does_not_end_is_cut_and_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--family", "gym:own_walks:Endless-v0", *TINY]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--episodes", "3", "--max-episode-steps", "50"]) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        "metaray: 3 of 3 episodes had not ended after 50 steps and count with their return so far; "
        "--max-episode-steps N sets another limit\n"
    )
    assert "50 steps each" in captured.out
    written = json.loads(next((folder / "run").glob("evaluation-test-*")).read_text())
    assert (written["num_cut"], written["max_episode_steps"], written["mean_return"]) == (3, 50, 50.0)
    assert [episode["cut"] for episode in written["episodes"]] == [True] * 3
    assert main(["evaluate", "run", "--max-episode-steps", "0"]) == 2
    assert "--max-episode-steps = 0 is out of range" in capsys.readouterr().err


def test_an_evaluation_whose_episodes_all_end_says_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--family", "own_walks:walk", *TINY]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--episodes", "3"]) == 0
    assert capsys.readouterr().err == ""
    written = json.loads(next((folder / "run").glob("evaluation-test-*")).read_text())
    assert (written["num_cut"], written["max_episode_steps"]) == (0, 30_000)
    assert not any("cut" in episode for episode in written["episodes"])


def test_an_evaluation_ends_cleanly_with_ctrl_c(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--family", "gym:own_walks:Endless-v0", *TINY]) == 0
    sys.modules["own_walks"].Endless.is_interrupted = True
    capsys.readouterr()
    assert main(["evaluate", "run", "--episodes", "3"]) == 130
    assert capsys.readouterr() == ("", "")
    assert not list((folder / "run").glob("evaluation-*"))

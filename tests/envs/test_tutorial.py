"""The code of the tutorial runs as printed."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from cluster.main import main
from envs.check import check_family
from envs.registry import resolve

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial_task_family.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def page_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's code, saved as the page says, in the folder that the user is in."""
    (tmp_path / "point_goal.py").write_text("\n\n".join(blocks("python")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "point_goal", raising=False)
    assert "--family point_goal:family" in PAGE.read_text()
    return "point_goal"


def test_the_family_is_found_and_its_slots_run_their_own_tasks(page_module: str) -> None:
    family = resolve(f"{page_module}:family")
    tasks = family.sample(3, np.random.default_rng(0))
    assert [parameter.name for parameter in family.parameters] == ["goal_x", "goal_y"]
    goals = np.array([[task.number("goal_x"), task.number("goal_y")] for task in tasks])
    env = family.make(tasks)
    obs, _ = env.reset(seed=0)
    np.testing.assert_allclose(obs, np.concatenate([np.zeros((3, 2)), goals], axis=1), atol=1e-6)
    _, reward, *_ = env.step(np.zeros(3, np.int64))  # all to the right
    want = 10 * (np.hypot(*goals.T) - np.hypot(*(goals - [0.1, 0.0]).T))
    np.testing.assert_allclose(reward, want)


def test_an_episode_ends_at_the_goal_or_at_the_limit(page_module: str) -> None:
    family = resolve(f"{page_module}:family")
    env = family.make(family.sample(2, np.random.default_rng(1)))
    obs, _ = env.reset(seed=0)
    ended = {0: "", 1: ""}
    for t in range(50):
        x, y = obs[0, 2:] - obs[0, :2]
        seek = (0 if x > 0 else 1) if abs(x) > abs(y) else (2 if y > 0 else 3)
        obs, _, terminated, truncated, _ = env.step(np.array([seek, t % 2]))  # the second slot goes to and fro
        for slot in (0, 1):
            ended[slot] = ended[slot] or ("terminated" if terminated[slot] else "truncated" if truncated[slot] else "")
    assert ended == {0: "terminated", 1: "truncated"}


def test_a_hidden_goal_is_not_seen(page_module: str) -> None:
    family = resolve(f"{page_module}:hidden")
    env = family.make(family.sample(3, np.random.default_rng(0)))
    assert env.reset(seed=0)[0].tolist() == [[0.0, 0.0]] * 3
    assert check_family(family, "point_goal:hidden", max_seconds=0.2).notes == ()


def hidden_command() -> list[str]:
    """The page's command on the hidden task."""
    (command,) = [text for text in blocks("console") if "point_goal:hidden" in text]
    return [word for word in shlex.split(command.replace("\\\n", " ")) if not word.startswith("max_train_seconds")][2:]


def test_the_command_on_the_hidden_task_runs(page_module: str) -> None:
    assert main([*hidden_command(), "total_env_steps=3000", "--no-progress", "--out", "run"]) == 0
    config = json.loads(Path("run/config.json").read_text())
    assert (config["network"]["core"], config["learner"]["reward_scale"], config["stop_return"]) == ("gru", 0.1, 475.0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("is_the_pages", "low", "high"), [(True, 4.0, 9.0), (False, -1.0, 1.0)])
def test_the_hidden_goal_is_found_with_a_memory_and_not_without(
    page_module: str, is_the_pages: bool, low: float, high: float
) -> None:
    command = hidden_command() if is_the_pages else hidden_command()[: hidden_command().index("--set") + 1]
    assert main([*command, "total_env_steps=250000", "--no-progress", "--out", "run"]) == 0
    assert low < json.loads(Path("run/summary.json").read_text())["final_return"] < high


def test_the_page_is_as_short_as_it_says() -> None:
    assert sum(bool(line.strip()) for line in blocks("python")[0].splitlines()) <= 32

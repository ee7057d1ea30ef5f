"""The tutorial's page runs as it is printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.registry import resolve

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial_task_family.md"


@pytest.fixture
def page_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's code, saved as the page says, in the folder that the user is in."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code) == 1
    (tmp_path / "point_goal.py").write_text(code[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "point_goal", raising=False)
    assert "--family point_goal:family" in PAGE.read_text()
    return "point_goal"


def test_the_family_is_found_and_its_slots_play_their_own_tasks(page_module: str) -> None:
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


def test_the_page_is_as_short_as_it_says() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 32

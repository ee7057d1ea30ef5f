"""Names: every registered one resolves, engines stay unloaded until asked for, and a wrong name is answered with the nearest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.errors import InvalidInputError
from envs.registry import family_names, listed_families, resolve

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [name for name in family_names() if ":" not in name or name.startswith("atari:b")])
def test_a_registered_name_resolves_to_a_family_that_samples(name: str) -> None:
    family = resolve(name)
    assert family.name == name
    assert family.doc and "\n" not in family.doc
    tasks = family.sample(3, np.random.default_rng(0), "test")
    assert len(tasks) == 3
    assert {task.family for task in tasks} == {name}
    assert [key for key, _ in tasks[0].params] == [parameter.name for parameter in family.parameters]
    assert tasks == family.sample(3, np.random.default_rng(0), "test")


def test_all_57_games_are_registered_and_listed_as_one() -> None:
    assert sum(name.startswith("atari:") and not name.endswith("-sticky") for name in family_names()) == 57
    listed = [family.name for family in listed_families()]
    assert listed.count("atari57") == 1
    assert not any(name.startswith("atari:") for name in listed)
    assert "atari:<game>" in resolve("atari57").doc


def test_engines_are_imported_only_when_asked_for() -> None:
    code = """
import sys
import envs.registry
loaded = lambda: sorted({"mujoco", "ale_py", "torch"} & set(sys.modules))
print(loaded())
envs.registry.resolve("cartpole"), envs.registry.resolve("atari:pong"), envs.registry.resolve("gym:CartPole-v1")
print(loaded())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cartpol", "did you mean cartpole"),
        ("hopper-dynamic", "did you mean hopper-dynamics"),
        ("pong", "did you mean atari:pong?"),
        ("atari-ms-pacman", "did you mean atari:ms_pacman?"),
        ("atari:pnog", "unknown Atari game 'pnog'; did you mean pong"),
        ("atari:pong-stick", "did you mean pong"),
        ("gym:CartPol-v1", "did you mean gym:CartPole-v1"),
        ("", "unknown task family ''"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        resolve(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)

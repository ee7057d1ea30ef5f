"""`gym:<id>`: a user's mistake is one line, and a suggestion is never an environment that cannot be made here."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from envs.errors import InvalidInputError
from envs.registry import module_of, resolve

MODULE = """
import gymnasium

class NoAssets(gymnasium.Env):
    def __init__(self):
        raise FileNotFoundError(2, "No such file or directory", "/data/assets.xml")

class NeedsMore(gymnasium.Env):
    def __init__(self, data_path):
        pass

class Spaceless(gymnasium.Env):
    pass

class Leaves(gymnasium.Env):
    def __init__(self):
        raise SystemExit("no licence")

for kind in (NoAssets, NeedsMore, Spaceless, Leaves):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
gymnasium.register("Elsewhere-v0", entry_point="no_such_package.of_mine:Env")
"""

BROKEN = "import gymnasium\ngymnasium.register('X-v0', entry_point=NoSuchName)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, with modules that register environments."""
    (tmp_path / "own_envs.py").write_text(MODULE)
    (tmp_path / "broken_envs.py").write_text(BROKEN)
    (tmp_path / "leaving_envs.py").write_text("import sys\nsys.exit('not on this machine')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name in ("own_envs", "broken_envs", "leaving_envs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    for name in ("NoAssets", "NeedsMore", "Spaceless", "Leaves", "Elsewhere"):
        gymnasium.registry.pop(f"{name}-v0", None)


def make(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be a line of its own
        family = resolve(name)
        family.make(family.sample(1, np.random.default_rng(0))).close()


def refusal(name: str) -> str:
    """The line that a person gets for a family's name."""
    with pytest.raises(InvalidInputError) as caught:
        make(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("broken_envs:X-v0", "importing broken_envs failed: NameError: name 'NoSuchName' is not defined (broken_envs.py:2)"),
        ("leaving_envs:X-v0", "importing leaving_envs failed: SystemExit: not on this machine"),
        ("no_such_module:X-v0", "there is no module 'no_such_module' here"),
        (
            "own_envs:NoAssets-v0",
            "environment gym:own_envs:NoAssets-v0 cannot be made: FileNotFoundError: [Errno 2] No such file",
        ),
        ("own_envs:NoAssets-v0", "'/data/assets.xml' (own_envs.py:6)"),
        ("own_envs:NeedsMore-v0", "cannot be made: TypeError: NeedsMore.__init__() missing 1 required positional argument"),
        ("own_envs:Spaceless-v0", "environment gym:own_envs:Spaceless-v0 has not both of its spaces: AttributeError"),
        ("own_envs:Leaves-v0", "cannot be made: SystemExit: no licence"),
        ("own_envs:Elsewhere-v0", "cannot be made: ModuleNotFoundError: No module named 'no_such_package'"),
        ("own_envs:NoAsset-v0", "unknown Gymnasium environment 'NoAsset-v0'; did you mean gym:own_envs:NoAssets-v0?"),
    ],
)
def test_a_mistake_of_a_persons_own_is_one_line(folder: Path, env_id: str, said: str) -> None:
    assert said in refusal(f"gym:{env_id}")


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("CartPole", "unknown Gymnasium environment 'CartPole'; did you mean gym:CartPole-v1? ("),
        ("cartpole-v1", "; did you mean gym:CartPole-v1? ("),
        ("CartPole-v7", "; did you mean gym:CartPole-v1? ("),
        ("CartPol-v1", "; did you mean gym:CartPole-v1"),
        ("Ant", "; did you mean gym:Ant-v5? ("),
        ("Ant-v2", "environment gym:Ant-v2 cannot be made: ImportError: The mujoco v2 and v3 based environments have been moved"),
        ("Ant-v2", "; did you mean gym:Ant-v5?"),
        ("ALE/Pog-v5", "; did you mean gym:ALE/Pong-v5"),
        ("Nonsense-v0", "unknown Gymnasium environment 'Nonsense-v0' ("),
        ("", "unknown Gymnasium environment '' ("),
    ],
)
def test_the_nearest_that_can_be_made_is_suggested(env_id: str, said: str) -> None:
    assert said in refusal(f"gym:{env_id}")


@pytest.mark.parametrize("env_id", ["phys2d/CartPole-v1", "phys2d/CartPole"])
def test_what_needs_a_package_that_is_missing_is_not_suggested(env_id: str) -> None:
    if importlib.util.find_spec("jax") is not None:
        pytest.skip("jax is installed, so these can be made")
    assert "; did you mean gym:CartPole-v1?" in refusal(f"gym:{env_id}")


def test_what_was_meant_and_cannot_be_made_says_what_it_needs() -> None:
    if importlib.util.find_spec("Box2D") is not None:
        pytest.skip("Box2D is installed, so it can be made")
    line = refusal("gym:LunarLander-v2")
    assert (
        "; the nearest one is gym:LunarLander-v3, which cannot be made here: DependencyNotInstalled: Box2D is not installed"
        in line
    )


def test_games_of_atari_are_found_under_their_old_ids_too() -> None:
    make("gym:PongNoFrameskip-v4")


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("cartpole", ""),
        ("atari:pong", ""),
        ("gym:CartPole-v1", ""),
        ("gym:ALE/Pong-v5", ""),
        ("gym:mine.envs:X-v0", "mine.envs"),
        ("mine.families:family", "mine.families"),
    ],
)
def test_a_custom_module_is_distinguished_from_a_name(name: str, module: str) -> None:
    assert module_of(name) == module

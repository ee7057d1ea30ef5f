"""`module:object`: what gives a family, and the one line for what does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envs.errors import InvalidInputError
from envs.registry import resolve

MODULE = """
from envs.classic.cartpole import CartPole
from envs.classic.family import NumpyFamily

class Mine(NumpyFamily):
    def __init__(self):
        super().__init__(name="mine", doc="a cart-pole of one's own", env=CartPole)

class Nameless(NumpyFamily):
    def __init__(self):
        self.doc = "forgot its name"

instance = Mine()
number = 3

def family():
    return Mine()

def wrong():
    return 3

def needs_more(size):
    return Mine()

def breaks():
    raise KeyError("a goal")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, with `mine_module.py` in it."""
    (tmp_path / "mine_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name in ("mine_module", "broken_module", "needy_module"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("attribute", ["instance", "Mine", "family"])
def test_an_instance_a_class_and_a_function_give_the_family(folder: Path, attribute: str) -> None:
    assert resolve(f"mine_module:{attribute}").name == "mine"


def test_the_users_folder_is_searched_last(folder: Path) -> None:
    (folder / "json.py").write_text("raise RuntimeError('shadowed')")
    resolve("mine_module:family")
    assert sys.path[-1] == str(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:family", "there is no module 'no_such_module' here"),
        ("no_such_package.module:family", "there is no module 'no_such_package.module' here"),
        ("mine_module:famly", "did you mean family"),
        ("mine_module:number", "is a int, not a TaskFamily"),
        ("mine_module:wrong", "returned a int, not a TaskFamily"),
        ("mine_module:needs_more", "called without arguments and failed: TypeError"),
        ("mine_module:breaks", "failed: KeyError: 'a goal'"),
        ("mine_module:Nameless", "has no name"),
        ("mine_module:", "not of the form module:object"),
        (":family", "not of the form module:object"),
    ],
)
def test_what_is_no_family_gets_one_line(folder: Path, name: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        resolve(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_breaks_says_how(folder: Path) -> None:
    (folder / "broken_module.py").write_text("1 / 0")
    (folder / "needy_module.py").write_text("import no_such_dependency")
    with pytest.raises(InvalidInputError, match="importing broken_module failed: ZeroDivisionError"):
        resolve("broken_module:family")
    with pytest.raises(InvalidInputError, match="needy_module needs 'no_such_dependency', which is not installed"):
        resolve("needy_module:family")

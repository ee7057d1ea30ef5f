"""The Atari families: how they draw games and measure scores."""

from __future__ import annotations

import numpy as np
import pytest

from envs.atari.games import GAMES, human_normalised
from envs.errors import InvalidInputError
from envs.registry import resolve


def test_every_57_draws_hold_each_game_once() -> None:
    tasks = resolve("atari57").sample(130, np.random.default_rng(0))
    games = [str(task["game"]) for task in tasks]
    assert set(games[:57]) == set(games[57:114]) == set(GAMES)
    assert games[:57] != games[57:114]
    assert len(games) == 130


def test_one_game_is_one_task_with_its_own_actions() -> None:
    family = resolve("atari:pong")
    assert len(set(family.sample(5, np.random.default_rng(0)))) == 1
    env = family.make(family.sample(1, np.random.default_rng(0)))
    assert env.single_action_space.n == 6
    assert env.frame_stack == 4 and not env.can_save
    with pytest.raises(NotImplementedError, match="can_save is false"):
        env.save()


def test_human_normalised_score() -> None:
    assert human_normalised("breakout", 1.7) == 0.0
    assert human_normalised("breakout", 30.5) == 1.0
    assert human_normalised("pong", -20.7) == pytest.approx(0.0)
    with pytest.raises(InvalidInputError, match="did you mean pong"):
        human_normalised("pnog", 0.0)

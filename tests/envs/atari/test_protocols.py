"""The evaluation protocols: what they change in a game, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from envs.atari.engine import Emulators
from envs.atari.env import AtariEnv
from envs.atari.families import AtariFamily
from envs.atari.games import GAMES, SCORES
from envs.atari.protocols import PROTOCOLS, find_protocol
from envs.errors import InvalidInputError
from envs.registry import resolve


def make(name: str, protocol: str, num_envs: int = 4) -> AtariEnv:
    family = resolve(name)
    assert isinstance(family, AtariFamily)
    env = family.under(PROTOCOLS[protocol]).make(family.all_tasks()[:1] * num_envs, mode="evaluate")
    assert isinstance(env, AtariEnv)
    return env


def noops(env: AtariEnv) -> list[int]:
    """The frames that each game has played; after a reset these are its no-ops."""
    nothing = np.zeros(1, bool) if len(env._engines) > 1 else np.zeros(env.num_envs, bool)
    counts = [engine._ale.reset(options={"reset_mask": nothing})[1]["episode_frame_number"] for engine in env._engines]
    return np.concatenate(counts).tolist()


@pytest.mark.parametrize("name", ["atari:breakout", "atari:breakout-sticky", "atari57"])
def test_noops_come_under_the_noop_protocol_alone(name: str) -> None:
    for protocol, low, high in (("no-op", 1, 30), ("sticky", 0, 0)):
        env = make(name, protocol)
        drawn: list[int] = []
        for seed in range(8):
            env.reset(seed=seed)
            drawn += noops(env)
        env.close()
        assert low <= min(drawn) and max(drawn) <= high
        assert (len(set(drawn)) > 5) == (protocol == "no-op")


def test_games_after_the_first_start_without_noops_under_the_sticky_protocol() -> None:
    engine = Emulators("pong", 4, num_threads=1, has_all_actions=False, max_noops=0, max_frames=8)
    engine.reset(np.arange(4))
    nothing = np.zeros(4, np.int64)
    for expected in (4, 8, 0, 4, 8, 0):
        engine.send(nothing)
        engine.recv()
        assert engine._ale.reset(options={"reset_mask": np.zeros(4, bool)})[1]["episode_frame_number"].tolist() == [expected] * 4


@pytest.mark.parametrize("name", ["atari:breakout", "atari:breakout-sticky"])
def test_the_protocol_and_not_the_family_settles_whether_actions_stick(name: str) -> None:
    """Without no-ops and without sticking, games are one and the same; sticking sets them apart."""
    is_alike = {}
    for protocol in ("no-op", "sticky"):
        env = make(name, protocol)
        rng = np.random.default_rng(0)
        env.reset(seed=0)
        env._engines[0].close()
        env._engines = [env._engine("breakout", 4, max_noops=0)]
        obs, _ = env.reset(seed=0)
        for _ in range(40):
            obs, *_ = env.step(np.full(4, rng.integers(4)))
        env.close()
        is_alike[protocol] = all(np.array_equal(obs[0], other) for other in obs[1:])
    assert is_alike == {"no-op": True, "sticky": False}


def test_a_family_under_a_protocol_is_a_family_of_its_own() -> None:
    family = resolve("atari:pong-sticky")
    assert isinstance(family, AtariFamily)
    under = family.under(PROTOCOLS["no-op"])
    assert (under.name, under.repeat_action_probability, under.max_noops) == ("atari:pong-sticky", 0.0, 30)
    assert (family.repeat_action_probability, family.max_noops) == (0.25, 30)
    assert [len(resolve(name).all_tasks()) for name in ("atari:pong", "atari57")] == [1, 57]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("human-starts", "were never published; take --protocol no-op or --protocol sticky"),
        ("human_starts", "were never published"),
        ("noop", r"unknown protocol 'noop'; did you mean no-op\? \(one of: no-op, sticky\)"),
    ],
)
def test_what_is_no_protocol_is_refused_in_one_line(name: str, line: str) -> None:
    with pytest.raises(InvalidInputError, match=line):
        find_protocol(name)


def test_reference_scores_are_those_of_the_published_table(shared_dir: Path) -> None:
    with (shared_dir / "data" / "atari57_human_random.csv").open() as file:
        rows = {row["game"]: (float(row["random"]), float(row["human"])) for row in csv.DictReader(file)}
    assert rows == SCORES
    assert tuple(rows) == GAMES

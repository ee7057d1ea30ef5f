"""The emulators: no-op starts, limits, actions, and silence."""

from __future__ import annotations

import ale_py
import numpy as np
import pytest

from envs.atari.engine import NUM_CONSOLE_ACTIONS, Emulators
from envs.atari.games import GAMES
from envs.atari.protocols import MAX_NOOPS


def frames_since_reset(engine: Emulators) -> np.ndarray:
    """What the emulators count; a reset of none of them only reports."""
    count: np.ndarray = engine._ale.reset(options={"reset_mask": np.zeros(engine._ale.num_envs, bool)})[1]["episode_frame_number"]
    return count.copy()


def test_a_game_starts_with_1_to_30_noops() -> None:
    engine = Emulators("pong", 4, num_threads=1, has_all_actions=False, max_frames=4)
    engine.reset(np.arange(4))
    counts = [frames_since_reset(engine)]
    for _ in range(100):
        engine.send(np.zeros(4, np.int64))
        assert engine.recv().is_capped.all()
        engine.send(np.zeros(4, np.int64))
        assert not engine.recv().is_capped.any()
        counts.append(frames_since_reset(engine))
    drawn = np.bincount(np.concatenate(counts), minlength=MAX_NOOPS + 1)
    assert drawn[0] == 0 and len(drawn) == MAX_NOOPS + 1
    assert (drawn[1:] > 0).all()
    # Uniform: chi-square with 29 degrees of freedom lies below 58 in 999 of 1,000 draws.
    expected = drawn.sum() / MAX_NOOPS
    assert ((drawn[1:] - expected) ** 2 / expected).sum() < 58


def test_a_step_is_four_frames_and_the_score_is_not_clipped() -> None:
    engine = Emulators("space_invaders", 2, num_threads=1, has_all_actions=False)
    engine.reset(np.arange(2))
    before = frames_since_reset(engine)
    rng = np.random.default_rng(0)
    largest = 0.0
    for _ in range(120):
        engine.send(rng.integers(engine.num_actions, size=2))
        largest = max(largest, float(engine.recv().reward.max()))
    assert (frames_since_reset(engine) - before).tolist() == [480, 480]
    assert largest >= 5


@pytest.mark.parametrize("action", [-1, 6])
def test_an_action_that_the_game_lacks_is_refused_and_nothing_hangs(action: int) -> None:
    engine = Emulators("pong", 2, num_threads=1, has_all_actions=False)
    engine.reset(np.arange(2))
    with pytest.raises(ValueError, match=r"actions must lie in \[0, 5\]"):
        engine.send(np.array([0, action]))
    engine.send(np.zeros(2, np.int64))
    assert engine.recv().obs.shape == (2, 4, 84, 84)


def test_an_action_of_the_console_that_a_game_lacks_is_a_noop() -> None:
    engine = Emulators("skiing", 2, num_threads=1, has_all_actions=True)
    assert engine.num_actions == NUM_CONSOLE_ACTIONS
    legal = [int(action.value) for action in engine._ale.ale.get_action_set()]
    assert len(legal) < NUM_CONSOLE_ACTIONS
    sent = engine._index[np.arange(NUM_CONSOLE_ACTIONS)]
    assert [legal[index] for index in sent] == [action if action in legal else 0 for action in range(NUM_CONSOLE_ACTIONS)]


def test_it_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    engine = Emulators("pong", 1, num_threads=1, has_all_actions=False)
    engine.reset(np.zeros(1, np.int64))
    engine.send(np.zeros(1, np.int64))
    engine.recv()
    engine.close()
    assert capfd.readouterr() == ("", "")


def test_every_game_has_its_rom() -> None:
    assert len(GAMES) == 57
    assert set(GAMES) <= set(ale_py.roms.get_all_rom_ids())


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_a_random_policy_moves_every_game_without_a_fire_reset(game: str) -> None:
    engine = Emulators(game, 2, num_threads=2, has_all_actions=False)
    assert engine._ale.ale.get_action_set()[0] == ale_py.Action.NOOP
    frame = engine.reset(np.arange(2)).obs[:, -1]
    rng = np.random.default_rng(0)
    moved = 0
    for _ in range(300):
        engine.send(rng.integers(engine.num_actions, size=2))
        played = engine.recv()
        moved += (played.obs[:, -1] != frame).any()
        frame = played.obs[:, -1]
    assert moved > 60

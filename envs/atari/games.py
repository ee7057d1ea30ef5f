"""The 57 games of the Atari benchmark, and the published scores to compare with.

Reference: random and human scores under the no-op protocol as published with deepmind/dqn_zoo (`atari_data.py`); with them the
per-game results of IMPALA (Espeholt et al. 2018, arXiv 1802.01561, table C.1: 200 M frames, one network a game, up to 30 no-ops) give
the medians of 191.8 % (deep) and 93.2 % (shallow) that the paper reports.
"""

from __future__ import annotations

from envs.errors import unknown

SUFFIX_STICKY = "-sticky"
"""Ends the name of a family that repeats the last action at random (Machado et al. 2018)."""

_TABLE: dict[str, tuple[float, float, float, float]] = {
    "alien": (227.8, 7127.7, 15962.1, 1536.05),
    "amidar": (5.8, 1719.5, 1554.79, 497.62),
    "assault": (222.4, 742.0, 19148.47, 12086.86),
    "asterix": (210.0, 8503.3, 300732.0, 29692.5),
    "asteroids": (719.1, 47388.7, 108590.05, 3508.1),
    "atlantis": (12850.0, 29028.1, 849967.5, 773355.5),
    "bank_heist": (14.2, 753.1, 1223.15, 1200.35),
    "battle_zone": (2360.0, 37187.5, 20885.0, 13015.0),
    "beam_rider": (363.9, 16926.5, 32463.47, 8219.92),
    "berzerk": (123.7, 2630.4, 1852.7, 888.3),
    "bowling": (23.1, 160.7, 59.92, 35.73),
    "boxing": (0.1, 12.1, 99.96, 96.3),
    "breakout": (1.7, 30.5, 787.34, 640.43),
    "centipede": (2090.9, 12017.0, 11049.75, 5528.13),
    "chopper_command": (811.0, 7387.8, 28255.0, 5012.0),
    "crazy_climber": (10780.5, 35829.4, 136950.0, 136211.5),
    "defender": (2874.5, 18688.9, 185203.0, 58718.25),
    "demon_attack": (152.1, 1971.0, 132826.98, 107264.73),
    "double_dunk": (-18.6, -16.4, -0.33, -0.35),
    "enduro": (0.0, 860.5, 0.0, 0.0),
    "fishing_derby": (-91.7, -38.7, 44.85, 32.08),
    "freeway": (0.0, 29.6, 0.0, 0.0),
    "frostbite": (65.2, 4334.7, 317.75, 269.65),
    "gopher": (257.6, 2412.5, 66782.3, 1002.4),
    "gravitar": (173.0, 3351.4, 359.5, 211.5),
    "hero": (1027.0, 30826.4, 33730.55, 33853.15),
    "ice_hockey": (-11.2, 0.9, 3.48, -5.25),
    "jamesbond": (29.0, 302.8, 601.5, 440.0),
    "kangaroo": (52.0, 3035.0, 1632.0, 47.0),
    "krull": (1598.0, 2665.5, 8147.4, 9247.6),
    "kung_fu_master": (258.5, 22736.3, 43375.5, 42259.0),
    "montezuma_revenge": (0.0, 4753.3, 0.0, 0.0),
    "ms_pacman": (307.3, 6951.6, 7342.32, 6501.71),
    "name_this_game": (2292.3, 8049.0, 21537.2, 6049.55),
    "phoenix": (761.4, 7242.6, 210996.45, 33068.15),
    "pitfall": (-229.4, 6463.7, -1.66, -11.14),
    "pong": (-20.7, 14.6, 20.98, 20.4),
    "private_eye": (24.9, 69571.3, 98.5, 92.42),
    "qbert": (163.9, 13455.0, 351200.12, 18901.25),
    "riverraid": (1338.5, 17118.0, 29608.05, 17401.9),
    "road_runner": (11.5, 7845.0, 57121.0, 37505.0),
    "robotank": (2.2, 11.9, 12.96, 2.3),
    "seaquest": (68.4, 42054.7, 1753.2, 1716.9),
    "skiing": (-17098.1, -4336.9, -10180.38, -29975.0),
    "solaris": (1236.3, 12326.7, 2365.0, 2368.4),
    "space_invaders": (148.0, 1668.7, 43595.78, 1726.28),
    "star_gunner": (664.0, 10250.0, 200625.0, 69139.0),
    "surround": (-10.0, 6.5, 7.56, -8.13),
    "tennis": (-23.8, -8.3, 0.55, -1.89),
    "time_pilot": (3568.0, 5229.2, 48481.5, 6617.5),
    "tutankham": (11.4, 167.6, 292.11, 267.82),
    "up_n_down": (533.4, 11693.2, 332546.75, 273058.1),
    "venture": (0.0, 1187.5, 0.0, 0.0),
    "video_pinball": (16256.9, 17667.9, 572898.27, 228642.52),
    "wizard_of_wor": (563.5, 4756.5, 9157.5, 4203.0),
    "yars_revenge": (3092.9, 54576.9, 84231.14, 80530.13),
    "zaxxon": (32.5, 9173.3, 32935.5, 1148.5),
}
"""Game -> scores of a uniformly random policy, a human tester, IMPALA's deep network and its shallow network."""

SCORES: dict[str, tuple[float, float]] = {game: (random, human) for game, (random, human, _, _) in _TABLE.items()}
"""Game -> (score of a uniformly random policy, score of a human tester)."""

IMPALA: dict[str, tuple[float, float]] = {game: (deep, shallow) for game, (_, _, deep, shallow) in _TABLE.items()}
"""Game -> (score of IMPALA's deep network, score of its shallow network)."""

GAMES: tuple[str, ...] = tuple(SCORES)


def human_normalised(game: str, score: float) -> float:
    """Return (score - random) / (human - random): 0 for a random policy, 1 for the human tester.

    Raises:
        InvalidInputError: `game` is not one of the 57.
    """
    if game not in SCORES:
        raise unknown("Atari game", game, GAMES)
    random, human = SCORES[game]
    return (score - random) / (human - random)

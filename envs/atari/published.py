"""What the papers report on the 57 games, as data to lay results beside.

Reference: Espeholt et al. (2018), arXiv 1802.01561, table C.1 for IMPALA game by game: 200 M frames, one network a game, up to 30 no-ops
at the start. With `envs.atari.games.SCORES` their medians are the paper's 191.8 % (deep) and 93.2 % (shallow).
Xu, van Hasselt and Silver (2018), arXiv 1805.09801, figure 2, for the medians of the meta-gradient, which have no table game by game. They
were taken from a review that quotes the published version; its baseline at gamma-bar 0.99 is IMPALA's 191.8 %.
"""

from __future__ import annotations

IMPALA: dict[str, tuple[float, float]] = {
    "alien": (15962.1, 1536.05),
    "amidar": (1554.79, 497.62),
    "assault": (19148.47, 12086.86),
    "asterix": (300732.0, 29692.5),
    "asteroids": (108590.05, 3508.1),
    "atlantis": (849967.5, 773355.5),
    "bank_heist": (1223.15, 1200.35),
    "battle_zone": (20885.0, 13015.0),
    "beam_rider": (32463.47, 8219.92),
    "berzerk": (1852.7, 888.3),
    "bowling": (59.92, 35.73),
    "boxing": (99.96, 96.3),
    "breakout": (787.34, 640.43),
    "centipede": (11049.75, 5528.13),
    "chopper_command": (28255.0, 5012.0),
    "crazy_climber": (136950.0, 136211.5),
    "defender": (185203.0, 58718.25),
    "demon_attack": (132826.98, 107264.73),
    "double_dunk": (-0.33, -0.35),
    "enduro": (0.0, 0.0),
    "fishing_derby": (44.85, 32.08),
    "freeway": (0.0, 0.0),
    "frostbite": (317.75, 269.65),
    "gopher": (66782.3, 1002.4),
    "gravitar": (359.5, 211.5),
    "hero": (33730.55, 33853.15),
    "ice_hockey": (3.48, -5.25),
    "jamesbond": (601.5, 440.0),
    "kangaroo": (1632.0, 47.0),
    "krull": (8147.4, 9247.6),
    "kung_fu_master": (43375.5, 42259.0),
    "montezuma_revenge": (0.0, 0.0),
    "ms_pacman": (7342.32, 6501.71),
    "name_this_game": (21537.2, 6049.55),
    "phoenix": (210996.45, 33068.15),
    "pitfall": (-1.66, -11.14),
    "pong": (20.98, 20.4),
    "private_eye": (98.5, 92.42),
    "qbert": (351200.12, 18901.25),
    "riverraid": (29608.05, 17401.9),
    "road_runner": (57121.0, 37505.0),
    "robotank": (12.96, 2.3),
    "seaquest": (1753.2, 1716.9),
    "skiing": (-10180.38, -29975.0),
    "solaris": (2365.0, 2368.4),
    "space_invaders": (43595.78, 1726.28),
    "star_gunner": (200625.0, 69139.0),
    "surround": (7.56, -8.13),
    "tennis": (0.55, -1.89),
    "time_pilot": (48481.5, 6617.5),
    "tutankham": (292.11, 267.82),
    "up_n_down": (332546.75, 273058.1),
    "venture": (0.0, 0.0),
    "video_pinball": (572898.27, 228642.52),
    "wizard_of_wor": (9157.5, 4203.0),
    "yars_revenge": (84231.14, 80530.13),
    "zaxxon": (32935.5, 1148.5),
}
"""Game -> (score of IMPALA's deep network, score of its shallow network)."""

GAMMA_BARS: tuple[float, float] = (0.99, 0.995)

METAGRADIENT_MEDIANS: dict[tuple[str, ...], tuple[float, float]] = {
    (): (191.8, 257.1),
    ("lambda",): (185.5, 246.5),
    ("gamma",): (280.9, 275.5),
    ("gamma", "lambda"): (242.6, 287.6),
}
"""Meta-parameters -> medians over 57 games at each of `GAMMA_BARS`, in percent of the human score, under the no-op protocol."""

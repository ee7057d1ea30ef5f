"""Published medians of the meta-gradient on the 57 games; IMPALA's scores game by game are in `envs.atari.games`.

Reference: Xu, van Hasselt and Silver (2018), arXiv 1805.09801, figure 2, which has no table game by game. The numbers were taken from a
review that quotes the published version; its baseline at gamma-bar 0.99 is IMPALA's 191.8 %.
"""

from __future__ import annotations

GAMMA_BARS: tuple[float, float] = (0.99, 0.995)

METAGRADIENT_MEDIANS: dict[tuple[str, ...], tuple[float, float]] = {
    (): (191.8, 257.1),
    ("lambda",): (185.5, 246.5),
    ("gamma",): (280.9, 275.5),
    ("gamma", "lambda"): (242.6, 287.6),
}
"""Meta-parameters -> medians over 57 games at each of `GAMMA_BARS`, in percent of the human score, under the no-op protocol."""

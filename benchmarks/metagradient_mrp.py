"""Whether meta-gradient TD(lambda) finds the right gamma and lambda of each state in the two illustrative reward processes.

    python benchmarks/metagradient_mrp.py
    python benchmarks/metagradient_mrp.py --out docs/metagradient_mrp.png

MRP-gamma (10 seeds): gamma of the odd states, which pay a signal, should rise over that of the even ones, which pay noise. MRP-lambda
(8 seeds): lambda of the even states, within a pair of rewards that cancel, over that of the odd ones, after it. Means over the states
that are entered. `docs/metagradient_worlds.md` describes the processes. Prints one JSON line, seconds included; --out draws eta over
episodes.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from runs import ROOT, parser_of, print_line, two_panels

sys.path.insert(0, str(ROOT))

from benchmarks.reward_processes import MRP_GAMMA, MRP_LAMBDA, RewardProcess
from benchmarks.td_metagradient import EtaName, History, TDConfig, init, iterate

ODD, EVEN = "#0072B2", "#D55E00"
"""Of Okabe and Ito (2008)."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A process, how it is learned, and which states should end up higher, by how much."""

    process: RewardProcess
    config: TDConfig
    num_seeds: int
    is_odd_higher: bool
    margin: float
    odd: str
    even: str

    @property
    def eta(self) -> EtaName:
        """The meta-parameter that is tuned."""
        return self.config.eta[0]


CASES = (
    Case(
        process=MRP_GAMMA,
        config=TDConfig(eta=("gamma",), learning_rate=0.5, meta_learning_rate=5.0),
        num_seeds=10,
        is_odd_higher=True,
        margin=0.4,
        odd="odd: a signal of 0.1 follows",
        even="even: noise N(0, 1) follows",
    ),
    Case(
        process=MRP_LAMBDA,
        config=TDConfig(eta=("lambda",), learning_rate=0.2, meta_learning_rate=10.0),
        num_seeds=8,
        is_odd_higher=False,
        margin=0.2,
        odd="odd: after a pair, value known",
        even="even: the last reward will be paid back",
    ),
)


def learned(case: Case, num_episodes: int) -> tuple[History, float]:
    """Eta over the episodes of all seeds, and the seconds that it took."""
    started = time.perf_counter()
    generators = [np.random.default_rng(seed) for seed in range(case.num_seeds)]
    state = init(case.config, case.process.num_states + 1, case.num_seeds)
    _, history = iterate(case.config, state, lambda: case.process.walk(generators), num_updates=num_episodes)
    return history, time.perf_counter() - started


def odd_and_even(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [..., N] over the odd and the even states that are entered, of eta [..., S, N]."""
    entered = eta[..., 1:-1, :]  # neither the first nor the terminal state
    return entered[..., 1::2, :].mean(axis=-2), entered[..., ::2, :].mean(axis=-2)


def figures(case: Case, history: History, seconds: float) -> dict[str, Any]:
    """Figures of a case."""
    odd, even = odd_and_even(history.eta[case.eta][-1])
    lead = odd - even if case.is_odd_higher else even - odd
    return {
        "odd": round(float(odd.mean()), 3),
        "even": round(float(even.mean()), 3),
        "lead_of_the_mean": round(float(lead.mean()), 3),
        "lead_of_the_worst_seed": round(float(lead.min()), 3),
        "seeds_over_margin": f"{int((lead > case.margin).sum())} of {case.num_seeds}",
        "margin": case.margin,
        "seconds": round(seconds, 2),
    }


def draw(histories: dict[str, History], file: Path) -> None:
    """Draw eta of every state over the episodes, one panel a process."""
    with two_panels(file, height=4.2) as panels:
        for axes, case in zip(panels, CASES, strict=True):
            _draw_case(axes, case, histories[case.process.name])


def _draw_case(axes: Axes, case: Case, history: History) -> None:
    eta, episode = history.eta[case.eta], history.episode
    for mean, colour, label in zip(odd_and_even(eta), (ODD, EVEN), (case.odd, case.even), strict=True):
        axes.fill_between(episode, mean.min(axis=1), mean.max(axis=1), color=colour, alpha=0.12, linewidth=0)
        axes.plot(episode, mean.mean(axis=1), color=colour, linewidth=2.4, label=label)
    ends = []
    for state in range(2, case.process.num_states + 1):
        course = eta[:, state - 1].mean(axis=1)
        axes.plot(episode, course, color=ODD if state % 2 else EVEN, linewidth=0.8, alpha=0.7)
        ends.append((float(course[-1]), state))
    _label_ends(axes, float(episode[-1]), sorted(ends))
    axes.set_xlim(0, episode[-1])
    axes.set_ylim(0, 1)
    axes.set_ylabel(case.eta)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("episodes")
    axes.set_title(case.process.name.replace("mrp", "MRP"), loc="left", fontweight="bold", fontsize=11)
    note = f"thin: each state; band: all {case.num_seeds} seeds"
    axes.text(1.0, 1.02, note, transform=axes.transAxes, ha="right", fontsize=8, color="#555555")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, -0.36), frameon=False, fontsize=9)


def _label_ends(axes: Axes, x: float, ends: list[tuple[float, int]]) -> None:
    """Write each state's number where its line ends, moved apart where two would overlap."""
    gap, places = 0.04, [height for height, _ in ends]
    for below in range(len(places) - 1):
        places[below + 1] = max(places[below + 1], places[below] + gap)
    places[-1] = min(places[-1], 1.0)
    for above in range(len(places) - 1, 0, -1):
        places[above - 1] = min(places[above - 1], places[above] - gap)
    for place, (_, state) in zip(places, ends, strict=True):
        axes.annotate(
            str(state),
            (x, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=ODD if state % 2 else EVEN,
            annotation_clip=False,
        )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="file of the picture")
    options = parser.parse_args()
    torch.set_num_threads(1)
    histories, rows = {}, {}
    for case in CASES:
        histories[case.process.name], seconds = learned(case, options.episodes)
        rows[case.process.name] = figures(case, histories[case.process.name], seconds)
    if options.out is not None:
        draw(histories, options.out)
    print_line("metagradient_mrp", {"episodes": options.episodes, **rows})


if __name__ == "__main__":
    main()

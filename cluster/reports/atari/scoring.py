"""Scoring an Atari run under a published protocol: whole games are run, the file is written, the result printed.

The games are run one after the other, with up to 64 emulators in parallel; each game of a run on all 57 has the full number of episodes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.markup import escape

from actors.evaluate import evaluate
from cluster.config import RunConfig
from cluster.reports.atari.evaluation import Evaluation, GameScore, deviations, write
from cluster.reports.atari.scores import aggregate
from cluster.reports.evaluation import MAX_SLOTS
from cluster.reports.results import AGAIN
from cluster.run.display import Terminal, number
from cluster.run.episodes_bar import episodes_bar
from envs.atari.families import AtariFamily
from envs.atari.games import human_normalised
from envs.atari.protocols import ACTION_REPEAT, Protocol
from envs.registry import resolve
from learners.trajectory import Episode, Snapshot


def score(
    run: Path,
    config: RunConfig,
    snapshot: Snapshot,
    env_steps: int,
    protocol: Protocol,
    *,
    num_episodes: int | None,
    seed: int,
    command: str,
) -> None:
    """Evaluate, write and print: whole episodes of each game of the run, one game after the other, with sampled actions.

    Args:
        run: run directory, which the file is written to.
        config: of the run; its family is one of Atari's.
        snapshot: weights to act with.
        env_steps: steps of training behind them; 0 before the first update.
        protocol: of the evaluation.
        num_episodes: of each game; None for that of the protocol.
        seed: of resets and actions.
        command: the command line.
    """
    family = resolve(config.family)
    assert isinstance(family, AtariFamily)
    tasks, count = family.all_tasks(), protocol.num_episodes if num_episodes is None else num_episodes
    per_slot = math.ceil(count / MAX_SLOTS)
    scores: list[GameScore] = []
    with episodes_bar(len(tasks) * count) as on_progress:
        for task in tasks:
            episodes = evaluate(
                family.under(protocol),
                [task] * math.ceil(count / per_slot),
                config.network,
                snapshot,
                seed=seed,
                episodes_per_task=per_slot,
                num_threads=os.cpu_count() or 1,
                on_progress=lambda finished: on_progress(len(scores) * count + min(finished, count)),
                conditioning=config.conditioning,
            )
            # slots may run more than requested; which are left out depends on their index, not on their return
            scores.append(_score(family.game_of(task), episodes[:count]))
    evaluation = Evaluation(
        family=config.family,
        protocol=protocol.name,
        episodes_per_game=count,
        deviations=deviations(protocol, count),
        env_steps=env_steps,
        seed=seed,
        command=command,
        games=tuple(scores),
    )
    again = AGAIN if (run / evaluation.file_name).exists() else ""
    _print(evaluation, protocol, f"{write(run, evaluation)}{again}")


def _score(game: str, episodes: Sequence[Episode]) -> GameScore:
    returns = [episode.episode_return for episode in episodes]
    mean = float(np.mean(returns))
    return GameScore(
        game=game,
        mean_return=mean,
        standard_error=float(np.std(returns, ddof=1) / math.sqrt(len(returns))) if len(returns) > 1 else None,
        human_normalised_percent=100 * human_normalised(game, mean),
        min_return=min(returns),
        max_return=max(returns),
        mean_length=float(np.mean([episode.length for episode in episodes])),
        returns=tuple(returns),
        lengths=tuple(episode.length for episode in episodes),
    )


def _print(evaluation: Evaluation, protocol: Protocol, written: str) -> None:
    console = Terminal(highlight=False)
    frames = evaluation.env_steps * ACTION_REPEAT
    weights = f"weights after {evaluation.env_steps:,} steps ({frames:,} frames)" if evaluation.env_steps else "untrained weights"
    lines = [f"[bold]{escape(evaluation.family)}[/], protocol {protocol.name} ({protocol.doc}), {weights}"]
    lines += [_score_line(score) for score in evaluation.games]
    if len(evaluation.games) > 1:
        over = aggregate({score.game: (score.human_normalised_percent,) for score in evaluation.games})
        lines.append(
            f"  human    median [bold green]{over.median.value:.1f} %[/] of the human score over {over.num_games} games, "
            f"interquartile mean {over.iqm.value:.1f} %"
        )
    count = f"  episodes {evaluation.episodes_per_game:,}{' of each game' if len(evaluation.games) > 1 else ''}"
    lines.append(
        count + (f": [bold yellow]{', '.join(evaluation.deviations)}[/]" if evaluation.deviations else ", as in the protocol")
    )
    for line in [*lines, f"  written  {escape(written)}"]:
        console.print(line, soft_wrap=True)


def _score_line(score: GameScore) -> str:
    error = "" if score.standard_error is None else f" +- {number(score.standard_error)}"
    return (
        f"  {score.game:18} [bold]{number(score.mean_return)}[/]{error}, {number(score.min_return)} to {number(score.max_return)}, "
        f"{score.mean_length:,.0f} steps each: {score.human_normalised_percent:.1f} % of the human score"
    )

"""Scoring an Atari run under a published protocol: whole games are run, the file is written, the result printed.

The games are run one after the other, with up to 64 emulators in parallel; each game of a run on all 57 has the full number of episodes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.markup import escape

from actors.evaluate import evaluate
from cluster.config import RunConfig
from cluster.reports.atari.evaluation import Evaluation, GameScore, deviations, human_percents, write
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
) -> Evaluation:
    """Evaluate, write, print, and return the evaluation.

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
    num_episodes = protocol.num_episodes if num_episodes is None else num_episodes
    with episodes_bar(len(family.all_tasks()) * num_episodes) as on_progress:
        games = run_games(config, snapshot, family.under(protocol), num_episodes=num_episodes, seed=seed, on_progress=on_progress)
    evaluation = Evaluation(
        family=config.family,
        protocol=protocol.name,
        episodes_per_game=num_episodes,
        deviations=deviations(protocol, num_episodes),
        env_steps=env_steps,
        seed=seed,
        command=command,
        games=games,
    )
    again = AGAIN if (run / evaluation.file_name).exists() else ""
    _print(evaluation, protocol, f"{write(run, evaluation)}{again}")
    return evaluation


def run_games(
    config: RunConfig,
    snapshot: Snapshot,
    family: AtariFamily,
    *,
    num_episodes: int,
    seed: int,
    on_progress: Callable[[int], None],
) -> tuple[GameScore, ...]:
    """Run `num_episodes` whole episodes of each game of `family`, one game after the other, and return the scores.

    Args:
        config: of the run.
        snapshot: weights to act with; actions are sampled.
        family: the run's, under a protocol.
        num_episodes: of each game.
        seed: of resets and actions.
        on_progress: called with the number of finished episodes.
    """
    per_slot = math.ceil(num_episodes / MAX_SLOTS)
    num_slots = math.ceil(num_episodes / per_slot)
    scores: list[GameScore] = []
    for task in family.all_tasks():

        def report(finished: int) -> None:
            on_progress(len(scores) * num_episodes + min(finished, num_episodes))

        episodes = evaluate(
            family,
            [task] * num_slots,
            config.network,
            snapshot,
            seed=seed,
            episodes_per_task=per_slot,
            num_threads=os.cpu_count() or 1,
            on_progress=report,
            conditioning=config.conditioning,
        )
        # slots may run more than requested; which are left out depends on their index, not on their return
        scores.append(_score(family.game_of(task), episodes[:num_episodes]))
    return tuple(scores)


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
        over = aggregate(human_percents(evaluation))
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

"""What a person sees of an outer loop: a panel on a terminal, plain lines in a pipe. See `cluster.run.display`."""

from __future__ import annotations

from rich.panel import Panel
from rich.text import Text

from cluster.epg.observer import EpgStatus
from cluster.run.display import SPARK_WIDTH, bar, clock, framed, number, short, sparkline, two_by_two


class EpgDrawing:
    """How an outer loop's status looks.

    Args:
        title: what is evolved.
        run: path of the run directory.
    """

    def __init__(self, title: str, run: str) -> None:
        self._title, self._run = title, run
        self._course: dict[int, float] = {}

    def line(self, status: EpgStatus) -> str:
        """See `cluster.run.display.Drawing`."""
        return plain_line(status)

    def panel(self, status: EpgStatus) -> Panel:
        """See `cluster.run.display.Drawing`."""
        if status.fitness_mean is not None:
            self._course[status.epoch] = status.fitness_mean
        head = bar(status.share, f"[bold]{status.share:.0%}[/]  epoch {status.epoch:,} of {status.num_epochs:,}")
        rows = two_by_two()
        left = f", {clock(status.eta_s)} left" if status.eta_s is not None else ""
        rows.add_row("speed", _speed(status), "time", clock(status.elapsed_s) + left)
        rows.add_row(status.phase, _chunks(status), "size", f"W {status.num_workers:,}, V {status.num_vectors:,}")
        course = Text(sparkline(list(self._course.values()), SPARK_WIDTH), style="green")
        rows.add_row("fitness", f"[bold green]{_fitness(status)}[/]", "course", course)
        rows.add_row("score", _score(status), "step", _step(status))
        missing = "" if status.actors_alive == status.num_actors else "[bold red]"
        lost = f", {status.lost_actors} lost and replaced" if status.lost_actors else ""
        lived = f"{short(status.lives)} lives, {short(status.env_steps)} steps"
        rows.add_row("actors", f"{missing}{status.actors_alive} of {status.num_actors}{lost}", "lived", lived)
        foot = f"{self._run} - Ctrl-C stops, and all that was lived is kept"
        return framed(head, rows, status.last_event, self._title, foot)


def plain_line(status: EpgStatus) -> str:
    """One line of a status, the parts in fixed places."""
    left = f"  {clock(status.eta_s)} left" if status.eta_s is not None else ""
    return (
        f"{clock(status.elapsed_s):>7}  epoch {status.epoch:>5}/{status.num_epochs} {status.share:4.0%}  "
        f"{status.phase} {_chunks(status)}  {_speed(status)}  fitness {_fitness(status)}  score {_score(status)}  "
        f"{_step(status)}  actors {status.actors_alive}/{status.num_actors}{left}"
    )


def _chunks(status: EpgStatus) -> str:
    return f"{status.chunks_done}/{status.chunks} chunks"


def _speed(status: EpgStatus) -> str:
    return f"{status.lives_per_s:,.2f} lives/s, {status.env_steps_per_s:,.0f} steps/s"


def _fitness(status: EpgStatus) -> str:
    if status.fitness_mean is None or status.fitness_std is None:
        return "-"
    return f"{number(status.fitness_mean)} ± {number(status.fitness_std)}"


def _score(status: EpgStatus) -> str:
    if status.best_score is None:
        return "-"
    best = f"best {number(status.best_score)}"
    return best if status.score is None else f"{number(status.score)}, {best}"


def _step(status: EpgStatus) -> str:
    rate = "" if status.learning_rate is None else f", lr {status.learning_rate:.2g}"
    return f"alpha {status.alpha:.2f}{rate}"

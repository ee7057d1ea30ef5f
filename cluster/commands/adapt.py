"""`metaray adapt`: train fresh policies with an evolved loss, and with PPO for comparison, on tasks held out from its evolution."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from cluster.commands.arguments import check_range, check_seed, option
from cluster.overrides import parse_assignments, to_tree
from cluster.reports.adaptation.source import find_source
from cluster.reports.results import again, own_name
from cluster.run.display import table_console
from cluster.run.episodes_bar import episodes_bar
from cluster.store.run_directory import write_json
from cluster.store.versions import library_versions
from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from actors.fresh_policies import AdaptedChunk
    from cluster.reports.adaptation.config import AdaptConfig
    from cluster.reports.adaptation.source import Source
    from envs.task import Split
    from learners.learned_loss.loss import LearnedLoss

MAX_SEEDS = 100_000
"""More is a typing error: a hundred thousand lifetimes take days."""


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """Train fresh policies with the frozen loss of an EPG run, each on its own held-out task, and compare with PPO.

    Both learn the same tasks from the same initial weights, with the same noise and as many samples per update. Prints the final fitness
    (whole episodes with the final policy) with 95 % intervals and the difference paired by task; writes all numbers to
    adaptation-<tasks>-s<seed>.json, with options that are not the default in the name, and a plot of return over the steps of a lifetime
    to .png beside it, in RUN or in --out.
    """

    run_directory: Annotated[
        Positional[str],
        option("run directory of `metaray train epg`, or a loss file (.safetensors)", "RUN"),
    ]
    tasks: Annotated[
        Literal["test", "train", "both"], arg(help="tasks held out from training, training tasks, or both in one plot")
    ] = "test"
    seeds: Annotated[int, arg(metavar="N", help="fresh policies of each learner and split, each on its own task")] = 8
    family: Annotated[str, option("task family (default: that of the loss)", "FAMILY")] = ""
    baseline: Annotated[Literal["ppo", "none"], arg(help="learner that the learned loss is compared with")] = "ppo"
    updates: Annotated[str, option("updates of a lifetime (default: as many as the loss was evolved for)", "N")] = ""
    phi: Annotated[Literal["best", "last"], arg(help="the loss with the best evaluation of the run, or the newest")] = "best"
    actors: Annotated[int, arg(metavar="N", help="worker processes; changes nothing but the time it takes")] = 1
    seed: Annotated[int, arg(metavar="N", help="seed of tasks, initial weights and noise")] = 0
    set: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]],
        option(
            "change a setting of the inner loop or of PPO: --set life.hidden_sizes=32,32 baseline.passes=4 baseline.ppo.gamma=0.9",
            "KEY=VALUE",
        ),
    ] = ()
    out: Annotated[str, option("folder to write to (default: RUN)", "DIR")] = ""
    no_progress: Annotated[bool, option("show no progress bar")] = False

    def run(self, command: str) -> int:
        """Check everything, adapt, print and write."""
        self._check_numbers()
        source = find_source(Path(self.run_directory), family=self.family, phi=self.phi)
        folder = Path(self.out) if self.out else source.folder
        _check_folder(folder)
        from cluster.run.preflight import check_environment

        check_environment(source.family)
        loss, config = self._settings(source)
        from cluster.reports.adaptation.workers import LostWorkerError

        head, file = self._head(source, loss, config), folder / f"{self._name()}.json"
        overwritten = again(file, head)
        try:
            chunks = self._adapt(source, loss, config)
        except LostWorkerError as error:
            print(f"metaray: the adaptation failed: {error}", file=sys.stderr)
            return 1
        return self._report(head | {"command": command}, config, chunks, file, overwritten)

    def _check_numbers(self) -> None:
        check_range("--seeds", self.seeds, 2, MAX_SEEDS, ": an interval needs two policies")
        check_range("--actors", self.actors, 1, 10_000)
        check_seed(self.seed)

    def _settings(self, source: Source) -> tuple[LearnedLoss, AdaptConfig]:
        """The loss, and the checked settings; this loads torch."""
        from actors.chunks import spaces_of
        from cluster.reports.adaptation.config import settings_of
        from learners.learned_loss.loss import LearnedLoss

        loss = source.loss or LearnedLoss.load(source.loss_file)
        loss.check(spaces_of(source.family), source.family)
        return loss, settings_of(source, loss.shape, self._changes())

    def _changes(self) -> dict[str, str]:
        """The settings that the user changes, by dotted name."""
        changes = parse_assignments(text for group in self.set for text in group)
        return changes | ({"life.num_updates": self.updates} if self.updates else {})

    def _head(self, source: Source, loss: LearnedLoss, config: AdaptConfig) -> dict[str, Any]:
        """Everything that the result depends on."""
        return {
            "loss": str(source.loss_file),
            "phi_sha256": hashlib.sha256(loss.phi.numpy().tobytes()).hexdigest(),
            "family": source.family,
            "tasks": self.tasks,
            "seed": self.seed,
            "seeds": self.seeds,
            "baseline": self.baseline,
            "steps_of_a_life": config.life.num_steps,
            "settings": json.loads(json.dumps(to_tree(config))),
        }

    def _adapt(self, source: Source, loss: LearnedLoss, config: AdaptConfig) -> list[AdaptedChunk]:
        from actors.fresh_policies import AdaptationSetup, Learner, chunks_for
        from cluster.reports.adaptation.workers import adapt_all

        setup = AdaptationSetup(
            family=source.family,
            seed=self.seed,
            life=config.life,
            loss=config.loss,
            baseline=config.baseline,
            phi=loss.phi.numpy(),
        )
        learners: tuple[Learner, ...] = ("learned", "ppo") if self.baseline == "ppo" else ("learned",)
        splits: tuple[Split, ...] = ("train", "test") if self.tasks == "both" else (self.tasks,)
        chunks = [
            chunk
            for split in splits
            for learner in learners
            for chunk in chunks_for(learner, split, self.seeds, config.lives_per_chunk)
        ]
        total = len(splits) * len(learners) * self.seeds * config.life.num_updates
        bar = contextlib.nullcontext(lambda _: None) if self.no_progress else episodes_bar(total, "adapt", "updates")
        with bar as on_progress:
            return adapt_all(setup, chunks, num_actors=self.actors, on_progress=on_progress)

    def _report(self, head: dict[str, Any], config: AdaptConfig, chunks: list[AdaptedChunk], file: Path, overwritten: str) -> int:
        """Write and print the results; return the exit code, which is 1 where most lifetimes of a group are not finite."""
        from cluster.reports.adaptation import report
        from cluster.reports.adaptation.figures import compare, make_groups
        from cluster.reports.adaptation.plot import draw

        life = config.life
        lifetimes = [one for chunk in chunks for one in chunk.policies]
        groups = make_groups(lifetimes, num_updates=life.num_updates, update_every=life.update_every)
        comparisons = compare(groups)
        plot = file.with_suffix(".png")
        head |= {
            "env_steps": sum(chunk.env_steps for chunk in chunks),
            "busy_s": round(sum(chunk.busy_s for chunk in chunks), 3),
            "versions": library_versions(),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, head | report.content(groups, comparisons))
        draw(groups, plot, title=head["family"])
        console = table_console()
        report.show(groups, comparisons, console)
        for line in report.warnings(groups, sum(chunk.cut_episodes for chunk in chunks), life):
            print(f"metaray: {line}", file=sys.stderr)
        lines = {"lifetimes": f"{life.num_steps:,} steps each", "plot": str(plot), "written": f"{file}{overwritten}"}
        report.show_lines(console, lines)
        return int(any(map(report.is_failed, groups)))

    def _name(self) -> str:
        """Name of the files, so that two adaptations of one run do not overwrite each other."""
        options = {"seeds": self.seeds, "baseline": self.baseline, "phi": self.phi, "family": self.family}
        changed = {name: value for name, value in options.items() if value != getattr(type(self), name)}
        return own_name("adaptation", self.tasks, f"s{self.seed}", changed=changed | self._changes())


def _check_folder(folder: Path) -> None:
    """Make sure that results can be written, before hours are spent on them."""
    parent = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InvalidInputError(
            f"the results cannot be written to {folder}: {parent} is not a folder that can be written to; give --out"
        )

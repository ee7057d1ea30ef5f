"""The table of algorithms: a row each, plain data, so that the command line starts light.

This is the one place that knows them all, and reads their configs. What a row names (the module of its functions, how its experience is
collected, its config) is loaded when a run is at hand; nothing else in `cluster` knows an algorithm by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.overrides import apply, from_tree
from cluster.presets import Preset, presets_of
from cluster.reports.panels import ADAPTATION, EVOLUTION, UNROLLS, Panels
from cluster.run.display import number
from cluster.store.former import DEFAULT_ALGORITHM, completed
from cluster.store.run_directory import RunDirectory, read_json
from envs.errors import InvalidInputError, unknown

if TYPE_CHECKING:
    from cluster.run.assembly import Assembly
    from learners.algorithm import Algorithm


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure that a person sees.

    Attributes:
        label: in front of it, and its name for Prometheus.
        figure: its metric name.
        about: what it is, in words.
        spread: metric name of its standard deviation; empty for none.
        best: metric name of the best so far; empty for none.
    """

    label: str
    figure: str
    about: str = ""
    spread: str = ""
    best: str = ""

    def text(self, figures: Mapping[str, float]) -> str:
        """The figure as it is shown: `312.6 ± 41.2, best 330`; `-` while there is none."""
        if self.figure not in figures:
            return "-"
        spread = f" ± {number(figures[self.spread])}" if self.spread in figures else ""
        best = f", best {number(figures[self.best])}" if self.best in figures else ""
        return number(figures[self.figure]) + spread + best


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of the command that not every algorithm has.

    Attributes:
        name: as an identifier: `lives_per_chunk` for `--lives-per-chunk`.
        setting: the key of the config that it changes.
        metavar, help: for `--help`.
    """

    name: str
    setting: str
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """As a person types it."""
        return "--" + self.name.replace("_", "-")


ACTORS = Option(
    name="actors", setting="num_actors", metavar="N", help="processes that collect experience; may exceed the machine"
)
STEPS = Option(name="steps", setting="total_env_steps", metavar="N", help="environment steps to train for in all, such as 2e6")


@dataclass(frozen=True, kw_only=True)
class Row:
    """An algorithm.

    Attributes:
        name: as a person types it.
        shows: what it is, one line.
        module: of its functions (`learners.algorithm`).
        config: `module:type` of its config; empty for its learner's own beside what every run of unrolls has.
        collect: how its experience is collected: the module with its assembly (`cluster.run.assembly`).
        panels: of its pictures.
        presets: by name.
        options: its own options of `metaray train`.
        resume_options: names of those that `metaray resume` has as well.
        headline: what a run is judged by.
        shown: what a person sees besides, while it goes.
        round_name: what its rounds are called; empty where it counts environment steps.
        next_commands: what to type after a run, and what for.
    """

    name: str
    shows: str
    module: str
    config: str = ""
    collect: str = "cluster.run.unrolls"
    panels: Panels = UNROLLS
    presets: Mapping[str, Preset]
    options: tuple[Option, ...] = (ACTORS, STEPS)
    resume_options: tuple[str, ...] = ("steps",)
    headline: tuple[Shown, ...]
    shown: tuple[Shown, ...] = ()
    round_name: str = ""
    next_commands: tuple[tuple[str, str], ...] = ()

    def learner(self) -> Algorithm:
        """The functions of the algorithm; loads torch."""
        algorithm: Any = import_module(self.module)
        found: Algorithm = algorithm
        return found

    def config_type(self) -> type[Any]:
        """Its config; loads torch."""
        if self.config:
            found: type[Any] = _named(self.config)
            return found
        composed: type[Any] = _named("cluster.config:composed")(self.name, _named(f"{self.module}:Config"))
        return composed

    def check(self, config: Any) -> Any:
        """Check a config's fields against each other, and return it."""
        self.learner().check(config)
        config.check()
        return config

    def assembly(self) -> Assembly:
        """How its runs are put together; loads torch."""
        assembly: Assembly = import_module(self.collect).ASSEMBLY
        return assembly


def _named(name: str) -> Any:
    module, _, what = name.partition(":")
    return getattr(import_module(module), what)


RETURN = Shown(label="return", figure="return/mean_100", about="mean of the last 100 episodes", best="return/best_100")
PLAYS = (
    ("metaray evaluate {run}", "play whole episodes of held-out tasks"),
    ("metaray plot {run} ...", "compare it with other runs"),
)

ALGORITHMS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            name="impala",
            shows="V-trace actor-critic",
            module="learners.impala",
            config="cluster.config:RunConfig",
            presets=presets_of("impala"),
            headline=(RETURN,),
            shown=(Shown(label="lag", figure="lag/mean"), Shown(label="max lag", figure="lag/max")),
            next_commands=PLAYS,
        ),
        Row(
            name="ppo",
            shows="proximal policy optimisation with GAE, a baseline",
            module="learners.ppo",
            presets=presets_of("ppo"),
            headline=(RETURN,),
            shown=(Shown(label="kl", figure="policy/kl"), Shown(label="entropy", figure="policy/entropy")),
            next_commands=PLAYS,
        ),
        Row(
            name="maml",
            shows="model-agnostic meta-learning: first weights that one policy-gradient step adapts to a task",
            module="learners.maml",
            collect="cluster.run.adaptation",
            panels=ADAPTATION,
            presets=presets_of("maml"),
            headline=(
                Shown(label="adapted", figure="return/post_update", about="mean return after the inner steps, newest round"),
                Shown(label="before", figure="return/pre_update", about="mean return before them"),
            ),
            shown=(Shown(label="held out", figure="evaluation/score"), Shown(label="entropy", figure="policy/entropy")),
            next_commands=(("metaray plot {run} ...", "compare it with other runs"),),
        ),
        Row(
            name="epg",
            shows="evolved policy gradients: evolves a loss that agents learn from",
            module="learners.epg",
            config="cluster.config:EpgRunConfig",
            collect="cluster.run.lifetimes",
            panels=EVOLUTION,
            presets=presets_of("epg"),
            options=(
                ACTORS,
                Option(name="workers", setting="num_workers", metavar="W", help="lives of an epoch"),
                Option(name="vectors", setting="num_vectors", metavar="V", help="perturbations of an epoch"),
                Option(
                    name="lives_per_chunk", setting="lives_per_chunk", metavar="K", help="lives that one process lives together"
                ),
                Option(name="epochs", setting="num_epochs", metavar="E", help="epochs to evolve for in all"),
            ),
            resume_options=("epochs", "actors", "workers", "vectors"),
            headline=(
                Shown(label="fitness", figure="fitness/mean", about="mean of the newest epoch", spread="fitness/std"),
                Shown(label="score", figure="evaluation/best", about="best evaluation"),
            ),
            shown=(
                Shown(label="newest", figure="evaluation/score"),
                Shown(label="alpha", figure="alpha"),
                Shown(label="lr", figure="evolution/learning_rate"),
                Shown(label="W", figure="evolution/workers"),
                Shown(label="V", figure="evolution/vectors"),
            ),
            round_name="epoch",
            next_commands=(
                ("metaray adapt {run}", "train fresh policies with the evolved loss on held-out tasks, and PPO beside them"),
                ("metaray journal {run} --verify", "make phi again from the journal and compare"),
            ),
        ),
    )
}


def find(name: str) -> Row:
    """Return the algorithm called `name`; InvalidInputError when there is none."""
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name]


def find_preset(name: str, algorithm: str | None = None) -> tuple[Row, Preset]:
    """Return the preset called `name`, and the algorithm that it is of.

    Args:
        name: as a person typed it; `ALGORITHM/NAME` where several algorithms have one of that name.
        algorithm: which it shall be of; None for any, the first in the table that has one.

    Raises:
        InvalidInputError: there is none, or it is of another algorithm.
    """
    if algorithm is None and "/" in name:
        algorithm, _, name = name.partition("/")
    rows = list(ALGORITHMS.values()) if algorithm is None else [find(algorithm)]
    for row in rows:
        if name in row.presets:
            return row, row.presets[name]
    owners = [row.name for row in ALGORITHMS.values() if name in row.presets]
    if owners:
        raise InvalidInputError(f"preset {name} is one of {owners[0]}: `metaray train {owners[0]} --preset {name}`")
    raise unknown("preset", name, [preset for row in rows for preset in row.presets])


def config_of(preset: Preset, row: Row) -> Any:
    """Return the whole config that a preset stands for, checked."""
    return row.check(apply(row.config_type()(preset=preset.name), preset.settings))


def read_config(file: Path, *, is_whole: bool = False) -> Any:
    """Read a config file, as the config of the algorithm that it names.

    Args:
        file: one that a person wrote, or that of a run.
        is_whole: a run wrote it, perhaps of an older version (`cluster.store.former`); told by what lies beside it where False.

    Raises:
        InvalidInputError: no such file, no JSON, or a key or value that is not allowed.
    """
    tree = read_json(file)
    name = tree.get("algorithm", DEFAULT_ALGORITHM) if isinstance(tree, dict) else DEFAULT_ALGORITHM
    row = find(str(name))
    if is_whole or file.with_name("launch.json").exists():
        tree = completed(tree)
    return row.check(from_tree(row.config_type(), tree, str(file)))


def config_of_run(directory: RunDirectory) -> Any:
    """Return the config of a run, checked like any other input."""
    return read_config(directory.config_file, is_whole=True)


def own_options(*, resumes: bool) -> dict[str, Option]:
    """Every option that some algorithm has, by name, with the algorithms in front of its help."""
    owners: dict[str, list[str]] = {}
    options: dict[str, Option] = {}
    for row in ALGORITHMS.values():
        for option in row.options:
            if not resumes or option.name in row.resume_options:
                options.setdefault(option.name, option)
                owners.setdefault(option.name, []).append(row.name)
    return {
        name: option
        if len(owners[name]) == len(ALGORITHMS)
        else replace(option, help=f"{', '.join(owners[name])}: {option.help}")
        for name, option in options.items()
    }


def check_options(row: Row, given: Mapping[str, str], *, resumes: bool) -> dict[str, str]:
    """Return the options that were given (text that is not empty), by name.

    Raises:
        InvalidInputError: one of them belongs to another algorithm.
    """
    allowed = {option.name: option for option in row.options if not resumes or option.name in row.resume_options}
    typed = {name: value for name, value in given.items() if value}
    for name, value in typed.items():
        if name not in allowed:
            own, flag = ", ".join(option.flag for option in allowed.values()), "--" + name.replace("_", "-")
            raise InvalidInputError(f"{flag} {value} is no option of {row.name}, which has {own}")
    return typed

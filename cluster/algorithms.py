"""The table of algorithms: a row each, plain data, so that the command line starts without torch.

This is the one place that lists them, and reads their configs. The modules that a row names (its functions, its collection of experience,
its config) are imported when they are needed; nothing else in `cluster` knows an algorithm by name.
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
    from cluster.run.workload import Workload
    from learners.algorithm import Algorithm


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A metric that is displayed.

    Attributes:
        label: of the display, and its name for Prometheus.
        figure: metric name.
        about: description.
        spread: metric name of its standard deviation; empty for none.
        best: metric name of its best value so far; empty for none.
    """

    label: str
    figure: str
    about: str = ""
    spread: str = ""
    best: str = ""

    def text(self, figures: Mapping[str, float]) -> str:
        """The metric as text: `312.6 ± 41.2, best 330`; `-` while there is none."""
        if self.figure not in figures:
            return "-"
        spread = f" ± {number(figures[self.spread])}" if self.spread in figures else ""
        best = f", best {number(figures[self.best])}" if self.best in figures else ""
        return number(figures[self.figure]) + spread + best


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of the command that not every algorithm has.

    Attributes:
        name: identifier: `lives_per_chunk` for `--lives-per-chunk`.
        setting: the key of the config that it sets.
        metavar, help: for `--help`.
    """

    name: str
    setting: str
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """Its spelling on the command line."""
        return "--" + self.name.replace("_", "-")


ACTORS = Option(name="actors", setting="num_actors", metavar="N", help="number of actors; may exceed the number of cores")
STEPS = Option(name="steps", setting="total_env_steps", metavar="N", help="environment steps to train for in total, such as 2e6")


@dataclass(frozen=True, kw_only=True)
class Row:
    """An algorithm.

    Attributes:
        name: on the command line.
        shows: description, one line.
        module: of its functions (`learners.algorithm`).
        config: `module:type` of its config; empty for the config of its learner combined with that of runs of unrolls.
        collect: `module:type` of its workload (`cluster.run.workload`), which says how experience is collected.
        panels: of its plots.
        presets: by name.
        options: its own options of `metaray train`.
        resume_options: names of those that `metaray resume` has as well.
        headline: the main results of a run.
        shown: other metrics of the progress display.
        round_name: name of its rounds; empty where it counts environment steps.
        next_commands: commands after a run, with their purpose.
    """

    name: str
    shows: str
    module: str
    config: str = ""
    collect: str = "cluster.run.unrolls:Unrolls"
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

    def workload(self, config: Any) -> Workload:
        """The work of one of its runs; loads torch."""
        workload: Workload = _named(self.collect)(self, config)
        return workload


def _named(name: str) -> Any:
    module, _, what = name.partition(":")
    return getattr(import_module(module), what)


RETURN = Shown(label="return", figure="return/mean_100", about="mean of the last 100 episodes", best="return/best_100")
NEXT_COMMANDS = (
    ("metaray evaluate {run}", "evaluate on held-out tasks"),
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
            next_commands=NEXT_COMMANDS,
        ),
        Row(
            name="ppo",
            shows="proximal policy optimisation with GAE, a baseline",
            module="learners.ppo",
            presets=presets_of("ppo"),
            headline=(RETURN,),
            shown=(Shown(label="kl", figure="policy/kl"), Shown(label="entropy", figure="policy/entropy")),
            next_commands=NEXT_COMMANDS,
        ),
        Row(
            name="maml",
            shows="model-agnostic meta-learning: initial weights that one policy-gradient step adapts to a task",
            module="learners.maml",
            collect="cluster.run.adaptation:Adaptation",
            panels=ADAPTATION,
            presets=presets_of("maml"),
            headline=(
                Shown(label="adapted", figure="return/post_update", about="mean return after the inner steps, newest round"),
                Shown(label="before", figure="return/pre_update", about="mean return before the inner steps"),
            ),
            shown=(Shown(label="held out", figure="evaluation/score"), Shown(label="entropy", figure="policy/entropy")),
            next_commands=(("metaray plot {run} ...", "compare it with other runs"),),
        ),
        Row(
            name="epg",
            shows="evolved policy gradients: evolves a loss that agents learn from",
            module="learners.epg",
            config="cluster.config:EpgRunConfig",
            collect="cluster.run.lifetimes:Lifetimes",
            panels=EVOLUTION,
            presets=presets_of("epg"),
            options=(
                ACTORS,
                Option(name="workers", setting="num_workers", metavar="W", help="lifetimes of an epoch"),
                Option(name="vectors", setting="num_vectors", metavar="V", help="perturbations of an epoch"),
                Option(
                    name="lives_per_chunk",
                    setting="lives_per_chunk",
                    metavar="K",
                    help="lifetimes that one process runs in lockstep",
                ),
                Option(name="epochs", setting="num_epochs", metavar="E", help="epochs to evolve for in total"),
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
                ("metaray adapt {run}", "train fresh policies with the evolved loss on held-out tasks, and compare with PPO"),
                ("metaray journal {run} --verify", "replay the journal and compare phi"),
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
    """Return the preset called `name`, and its algorithm.

    Args:
        name: of the preset; `ALGORITHM/NAME` where several algorithms have one of that name.
        algorithm: of the preset; None for the first in the table that has one.

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
        raise InvalidInputError(f"preset {name} belongs to {owners[0]}: `metaray train {owners[0]} --preset {name}`")
    raise unknown("preset", name, {preset for row in rows for preset in row.presets})


def config_of(preset: Preset, row: Row) -> Any:
    """Return the complete config of a preset, checked."""
    return row.check(apply(row.config_type()(preset=preset.name), preset.settings))


def read_config(file: Path, *, is_whole: bool = False) -> Any:
    """Read a config file, as the config of the algorithm that it names.

    Args:
        file: of the user, or of a run.
        is_whole: a run wrote it, perhaps of an older version (`cluster.store.former`); False: if launch.json is beside it.

    Raises:
        InvalidInputError: no such file, not JSON, or a key or value that is not allowed.
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
    """All options of the algorithms, by name, with the algorithms that have it in front of its help."""
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
    """Return the options that were given (text that is not empty), by the setting that each changes.

    Raises:
        InvalidInputError: one of them belongs to another algorithm.
    """
    allowed = {option.name: option for option in row.options if not resumes or option.name in row.resume_options}
    typed = {name: value for name, value in given.items() if value}
    for name, value in typed.items():
        if name not in allowed:
            own, flag = ", ".join(option.flag for option in allowed.values()), "--" + name.replace("_", "-")
            raise InvalidInputError(f"{flag} {value} is not an option of {row.name}, which has {own}")
    return {allowed[name].setting: value for name, value in typed.items()}

"""The table of algorithms: what each is called, which options and presets it has, and how its runs are checked, driven and drawn.

This is the one place that knows them all. The first half of an entry is plain data, so that the command line starts light; the second is
loaded when a run is at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.epg import presets as epg_presets
from cluster.overrides import apply, from_tree
from cluster.presets import PRESETS, Preset
from cluster.reports.panels import EVOLUTION, UNROLLS, Panels
from cluster.store.former import DEFAULT_ALGORITHM, completed
from cluster.store.run_directory import RunDirectory, read_json
from envs.errors import InvalidInputError, unknown

if TYPE_CHECKING:
    from cluster.config import RunConfig
    from cluster.epg.config import EpgRunConfig

    AnyConfig = RunConfig | EpgRunConfig


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the runs of an algorithm are like; it takes loading torch to have one.

    Attributes:
        config_type: their config.
        check: checks the config's fields against each other, and returns it.
        preflight: (config, is_local) -> nothing: checks the config against the family and the machine, before any process starts.
        drive: see `cluster.run.training.drive`.
        extend: (directory, config, options) -> the config of a run that is resumed with these options; refuses one with nothing left to do.
    """

    config_type: type[Any]
    check: Callable[[Any], Any]
    preflight: Callable[[Any, bool], None]
    drive: Callable[..., int]
    extend: Callable[[RunDirectory, Any, Mapping[str, str]], Any]


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """An algorithm.

    Attributes:
        name: as a person types it.
        shows: what it is, one line.
        options: its own options of `metaray train`, and the setting that each changes.
        resume_options: its own options of `metaray resume`.
        presets: by name.
        panels: of its pictures.
        load: loads the rest.
    """

    name: str
    shows: str
    options: Mapping[str, str]
    resume_options: Sequence[str]
    presets: Mapping[str, Preset]
    panels: Panels
    load: Callable[[], Kind]


def _impala() -> Kind:
    from cluster.config import RunConfig, check
    from cluster.run import preflight, resuming, training

    return Kind(
        config_type=RunConfig,
        check=check,
        preflight=preflight.check_learner,
        drive=training.drive,
        extend=resuming.extend,
    )


def _epg() -> Kind:
    from cluster.epg import resuming, training
    from cluster.epg.config import EpgRunConfig, check
    from cluster.run import preflight

    return Kind(
        config_type=EpgRunConfig,
        check=check,
        preflight=preflight.check_lives,
        drive=training.drive,
        extend=resuming.extend,
    )


ALGORITHMS: dict[str, Algorithm] = {
    one.name: one
    for one in (
        Algorithm(
            name="impala",
            shows="V-trace actor-critic",
            options={"actors": "num_actors", "steps": "total_env_steps"},
            resume_options=("steps",),
            presets=PRESETS,
            panels=UNROLLS,
            load=_impala,
        ),
        Algorithm(
            name="epg",
            shows="evolved policy gradients: evolves a loss that agents learn from",
            options={
                "actors": "num_actors",
                "workers": "num_workers",
                "vectors": "num_vectors",
                "lives_per_chunk": "lives_per_chunk",
                "epochs": "num_epochs",
            },
            resume_options=("epochs", "actors", "workers", "vectors"),
            presets=epg_presets.PRESETS,
            panels=EVOLUTION,
            load=_epg,
        ),
    )
}


def find(name: str) -> Algorithm:
    """Return the algorithm called `name`; InvalidInputError when there is none."""
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name]


def find_preset(name: str, algorithm: str | None = None) -> tuple[Algorithm, Preset]:
    """Return the preset called `name`, and the algorithm that it is of.

    Args:
        name: as a person typed it.
        algorithm: which it shall be of; None for any.

    Raises:
        InvalidInputError: there is none, or it is of another algorithm.
    """
    owners = [one for one in ALGORITHMS.values() if name in one.presets]
    if not owners:
        of = ALGORITHMS.values() if algorithm is None else [find(algorithm)]
        raise unknown("preset", name, [preset for one in of for preset in one.presets])
    owner = owners[0]
    if algorithm is not None and owner.name != algorithm:
        raise InvalidInputError(f"preset {name} is one of {owner.name}: `metaray train {owner.name} --preset {name}`")
    return owner, owner.presets[name]


def config_of(preset: Preset, algorithm: Algorithm) -> AnyConfig:
    """Return the whole config that a preset stands for, checked."""
    kind = algorithm.load()
    config: AnyConfig = kind.check(apply(kind.config_type(preset=preset.name), preset.settings))
    return config


def read_config(file: Path, *, is_whole: bool = False) -> AnyConfig:
    """Read a config file, as the config of the algorithm that it names.

    Args:
        file: one that a person wrote, or that of a run.
        is_whole: a run wrote it, perhaps of an older version (`cluster.store.former`); told by what lies beside it where False.

    Raises:
        InvalidInputError: no such file, no JSON, or a key or value that is not allowed.
    """
    tree = read_json(file)
    name = tree.get("algorithm", DEFAULT_ALGORITHM) if isinstance(tree, dict) else DEFAULT_ALGORITHM
    kind = find(str(name)).load()
    if is_whole or file.with_name("launch.json").exists():
        tree = completed(tree)
    config: AnyConfig = kind.check(from_tree(kind.config_type, tree, str(file)))
    return config


def config_of_run(directory: RunDirectory) -> AnyConfig:
    """Return the config of a run, checked like any other input."""
    return read_config(directory.config_file, is_whole=True)


def check_options(algorithm: Algorithm, allowed: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the options that were given (text that is not empty), by name.

    Raises:
        InvalidInputError: one of them belongs to another algorithm.
    """
    typed = {name: value for name, value in given.items() if value}
    for name, value in typed.items():
        if name not in allowed:
            own = ", ".join(_flag(one) for one in allowed)
            raise InvalidInputError(f"{_flag(name)} {value} is no option of {algorithm.name}, which has {own}")
    return typed


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")

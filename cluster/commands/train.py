"""`metaray train`: from options to a checked config, and from there to `cluster.run.trainer`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional

from cluster import algorithms, overrides
from cluster.commands.arguments import option
from cluster.commands.own_options import RunOptions, own_values, with_own_options
from cluster.run import preflight
from cluster.store import run_directory
from cluster.store.versions import library_versions
from envs.errors import InvalidInputError
from envs.registry import resolve

ALGORITHM_HELP = "the algorithm: " + ", ".join(f"{row.name} ({row.shows})" for row in algorithms.ALGORITHMS.values())


@dataclass(frozen=True, kw_only=True)
class TrainBase(RunOptions):
    """What `metaray train` has for every algorithm; `Train` has the options of their rows besides."""

    algorithm: Annotated[Positional[Literal[tuple(algorithms.ALGORITHMS)]], option(ALGORITHM_HELP)]  # type: ignore[valid-type]
    preset: Annotated[str, option("settings to start from; `metaray presets` lists them", "NAME")] = ""
    config: Annotated[str, option("start from the config.json of an earlier run instead of a preset", "FILE")] = ""
    family: Annotated[str, option("task family: a name from `metaray tasks`, gym:<id> or module:object", "FAMILY")] = ""
    seed: Annotated[str, option("root of every random draw (default: 0)", "N")] = ""
    out: Annotated[str, option("run directory (default: runs/<preset>-s<seed>-<time>)", "DIR")] = ""

    def run(self, command: str) -> int:
        """Check everything, make the run directory and train."""
        algorithm = algorithms.find(self.algorithm)
        if bool(self.preset) == bool(self.config):
            names = ", ".join(algorithm.presets)
            raise InvalidInputError(f"give --preset NAME or --config FILE, one of the two (presets: {names})")
        self._check_paths()
        options = algorithms.check_options(algorithm, own_values(self, resumes=False), resumes=False)
        where = self.where(local=self.local)
        if self.family:
            resolve(self.family)
        config = self.resolve(options)
        preflight.check_environment(config.family)
        workload = algorithm.workload(config)
        workload.preflight(is_local=self.local)
        launch = {
            "command": command,
            "local": self.local,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": library_versions(),
        }
        from cluster.run.trainer import Run, train

        place = Path(self.out) if self.out else self._default_path(algorithm, config)
        with run_directory.claimed(place, is_default=not self.out) as claim:
            directory = claim.directory
            directory.begin(config, launch)
            at = where(run_name=directory.path.name)
            run = Run(workload=workload, directory=directory, where=at, command=command, quiet=self.no_progress)
            code = train(run, is_resumed=False)
            if code > 128:  # by a signal, perhaps before anything was done
                claim.discard()
            return code

    @staticmethod
    def _default_path(algorithm: algorithms.Row, config: Any) -> Path:
        known = algorithm.presets.get(config.preset)
        family = None if known is not None and known.family == config.family else config.family
        return run_directory.default_path(config.preset, family, config.seed)

    def _check_paths(self) -> None:
        """Check what needs no config, since reading one loads torch."""
        if self.preset:
            algorithms.find_preset(self.preset, self.algorithm)
        elif not Path(self.config).is_file():
            raise InvalidInputError(f"cannot read --config {self.config}: no such file")
        if self.out:
            run_directory.check_free(Path(self.out))

    def resolve(self, options: Mapping[str, str]) -> Any:
        """Return the config that the options stand for: preset or file, then options (by setting), then `--set`."""
        algorithm = algorithms.find(self.algorithm)
        if self.preset:
            base = algorithms.config_of(algorithm.presets[self.preset], algorithm)
        else:
            base = algorithms.read_config(Path(self.config))
            if base.algorithm != self.algorithm:
                raise InvalidInputError(
                    f"--config {self.config} is of {base.algorithm}: `metaray train {base.algorithm} --config {self.config}`"
                )
        common = {key: value for key, value in (("family", self.family), ("seed", self.seed)) if value}
        config: Any = algorithm.check(overrides.apply(base, common | dict(options) | self.assignments))
        return config


Train = with_own_options(
    "Train", TrainBase, "Train; Ctrl-C saves everything and stops, a second one stops at once.", resumes=False
)

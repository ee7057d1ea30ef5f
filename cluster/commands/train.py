"""`metaray train`: from options to a checked config, and from there to `cluster.run.trainer`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from cluster import algorithms, overrides
from cluster.commands.own_options import own_values, with_own_options
from cluster.run import preflight
from cluster.run.where import Where
from cluster.store import run_directory
from cluster.store.versions import library_versions
from envs.errors import InvalidInputError

ALGORITHM_HELP = "the algorithm: " + ", ".join(f"{row.name} ({row.shows})" for row in algorithms.ALGORITHMS.values())


@dataclass(frozen=True, kw_only=True)
class TrainBase:
    """What `metaray train` has for every algorithm; `Train` has the options of their rows besides."""

    algorithm: Annotated[Positional[Literal[tuple(algorithms.ALGORITHMS)]], arg(help=ALGORITHM_HELP, help_behavior_hint="")]  # type: ignore[valid-type]
    preset: Annotated[
        str, arg(metavar="NAME", help="settings to start from; `metaray presets` lists them", help_behavior_hint="")
    ] = ""
    config: Annotated[
        str, arg(metavar="FILE", help="start from the config.json of an earlier run instead of a preset", help_behavior_hint="")
    ] = ""
    family: Annotated[
        str,
        arg(metavar="FAMILY", help="task family: a name from `metaray tasks`, gym:<id> or module:object", help_behavior_hint=""),
    ] = ""
    seed: Annotated[str, arg(metavar="N", help="root of every random draw (default: 0)", help_behavior_hint="")] = ""
    set: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]],
        arg(
            metavar="KEY=VALUE",
            help="change any setting: --set learner.gamma=0.95 rollout.unroll_length=40; `metaray presets NAME` lists the keys",
            help_behavior_hint="",
        ),
    ] = ()
    local: Annotated[bool, arg(help="train in this process, without Ray", help_behavior_hint="")] = False
    ray: Annotated[
        str,
        arg(
            metavar="ADDRESS",
            help="attach to this Ray cluster: host:port or auto (default: RAY_ADDRESS, else start one here)",
            help_behavior_hint="",
        ),
    ] = ""
    insecure: Annotated[bool, arg(help="use Ray without its token authentication", help_behavior_hint="")] = False
    out: Annotated[
        str, arg(metavar="DIR", help="run directory (default: runs/<preset>-s<seed>-<time>)", help_behavior_hint="")
    ] = ""
    no_progress: Annotated[bool, arg(help="print no progress", help_behavior_hint="")] = False

    def run(self, command: str) -> int:
        """Check everything, make the run directory and train."""
        algorithm = algorithms.find(self.algorithm)
        if bool(self.preset) == bool(self.config):
            names = ", ".join(algorithm.presets)
            raise InvalidInputError(f"give --preset NAME or --config FILE, one of the two (presets: {names})")
        self._check_paths()
        options = algorithms.check_options(algorithm, own_values(self, resumes=False), resumes=False)
        where = check_where(local=self.local, ray=self.ray, insecure=self.insecure)
        if self.family:
            preflight.check_family(self.family)
        config = self.resolve(options)
        preflight.check_environment(config.family)
        algorithm.assembly().preflight(config, self.local)
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
            run = Run(row=algorithm, config=config, directory=directory, where=at, command=command, quiet=self.no_progress)
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
        """What can be told without reading the config, which loads torch."""
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
        assignments = overrides.parse_assignments(text for group in self.set for text in group)
        config: Any = algorithm.check(overrides.apply(base, common | dict(options) | assignments))
        return config


Train = with_own_options(
    "Train", TrainBase, "Train; Ctrl-C saves everything and stops, a second one stops at once.", resumes=False
)


def check_where(*, local: bool, ray: str, insecure: bool) -> partial[Where]:
    """Check `--local`, `--ray` and `--insecure` against each other and against what answers; return what makes a run's place.

    Raises:
        InvalidInputError: they contradict each other, Ray is not installed, or nothing answers at the address.
    """
    if local and (ray or insecure):
        raise InvalidInputError(f"--local and {'--ray' if ray else '--insecure'} contradict each other: give one of them")
    address = None if local else preflight.ray_address(ray)
    if not local:
        preflight.check_ray(address)
    return partial(Where, is_local=local, address=address, is_insecure=insecure)

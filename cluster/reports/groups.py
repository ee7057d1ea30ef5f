"""Groups of runs that are seeds of one experiment: their settings are equal but for the seed and settings without effect on the curve.

Groups are named by, and sorted by, the settings in which they differ, whatever the order of the runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.overrides import flattened
from cluster.reports.panels import Panels

MAX_NAMED = 4
"""Settings in a name; where groups differ in more, they are named by their presets if these differ."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The metrics of one run, and the settings that they depend on.

    Attributes:
        name: of its folder.
        family, preset, seed: of its config.
        settings: those that its metrics depend on, by dotted name.
        records: its metrics.
    """

    name: str
    family: str
    preset: str
    seed: int
    settings: Mapping[str, Any]
    records: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Seeds of one experiment; `name` is empty where it is the only group."""

    name: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> str:
        """The number of seeds, or the seed."""
        seeds, count = {run.seed for run in self.runs}, len(self.runs)
        of = f"seed {self.runs[0].seed}" if len(seeds) == 1 else f"{len(seeds)} seeds"
        return of if len(seeds) == count else f"{count} runs of {of}"


def settings_of(tree: Mapping[str, Any], panels: Panels) -> dict[str, Any]:
    """Return the settings of a config, given as nested dicts, that the curve of a run depends on."""
    settings = dict(flattened(tree))
    length, schedule, switch = panels.length
    total, over = settings.pop(length, None), settings.pop(schedule, None)
    if not switch or settings.get(switch):
        settings[length] = total if over is None else over
    return {name: value for name, value in settings.items() if name not in panels.idle}


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Group runs, sorted by the settings in which the groups differ."""
    members: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.name)):
        members.setdefault(json.dumps(run.settings, sort_keys=True), []).append(run)
    groups = [tuple(of_group) for of_group in members.values()]
    names = sorted({name for of_group in groups for name in of_group[0].settings})
    differing = [name for name in names if len({_text(of_group[0].settings.get(name)) for of_group in groups}) > 1]
    groups.sort(key=lambda of_group: [_order(of_group[0].settings.get(name)) for name in differing])
    labels = _labels([of_group[0] for of_group in groups], differing)
    return [Group(name=label, runs=of_group) for label, of_group in zip(labels, groups, strict=True)]


def _labels(firsts: Sequence[Run], differing: Sequence[str]) -> list[str]:
    """A name for each group, given its first run."""
    if len(differing) > MAX_NAMED and len({run.preset for run in firsts}) == len(firsts):
        return [f"preset {run.preset}" for run in firsts]
    last = [name.rpartition(".")[2] for name in differing]
    short = {name: part if last.count(part) == 1 else name for name, part in zip(differing, last, strict=True)}
    labels = [", ".join(f"{short[name]} = {_text(run.settings.get(name))}" for name in differing[:MAX_NAMED]) for run in firsts]
    if len(differing) > MAX_NAMED:
        labels = [f"{label} and {len(differing) - MAX_NAMED} more" for label in labels]
    return (
        labels if len({*labels}) == len(labels) else [f"{label} ({run.name})" for label, run in zip(labels, firsts, strict=True)]
    )


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{{{', '.join(map(str, value))}}}"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers first, by size."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_number, float(value) if is_number else 0.0, _text(value)

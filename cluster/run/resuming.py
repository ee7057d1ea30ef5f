"""The config that a run goes on with: what was asked for at a resume, and what was changed by hand in config.json since the last start.

Only what neither the learner's state nor the experience that is kept depends on may change (`Workload.may_change`); all else is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cluster import overrides
from cluster.run.workload import Workload
from cluster.store import scaling
from cluster.store.former import completed
from cluster.store.run_directory import RunDirectory
from cluster.store.summary import read_summary
from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from cluster.algorithms import Row

ENDED_BY = {"time limit": "max_train_seconds", "return reached": "stop_return"}
"""By the reason that a run ended for: the limit that is lifted when a longer run is asked for, and would end it again at once."""


def resumed(workload: Workload, directory: RunDirectory, changes: Mapping[str, str]) -> tuple[Any, list[str]]:
    """Return the config that a run goes on with, and a line for each setting that is another than at its last start; both are kept.

    Schedules stay laid over the length that the run was begun with: laid anew over more, a learning rate would rise in the middle of it.

    Args:
        workload: of what config.json says.
        directory: its folder, locked by the caller.
        changes: what was asked for, by setting.

    Raises:
        InvalidInputError: a setting cannot change, its value is not possible, or the run has nothing left to do.
    """
    row, config = workload.row, workload.config
    lines = _changed_by_hand(workload, directory)
    config_type: type = type(config)
    keys = overrides.keys(config_type)
    for name, value in changes.items():
        overrides.find(config_type, name)
        if name not in workload.may_change():
            raise InvalidInputError(f"{name} = {value}: it cannot change in a run that goes on{_allowed(workload, [name])}")
    sizes = {name: value for name, value in changes.items() if name in workload.sizes}
    others = {name: value for name, value in changes.items() if name not in workload.sizes}
    before, after = config, row.check(_extended(workload, directory, others))
    if sizes:
        before = scaling.desired(directory).upon(before)
        wanted = wanted_sizes(row, directory, after, sizes)
        scaling.ask(directory, **wanted)
        after = replace(after, **wanted)
    named = [key for name, key in keys.items() if name in changes]
    lines += [f"{key.name}: {key.of(before)} -> {key.of(after)}" for key in named if key.of(before) != key.of(after)]
    directory.write_config(after)
    return after, lines


def wanted_sizes(row: Row, directory: RunDirectory, config: Any, sizes: Mapping[str, str]) -> dict[str, int]:
    """Return sizes that were asked for, checked together with those that stay.

    Raises:
        InvalidInputError: they are not possible.
    """
    after = row.check(overrides.apply(scaling.desired(directory).upon(config), sizes))
    return {name: getattr(after, name) for name in sizes}


def _extended(workload: Workload, directory: RunDirectory, changes: Mapping[str, str]) -> Any:
    """The config with the changes, and longer where that is asked for."""
    summary, done, unit = read_summary(directory), workload.length_done(directory), workload.length_unit
    after, is_longer = overrides.apply(workload.config, changes), workload.length in changes
    if is_longer:
        total, begun = getattr(after, workload.length), workload.scheduled
        if total <= done:
            raise InvalidInputError(
                f"{workload.length} = {total:,}: the run {directory.path} has {done:,} {unit} already; give more"
            )
        if total != begun and workload.schedule_length not in changes:
            after = replace(after, **{workload.schedule_length: begun})
    if summary is not None and summary["finished"]:
        limit = ENDED_BY.get(summary["reason"], workload.length)
        if not is_longer and limit not in changes:
            option = next(one for one in workload.row.options if one.setting == workload.length)
            raise InvalidInputError(
                f"the run {directory.path} is finished ({summary['reason']}, {done:,} {unit}): "
                f"`metaray resume {directory.path} {option.flag} {option.metavar}` trains it for longer"
            )
        if limit != workload.length and limit not in changes:
            after = replace(after, **{limit: None})
    return after


def _changed_by_hand(workload: Workload, directory: RunDirectory) -> list[str]:
    """A line that names the settings that are others in config.json than at the last start; runs of older versions kept no such record."""
    config, tree = workload.config, directory.read_launch().get("config")
    if tree is None:
        return []
    config_type: type = type(config)
    before: Any = overrides.from_tree(config_type, completed(tree), str(directory.launch_file))
    changed = [key for key in overrides.keys(config_type).values() if key.of(before) != key.of(config)]
    if not changed:
        return []
    named = ", ".join(f"{key.name} ({key.of(before)} -> {key.of(config)})" for key in changed)
    line = f"config.json was changed by hand since the last start: {named}"
    refused = [key.name for key in changed if key.name not in workload.may_change()]
    if refused:
        raise InvalidInputError(
            f"{line}; {', '.join(refused)} cannot change in a run that goes on: change that back{_allowed(workload, refused)}"
        )
    sizes = {key.name: key.of(config) for key in changed if key.name in workload.sizes}
    if sizes:
        scaling.ask(directory, **sizes)
    return [line]


def _allowed(workload: Workload, names: Iterable[str]) -> str:
    """The settings that may change, those nearest to `names` first."""
    allowed = workload.may_change()
    near = [close for name in names for close in difflib.get_close_matches(name, allowed, n=2, cutoff=0.6)]
    hint = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
    return f"{hint} (these can: {', '.join(allowed)})"

"""The config of a resumed run: the changes of `metaray resume`, and those made by hand in config.json since the last start.

Only settings on which neither the learner's state nor stored experience depends may change (`Workload.may_change`); others are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
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
"""The limit to lift when a longer run is requested, by the reason that the run ended: it would end the run again at once."""


def resumed(workload: Workload, directory: RunDirectory, changes: Mapping[str, str]) -> tuple[Any, list[str]]:
    """Return the config of the resumed run, and a line for each setting that differs from its last start; the config is written.

    Schedules keep the length that the run began with: stretched over more steps, a learning rate would rise in the middle of the run.

    Args:
        workload: of what config.json says.
        directory: its folder, locked by the caller.
        changes: new values by setting.

    Raises:
        InvalidInputError: a setting cannot change, its value is not possible, or the run is complete.
    """
    row, config = workload.row, workload.config
    lines = _changed_by_hand(workload, directory)
    config_type: type = type(config)
    keys = overrides.keys(config_type)
    for name, value in changes.items():
        overrides.find(config_type, name)
        if name not in workload.may_change():
            raise InvalidInputError(f"{name} = {value}: it cannot change in a resumed run{_allowed(workload)}")
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
    """Return the requested sizes, checked together with those that stay.

    Raises:
        InvalidInputError: a size is not possible.
    """
    after = row.check(overrides.apply(scaling.desired(directory).upon(config), sizes))
    return {name: getattr(after, name) for name in sizes}


def _extended(workload: Workload, directory: RunDirectory, changes: Mapping[str, str]) -> Any:
    """The config with the changes, and a longer run if requested."""
    summary, done, unit = read_summary(directory), workload.length_done(directory), workload.length_unit
    after, is_longer = overrides.apply(workload.config, changes), workload.length in changes
    if is_longer:
        total, begun = getattr(after, workload.length), workload.scheduled
        if total <= done:
            raise InvalidInputError(
                f"{workload.length} = {total:,}: the run {directory.path} already has {done:,} {unit}: give more"
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
    """A line with the settings that differ in config.json from the last start; runs of older versions have no such record."""
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
            f"{line}; {', '.join(refused)} cannot change in a resumed run: change that back{_allowed(workload)}"
        )
    sizes = {key.name: key.of(config) for key in changed if key.name in workload.sizes}
    if sizes:
        scaling.ask(directory, **sizes)
    return [line]


def _allowed(workload: Workload) -> str:
    """The settings that may change, for a message."""
    return f" (these can: {', '.join(workload.may_change())})"

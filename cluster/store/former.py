"""Values of settings that older versions did not have: the configs of their runs are complete but for settings that are newer.

    config.json of a run, the first record of a journal      complete: a missing setting has its former value
    a file of the user for `metaray train --config`          partial: a missing setting has its default

A setting is listed here if its default differs from the behaviour before it was added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_ALGORITHM = "impala"
"""Of a config without one: the first version had no other."""

FORMER: Mapping[str, Mapping[str, Any]] = {"epg": {"life.unit_norm_per": "output"}}
"""By algorithm, and by dotted name of the setting."""


def completed(tree: Any) -> Any:
    """Return a complete config, in its JSON form, with the former values of the settings that it lacks.

    Args:
        tree: nested dicts. Anything else is returned unchanged, and refused by the caller.
    """
    if not isinstance(tree, dict):
        return tree
    for name, value in FORMER.get(str(tree.get("algorithm", DEFAULT_ALGORITHM)), {}).items():
        tree = _with(tree, name, value)
    return tree


def _with(tree: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The tree with `value` under a dotted name, unless it has one."""
    group, _, rest = name.partition(".")
    if not rest:
        return {group: value, **tree}
    inner = tree.get(group, {})
    return {**tree, group: _with(inner, rest, value)} if isinstance(inner, dict) else tree

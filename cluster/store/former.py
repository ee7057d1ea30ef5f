"""What runs of older versions did where a setting has come since: their own configs are whole, and so lack nothing but what is newer.

    config.json of a run, the first record of a journal     whole: a setting that it lacks has its former value
    a file that a person wrote for `metaray train --config`  partial: a setting that it lacks has its default

A setting belongs here when its default is not what was done before it was there; one whose default changes nothing does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_ALGORITHM = "impala"
"""Of a config that names none: the first runs had no other."""

FORMER: Mapping[str, Mapping[str, Any]] = {"epg": {"life.unit_norm_per": "output"}}
"""By algorithm, and by dotted name of the setting."""


def completed(tree: Any) -> Any:
    """Return a whole config, as JSON holds it, with the former values of the settings that it lacks.

    Args:
        tree: nested dicts. What is no config at all comes back as it is, for whoever reads it to refuse.
    """
    if not isinstance(tree, dict):
        return tree
    for name, value in FORMER.get(str(tree.get("algorithm", DEFAULT_ALGORITHM)), {}).items():
        tree = _with(tree, name, value)
    return tree


def _with(tree: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The tree with `value` under a dotted name, where there is none yet."""
    group, _, rest = name.partition(".")
    if not rest:
        return {group: value, **tree}
    inner = tree.get(group, {})
    return {**tree, group: _with(inner, rest, value)} if isinstance(inner, dict) else tree
